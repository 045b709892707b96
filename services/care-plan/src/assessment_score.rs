//! What the answers of an assessment come to: its scores, the tasks they raise, the risk of its case.
use caseward_api::careplan::v1::{self as pb, lace_inputs::Comorbidity as Wire, task::Priority};
use caseward_core::{Error, Result, Time, Violations, check};
use caseward_store::Tx;
use time::Duration;

use crate::{
    assessment::{self, Finding, LaceInputs, Model, Score, names},
    case,
    form::{self, within},
    form_rule::CRITICAL,
    lace::{Comorbidity, Lace, Risk},
    questionnaire::{Answers, Policy, Questionnaire},
    score::{self, Total, Unscored},
    task::{self, Raised},
};

/// A form with answers that fit it.
#[derive(Debug)]
pub struct Answered {
    form: form::Model,
    questionnaire: Questionnaire,
    answers: Answers,
}

impl Answered {
    /// Checks `json` against the form of the assessment; a draft may lack answers.
    pub async fn read(tx: &Tx, row: &Model, json: &str, draft: bool) -> Result<Self> {
        let Some(form) = row.form_id else {
            let why = format!("{} has its own table; score it again instead", row.instrument);
            return Err(Error::precondition("NO_QUESTIONNAIRE", why));
        };
        let form = form::get(tx, form).await?;
        let questionnaire = form.questionnaire()?;
        if json.len() > 1024 * 1024 {
            return Err(Error::invalid("json", "is longer than 1 MiB"));
        }
        if json.is_empty() {
            return Err(Error::invalid("json", "is required"));
        }
        let response = serde_json::from_str(json)
            .map_err(|err| Error::invalid("json", format!("is not JSON at line {}", err.line())))?;
        let policy = Policy { draft, ..Policy::default() };
        match questionnaire.check(&response, &policy) {
            Ok(answers) => Ok(Answered { form, questionnaire, answers }),
            Err(violations) => {
                let mut bad = Violations::default();
                within("json", violations, &mut bad);
                Err(Error::Invalid(bad.into()))
            }
        }
    }

    /// Every score of the form, from these answers.
    pub fn scores(&self, content_revision: i32, at: Time) -> Vec<Score> {
        let make = |score: String, method: &str, total: &Result<Total, Unscored>| Score {
            score,
            value: total.as_ref().ok().map(|total| total.value),
            band: String::new(),
            risk_rank: 0,
            missing_items: match total {
                Ok(total) => count(total.prorated),
                Err(Unscored::Missing(links)) => count(links.len()),
                Err(_) => 0,
            },
            method: method.to_owned(),
            components: total.as_ref().map(|total| total.parts.clone()).unwrap_or_default(),
            content_revision,
            at,
        };
        let rules = &self.form.scoring_rules.0;
        if !rules.is_empty() {
            let scored = rules.iter().map(|rule| {
                let total = rule.total(&self.questionnaire, &self.answers);
                let score = make(rule.score.clone(), rule.method(), &total);
                match score.value.and_then(|value| rule.band(value)) {
                    Some(band) => {
                        Score { band: band.display.clone(), risk_rank: band.risk_rank, ..score }
                    }
                    None => score,
                }
            });
            return scored.collect();
        }
        let scored = score::score(&self.questionnaire, &self.answers);
        if matches!(scored.total, Err(Unscored::NoWeights | Unscored::NoRule)) {
            return vec![];
        }
        let method = match scored.instrument {
            Some(instrument) => format!("{} {}", instrument.id, instrument.version),
            None => "ordinal-value".to_owned(),
        };
        let name = named(&self.form, scored.instrument.map(|instrument| instrument.id));
        let mut score = make(name, &method, &scored.total);
        if let Some(band) = scored.total.ok().and_then(|total| total.band) {
            score.band = band.name.to_owned();
            score.risk_rank = rank(band.name);
        }
        vec![score]
    }

    /// What of the answers cannot wait: the item, its points, what to do, and how soon.
    fn critical(&self) -> Vec<(String, f64, String, Duration)> {
        let declared = self.form.critical_items.0.iter().filter_map(|item| {
            let points = score::most(&self.questionnaire, &self.answers, &item.link_id)?;
            let due = Duration::seconds(item.due_within);
            (points >= item.at_least)
                .then(|| (item.link_id.clone(), points, item.task_title.clone(), due))
        });
        let known = score::score(&self.questionnaire, &self.answers).critical;
        let known = known
            .into_iter()
            .map(|found| (found.link_id, found.points, found.reason.to_owned(), CRITICAL));
        declared.chain(known).collect()
    }

    /// Raises a task for every critical answer that has none yet; answers with the names of those tasks. In a case that
    /// ended nothing is to be done: what was found stands on record, and gets its task when it is found again.
    pub async fn raise(&self, tx: &Tx, case: &case::Model, row: &mut Model) -> Result<Vec<String>> {
        let (name, now, ended) = (row.name(), tx.ctx.now(), case.state.is_end());
        let owner = sees_to(case, row);
        let mut raised = vec![];
        for (link_id, points, title, due) in self.critical() {
            let known = row.findings.0.iter_mut().find(|found| found.link_id == link_id);
            if known.as_ref().is_some_and(|found| ended || !found.task.is_empty()) {
                continue;
            }
            let mut task = String::new();
            if !ended {
                let wanted = Raised {
                    title,
                    description: String::new(),
                    focus: name.clone(),
                    cause: name.clone(),
                    owner: owner.clone(),
                    priority: Priority::Stat,
                    due_at: Some(now + due),
                };
                task = task::raise(tx, case, wanted).await?.name();
                raised.push(task.clone());
            }
            match known {
                Some(found) => found.task = task,
                None => row.findings.0.push(Finding { link_id, points, task, at: now }),
            }
        }
        Ok(raised)
    }
}

/// What the scores of a form are called where it has no rules: the instrument it is a copy of, or its title.
pub fn named(form: &form::Model, instrument: Option<&str>) -> String {
    match instrument {
        Some(id) => id.to_uppercase(),
        None if form.title.is_empty() => form.url.clone(),
        None => form.title.clone(),
    }
}

fn count(items: usize) -> i32 {
    i32::try_from(items).unwrap_or(i32::MAX)
}

/// How urgent a band of a shipped instrument is, 0 to 3.
fn rank(band: &str) -> i32 {
    match band {
        "mild" => 1,
        "moderate" | "positive" => 2,
        "moderately severe" | "severe" | "high" => 3,
        _ => 0,
    }
}

/// Checks the inputs of a LACE index.
pub fn lace_inputs(from: Option<pb::LaceInputs>) -> Result<LaceInputs> {
    let Some(from) = from else { return Err(Error::invalid("inputs", "is required")) };
    let mut bad = Violations::default();
    let stay = check::within(from.length_of_stay_days, 0..=3650);
    bad.take("inputs.length_of_stay_days", stay);
    bad.take("inputs.emergency_visits", check::within(from.emergency_visits, 0..=365));
    let path = "inputs.comorbidities";
    let mut seen = check::list(path, &from.comorbidities, 0..=14, &mut bad, |one, bad| {
        bad.take("", check::known::<Wire>(*one)).map(i32::from)
    });
    let given = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < given {
        bad.add(path, "holds a condition twice");
    }
    bad.finish()?;
    Ok(LaceInputs {
        length_of_stay_days: from.length_of_stay_days,
        acute_admission: from.acute_admission,
        comorbidities: from.comorbidities,
        emergency_visits: from.emergency_visits,
    })
}

/// The LACE index of checked inputs.
pub fn lace(inputs: &LaceInputs, at: Time) -> Result<Score> {
    let whole = |number: i32| u32::try_from(number).unwrap_or_default();
    let comorbidities = inputs.comorbidities.iter().filter_map(|one| Wire::try_from(*one).ok());
    let lace = Lace {
        days: whole(inputs.length_of_stay_days),
        acute: inputs.acute_admission,
        comorbidities: comorbidities.filter_map(weighed).collect(),
        visits: whole(inputs.emergency_visits),
    };
    let index =
        lace.index().map_err(|(field, why)| Error::invalid(format!("inputs.{field}"), why))?;
    let band = match index.risk() {
        Risk::Low => "low",
        Risk::Moderate => "moderate",
        Risk::High => "high",
    };
    let parts = [
        ("length_of_stay", index.length),
        ("acute_admission", index.acuity),
        ("comorbidities", index.comorbidity),
        ("emergency_visits", index.emergency),
    ];
    Ok(Score {
        score: "LACE".to_owned(),
        value: Some(f64::from(index.total())),
        band: band.to_owned(),
        risk_rank: rank(band),
        missing_items: 0,
        method: index.variant.to_owned(),
        components: parts.map(|(key, points)| (key.to_owned(), f64::from(points))).to_vec(),
        content_revision: 1,
        at,
    })
}

fn weighed(from: Wire) -> Option<Comorbidity> {
    Some(match from {
        Wire::Unspecified => return None,
        Wire::MyocardialInfarction => Comorbidity::MyocardialInfarction,
        Wire::CerebrovascularDisease => Comorbidity::CerebrovascularDisease,
        Wire::PeripheralVascularDisease => Comorbidity::PeripheralVascularDisease,
        Wire::DiabetesUncomplicated => Comorbidity::Diabetes,
        Wire::CongestiveHeartFailure => Comorbidity::HeartFailure,
        Wire::DiabetesEndOrganDamage => Comorbidity::DiabetesWithEndOrganDamage,
        Wire::ChronicPulmonaryDisease => Comorbidity::ChronicPulmonaryDisease,
        Wire::MildLiverOrRenalDisease => Comorbidity::MildLiverOrRenalDisease,
        Wire::Tumour => Comorbidity::Tumour,
        Wire::Dementia => Comorbidity::Dementia,
        Wire::ConnectiveTissueDisease => Comorbidity::ConnectiveTissueDisease,
        Wire::Aids => Comorbidity::Aids,
        Wire::SevereLiverOrRenalDisease => Comorbidity::SevereLiverOrRenalDisease,
        Wire::MetastaticTumour => Comorbidity::MetastaticTumour,
    })
}

/// Makes the risk of the case what its latest assessment with a band says; of several scores the most urgent.
pub async fn assess_risk(tx: &Tx, case: &case::Model) -> Result<()> {
    let worst = |row: &Model| {
        let banded = row.current().filter(|score| !score.band.is_empty());
        let worst = banded.max_by_key(|score| score.risk_rank)?;
        Some(case::Risk {
            instrument: worst.score.clone(),
            value: worst.value?,
            band: worst.band.clone(),
            rank: worst.risk_rank,
            assessment: row.name(),
            at: worst.at,
        })
    };
    let risk = assessment::completed(tx, case.id).await?.iter().find_map(worst);
    if risk != case.risk.as_ref().map(|risk| risk.0.clone()) {
        case::set_risk(tx, case, risk).await?;
    }
    Ok(())
}

/// Who is there for an answer that cannot wait: whoever is accountable, else whoever asked.
fn sees_to(case: &case::Model, row: &Model) -> String {
    case.accountable.clone().unwrap_or_else(|| row.assessor.clone())
}

/// Publishes which tasks the answers raised.
pub fn emit_raised(tx: &Tx, case: &case::Model, row: &Model, raised: Vec<String>) {
    for task in raised {
        let (assessment, case_name, patient) = names(row);
        let event = pb::CriticalItemRaised {
            assessment,
            case: case_name,
            patient,
            revision: row.revision,
            task,
            accountable: case.accountable.clone().unwrap_or_default(),
            owner: sees_to(case, row),
        };
        tx.emit(row.name(), row.revision, &event);
    }
}

/// Publishes what was scored anew.
pub fn emit_scores(tx: &Tx, row: &Model) {
    for score in row.current().filter(|score| score.value.is_some()) {
        let (assessment, case, patient) = names(row);
        let event = pb::ScoreComputed {
            assessment,
            case,
            patient,
            revision: row.revision,
            score: score.score.clone(),
            risk_rank: score.risk_rank,
        };
        tx.emit(row.name(), row.revision, &event);
    }
}
