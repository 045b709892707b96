//! People close to a patient, as the patient service knows them.
use caseward_api::patient::v1::{
    GetRelatedPersonRequest, patient_service_client::PatientServiceClient,
};
use caseward_core::{Ctx, Result, Time, check::Checked, consent};
use caseward_server::Transport;
use tonic::Code;

/// What the patient service says to the caller of the related person that they name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kin {
    /// None is named.
    #[default]
    Unnamed,
    /// May speak for the patient.
    Speaks,
    /// Is close to the patient, and may not speak for them.
    Silent,
    /// There is none, or not for this caller.
    Absent,
}

impl Kin {
    /// Whether somebody is there, where one is named.
    pub fn known(self) -> Checked<()> {
        match self {
            Kin::Absent => Err("is not a related person that is known".to_owned()),
            Kin::Unnamed | Kin::Speaks | Kin::Silent => Ok(()),
        }
    }
}

/// What there is to know at `at` of the related person called `name`. As with consents, the word is judged within the
/// change, so that a repeated request gets its first reply whatever became of the person since.
pub async fn ask(patients: &Transport, ctx: &Ctx, name: &str, at: Time) -> Result<Kin> {
    if name.is_empty() {
        return Ok(Kin::Unnamed);
    }
    let mut patients = PatientServiceClient::new(patients.for_caller(ctx));
    match patients.get_related_person(GetRelatedPersonRequest { name: name.to_owned() }).await {
        Ok(found) => {
            Ok(if consent::speaks(&found.into_inner(), at) { Kin::Speaks } else { Kin::Silent })
        }
        Err(status) => match status.code() {
            Code::NotFound | Code::InvalidArgument => Ok(Kin::Absent),
            _ => Err(status.into()),
        },
    }
}
