//! Loads of cases, problems and questionnaires from other systems: found by identifiers, a second load changes nothing.
mod below;
mod case;
mod part;
mod plan;

use std::collections::HashMap;

use caseward_api::{
    careplan::v1 as pb,
    types::v1::{Identifier, IngestOutcome},
};
use caseward_core::{Error, Name, Result, Violations, check, data};
use caseward_store::{Resource, Tx, identifier};
use sea_orm::{QueryOrder, entity::prelude::*};

use self::part::{Loaded, lost};
use crate::{
    activity, care_plan,
    case::{Column, Entity, Model, PatientId, State},
    form, goal, member, problem,
};

/// The names of the parts loaded so far, by the references that the bundle makes to them.
type Names = HashMap<String, String>;

/// Refuses a request that holds more than one transaction should.
pub fn check_cases(req: &pb::IngestCasesRequest) -> Result<()> {
    let mut bad = Violations::default();
    bad.take("bundles", check::within(req.bundles.len(), 1..=50));
    let mut parts = 0;
    for (n, bundle) in req.bundles.iter().enumerate() {
        let at = format!("bundles[{n}]");
        bad.take(&format!("{at}.members"), check::within(bundle.members.len(), 0..=200));
        bad.take(&format!("{at}.problems"), check::within(bundle.problems.len(), 0..=500));
        bad.take(&format!("{at}.plans"), check::within(bundle.plans.len(), 0..=50));
        parts += 1 + bundle.members.len() + bundle.problems.len() + bundle.plans.len();
        for (n, plan) in bundle.plans.iter().enumerate() {
            let at = format!("{at}.plans[{n}]");
            bad.take(&format!("{at}.goals"), check::within(plan.goals.len(), 0..=200));
            bad.take(&format!("{at}.activities"), check::within(plan.activities.len(), 0..=200));
            parts += plan.goals.len() + plan.activities.len();
        }
    }
    if parts > 2000 {
        bad.add("bundles", "hold more than 2,000 parts in all");
    }
    bad.finish()
}

/// Loads each bundle; says what became of each part, in their order.
pub async fn cases(tx: Tx, bundles: Vec<pb::CaseBundle>) -> Result<pb::IngestCasesResponse> {
    let mut outcomes = vec![];
    for bundle in bundles {
        outcomes.push(Box::pin(load_case(&tx, bundle)).await?);
    }
    Ok(pb::IngestCasesResponse { outcomes })
}

async fn load_case(tx: &Tx, bundle: pb::CaseBundle) -> Result<pb::CaseBundleOutcome> {
    use pb::care_plan::State::{Active, OnHold};
    let pb::CaseBundle { case: from, members, problems, plans } = bundle;
    let running = plans
        .iter()
        .filter_map(|plan| plan.care_plan.as_ref())
        .any(|plan| matches!(plan.state(), Active | OnHold));
    let Loaded { outcome, row } = case::load(tx, &from.unwrap_or_default(), running).await?;
    let Some(case) = row else {
        return Ok(pb::CaseBundleOutcome {
            case: Some(outcome),
            members: lost(members.len(), "case"),
            problems: lost(problems.len(), "case"),
            plans: plans.iter().map(|plan| lost_plan(plan, lost(1, "case").pop())).collect(),
        });
    };
    let mut of = pb::CaseBundleOutcome { case: Some(outcome), ..Default::default() };
    for from in &members {
        of.members.push(part::load::<member::Entity>(tx, &case, &case, from).await?.outcome);
    }
    let mut names = Names::new();
    for from in &problems {
        let outcome = part::load::<problem::Entity>(tx, &case, &case, from).await?.outcome;
        note(&mut names, &from.identifiers, &outcome);
        of.problems.push(outcome);
    }
    for plan in plans {
        of.plans.push(Box::pin(load_plan(tx, &case, &names, plan)).await?);
    }
    Ok(of)
}

async fn load_plan(
    tx: &Tx,
    case: &Model,
    problems: &Names,
    mut bundle: pb::PlanBundle,
) -> Result<pb::PlanBundleOutcome> {
    let mut from = bundle.care_plan.take().unwrap_or_default();
    follow(&mut from.problems, problems);
    let loaded = part::load::<care_plan::Entity>(tx, case, case, &from).await?;
    let Some(plan) = loaded.row else { return Ok(lost_plan(&bundle, Some(loaded.outcome))) };
    let mut of = pb::PlanBundleOutcome { care_plan: Some(loaded.outcome), ..Default::default() };
    let mut goals = Names::new();
    for mut from in bundle.goals {
        follow(&mut from.problems, problems);
        let outcome = part::load::<goal::Entity>(tx, case, &plan, &from).await?.outcome;
        note(&mut goals, &from.identifiers, &outcome);
        of.goals.push(outcome);
    }
    for mut from in bundle.activities {
        follow(&mut from.goals, &goals);
        let loaded = part::load::<activity::Entity>(tx, case, &plan, &from).await?;
        of.activities.push(loaded.outcome);
    }
    plan::seal(tx, plan).await?;
    Ok(of)
}

fn lost_plan(bundle: &pb::PlanBundle, outcome: Option<IngestOutcome>) -> pb::PlanBundleOutcome {
    pb::PlanBundleOutcome {
        care_plan: outcome,
        goals: lost(bundle.goals.len(), "care_plan"),
        activities: lost(bundle.activities.len(), "care_plan"),
    }
}

fn note(names: &mut Names, identifiers: &[Identifier], outcome: &IngestOutcome) {
    if !outcome.name.is_empty() {
        names.extend(identifiers.iter().map(|Identifier { system, value }| {
            (format!("?identifier={system}|{value}"), outcome.name.clone())
        }));
    }
}

/// Puts names in the place of references. One to a part that was refused stays, and is refused as no name.
fn follow(references: &mut [String], names: &Names) {
    for reference in references {
        if let Some(name) = names.get(reference) {
            reference.clone_from(name);
        }
    }
}

/// Loads problems that belong to no plan; says what became of each, in their order.
pub async fn problems(tx: Tx, all: Vec<pb::PatientProblem>) -> Result<pb::IngestProblemsResponse> {
    check::within(all.len(), 1..=200).map_err(|why| Error::invalid("problems", why))?;
    let mut outcomes = vec![];
    for from in all {
        outcomes.push(match Box::pin(load_problem(&tx, from)).await {
            Ok(outcome) => outcome,
            Err(Error::Invalid(violations)) => data::refused(violations),
            Err(err) => return Err(err),
        });
    }
    Ok(pb::IngestProblemsResponse { outcomes })
}

async fn load_problem(tx: &Tx, from: pb::PatientProblem) -> Result<IngestOutcome> {
    let patient: PatientId = Name::parse("patient", &from.patient)?;
    let problem = from.problem.unwrap_or_default();
    let case = match home(tx, patient, &problem).await? {
        Some(case) => case,
        None => {
            // Checked first, or a refused problem would leave an empty case behind.
            let case = pb::Case {
                patient: from.patient,
                title: "Problems".to_owned(),
                source: "import".to_owned(),
                ..Default::default()
            };
            let draft = Model::draft(&tx.ctx, &case)?;
            problem::Model::draft(&tx.ctx, &draft, &problem)?;
            part::state("problem.state", problem.state, (), |number| {
                problem::State::known(number).map(|_| ())
            })?;
            part::reason("problem", &mut String::new(), &problem.state_reason)?;
            if problem.identifiers.is_empty() {
                return Err(Error::invalid("problem.identifiers", part::NEEDED));
            }
            crate::case::insert(tx, draft).await?
        }
    };
    Ok(part::load::<problem::Entity>(tx, &case, &case, &problem).await?.outcome)
}

/// The case of the patient that has the problem already, else the newest that is open.
async fn home(tx: &Tx, patient: PatientId, problem: &pb::Problem) -> Result<Option<Model>> {
    let cases = Entity::of(&tx.ctx)
        .filter(Column::Patient.eq(patient))
        .order_by_desc(Column::Id)
        .all(&tx.db)
        .await?;
    let mut bad = Violations::default();
    let identifiers = data::identifiers("problem.identifiers", &problem.identifiers, 20, &mut bad);
    bad.finish()?;
    for case in &cases {
        if !identifier::find(tx, &below::problems_of(case.id), &identifiers.0).await?.is_empty() {
            return Ok(Some(case.clone()));
        }
    }
    Ok(cases.into_iter().find(|case| !State::is_end(case.state)))
}

/// Stores each questionnaire, unless it is there. One that cannot be used costs that one only.
pub async fn questionnaires(
    tx: Tx,
    all: Vec<pb::Questionnaire>,
) -> Result<pb::IngestQuestionnairesResponse> {
    check::within(all.len(), 1..=50).map_err(|why| Error::invalid("questionnaires", why))?;
    let mut outcomes = Vec::with_capacity(all.len());
    for from in &all {
        outcomes.push(match form::load(&tx, from).await {
            Ok((action, id)) => data::taken(action, id),
            Err(Error::Invalid(violations)) => data::refused(violations),
            Err(other) => return Err(other),
        });
    }
    Ok(pb::IngestQuestionnairesResponse { outcomes })
}
