//! Care plans, goals, care teams and conditions, put together as cases.
//!
//! Every care plan becomes a case with the plan, its goals, the conditions it or its goals address, and its team.
//! Sources leave links out: Synthea's goals name no plan. A goal that no plan names goes to the plan of its patient
//! with the same category and start, else to the patient's latest plan; a team that no plan names to the latest plan
//! without a team. Where the patient has no plan, they become a case of their own, not yet enrolled. Conditions that
//! nobody addresses belong to the patient alone.
use std::collections::{BTreeMap, BTreeSet};

use caseward_api::{
    careplan::v1::{
        CarePlan, Case, CaseBundle, CaseBundleOutcome, Goal, PatientProblem, PlanBundle, care_plan,
        case,
    },
    types::v1::{Identifier, IngestOutcome},
};

use crate::{
    care_plan::{Plan, part, within},
    care_team::Team,
    datatype,
    goal::OfPatient,
};

/// What the plans, goals, teams and problems of the input are, each by its position in the catalog.
#[derive(Debug, Default)]
pub(crate) struct Care {
    pub(crate) plans: BTreeMap<usize, Plan>,
    pub(crate) goals: BTreeMap<usize, OfPatient>,
    pub(crate) teams: BTreeMap<usize, Team>,
    pub(crate) problems: BTreeMap<usize, PatientProblem>,
}

/// A case to load, and the resources that its parts were.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) bundle: CaseBundle,
    /// Whose outcome the case is.
    subject: usize,
    members: Vec<usize>,
    problems: Vec<usize>,
    goals: Vec<usize>,
}
caseward_core::confidential!(Draft);

/// A case while its parts are gathered.
#[derive(Debug, Default)]
struct Gathered {
    goals: Vec<usize>,
    teams: Vec<usize>,
    problems: BTreeSet<usize>,
}

impl Care {
    /// The cases, and the problems that belong to none, both in the order of the input.
    pub(crate) fn cases(mut self) -> (Vec<Draft>, Vec<(usize, PatientProblem)>) {
        let mut gathered: BTreeMap<usize, Gathered> = BTreeMap::new();
        for (n, plan) in &self.plans {
            let known = |all: &[usize], is: &dyn Fn(&usize) -> bool| -> Vec<usize> {
                all.iter().filter(|one| is(one)).copied().collect()
            };
            let goals = known(&plan.goals, &|one| self.goals.contains_key(one));
            let teams = known(&plan.teams, &|one| self.teams.contains_key(one));
            let problems = known(&plan.problems, &|one| self.problems.contains_key(one));
            gathered
                .insert(*n, Gathered { goals, teams, problems: problems.into_iter().collect() });
        }
        let homeless = self.settle(&mut gathered);
        for parts in gathered.values_mut() {
            for goal in parts.goals.iter().filter_map(|goal| self.goals.get(goal)) {
                parts
                    .problems
                    .extend(goal.problems.iter().filter(|one| self.problems.contains_key(one)));
            }
        }
        let plans = std::mem::take(&mut self.plans);
        let mut drafts: Vec<Draft> = plans
            .into_iter()
            .map(|(n, plan)| self.of_plan(n, plan, gathered.remove(&n).unwrap_or_default()))
            .collect();
        for parts in homeless.into_values() {
            drafts.extend(self.without_plan(parts));
        }
        let addressed: BTreeSet<usize> =
            drafts.iter().flat_map(|draft| draft.problems.iter().copied()).collect();
        let alone = self.problems.into_iter().filter(|(n, _)| !addressed.contains(n)).collect();
        (drafts, alone)
    }

    /// Finds a plan for the goals and teams that none names. Answers those whose patient has no plan, by patient.
    fn settle(&self, gathered: &mut BTreeMap<usize, Gathered>) -> BTreeMap<String, Gathered> {
        let mut homeless: BTreeMap<String, Gathered> = BTreeMap::new();
        let named: BTreeSet<usize> = gathered
            .values()
            .flat_map(|parts| [&parts.goals, &parts.teams])
            .flatten()
            .copied()
            .collect();
        for (n, goal) in self.goals.iter().filter(|(n, _)| !named.contains(n)) {
            let plan = self.plan_for(goal).or_else(|| self.latest(&goal.patient, |_| true));
            match plan.and_then(|plan| gathered.get_mut(&plan)) {
                Some(parts) => parts.goals.push(*n),
                None => homeless.entry(goal.patient.clone()).or_default().goals.push(*n),
            }
        }
        let without_team: BTreeSet<usize> =
            gathered.iter().filter(|(_, parts)| parts.teams.is_empty()).map(|(n, _)| *n).collect();
        for (n, team) in self.teams.iter().filter(|(n, _)| !named.contains(n)) {
            let plan = self
                .latest(&team.patient, |plan| without_team.contains(&plan))
                .or_else(|| self.latest(&team.patient, |_| true));
            match plan.and_then(|plan| gathered.get_mut(&plan)) {
                Some(parts) => parts.teams.push(*n),
                None => homeless.entry(team.patient.clone()).or_default().teams.push(*n),
            }
        }
        for parts in homeless.values_mut() {
            for goal in parts.goals.iter().filter_map(|goal| self.goals.get(goal)) {
                parts
                    .problems
                    .extend(goal.problems.iter().filter(|one| self.problems.contains_key(one)));
            }
        }
        homeless
    }

    /// The plan that has the goal's category in the same words, and began on the same day if several have.
    fn plan_for(&self, goal: &OfPatient) -> Option<usize> {
        let words: BTreeSet<&str> = goal.goal.categories.iter().map(datatype::words).collect();
        let alike = self.plans.iter().filter(|(_, plan)| {
            let of_plan = &plan.care_plan.categories;
            plan.patient == goal.patient
                && of_plan.iter().any(|one| words.contains(datatype::words(one)))
        });
        let began = |plan: &Plan| {
            let start = plan.care_plan.period.as_ref()?.start?;
            let day = time::OffsetDateTime::from_unix_timestamp(start.seconds).ok()?.date();
            let wanted = goal.goal.start_date?;
            let wanted = time::Date::from_calendar_date(
                wanted.year,
                u8::try_from(wanted.month).ok()?.try_into().ok()?,
                u8::try_from(wanted.day).ok()?,
            );
            // A day in the source's zone may be the next or the last in UTC.
            Some((day - wanted.ok()?).whole_days().abs())
        };
        alike
            .min_by_key(|(n, plan)| (began(plan).unwrap_or(i64::MAX), std::cmp::Reverse(**n)))
            .map(|(n, _)| *n)
    }

    /// The patient's plan that began last, one in use before those that are not.
    fn latest(&self, patient: &str, may: impl Fn(usize) -> bool) -> Option<usize> {
        let of_patient = self.plans.iter().filter(|(n, plan)| plan.patient == patient && may(**n));
        let rank = |plan: &Plan| {
            let start = plan.care_plan.period.as_ref().and_then(|period| period.start);
            let in_use = plan.care_plan.state() == care_plan::State::Active;
            (in_use, start.map_or(i64::MIN, |start| start.seconds))
        };
        of_patient.max_by_key(|(n, plan)| (rank(plan), std::cmp::Reverse(**n))).map(|(n, _)| *n)
    }

    fn of_plan(&self, subject: usize, plan: Plan, parts: Gathered) -> Draft {
        use care_plan::State;
        let state = match plan.care_plan.state() {
            State::Active => case::State::Active,
            State::OnHold => case::State::Paused,
            State::Completed | State::Revoked => case::State::Closed,
            State::EnteredInError => case::State::EnteredInError,
            State::Unspecified | State::Draft | State::InReview | State::Approved => {
                case::State::Identified
            }
        };
        let began = plan.care_plan.activate_time;
        let case = Case {
            patient: plan.patient,
            identifiers: plan.care_plan.identifiers.clone(),
            title: plan.care_plan.title.clone(),
            source: "import".to_owned(),
            state: state as i32,
            identified_time: began,
            enrolled_time: began,
            closed_time: plan.care_plan.end_time.filter(|_| state == case::State::Closed),
            ..Case::default()
        };
        let mut draft = Draft { subject, ..Draft::default() };
        self.gather(&mut draft, &parts);
        let mut own_problems = vec![];
        for problem in plan.own_problems {
            own_problems.extend(within(&problem.identifiers));
            draft.problems.push(subject);
            draft.bundle.problems.push(problem);
        }
        for member in plan.own_members {
            draft.members.push(subject);
            draft.bundle.members.push(member);
        }
        let mut goals = self.goals_of(&mut draft, &parts);
        draft.goals.extend(plan.own_goals.iter().map(|_| subject));
        goals.extend(plan.own_goals);
        let addressed = plan.problems.iter().filter_map(|one| self.problem_in_case(*one));
        let problems = addressed.chain(own_problems).collect();
        let care_plan = CarePlan { problems, ..plan.care_plan };
        let plan = PlanBundle { care_plan: Some(care_plan), goals, activities: plan.activities };
        draft.bundle.plans.push(plan);
        draft.bundle.case = Some(case);
        draft
    }

    /// The case of a patient who has goals or a team but no plan.
    fn without_plan(&self, parts: Gathered) -> Option<Draft> {
        let teams: Vec<&Team> = parts.teams.iter().filter_map(|one| self.teams.get(one)).collect();
        let goals: Vec<&OfPatient> =
            parts.goals.iter().filter_map(|one| self.goals.get(one)).collect();
        let subject = *parts.teams.first().or(parts.goals.first())?;
        let patient =
            teams.first().map(|team| &team.patient).or(goals.first().map(|goal| &goal.patient))?;
        let whole: &[Identifier] = teams
            .first()
            .map(|team| &*team.identifiers)
            .or(goals.first().map(|goal| &*goal.goal.identifiers))?;
        let named = teams.iter().map(|team| &*team.name).find(|name| !name.is_empty());
        let title =
            named.unwrap_or(if goals.is_empty() { "Care team" } else { "Goals" }).to_owned();
        let mut draft = Draft { subject, ..Draft::default() };
        self.gather(&mut draft, &parts);
        let goals = self.goals_of(&mut draft, &parts);
        if !goals.is_empty() {
            let care_plan = CarePlan {
                identifiers: part(whole, "plan"),
                title: title.clone(),
                state: care_plan::State::Draft as i32,
                problems: parts
                    .problems
                    .iter()
                    .filter_map(|one| self.problem_in_case(*one))
                    .collect(),
                ..CarePlan::default()
            };
            draft.bundle.plans.push(PlanBundle {
                care_plan: Some(care_plan),
                goals,
                activities: vec![],
            });
        }
        draft.bundle.case = Some(Case {
            patient: patient.clone(),
            identifiers: part(whole, "case"),
            title,
            source: "import".to_owned(),
            state: case::State::Identified as i32,
            ..Case::default()
        });
        Some(draft)
    }

    fn gather(&self, draft: &mut Draft, parts: &Gathered) {
        for n in &parts.teams {
            for member in self.teams.get(n).into_iter().flat_map(|team| &team.members) {
                draft.members.push(*n);
                draft.bundle.members.push(member.clone());
            }
        }
        for n in &parts.problems {
            if let Some(problem) = self.problems.get(n).and_then(|one| one.problem.clone()) {
                draft.problems.push(*n);
                draft.bundle.problems.push(problem);
            }
        }
    }

    fn goals_of(&self, draft: &mut Draft, parts: &Gathered) -> Vec<Goal> {
        let mut goals = vec![];
        for n in &parts.goals {
            if let Some(of) = self.goals.get(n) {
                let problems = of.problems.iter().filter_map(|one| self.problem_in_case(*one));
                draft.goals.push(*n);
                goals.push(Goal { problems: problems.collect(), ..of.goal.clone() });
            }
        }
        goals
    }

    fn problem_in_case(&self, problem: usize) -> Option<String> {
        within(&self.problems.get(&problem)?.problem.as_ref()?.identifiers)
    }
}

impl Draft {
    /// How many parts the case has, of which a request may hold so many.
    pub(crate) fn parts(&self) -> usize {
        let plans = self.bundle.plans.iter();
        let of_plans: usize = plans.map(|plan| 1 + plan.goals.len() + plan.activities.len()).sum();
        1 + self.bundle.members.len() + self.bundle.problems.len() + of_plans
    }

    /// What became of the resource of every part. A part that is not spoken of failed with its case.
    pub(crate) fn outcomes(&self, of: &CaseBundleOutcome) -> Vec<(usize, IngestOutcome)> {
        let failed = || IngestOutcome {
            action: caseward_api::types::v1::ingest_outcome::Action::Failed as i32,
            ..IngestOutcome::default()
        };
        let case = of.case.clone().unwrap_or_else(failed);
        let mut all = vec![(self.subject, case)];
        let mut zip = |resources: &[usize], outcomes: &[IngestOutcome]| {
            for (n, resource) in resources.iter().enumerate() {
                all.push((*resource, outcomes.get(n).cloned().unwrap_or_else(failed)));
            }
        };
        zip(&self.members, &of.members);
        zip(&self.problems, &of.problems);
        if let Some(plan) = of.plans.first() {
            zip(&self.goals, &plan.goals);
            let activities = plan.activities.len();
            zip(&vec![self.subject; activities], &plan.activities);
            zip(&[self.subject], plan.care_plan.as_slice());
        } else {
            zip(&self.goals, &[]);
        }
        all
    }
}
