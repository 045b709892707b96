//! The worklist: what one person has to do across all their cases, the most urgent first.
use caseward_api::careplan::v1 as pb;
use caseward_core::{Ctx, Error, Page, Result, Time, check, weight};
use caseward_store::{Resource, Scope, relation};
use sea_orm::{
    Condition, Order, QueryOrder, QuerySelect, entity::prelude::*, sea_query::ExprTrait,
};

use crate::{
    case,
    task::{self, State},
};

/// Where a task without a due time stands: after every one that has one.
const NEVER: i64 = i64::MAX;

/// The open tasks that a caller asks for.
pub fn asked(ctx: &Ctx, req: &pb::ListWorklistRequest) -> Result<Select<task::Entity>> {
    let owner = match req.owner.as_str() {
        "" | "me" => Ok(ctx.subject()),
        other if other == ctx.subject() || ctx.may("cases.supervise") => {
            check::wanted("owner", other, check::SUBJECT).map(|_| other)
        }
        _ => {
            let why = "is somebody else; only a supervisor sees another's worklist";
            Err(Error::invalid("owner", why))
        }
    };
    let due_before =
        check::moment(&req.due_before).map_err(|why| Error::invalid("due_before", why));
    let (owner, due_before) = check::all((owner, due_before))?;
    let mut whose = Condition::any().add(task::Column::Owner.eq(owner));
    if req.include_pool {
        // Which roles another has is not known here.
        let mut roles = vec![String::new()];
        if owner == ctx.subject() {
            roles.extend(ctx.caller.roles.iter().cloned());
        }
        let claimable =
            task::Column::State.eq(State::Ready).and(task::Column::CandidateRole.is_in(roles));
        whose = whose.add(claimable);
    }
    let open = [State::Requested, State::Ready, State::Accepted, State::InProgress, State::OnHold];
    let mut select = task::Entity::of(ctx)
        // A worklist is for those who work.
        .filter(relation::visible_beyond_scope(ctx, task::Column::Patient))
        .filter(whose)
        .filter(task::Column::State.is_in(open))
        .join_rev(sea_orm::JoinType::InnerJoin, task_case());
    if req.overdue_only {
        let now = Expr::col((task::Entity, task::Column::StoppedAt)).if_null(ctx.now());
        select = select.filter(Expr::col((task::Entity, task::Column::DueAt)).lt(now));
    }
    if let Some(before) = due_before {
        select = select.filter(task::Column::DueAt.lt(before));
    }
    Ok(select)
}

/// One page of open tasks, highest risk first, then soonest due, then oldest.
pub async fn list(
    scope: &Scope,
    mut select: Select<task::Entity>,
    page: &Page,
) -> Result<pb::ListWorklistResponse> {
    let ctx = &scope.ctx;
    let due = || Expr::col((task::Entity, task::Column::DueAt)).if_null(NEVER);
    let risk = || Expr::col((case::Entity, case::Column::RiskRank));
    if let Some((rank, at, id)) = page.after().and_then(unkey) {
        let later = Condition::any()
            .add(risk().lt(rank))
            .add(Condition::all().add(risk().eq(rank)).add(due().gt(at)))
            .add(
                Condition::all()
                    .add(risk().eq(rank))
                    .add(due().eq(at))
                    .add(task::Column::Id.gt(id)),
            );
        select = select.filter(later);
    }
    let mut rows: Vec<(task::Model, Option<case::Model>)> = select
        .select_also(case::Entity)
        .order_by(risk(), Order::Desc)
        .order_by(due(), Order::Asc)
        .order_by_asc(task::Column::Id)
        .limit(page.limit())
        .all(&scope.db)
        .await?;
    let next_page_token = page.close(
        &mut rows,
        |(task, case)| weight(task) + case.as_ref().map_or(0, weight),
        |(task, case)| key(task, case.as_ref()),
    );
    let mut items = Vec::with_capacity(rows.len());
    for (task, case) in rows {
        ctx.record.saw(task.patient.uuid());
        let Some(case) = case else { continue };
        items.push(item(task, case, ctx.now()));
    }
    Ok(pb::ListWorklistResponse { items, next_page_token })
}

fn task_case() -> sea_orm::RelationDef {
    case::Entity::belongs_to(task::Entity).from(case::Column::Id).to(task::Column::CaseId).into()
}

fn key(task: &task::Model, case: Option<&case::Model>) -> Vec<u8> {
    let rank = case.map_or(0, |case| case.risk_rank);
    let due = task.due_at.map_or(NEVER, Time::micros);
    [&rank.to_be_bytes()[..], &due.to_be_bytes(), task.id.uuid().as_bytes()].concat()
}

fn unkey(key: &[u8]) -> Option<(i32, i64, Uuid)> {
    let (rank, rest) = key.split_first_chunk::<4>()?;
    let (due, id) = rest.split_first_chunk::<8>()?;
    Some((i32::from_be_bytes(*rank), i64::from_be_bytes(*due), Uuid::from_slice(id).ok()?))
}

fn item(task: task::Model, case: case::Model, now: Time) -> pb::WorklistItem {
    let wire = pb::Case::from(case);
    pb::WorklistItem {
        task: Some(task.wire(now)),
        case_title: wire.title,
        patient: wire.patient,
        acuity: wire.acuity,
        risk: wire.risk,
    }
}
