//! What a form is told to make of its answers: scores with bands, and answers that raise a task.
use std::collections::HashSet;

use caseward_api::careplan::v1::{
    self as pb,
    scoring_rule::{Method, Missing as MissingRule},
};
use caseward_core::{Violations, check, data::Json};
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::{
    questionnaire::{Answers, Questionnaire},
    score::{self, Missing, Points, Total, Unscored},
};

/// How soon somebody looks at a critical answer, where nothing else is said.
pub const CRITICAL: Duration = Duration::hours(24);

/// How one score is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub score: String,
    /// The number of the wire's `Method`.
    pub method: i32,
    pub link_ids: Vec<String>,
    /// The number of the wire's `Missing`.
    pub missing: i32,
    pub max_missing: i32,
    pub bands: Vec<Band>,
}

/// A range of a score and what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    pub at_least: f64,
    pub display: String,
    pub risk_rank: i32,
}

/// An answer that raises a task at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Critical {
    pub link_id: String,
    pub at_least: f64,
    pub task_title: String,
    /// How soon the task is due, in seconds.
    pub due_within: i64,
}

impl Rule {
    /// Checks the rules of `form`.
    pub(crate) fn all(
        form: &Questionnaire,
        from: &[pb::ScoringRule],
        bad: &mut Violations,
    ) -> Json<Vec<Self>> {
        let asked = asked(form);
        let path = "questionnaire.scoring_rules";
        let rules = check::list(path, from, 0..=20, bad, |from, bad| {
            let score = bad.take("score", check::text(&from.score, 1..=100));
            let method = bad.take("method", check::known::<Method>(from.method));
            let missing = bad.take("missing", check::known::<MissingRule>(from.missing));
            let max_missing = bad.take("max_missing", check::within(from.max_missing, 0..=500));
            let link_ids = check::list("link_ids", &from.link_ids, 0..=500, bad, |link, bad| {
                bad.take("", known(&asked, link))
            });
            if link_ids.iter().collect::<HashSet<_>>().len() < link_ids.len() {
                bad.add("link_ids", "holds an item twice");
            }
            let bands = check::list("bands", &from.bands, 0..=20, bad, |from, bad| {
                let at_least = bad.take("at_least", finite(from.at_least));
                let display = bad.take("display", check::text(&from.display, 1..=100));
                let risk_rank = bad.take("risk_rank", check::within(from.risk_rank, 0..=3));
                Some(Band { at_least: at_least?, display: display?, risk_rank: risk_rank? })
            });
            if bands.windows(2).any(|pair| pair[0].at_least >= pair[1].at_least) {
                bad.add("bands", "must rise");
            }
            Some(Rule {
                score: score?,
                method: method?.into(),
                link_ids,
                missing: missing?.into(),
                max_missing: max_missing?,
                bands,
            })
        });
        let names: HashSet<&str> = rules.iter().map(|rule| rule.score.as_str()).collect();
        if names.len() < rules.len() {
            bad.add(path, "holds a score twice");
        }
        Json(rules)
    }

    /// What the answers come to under this rule.
    pub(crate) fn total(&self, form: &Questionnaire, answers: &Answers) -> Result<Total, Unscored> {
        let points = match Method::try_from(self.method) {
            Ok(Method::Sum) => Points::Number,
            _ => Points::Weight,
        };
        let missing = match MissingRule::try_from(self.missing) {
            Ok(MissingRule::Prorate) => {
                Missing::Prorate { most: usize::try_from(self.max_missing).unwrap_or_default() }
            }
            Ok(MissingRule::Zero) => Missing::Zero,
            _ => Missing::Refuse,
        };
        score::of(form, answers, &self.link_ids, points, missing)
    }

    pub fn band(&self, value: f64) -> Option<&Band> {
        self.bands.iter().rev().find(|band| value >= band.at_least)
    }

    /// What computed the score, as scores name it.
    pub fn method(&self) -> &'static str {
        match Method::try_from(self.method) {
            Ok(Method::ItemWeight) => "item-weight",
            Ok(Method::Sum) => "sum",
            _ => "ordinal-value",
        }
    }
}

impl Critical {
    /// Checks the critical items of `form`.
    pub(crate) fn all(
        form: &Questionnaire,
        from: &[pb::CriticalItem],
        bad: &mut Violations,
    ) -> Json<Vec<Self>> {
        let asked = asked(form);
        let path = "questionnaire.critical_items";
        Json(check::list(path, from, 0..=50, bad, |from, bad| {
            let link_id = bad.take("link_id", known(&asked, &from.link_id));
            let at_least = bad.take("at_least", finite(from.at_least));
            let task_title = bad.take("task_title", check::text(&from.task_title, 1..=200));
            let seconds =
                from.due_within.as_ref().map_or(CRITICAL.whole_seconds(), |due| due.seconds);
            let longest = Duration::days(30).whole_seconds();
            if !(1..=longest).contains(&seconds) {
                bad.add("due_within", "wants 1 second to 30 days");
            }
            Some(Critical {
                link_id: link_id?,
                at_least: at_least?,
                task_title: task_title?,
                due_within: seconds,
            })
        }))
    }
}

fn asked(form: &Questionnaire) -> HashSet<&str> {
    let asks = form.all().filter(|item| item.kind.asks());
    asks.map(|item| item.link_id.as_str()).collect()
}

fn known(asked: &HashSet<&str>, link: &str) -> check::Checked<String> {
    let found = asked.contains(link).then(|| link.to_owned());
    found.ok_or_else(|| "is not a question of this form".to_owned())
}

fn finite(value: f64) -> check::Checked<f64> {
    value.is_finite().then_some(value).ok_or_else(|| "wants a number".to_owned())
}

// === wire ===

impl From<Rule> for pb::ScoringRule {
    fn from(Rule { score, method, link_ids, missing, max_missing, bands }: Rule) -> Self {
        let bands = bands.into_iter().map(Into::into).collect();
        pb::ScoringRule { score, method, link_ids, missing, max_missing, bands }
    }
}

impl From<Band> for pb::Band {
    fn from(Band { at_least, display, risk_rank }: Band) -> Self {
        pb::Band { at_least, display, risk_rank }
    }
}

impl From<Critical> for pb::CriticalItem {
    fn from(Critical { link_id, at_least, task_title, due_within }: Critical) -> Self {
        let due_within = Some(prost_types::Duration { seconds: due_within, nanos: 0 });
        pb::CriticalItem { link_id, at_least, task_title, due_within }
    }
}
