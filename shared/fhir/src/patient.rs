//! Patient and RelatedPerson, read into the patient service's contracts.
use caseward_api::{
    patient::v1::{
        Communication, Patient, PatientRelatedPerson, RelatedPerson,
        patient::{Gender, State},
    },
    types::v1::Identifier,
};
use prost_types::Timestamp;

use crate::{datatype, link::Links, node::Node};

/// Reads a patient.
pub(crate) fn read(at: &Node<'_>, _: &Links<'_>, identifiers: Vec<Identifier>) -> Option<Patient> {
    let names = datatype::names_or_unnamed(at, 20);
    let (deceased, deceased_time) = deceased(at);
    let state = match at.flag("active") {
        Some(false) => State::Inactive,
        Some(true) => State::Active,
        None => State::Unspecified,
    };
    Some(Patient {
        identifiers,
        names,
        gender: gender(at) as i32,
        birth_date: at.date("birthDate"),
        deceased_time,
        deceased,
        telecoms: datatype::telecoms(at, 30),
        addresses: datatype::addresses(at, 20),
        communications: communications(at),
        state: state as i32,
        ..Patient::default()
    })
}

/// Whether and when the person died. A day is kept as its noon.
fn deceased(at: &Node<'_>) -> (bool, Option<Timestamp>) {
    match at.moment("deceasedDateTime") {
        Some(moment) => (true, Some(moment.noon())),
        // A time that cannot be read is a failure already, and still says that the person died.
        None => {
            (at.get("deceasedDateTime").is_some() || at.flag("deceasedBoolean") == Some(true), None)
        }
    }
}

/// The administrative gender.
pub(crate) fn gender(at: &Node<'_>) -> Gender {
    let gender = at.code("gender", "administrative-gender", |code| {
        Some(match code {
            "male" => Gender::Male,
            "female" => Gender::Female,
            "other" => Gender::Other,
            "unknown" => Gender::Unknown,
            _ => return None,
        })
    });
    gender.unwrap_or_default()
}

/// Languages, the preferred first.
fn communications(at: &Node<'_>) -> Vec<Communication> {
    let mut all = at.list_of("communication", 10);
    all.sort_by_key(|at| at.flag("preferred") != Some(true));
    let interpreter = at
        .extension("http://hl7.org/fhir/us/core/StructureDefinition/us-core-interpreter-needed")
        .and_then(|at| at.get("valueCoding").map(|at| at.text("code", 100)))
        .is_some_and(|code| code == "373066001");
    let mut spoken: Vec<Communication> = vec![];
    for at in all {
        let Some(language) = language(&at, "language") else { continue };
        if spoken.iter().all(|known| known.language != language) {
            // The need is the person's, for the language they prefer.
            spoken.push(Communication { language, interpreter: interpreter && spoken.is_empty() });
        }
    }
    spoken
}

/// The BCP 47 code of a concept that is a language.
pub(crate) fn language(of: &Node<'_>, member: &str) -> Option<String> {
    let at = of.get(member)?;
    let code = at.list("coding").iter().map(|at| at.text("code", 35)).find(|code| !code.is_empty());
    if code.is_none() {
        at.warn("is a language without a code; left out");
    }
    code
}

/// Reads a related person.
pub(crate) fn related_person(
    at: &Node<'_>,
    links: &Links<'_>,
    identifiers: Vec<Identifier>,
) -> Option<PatientRelatedPerson> {
    let names = datatype::names(at, 20);
    let relationships = datatype::concepts(at, "relationship", 10);
    if names.is_empty() && relationships.is_empty() {
        at.fail("wants a name or a relationship");
    }
    let related_person = RelatedPerson {
        identifiers,
        names,
        relationships,
        gender: gender(at) as i32,
        birth_date: at.date("birthDate"),
        telecoms: datatype::telecoms(at, 30),
        addresses: datatype::addresses(at, 20),
        communications: communications(at),
        period: datatype::period(at, "period"),
        ..RelatedPerson::default()
    };
    Some(PatientRelatedPerson {
        patient: links.patient(at, "patient")?,
        related_person: Some(related_person),
    })
}
