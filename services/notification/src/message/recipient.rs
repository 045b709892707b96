//! Who is told, as the row and the wire know them.
use std::fmt;

use caseward_api::notification::v1::{self as pb, recipient::Who};
use caseward_core::{
    Id, Kind, Name, SUPERVISOR,
    check::{self, Checked},
};

use super::Patient;
use crate::inbox::SUPERVISORS;

/// Someone close to a patient.
#[derive(Debug)]
struct RelatedPerson;
impl Kind for RelatedPerson {
    const COLLECTION: &'static str = "relatedPersons";
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// By resource name.
    Patient(String),
    /// By resource name.
    RelatedPerson(String),
    /// By the name with which they sign in.
    Subject(String),
    /// Everybody who may supervise cases, in the inbox that they share.
    Supervisors,
}

const SUBJECT: &str = "subject:";

impl Recipient {
    /// From the row, or from a name of another service.
    pub(crate) fn read(text: &str) -> Option<Recipient> {
        if let Some(subject) = text.strip_prefix(SUBJECT) {
            return Some(Recipient::Subject(subject.to_owned()));
        }
        if text == SUPERVISORS {
            return Some(Recipient::Supervisors);
        }
        if Id::<Patient>::parse("", text).is_ok() {
            return Some(Recipient::Patient(text.to_owned()));
        }
        let person = <(Id<Patient>, Id<RelatedPerson>)>::parse("", text).is_ok();
        person.then(|| Recipient::RelatedPerson(text.to_owned()))
    }

    /// The patient they are, or are close to.
    pub(crate) fn patient(&self) -> Option<Id<Patient>> {
        match self {
            Recipient::Patient(name) => Name::parse("", name).ok(),
            Recipient::RelatedPerson(name) => {
                let (patient, _) = <(Id<Patient>, Id<RelatedPerson>)>::parse("", name).ok()?;
                Some(patient)
            }
            Recipient::Subject(_) | Recipient::Supervisors => None,
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::Patient(name) | Recipient::RelatedPerson(name) => f.write_str(name),
            Recipient::Subject(subject) => write!(f, "{SUBJECT}{subject}"),
            Recipient::Supervisors => f.write_str(SUPERVISORS),
        }
    }
}

impl From<Recipient> for pb::Recipient {
    fn from(recipient: Recipient) -> Self {
        let who = match recipient {
            Recipient::Patient(name) => Who::Patient(name),
            Recipient::RelatedPerson(name) => Who::RelatedPerson(name),
            Recipient::Subject(subject) => Who::Subject(subject),
            Recipient::Supervisors => Who::Role(SUPERVISOR.to_owned()),
        };
        pb::Recipient { who: Some(who) }
    }
}

pub(super) fn checked(from: &Option<pb::Recipient>) -> Checked<Recipient> {
    let who = from.as_ref().and_then(|from| from.who.as_ref()).ok_or("is required")?;
    match who {
        Who::Patient(name) => match Recipient::read(name) {
            Some(found @ Recipient::Patient(_)) => Ok(found),
            _ => Err("wants `patients/{uuid}`".to_owned()),
        },
        Who::RelatedPerson(name) => match Recipient::read(name) {
            Some(found @ Recipient::RelatedPerson(_)) => Ok(found),
            _ => Err("wants `patients/{uuid}/relatedPersons/{uuid}`".to_owned()),
        },
        Who::Subject(subject) => check::text(subject, 1..=200).map(Recipient::Subject),
        Who::Role(role) if role == SUPERVISOR => Ok(Recipient::Supervisors),
        Who::Role(_) => Err(format!("wants `{SUPERVISOR}`, the only role that has an inbox")),
    }
}
