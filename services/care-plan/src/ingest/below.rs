//! Members and problems as other systems have them.
use caseward_api::{careplan::v1 as pb, types::v1 as types};
use caseward_core::{Machine, Result};
use caseward_store::Tx;

use super::part::{self, Part};
use crate::{case, member, problem, timeline};

impl Part for member::Entity {
    type Wire = pb::Member;
    type Parent = case::Model;
    const FIELD: &'static str = "member";

    fn identifiers(from: &pb::Member) -> &[types::Identifier] {
        &from.identifiers
    }
    fn collection(case: &case::Model) -> String {
        format!("{}/members", case.id)
    }
    fn take(
        tx: &Tx,
        case: &case::Model,
        before: Option<&member::Model>,
        from: &pb::Member,
    ) -> Result<member::Model> {
        let draft = member::Model::draft(&tx.ctx, case, from)?;
        let Some(before) = before else { return Ok(draft) };
        let given = from.period.as_ref();
        let starts_at = match given.and_then(|period| period.start) {
            Some(_) => draft.starts_at,
            None => before.starts_at,
        };
        // A membership that ended here does not go on because the source has not heard of it.
        let ends_at = draft.ends_at.or(before.ends_at);
        Ok(member::Model {
            id: before.id,
            starts_at,
            ends_at,
            end_reason: before.end_reason.clone(),
            created_at: before.created_at,
            updated_at: before.updated_at,
            revision: before.revision,
            ..draft
        })
    }
    async fn check(_: &Tx, _: &member::Model) -> Result<()> {
        Ok(())
    }
    fn moved(_: &member::Model, _: &member::Model) -> bool {
        false
    }
    fn keep(_: &mut member::Model, _: &member::Model) {}
    async fn make(tx: &Tx, case: &case::Model, row: member::Model) -> Result<member::Model> {
        member::insert(tx, case, row).await
    }
    async fn amend(
        tx: &Tx,
        case: &case::Model,
        row: member::Model,
        _: &member::Model,
        _: &pb::Member,
    ) -> Result<member::Model> {
        member::amend(tx, case, row).await
    }
}

impl Part for problem::Entity {
    type Wire = pb::Problem;
    type Parent = case::Model;
    const FIELD: &'static str = "problem";

    fn identifiers(from: &pb::Problem) -> &[types::Identifier] {
        &from.identifiers
    }
    fn collection(case: &case::Model) -> String {
        problems_of(case.id)
    }
    fn take(
        tx: &Tx,
        case: &case::Model,
        before: Option<&problem::Model>,
        from: &pb::Problem,
    ) -> Result<problem::Model> {
        use problem::State;
        let mut row = match before {
            None => problem::Model::draft(&tx.ctx, case, from)?,
            Some(before) => {
                let mut row = before.clone();
                row.take(&problem::WRITABLE, from)?;
                row
            }
        };
        row.state = part::state("problem.state", from.state, State::Active, State::known)?;
        part::reason("problem", &mut row.state_reason, &from.state_reason)?;
        Ok(row)
    }
    async fn check(_: &Tx, _: &problem::Model) -> Result<()> {
        Ok(())
    }
    fn moved(row: &problem::Model, before: &problem::Model) -> bool {
        row.state != before.state
    }
    fn keep(row: &mut problem::Model, before: &problem::Model) {
        row.state = before.state;
        row.state_reason.clone_from(&before.state_reason);
        row.abated_at = before.abated_at;
    }
    async fn make(tx: &Tx, case: &case::Model, row: problem::Model) -> Result<problem::Model> {
        problem::insert(tx, case, row).await
    }
    async fn amend(
        tx: &Tx,
        case: &case::Model,
        row: problem::Model,
        before: &problem::Model,
        from: &pb::Problem,
    ) -> Result<problem::Model> {
        let row = caseward_store::update::<Self>(tx, row).await?;
        if row.state == before.state {
            timeline::add(tx, case, "PROBLEM_UPDATED", row.name()).await?;
        } else {
            timeline::moved(tx, case, "PROBLEM_UPDATED", row.change(before.state.label())).await?;
        }
        let fields =
            part::changed(&problem::WRITABLE, before, |one, fields| one.take(fields, from));
        problem::changed(tx, &row, fields);
        Ok(row)
    }
}

/// Where the identifiers of the problems of a case count.
pub(super) fn problems_of(case: case::CaseId) -> String {
    format!("{case}/problems")
}
