//! Whether what was planned was delivered: what each side says, and what becomes of it where they differ.
use caseward_api::careplan::v1::{
    self as pb,
    delivery_confirmation::{Finding, Side},
    task::Priority,
};
use caseward_core::{Error, Machine, Result, Time, Violations, check, data::Json};
use caseward_store::Tx;
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::{
    activity::{self, ActivityName, Entity, Model, State},
    care_plan, case,
    task::{self, Raised},
    timeline,
};

/// What one side last said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The number of the wire's `Side`.
    pub side: i32,
    /// The number of the wire's `Finding`.
    pub finding: i32,
    pub text: String,
    pub recorder: String,
    pub at: Time,
}
caseward_core::confidential!(Confirmation);

/// How soon somebody asks both sides.
const CLARIFY: Duration = Duration::days(2);

/// Records what a side says.
pub async fn confirm(
    tx: Tx,
    name: ActivityName,
    etag: String,
    from: pb::DeliveryConfirmation,
) -> Result<Model> {
    let mut row = activity::get(&tx, name).await?;
    caseward_store::expect(row.name(), row.revision, &etag)?;
    let case = case::open(&tx, name.0).await?;
    let mut bad = Violations::default();
    let side = bad.take("confirmation.side", check::known::<Side>(from.side));
    let finding = bad.take("confirmation.finding", check::known::<Finding>(from.finding));
    let least = usize::from(finding == Some(Finding::NotDelivered));
    let text = bad.take("confirmation.text", check::text(&from.text, least..=2000));
    bad.finish()?;
    let (Some(side), Some(finding), Some(text)) = (side, finding, text) else {
        return Err(Error::internal("a check that failed said nothing"));
    };
    // Whoever may not write in the case is the patient or somebody close to them.
    if side != Side::Patient && !tx.ctx.may("cases.write") {
        return Err(Error::Denied);
    }
    if !is_due(row.state) {
        let why = format!("{} is {}; nothing was to be delivered", row.name(), row.state.label());
        return Err(Error::precondition("NOTHING_TO_DELIVER", why));
    }
    care_plan::begun(&tx, (name.0, name.1)).await?;
    let before = row.clone();
    let recorder = tx.ctx.subject().to_owned();
    let at = tx.ctx.now();
    let mut said = said(&row);
    said.retain(|one| one.side != i32::from(side));
    said.push(Confirmation { side: side.into(), finding: finding.into(), text, recorder, at });
    said.sort_by_key(|one| one.side);
    row.confirmations = Some(Json(said));
    let row = caseward_store::update::<Entity>(&tx, row).await?;
    timeline::add(&tx, &case, "DELIVERY_CONFIRMED", row.name()).await?;
    let (activity, named, patient) = activity::names(&row);
    let (revision, owner) = (row.revision, row.owner.clone());
    let event = pb::DeliveryConfirmed { activity, case: named, patient, revision, owner };
    tx.emit(row.name(), revision, &event);
    clarify(&tx, &case, &before, &row).await?;
    Ok(row)
}

/// Whether the sides differ, or one denies what counts as done.
pub fn is_disputed(row: &Model) -> bool {
    let said = said(row);
    let says = |finding: Finding| said.iter().any(|one| one.finding == i32::from(finding));
    says(Finding::NotDelivered) && (says(Finding::Delivered) || row.state == State::Completed)
}

/// Where a change began a dispute, whoever is accountable asks both sides.
pub async fn clarify(tx: &Tx, case: &case::Model, before: &Model, row: &Model) -> Result<()> {
    if is_disputed(before) || !is_disputed(row) {
        return Ok(());
    }
    let raised = Raised {
        title: "Was it delivered? Those concerned do not agree".to_owned(),
        description: String::new(),
        focus: row.name(),
        cause: row.name(),
        owner: case.accountable.clone().unwrap_or_default(),
        priority: Priority::Urgent,
        due_at: Some(tx.ctx.now() + CLARIFY),
    };
    let task = task::raise(tx, case, raised).await?.name();
    timeline::add(tx, case, "DELIVERY_MISMATCH", row.name()).await?;
    let (activity, case, patient) = activity::names(row);
    let (revision, owner) = (row.revision, row.owner.clone());
    let event = pb::DeliveryMismatch { activity, case, patient, revision, owner, task };
    tx.emit(row.name(), revision, &event);
    Ok(())
}

/// What is said of the activity as it is.
pub fn said(row: &Model) -> Vec<Confirmation> {
    row.confirmations.clone().map(|said| said.0).unwrap_or_default()
}

/// Whether there is something to be said: it has a time, and nobody gave it up.
fn is_due(state: State) -> bool {
    match state {
        State::Scheduled | State::InProgress | State::OnHold | State::Completed => true,
        State::NotStarted
        | State::Cancelled
        | State::Stopped
        | State::Unknown
        | State::EnteredInError => false,
    }
}

// === wire ===

impl From<Confirmation> for pb::DeliveryConfirmation {
    fn from(Confirmation { side, finding, text, recorder, at }: Confirmation) -> Self {
        pb::DeliveryConfirmation { side, finding, text, recorder, record_time: Some(at.into()) }
    }
}
