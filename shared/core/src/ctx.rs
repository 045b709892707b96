//! Who is asking, why, and until when: the first argument of everything.
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{Clock, Error, Record, Result, Time};

/// The role that looks after what nobody else does. Tasks and messages are addressed to it by this name, whatever else a
/// deployment's settings let it do.
pub const SUPERVISOR: &str = "supervisor";

/// One call, in the name of one caller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What time it is.
    pub clock: Clock,
    /// What the call saw, for the audit.
    pub record: Arc<Record>,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
}

/// A signed-in caller.
#[derive(Clone)]
pub struct Caller {
    /// The tenant; part of every scope.
    pub organization: Uuid,
    /// The name of the caller within the organization.
    pub subject: String,
    /// What the caller is, such as `case_manager`.
    pub roles: Vec<String>,
    /// What the roles allow.
    pub permissions: Vec<String>,
    /// Which rows the roles reach.
    pub reach: Reach,
    /// Why patient data is used.
    pub purpose: Purpose,
    /// The token, to be carried to peers on the caller's behalf. Empty for tasks of ours.
    pub token: String,
}

/// Which patients a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every patient of the organization.
    Organization,
    /// The patients to whom the caller is related now: on their care team, their caregiver, themselves.
    Related,
}

/// Why patient data is used (HL7 v3 `PurposeOfUse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// `TREAT`: treatment, care coordination included.
    #[default]
    Treatment,
    /// `HOPERAT`: running the organization.
    Operations,
    /// `PATRQT`: the patient asked.
    PatientRequest,
    /// `ETREAT`: an emergency.
    Emergency,
}

impl Purpose {
    /// The code of HL7 v3 `PurposeOfUse`.
    pub fn code(self) -> &'static str {
        match self {
            Purpose::Treatment => "TREAT",
            Purpose::Operations => "HOPERAT",
            Purpose::PatientRequest => "PATRQT",
            Purpose::Emergency => "ETREAT",
        }
    }
}

impl Ctx {
    /// How long a task of ours may take where no caller set a limit.
    pub const TASK: Duration = Duration::from_secs(25);

    /// A call by a task of ours, such as a consumer or a timer, in the name of `service`.
    pub fn task(service: &str, task: &'static str, organization: Uuid, clock: Clock) -> Self {
        Ctx {
            caller: Arc::new(Caller {
                organization,
                subject: format!("service:{service}"),
                roles: vec!["service".to_owned()],
                permissions: vec![],
                reach: Reach::Organization,
                purpose: Purpose::Operations,
                token: String::new(),
            }),
            clock,
            record: Arc::new(Record::open(task)),
            deadline: Instant::now() + Self::TASK,
        }
    }

    /// Splits a request that passed the guard into who asks and what they ask.
    pub fn open<T>(req: tonic::Request<T>) -> Result<(Ctx, T)> {
        let ctx = req.extensions().get::<Ctx>().cloned().ok_or(Error::Denied)?;
        ctx.record.reach();
        Ok((ctx, req.into_inner()))
    }

    /// The tenant.
    pub fn organization(&self) -> Uuid {
        self.caller.organization
    }

    /// The name of the caller.
    pub fn subject(&self) -> &str {
        &self.caller.subject
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Whether the caller has `role`.
    pub fn is(&self, role: &str) -> bool {
        self.caller.roles.iter().any(|held| held == role)
    }

    /// Whether the caller holds `permission`, or every one of its noun.
    pub fn may(&self, permission: &str) -> bool {
        covers(&self.caller.permissions, permission)
    }

    /// How long somebody still waits.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The token stays out of every log.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("organization", &self.organization)
            .field("subject", &self.subject)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// Whether one of `held` is `needed`, or covers its noun as `noun.*` does.
fn covers(held: &[String], needed: &str) -> bool {
    let noun = needed.split_once('.').map_or(needed, |(noun, _)| noun);
    held.iter().any(|held| held == needed || held.strip_suffix(".*") == Some(noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_covers_its_noun_and_no_other() {
        let held = ["cases.*".to_owned(), "patients.read".to_owned()];
        assert!(covers(&held, "cases.write") && covers(&held, "patients.read"));
        assert!(!covers(&held, "patients.write") && !covers(&held, "cases2.read"));
    }
}
