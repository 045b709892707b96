//! References from one resource of a case to another of the same case.
use caseward_core::{Id, Kind, Name, Violations};

use crate::case::CaseId;

/// The id in a name that must lie within `case`; nothing where the name is empty.
pub fn within<K: Kind>(
    case: CaseId,
    field: &str,
    name: &str,
    bad: &mut Violations,
) -> Option<Id<K>> {
    if name.is_empty() {
        return None;
    }
    match <(CaseId, Id<K>)>::parse(field, name) {
        Ok((parent, id)) if parent == case => Some(id),
        _ => {
            bad.add(field, format!("wants `{case}/{}/{{uuid}}`", K::COLLECTION));
            None
        }
    }
}

/// The ids in names that must all lie within `case`, at most `most`, none twice.
pub fn all_within<K: Kind>(
    case: CaseId,
    field: &str,
    names: &[String],
    most: usize,
    bad: &mut Violations,
) -> Vec<Id<K>> {
    if names.len() > most {
        bad.add(field, format!("wants 0 to {most} members"));
        return vec![];
    }
    let mut ids: Vec<Id<K>> = vec![];
    for (n, name) in names.iter().enumerate() {
        let field = format!("{field}[{n}]");
        match within(case, &field, name, bad) {
            Some(id) if ids.contains(&id) => bad.add(field, "is there twice"),
            Some(id) => ids.push(id),
            None if name.is_empty() => bad.add(field, "is required"),
            None => {}
        }
    }
    ids
}
