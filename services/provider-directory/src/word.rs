//! What each source said last of a record, field by field: a source that repeats itself overrules nobody, and what one
//! says stands until that one says otherwise.
use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use caseward_core::Violations;
use sea_orm::{ModelTrait, sea_query::value::sea_value_to_json_value};
use serde::{Deserialize, Serialize};

use crate::{
    record::{self, Record},
    reference::References,
};

/// The hash of what is said of each field; a field of which nothing is said is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Words(BTreeMap<String, String>);

impl Words {
    /// What `row` says. `blank` is one that says nothing.
    pub fn of<E: Record>(row: &E::Model, blank: &E::Model) -> Words {
        let said = |field: &'static str| Some((field.to_owned(), word::<E>(field, row, blank)?));
        Words(fields::<E>().filter_map(said).collect())
    }

    /// What a source says: each field by itself, without what would follow from others.
    pub fn said<E: Record>(from: &E::Wire, refs: &mut References, blank: &E::Model) -> Words {
        let said = |field: &'static str| {
            let mut row = blank.clone();
            record::take_one::<E>(&mut row, field, from, refs, &mut Violations::default());
            Some((field.to_owned(), word::<E>(field, &row, blank)?))
        };
        Words(fields::<E>().filter_map(said).collect())
    }

    fn get(&self, field: &str) -> Option<&String> {
        self.0.get(field)
    }

    /// Whether what a source says now of `field` is to be taken into a record. `self` is what it says now, `before` what
    /// it said last, `stands` what the record says, and `others` what every other source of it said last.
    pub fn are_news(&self, field: &str, before: &Words, stands: &Words, others: &[&Words]) -> bool {
        let (now, before, stands) = (self.get(field), before.get(field), stands.get(field));
        let others_say_it = || others.iter().any(|other| other.get(field) == stands);
        match (now, stands) {
            // Nobody says anything else, or nobody any more.
            (now, None) => now.is_some(),
            (now, _) if now == before => false,
            (Some(_), stands) => stands == before || !others_say_it(),
            // Taken back: what stands goes with it, if it is this source's, and only this one's.
            (None, stands) => stands == before && !others_say_it(),
        }
    }
}

/// The fields that a source has a say in. Of identifiers every one counts, whoever gave it.
pub fn fields<E: Record>() -> impl Iterator<Item = &'static str> {
    E::WRITABLE.iter().copied().filter(|field| *field != "identifiers")
}

fn word<E: Record>(field: &str, row: &E::Model, blank: &E::Model) -> Option<String> {
    let columns = E::columns(field);
    if columns.iter().all(|column| row.get(*column) == blank.get(*column)) {
        return None;
    }
    let said = columns.iter().map(|column| sea_value_to_json_value(&row.get(*column)).to_string());
    let hash = digest(&SHA256, said.collect::<Vec<_>>().join(" ").as_bytes());
    // Its first eight bytes: what differs is two words of one field, not all there are.
    Some(hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(word: &str) -> Words {
        let said = (!word.is_empty()).then(|| ("name".to_owned(), word.to_owned()));
        Words(said.into_iter().collect())
    }

    #[test]
    fn a_word_is_taken_where_it_is_news() {
        for (now, before, stands, other, news) in [
            ("a", "", "", "", true),     // the first that anybody says
            ("a", "", "b", "b", false),  // of which another source said something
            ("a", "", "b", "", true),    // of which nobody is known to have said something
            ("a", "a", "b", "b", false), // the same again, overruled since
            ("a", "a", "b", "", false),  // the same again, corrected by hand
            ("a", "a", "", "", true),    // the same again, after the other took its word back
            ("c", "a", "a", "b", true),  // its own word stands
            ("c", "a", "a", "a", true),  // which another source shares
            ("c", "a", "b", "b", false), // the other's stands
            ("c", "a", "b", "", true),   // what was corrected by hand is out of date
            ("", "", "b", "b", false),   // it has no say
            ("", "", "b", "", false),    // nor had it
            ("", "a", "a", "", true),    // taken back
            ("", "a", "a", "a", false),  // but another says so still
            ("", "a", "b", "", false),   // and it is not its own that stands
        ] {
            let case = format!("{now:?} after {before:?} where {stands:?} stands and {other:?}");
            let other = says(other);
            let is_news = says(now).are_news("name", &says(before), &says(stands), &[&other]);
            assert_eq!(is_news, news, "{case}");
        }
    }
}
