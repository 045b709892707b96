//! Whether two records that share an identifier are one: by how sure the identifier is, and by what a person would tell
//! them apart by. Sources count from one, a tax number has many branches, and files have errors; two records that should
//! be one are found and made one some day, but two that were mixed are never taken apart again.
use std::collections::BTreeSet;

use caseward_core::data::{Address, Concept, HumanName, Identifier};

use crate::record::Record;

/// The system of National Provider Identifiers: one provider has one, and no two have the same.
const NPI: &str = "http://hl7.org/fhir/sid/us-npi";

/// The system of addresses and UUIDs, which nobody else gives.
const URI: &str = "urn:ietf:rfc:3986";

/// What a person would tell two records apart by, trait by trait in the order of the kind.
#[derive(Debug, Default)]
pub struct Traits(Vec<Trait>);

#[derive(Debug)]
enum Trait {
    /// Names, each in words; one may be longer than the other.
    Names(Vec<BTreeSet<String>>),
    /// Given names, of which one may be an initial.
    Given(Vec<String>),
    /// Values, of which one in common is enough.
    Values(BTreeSet<String>),
    /// Codes, each with its system; two systems do not compare.
    Codes(BTreeSet<(String, String)>),
}

impl Traits {
    pub fn names<'a>(&mut self, names: impl IntoIterator<Item = &'a String>) {
        let words = |name: &String| -> BTreeSet<String> {
            let name = name.to_lowercase().replace(['.', '\''], "");
            let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let names = names.into_iter().map(words).filter(|name| !name.is_empty());
        self.0.push(Trait::Names(names.collect()));
    }

    /// Two traits: what the family is called, and the person in it.
    pub fn person(&mut self, names: &[HumanName]) {
        let family = |name| match name {
            HumanName { family, text, .. } if family.is_empty() => text,
            HumanName { family, .. } => family,
        };
        self.names(&names.iter().cloned().map(family).collect::<Vec<_>>());
        let first = names.iter().filter_map(|name| name.given.first());
        let given = first.map(|name| name.to_lowercase().replace('.', ""));
        self.0.push(Trait::Given(given.filter(|name| !name.is_empty()).collect()));
    }

    pub fn values(&mut self, values: impl IntoIterator<Item = String>) {
        let values = values.into_iter().filter(|value| !value.is_empty());
        self.0.push(Trait::Values(values.collect()));
    }

    pub fn places<'a>(&mut self, addresses: impl IntoIterator<Item = &'a Address>) {
        let digits = |address: &Address| -> String {
            address.postal_code.chars().filter(char::is_ascii_digit).take(5).collect()
        };
        self.values(addresses.into_iter().map(digits));
    }

    pub fn codes(&mut self, concepts: &[Concept]) {
        let codings = concepts.iter().flat_map(|concept| &concept.codings);
        let codes = codings.map(|coding| (coding.system.clone(), coding.code.to_lowercase()));
        self.0.push(Trait::Codes(codes.collect()));
    }
}

impl Trait {
    /// Whether both agree, or nothing where one of them does not say.
    fn agrees(&self, other: &Trait) -> Option<bool> {
        match (self, other) {
            (Trait::Names(ours), Trait::Names(theirs)) => {
                any(ours, theirs, |one, other| one.is_subset(other) || other.is_subset(one))
            }
            (Trait::Given(ours), Trait::Given(theirs)) => any(ours, theirs, |one, other| {
                let initial = one.chars().count() == 1 || other.chars().count() == 1;
                one == other || initial && one.chars().next() == other.chars().next()
            }),
            (Trait::Values(ours), Trait::Values(theirs)) => {
                (!ours.is_empty() && !theirs.is_empty()).then(|| !ours.is_disjoint(theirs))
            }
            (Trait::Codes(ours), Trait::Codes(theirs)) => {
                let comparable =
                    ours.iter().any(|(one, _)| theirs.iter().any(|(other, _)| one == other));
                comparable.then(|| !ours.is_disjoint(theirs))
            }
            _ => None,
        }
    }
}

fn any<T>(ours: &[T], theirs: &[T], alike: impl Fn(&T, &T) -> bool) -> Option<bool> {
    let said = !ours.is_empty() && !theirs.is_empty();
    said.then(|| ours.iter().any(|one| theirs.iter().any(|other| alike(one, other))))
}

/// How two records compare.
#[derive(Debug)]
struct Likeness {
    agree: usize,
    differ: usize,
    /// Whether each has an NPI, and none in common.
    numbered_apart: bool,
}

impl Likeness {
    fn of<E: Record>(one: &mut E::Model, other: &mut E::Model) -> Likeness {
        let (mut ours, mut theirs) = (Traits::default(), Traits::default());
        E::traits(one, &mut ours);
        E::traits(other, &mut theirs);
        let verdicts: Vec<bool> =
            ours.0.iter().zip(&theirs.0).filter_map(|(one, other)| one.agrees(other)).collect();
        let agree = verdicts.iter().filter(|agrees| **agrees).count();
        let npis = |row| -> BTreeSet<String> {
            let all = E::identifiers(row).iter().filter(|each| each.system == NPI);
            all.map(|each| each.value.clone()).collect()
        };
        let (ours, theirs) = (npis(one), npis(other));
        let numbered_apart = !ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs);
        Likeness { agree, differ: verdicts.len() - agree, numbered_apart }
    }

    /// Whether an identifier that nobody else gives is believed. A name changes, and a place does; not both at once.
    fn bears_sure(&self) -> bool {
        self.differ < 2
    }

    /// Whether the number that a source counts by is believed, or two identifiers at once: another source may count
    /// from one too.
    fn bears_likely(&self) -> bool {
        !self.numbered_apart && (self.differ == 0 || self.differ == 1 && self.agree > 0)
    }

    /// Whether one identifier of any kind is believed.
    fn bears_any(&self) -> bool {
        !self.numbered_apart && self.differ == 0 && self.agree > 0
    }
}

/// Which of `candidates` the newcomer is, each with the identifiers that both have: the one that the surest identifier
/// names, else the one of which two do, else the one that is alike. An error where several are.
///
/// `order` are the identifiers of the newcomer as its source gives them, the one that it counts by first.
pub fn same<E: Record>(
    newcomer: &mut E::Model,
    order: &[Identifier],
    candidates: &mut [(E::Model, Vec<Identifier>)],
) -> Result<Option<usize>, Several> {
    let likeness: Vec<Likeness> =
        candidates.iter_mut().map(|(row, _)| Likeness::of::<E>(newcomer, row)).collect();
    let owner = |one: &Identifier| candidates.iter().position(|(_, shared)| shared.contains(one));
    let counted_by = order.first();
    let npis = order.iter().filter(|each| each.system == NPI);
    for one in npis.chain(counted_by) {
        let sure = one.system == NPI || one.system == URI;
        let Some(at) = owner(one) else { continue };
        if if sure { likeness[at].bears_sure() } else { likeness[at].bears_likely() } {
            return Ok(Some(at));
        }
    }
    let among = |believed: &dyn Fn(usize) -> bool| {
        let mut found = (0..likeness.len()).filter(|at| believed(*at));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Several),
            (found, _) => Ok(found),
        }
    };
    if let Some(at) = among(&|at| candidates[at].1.len() > 1 && likeness[at].bears_likely())? {
        return Ok(Some(at));
    }
    among(&|at| likeness[at].bears_any())
}

/// A newcomer that could be one of several records is none of them for sure.
#[derive(Debug)]
pub struct Several;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(fill: impl FnOnce(&mut Traits)) -> Trait {
        let mut traits = Traits::default();
        fill(&mut traits);
        traits.0.remove(0)
    }

    #[test]
    fn names_agree_where_one_says_more() {
        let name = |name: &str| one(|traits| traits.names([&name.to_owned()]));
        let agree = |ours: &str, theirs: &str| name(ours).agrees(&name(theirs));
        assert_eq!(agree("Hartford Hospital", "HARTFORD HOSPITAL, INC."), Some(true));
        assert_eq!(agree("St. Mary's", "ST MARYS"), Some(true));
        assert_eq!(agree("Hartford Hospital", "Hartford Clinic"), Some(false));
        assert_eq!(agree("Hartford Hospital", ""), None);
    }

    #[test]
    fn an_initial_stands_for_a_name() {
        let given = |name: &str| {
            let name = HumanName { given: vec![name.to_owned()], ..HumanName::default() };
            let mut traits = Traits::default();
            traits.person(&[name]);
            traits.0.remove(1)
        };
        assert_eq!(given("K.").agrees(&given("Kate")), Some(true));
        assert_eq!(given("John").agrees(&given("Jane")), Some(false));
    }

    #[test]
    fn codes_of_two_systems_do_not_compare() {
        let coded = |system: &str, code: &str| {
            let coding = caseward_core::data::Coding {
                system: system.to_owned(),
                code: code.to_owned(),
                ..Default::default()
            };
            one(|traits| traits.codes(&[Concept { codings: vec![coding], ..Concept::default() }]))
        };
        assert_eq!(coded("a", "1").agrees(&coded("b", "2")), None);
        assert_eq!(coded("a", "1").agrees(&coded("a", "2")), Some(false));
    }
}
