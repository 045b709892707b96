//! Assessments: not here yet; the case asks for them.
use caseward_core::{Id, Kind, Machine, Result};
use caseward_store::Scope;

use crate::case::CaseId;

#[derive(Debug)]
pub struct Assessment;
impl Kind for Assessment {
    const COLLECTION: &'static str = "assessments";
}
pub type AssessmentId = Id<Assessment>;

#[derive(Debug)]
pub struct Model {
    pub id: AssessmentId,
    pub state: State,
}
impl Model {
    pub fn name(&self) -> String {
        self.id.to_string()
    }
}
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    InProgress,
}
impl Machine for State {
    type Step = ();
    const STEPS: &'static [()] = &[];
    fn after(self, (): ()) -> Option<Self> {
        None
    }
    fn label(self) -> &'static str {
        "IN_PROGRESS"
    }
}

pub async fn has_completed(_: &Scope, _: CaseId) -> Result<bool> {
    Ok(false)
}

pub async fn unfinished(_: &Scope, _: CaseId) -> Result<Vec<Model>> {
    Ok(vec![])
}
