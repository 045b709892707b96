//! When a record was last held against the world, and how long that can be relied on.
use caseward_api::directory::v1::{self as pb, verification::State};
use caseward_core::{Error, Id, Kind, Result, Time, Violations, check};
use caseward_events::Handler;
use caseward_store::{Transition, Tx, timer};
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::{
    healthcare_service, insurance_plan, location, organization, practitioner, practitioner_role,
    record::{self, Record},
};

/// How long a record can be relied on after somebody looked (No Surprises Act, 45 CFR 149: every 90 days).
const INTERVAL: Duration = Duration::days(90);

/// The last time that somebody looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The number of the wire's `State`.
    pub state: i32,
    /// The number of the wire's `Method`.
    pub method: i32,
    pub verifier: String,
    pub last: Option<Time>,
    pub next: Option<Time>,
}

impl Default for Verification {
    fn default() -> Self {
        let state = State::Unverified.into();
        Verification { state, method: 0, verifier: String::new(), last: None, next: None }
    }
}

impl Verification {
    /// Notes that it is too long since somebody looked, if it is.
    pub fn lapse(&mut self, now: Time) {
        if self.state == State::Verified as i32 && self.next.is_some_and(|next| next <= now) {
            self.state = State::Lapsed.into();
        }
    }
}

/// Tells when it has been too long since somebody looked at a record.
pub fn lapses() -> [Handler; 6] {
    [
        lapse::<organization::Entity>(),
        lapse::<location::Entity>(),
        lapse::<practitioner::Entity>(),
        lapse::<practitioner_role::Entity>(),
        lapse::<healthcare_service::Entity>(),
        lapse::<insurance_plan::Entity>(),
    ]
}

fn lapse<E: Record>() -> Handler {
    Handler::new(E::Kind::COLLECTION, |timer, tx: Tx| async move {
        let id = Id::<E::Kind>::from(timer.subject);
        let mut row = record::find::<E>(&tx, id).await?;
        let before = E::verification(&mut row).clone();
        E::verification(&mut row).lapse(tx.ctx.now());
        if *E::verification(&mut row) == before {
            return Ok(());
        }
        let mut row = caseward_store::update::<E>(&tx, row).await?;
        let (record, revision) = (id.to_string(), *E::version(&mut row).0);
        tx.log(Transition {
            entity: id.uuid(),
            name: record.clone(),
            from: state_name(before.state),
            to: state_name(State::Lapsed.into()),
            ..Default::default()
        });
        tx.emit(id, revision, &pb::VerificationLapsed { record, revision });
        Ok(())
    })
}

pub async fn verify(tx: Tx, req: pb::VerifyRecordRequest) -> Result<pb::Verification> {
    let collection = req.name.split('/').next().unwrap_or_default();
    match collection {
        organization::Organization::COLLECTION => one::<organization::Entity>(tx, req).await,
        location::Location::COLLECTION => one::<location::Entity>(tx, req).await,
        practitioner::Practitioner::COLLECTION => one::<practitioner::Entity>(tx, req).await,
        practitioner_role::PractitionerRole::COLLECTION => {
            one::<practitioner_role::Entity>(tx, req).await
        }
        healthcare_service::HealthcareService::COLLECTION => {
            one::<healthcare_service::Entity>(tx, req).await
        }
        insurance_plan::InsurancePlan::COLLECTION => one::<insurance_plan::Entity>(tx, req).await,
        _ => Err(Error::invalid("name", "wants the name of a record of the directory")),
    }
}

async fn one<E: Record>(tx: Tx, req: pb::VerifyRecordRequest) -> Result<pb::Verification> {
    let now = tx.ctx.now();
    let mut bad = Violations::default();
    let method = bad.take("method", check::known::<pb::verification::Method>(req.method));
    let note = bad.take("note", check::text(&req.note, 0..=1000));
    let at = bad.take("verify_time", check::moment(&req.verify_time)).flatten().unwrap_or(now);
    if at > now {
        bad.add("verify_time", "is in the future");
    }
    let id = bad.take("name", caseward_core::Name::parse("name", &req.name).map_err(why));
    bad.finish()?;
    let (Some(id), Some(method), Some(note)) = (id, method, note) else {
        return Err(Error::internal("a violation was lost"));
    };

    let id: Id<E::Kind> = id;
    let mut row = record::find::<E>(&tx, id).await?;
    caseward_store::expect(id, *E::version(&mut row).0, &req.etag)?;
    let before = {
        let mut before = E::verification(&mut row).clone();
        before.lapse(now);
        before.state
    };
    let state = if req.disputed { State::Disputed } else { State::Verified };
    *E::verification(&mut row) = Verification {
        state: state.into(),
        method: method.into(),
        verifier: tx.ctx.subject().to_owned(),
        last: Some(at),
        next: (!req.disputed).then(|| at + INTERVAL),
    };
    let mut row = caseward_store::update::<E>(&tx, row).await?;
    match E::verification(&mut row).next {
        Some(next) => timer::set(&tx, E::Kind::COLLECTION, id.uuid(), next).await?,
        None => timer::clear(&tx, E::Kind::COLLECTION, id.uuid()).await?,
    }
    tx.log(Transition {
        entity: id.uuid(),
        name: id.to_string(),
        from: state_name(before),
        to: state_name(state.into()),
        effective: Some(at),
        reason_code: method.as_str_name().to_owned(),
        reason_text: note,
    });
    let (record, revision) = (id.to_string(), *E::version(&mut row).0);
    tx.emit(id, revision, &pb::RecordVerified { record, revision, state: state.into() });
    Ok(E::verification(&mut record::as_of::<E>(now, row)).clone().into())
}

fn why(error: Error) -> String {
    match error {
        Error::Invalid(mut all) => all.pop().map(|violation| violation.why).unwrap_or_default(),
        other => other.to_string(),
    }
}

fn state_name(state: i32) -> &'static str {
    State::try_from(state).unwrap_or_default().as_str_name().trim_start_matches("STATE_")
}

// === wire ===

impl From<Verification> for pb::Verification {
    fn from(row: Verification) -> Self {
        let Verification { state, method, verifier, last, next } = row;
        pb::Verification {
            state,
            method,
            verifier,
            last_verified_time: last.map(Into::into),
            next_due_time: next.map(Into::into),
        }
    }
}
