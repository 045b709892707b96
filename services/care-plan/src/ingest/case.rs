//! Cases as other systems have them.
use caseward_api::{careplan::v1 as pb, types::v1::ingest_outcome::Action};
use caseward_core::{Error, Machine, Result, Violations, check};
use caseward_store::{Tx, identifier};

use super::part::{self, Identity, Loaded};
use crate::{
    accountability::{self, Cause},
    care_plan,
    case::{self, Entity, IDENTIFIED, Model, State, When},
    case_step, timeline,
};

/// Makes or updates a case. It is ACTIVE where its state is not given and one of its plans is `running`.
pub(super) async fn load(tx: &Tx, from: &pb::Case, running: bool) -> Result<Loaded<Model>> {
    part::settle::<Entity>(store(tx, from, running).await)
}

async fn store(tx: &Tx, from: &pb::Case, running: bool) -> Result<(Action, Model)> {
    let identity = Identity::of(tx, "case", IDENTIFIED, &from.identifiers).await?;
    let unspecified = if running { State::Active } else { State::Identified };
    let state = part::state("case.state", from.state, unspecified, State::known)?;
    check::wanted("case.accountable", &from.accountable, check::SUBJECT)?;
    let draft = Model::draft(&tx.ctx, from)?;
    let Some(known) = identity.known else {
        let mut row = draft;
        place(tx, &mut row, from, state)?;
        return create(tx, row, from).await.map(|row| (Action::Created, row));
    };
    let before = case::hold(tx, known.into()).await?;
    if before.patient != draft.patient {
        return Err(Error::invalid("case.patient", "is another than that of the case"));
    }
    let mut row = before.clone();
    // What the source does not know stays as it is.
    let fields: Vec<&str> = case::WRITABLE
        .into_iter()
        .filter(|field| *field != "identified_time" || from.identified_time.is_some())
        .collect();
    row.take(&fields, from, tx.ctx.now())?;
    if state == before.state || !part::moved_here(tx, before.id.uuid()).await? {
        place(tx, &mut row, from, state)?;
    }
    if row == before {
        return Ok((Action::Unchanged, before));
    }
    let row = update(tx, row, &before, from).await?;
    identifier::claim(tx, IDENTIFIED, row.id.uuid(), &identity.unclaimed).await?;
    Ok((Action::Updated, row))
}

/// Puts the case where the source has it, with what that state wants to be known.
fn place(tx: &Tx, row: &mut Model, from: &pb::Case, state: State) -> Result<()> {
    let now = tx.ctx.now();
    let mut bad = Violations::default();
    let moved = row.state != state;
    row.state = state;
    if moved || !from.state_reason.is_empty() {
        bad.put(
            &mut row.state_reason,
            "case.state_reason",
            check::text(&from.state_reason, 0..=1000),
        );
    }
    let enrolled = bad.take("case.enrolled_time", check::moment(&from.enrolled_time)).flatten();
    let closed = bad.take("case.closed_time", check::moment(&from.closed_time)).flatten();
    bad.finish()?;
    row.enrolled_at = enrolled.or(row.enrolled_at);
    if state.is_accountable() {
        row.enrolled_at.get_or_insert(now);
    }
    row.closed_at = (state == State::Closed).then(|| closed.or(row.closed_at).unwrap_or(now));
    if state == State::Paused {
        row.paused_at.get_or_insert(now);
    }
    row.waitlisted_from =
        (state == State::Waitlisted).then(|| row.waitlisted_from.unwrap_or(State::Outreach));
    Ok(())
}

async fn create(tx: &Tx, mut row: Model, from: &pb::Case) -> Result<Model> {
    let accountable = row.state.is_accountable().then(|| person(tx, from));
    row.accountable.clone_from(&accountable);
    let mut row = case::insert(tx, row).await?;
    if let Some(person) = accountable {
        begin(tx, &mut row, &person).await?;
    }
    Ok(row)
}

async fn update(tx: &Tx, mut row: Model, before: &Model, from: &pb::Case) -> Result<Model> {
    if row.state != before.state {
        follow(tx, &mut row).await?;
    }
    match (row.state.is_accountable(), row.accountable.is_some()) {
        (true, false) => begin(tx, &mut row, &person(tx, from)).await?,
        (false, true) => accountability::end(tx, &mut row, When::now(&tx.ctx)).await?,
        _ => {}
    }
    let row = caseward_store::update::<Entity>(tx, row).await?;
    if row.state == before.state {
        timeline::add(tx, &row, "CASE_UPDATED", row.id.to_string()).await?;
    } else {
        timeline::moved(tx, &row, "CASE_UPDATED", row.change(before.state.label())).await?;
    }
    let (case, patient, revision) = (row.id.to_string(), row.patient.to_string(), row.revision);
    let changed_fields =
        part::changed(&case::WRITABLE, before, |one, fields| one.take(fields, from, tx.ctx.now()));
    tx.emit(row.id, revision, &pb::CaseUpdated { case, patient, revision, changed_fields });
    Ok(row)
}

/// Does to what is in a case that the source moved what its step does. The plans that a source has it ends itself.
async fn follow(tx: &Tx, row: &mut Model) -> Result<()> {
    if let (State::Paused, Some(at)) = (row.state, row.paused_at) {
        return case_step::rest(tx, row.id, at).await;
    }
    if row.state.is_end() {
        row.paused_at = None;
        let ours = |plan: &care_plan::Model| plan.identifiers.0.is_empty();
        return case_step::wind_up(tx, row, &row.state_reason, ours).await;
    }
    if row.paused_at.is_some() {
        case_step::resume(tx, row, tx.ctx.now()).await?;
    }
    Ok(())
}

/// Who is accountable for a case that needs somebody: whom the source names, else who loads.
fn person(tx: &Tx, from: &pb::Case) -> String {
    if from.accountable.is_empty() { tx.ctx.subject().to_owned() } else { from.accountable.clone() }
}

/// Nobody here was accountable while the case was in the source, so that it begins with the load.
async fn begin(tx: &Tx, row: &mut Model, person: &str) -> Result<()> {
    let cause = Cause { reason: "loaded from another system".to_owned(), ..Cause::default() };
    accountability::begin(tx, row, person, When::now(&tx.ctx), cause).await.map(drop)
}
