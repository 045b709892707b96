//! Where nobody agrees any more that a person takes part, whoever is accountable for the case settles it with them.
use caseward_api::{
    careplan::v1::task::Priority,
    patient::v1::{
        ConsentChanged, ConsentExpired, ConsentRevoked, ListConsentsRequest, consent,
        patient_service_client::PatientServiceClient,
    },
};
use caseward_core::{Ctx, Name as _, Result, consent::lets_take_part};
use caseward_events::{Consumer, Event};
use caseward_server::OwnPeer;
use caseward_store::Tx;
use prost::Name;
use time::Duration;
use tonic::Code;

use crate::{
    NAME,
    case::{Model, PatientId},
    consumers::open,
    task::{self, Raised},
    timeline,
};

/// How soon it is to be settled.
const SETTLE: Duration = Duration::days(1);

/// A consent to take part that does not hold any more.
#[derive(Clone)]
struct Ended {
    patient: PatientId,
    consent: String,
    /// The person took it back, and with it whatever they had said; it did not just come to its end.
    revoked: bool,
}
caseward_core::confidential!(Ended);

/// A consent to take part that ends becomes a task, unless another one is in force.
pub fn ended(patients: OwnPeer) -> Consumer {
    let subjects =
        [ConsentRevoked::full_name(), ConsentExpired::full_name(), ConsentChanged::full_name()];
    Consumer::asking(
        "care-plan.participation",
        NAME,
        subjects,
        move |ctx, event| {
            let patients = patients.clone();
            async move {
                match read(&event)? {
                    Some(ended) if !agreed(&patients, &ctx, &ended).await? => Ok(Some(ended)),
                    _ => Ok(None),
                }
            }
        },
        |_, ended, tx| async move {
            match ended {
                Some(ended) => settle(&tx, ended).await,
                None => Ok(()),
            }
        },
    )
}

fn read(event: &Event) -> Result<Option<Ended>> {
    let (patient, consent, r#type, revoked) = if let Some(event) = event.decode()? {
        let ConsentRevoked { patient, consent, r#type, .. } = event;
        (patient, consent, r#type, true)
    } else if let Some(event) = event.decode()? {
        let ConsentExpired { patient, consent, r#type, .. } = event;
        (patient, consent, r#type, false)
    } else if let Some(event) = event.decode::<ConsentChanged>()? {
        let over =
            matches!(event.state(), consent::State::Inactive | consent::State::EnteredInError);
        if !over {
            return Ok(None);
        }
        (event.patient, event.consent, event.r#type, false)
    } else {
        return Ok(None);
    };
    if r#type != i32::from(consent::Type::Participation) {
        return Ok(None);
    }
    Ok(Some(Ended { patient: PatientId::parse("patient", &patient)?, consent, revoked }))
}

/// Whether a consent on record lets the person take part now.
async fn agreed(patients: &OwnPeer, ctx: &Ctx, ended: &Ended) -> Result<bool> {
    let ask = ListConsentsRequest {
        parent: ended.patient.to_string(),
        page_size: 1000,
        r#type: consent::Type::Participation.into(),
        states: vec![consent::State::Active.into()],
        ..Default::default()
    };
    let mut patients = PatientServiceClient::new(patients.in_task(ctx)?);
    match patients.list_consents(ask).await {
        Ok(reply) => Ok(reply.get_ref().consents.iter().any(|one| lets_take_part(one, ctx.now()))),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

async fn settle(tx: &Tx, ended: Ended) -> Result<()> {
    for case in open(tx, ended.patient).await? {
        if case.enrolled_at.is_none() || !rests_on(&case, &ended) {
            continue;
        }
        // One task is enough, however many consents end before it is done.
        let of_consent = format!("{}/consents/", ended.patient);
        let asked = task::open_of(tx, case.id).await?;
        if asked.iter().any(|one| one.cause.starts_with(&of_consent)) {
            continue;
        }
        timeline::add(tx, &case, "CONSENT_ENDED", case.id.to_string()).await?;
        let raised = Raised {
            title:
                "No consent to take part is in force: settle it with the person, or close the case"
                    .to_owned(),
            description: String::new(),
            focus: String::new(),
            cause: ended.consent.clone(),
            owner: case.accountable.clone().unwrap_or_default(),
            priority: Priority::Urgent,
            due_at: Some(tx.ctx.now() + SETTLE),
        };
        task::raise(tx, &case, raised).await?;
    }
    Ok(())
}

/// Whether the person was enrolled by a consent, the last of which ended, or by a word that they took back with it.
fn rests_on(case: &Model, ended: &Ended) -> bool {
    !case.consent.is_empty() || ended.revoked
}
