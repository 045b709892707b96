//! What must end, or be waived, before a case may close.
use caseward_api::careplan::v1::{Obligation, obligation::Kind};
use caseward_core::{Machine, Page, Result};
use caseward_store::Scope;
use prost::Message;

use crate::{
    activity, assessment, care_plan,
    case::{self, CaseId},
    goal, handoff, note, task,
};

/// Every open obligation of a case.
pub async fn of(scope: &Scope, case: CaseId) -> Result<Vec<Obligation>> {
    let mut open = vec![];
    for row in task::open_of(scope, case).await? {
        let (state, owner) = (row.state.label(), row.owner.clone());
        open.push(one(Kind::Task, row.name(), &row.title, state, owner, row.due_at));
    }
    for plan in care_plan::unfinished(scope, case).await? {
        let (state, owner) = (plan.state.label(), plan.author.clone());
        open.push(one(Kind::CarePlan, plan.name(), &plan.title, state, owner, plan.review_due_at));
        for row in
            goal::of_plan(scope, plan.id).await?.into_iter().filter(|row| !row.state.is_end())
        {
            open.push(one(
                Kind::Goal,
                row.name(),
                &row.description.0.text,
                row.state.label(),
                row.owner.clone(),
                None,
            ));
        }
        for row in
            activity::of_plan(scope, plan.id).await?.into_iter().filter(|row| row.state.is_open())
        {
            open.push(one(
                Kind::Activity,
                row.name(),
                &row.description,
                row.state.label(),
                row.owner.clone(),
                None,
            ));
        }
    }
    if let Some(row) = handoff::open_of(scope, case).await? {
        let (state, owner) = (row.state.label(), row.receiver.clone());
        open.push(one(Kind::Handoff, row.name(), "handoff", state, owner, Some(row.expires_at)));
    }
    for row in note::unsigned(scope, case).await? {
        open.push(one(
            Kind::Note,
            row.name(),
            &row.title,
            row.state.label(),
            row.author.clone(),
            None,
        ));
    }
    for row in assessment::unfinished(scope, case).await? {
        open.push(one(
            Kind::Assessment,
            row.name(),
            "assessment",
            row.state.label(),
            String::new(),
            None,
        ));
    }
    Ok(open)
}

fn one(
    kind: Kind,
    resource: String,
    description: &str,
    state: &str,
    owner: String,
    due: Option<caseward_core::Time>,
) -> Obligation {
    Obligation {
        kind: kind.into(),
        resource,
        description: description.chars().take(200).collect(),
        state: state.to_owned(),
        owner,
        due_time: due.map(Into::into),
    }
}

/// One page of the open obligations of a case.
pub async fn list(scope: &Scope, case: CaseId, page: &Page) -> Result<(Vec<Obligation>, String)> {
    case::get(scope, case).await?;
    let mut open = of(scope, case).await?;
    open.sort_by(|a, b| a.resource.cmp(&b.resource));
    if let Some(last) = page.after().and_then(|key| std::str::from_utf8(key).ok()) {
        open.retain(|one| one.resource.as_str() > last);
    }
    let next =
        page.close(&mut open, Obligation::encoded_len, |one| one.resource.clone().into_bytes());
    Ok((open, next))
}
