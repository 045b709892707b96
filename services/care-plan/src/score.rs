//! Totals from weighed answers, with the band, and the answers that cannot wait for it.
mod instrument;

use std::collections::BTreeMap;

pub(crate) use self::instrument::{Band, Instrument, Missing, REGISTRY};
use crate::questionnaire::{Answer, Answers, Choice, Item, Kind, Options, Questionnaire, Sum};

/// What the answers come to.
pub(crate) struct Scored {
    /// The instrument we recognised, if it is one of ours.
    pub(crate) instrument: Option<&'static Instrument>,
    pub(crate) total: Result<Total, Unscored>,
    /// Reported even when there is no total: an incomplete form does not silence them.
    pub(crate) critical: Vec<Critical>,
    /// The total that the response itself states, which is never taken for ours.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests tell ours from theirs"))]
    pub(crate) stated: Option<f64>,
    /// Where the Questionnaire departs from the instrument it is taken for.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests tell copies apart"))]
    pub(crate) notes: Vec<String>,
}
caseward_core::confidential!(Scored);

/// A sum and where it lies.
#[derive(Clone, PartialEq)]
pub(crate) struct Total {
    pub(crate) value: f64,
    pub(crate) band: Option<&'static Band>,
    /// How many items were missing and replaced by the mean of the others, or by nothing.
    pub(crate) prorated: usize,
    /// What each answered item adds, by `linkId`.
    pub(crate) parts: Vec<(String, f64)>,
}
caseward_core::confidential!(Total);

/// Why there is no total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unscored {
    /// No option carries a weight and we know no instrument that gives it one.
    NoWeights,
    /// Options are weighed, but nothing we can read says which items are summed.
    NoRule,
    /// Counted items without an answer, by `linkId`.
    Missing(Vec<String>),
    /// A counted item whose answer is repeated or weighs nothing that is known.
    Unweighed(String),
    /// The points are more than a number holds.
    Boundless,
}

/// An answer somebody has to look at now.
#[derive(Clone, PartialEq)]
pub(crate) struct Critical {
    pub(crate) link_id: String,
    pub(crate) reason: &'static str,
    /// What the answer is worth.
    pub(crate) points: f64,
}
caseward_core::confidential!(Critical);

/// What the points of an answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Points {
    /// The weight of the chosen option.
    Weight,
    /// The answer itself.
    Number,
}

/// The instrument that a Questionnaire is a copy of, if it is one of ours.
pub(crate) fn recognised(questionnaire: &Questionnaire) -> Option<&'static Instrument> {
    instrument::recognise(questionnaire).map(|(instrument, _)| instrument)
}

/// Scores under the missing-item rule of the instrument.
pub(crate) fn score(questionnaire: &Questionnaire, answers: &Answers) -> Scored {
    let recognised = instrument::recognise(questionnaire);
    let missing = recognised.as_ref().map_or(Missing::Refuse, |found| found.0.missing);
    under(questionnaire, answers, missing)
}

/// Scores under another missing-item rule than the instrument's own.
pub(crate) fn under(questionnaire: &Questionnaire, answers: &Answers, missing: Missing) -> Scored {
    let critical = critical(questionnaire, answers);
    match instrument::recognise(questionnaire) {
        Some((instrument, items)) => Scored {
            instrument: Some(instrument),
            total: by_instrument(instrument, &items, answers, missing),
            critical,
            stated: stated(questionnaire, answers, Some(instrument)),
            notes: instrument.departures(&items),
        },
        None => Scored {
            instrument: None,
            total: by_sum(questionnaire, answers, missing),
            critical,
            stated: stated(questionnaire, answers, None),
            notes: vec![],
        },
    }
}

/// An instrument's own points count, not the weights that a copy of it was published with.
fn by_instrument(
    instrument: &'static Instrument,
    items: &[&Item],
    answers: &Answers,
    missing: Missing,
) -> Result<Total, Unscored> {
    let points = |item: &Item, answer: &Answer| instrument.points(item, answer);
    let mut total = add(items, answers, missing, points)?;
    if total.prorated > 0 {
        // Bands are of whole points.
        total.value = total.value.round();
    }
    total.band = instrument.band(total.value);
    Ok(total)
}

/// What a Questionnaire that we do not know says about its own sum.
fn by_sum(
    questionnaire: &Questionnaire,
    answers: &Answers,
    missing: Missing,
) -> Result<Total, Unscored> {
    let weighed: Vec<&Item> = questionnaire.all().filter(|item| is_weighed(item)).collect();
    if weighed.is_empty() {
        return Err(Unscored::NoWeights);
    }
    let counted: Vec<&Item> = match questionnaire.all().find_map(|item| item.sum.as_ref()) {
        None | Some(Sum::Unknown) => return Err(Unscored::NoRule),
        Some(Sum::Everything) => weighed,
        Some(Sum::Inside(link)) => {
            let parent = questionnaire.all().find(|item| item.link_id == *link);
            let inside = parent.map_or(&[][..], |parent| &parent.items);
            inside.iter().filter(|item| is_weighed(item)).collect()
        }
        Some(Sum::Of(links)) => {
            questionnaire.all().filter(|item| links.contains(&item.link_id)).collect()
        }
    };
    if counted.is_empty() {
        return Err(Unscored::NoRule);
    }
    add(&counted, answers, missing, |item, answer| chosen(item, answer)?.weight)
}

/// The sum of the named items, or of every item that has such points.
pub(crate) fn of(
    questionnaire: &Questionnaire,
    answers: &Answers,
    links: &[String],
    points: Points,
    missing: Missing,
) -> Result<Total, Unscored> {
    let counts = |item: &&Item| match points {
        _ if !links.is_empty() => links.contains(&item.link_id),
        Points::Weight => is_weighed(item),
        Points::Number => matches!(item.kind, Kind::Integer | Kind::Decimal | Kind::Quantity),
    };
    let items: Vec<&Item> = questionnaire.all().filter(counts).collect();
    let mut total = add(&items, answers, missing, |item, answer| worth(item, answer, points))?;
    if total.prorated > 0 && missing != Missing::Zero {
        // Half up, also below zero.
        total.value = (total.value + 0.5).floor();
    }
    Ok(total)
}

/// The most points of any answer to a question.
pub(crate) fn most(questionnaire: &Questionnaire, answers: &Answers, link: &str) -> Option<f64> {
    let item = questionnaire.all().find(|item| item.link_id == link)?;
    let points = |answer| {
        worth(item, answer, Points::Weight).or_else(|| worth(item, answer, Points::Number))
    };
    answers.of(link).iter().filter_map(points).max_by(f64::total_cmp)
}

fn worth(item: &Item, answer: &Answer, points: Points) -> Option<f64> {
    match (points, answer) {
        (Points::Weight, answer) => chosen(item, answer)?.weight,
        (Points::Number, Answer::Quantity { value, .. }) => Some(*value),
        (Points::Number, answer) => answer.number(),
    }
}

fn add(
    items: &[&Item],
    answers: &Answers,
    missing: Missing,
    points: impl Fn(&Item, &Answer) -> Option<f64>,
) -> Result<Total, Unscored> {
    let mut sum = 0.0;
    let mut parts = vec![];
    let mut absent = vec![];
    for item in items {
        match answers.of(&item.link_id) {
            [] => absent.push(item.link_id.clone()),
            [answer] => {
                let unweighed = || Unscored::Unweighed(item.link_id.clone());
                let worth = points(item, answer).ok_or_else(unweighed)?;
                sum += worth;
                parts.push((item.link_id.clone(), worth));
            }
            _ => return Err(Unscored::Unweighed(item.link_id.clone())),
        }
    }
    let prorated = absent.len();
    let answered = items.len() - prorated;
    match missing {
        _ if absent.is_empty() => {}
        Missing::Zero => {}
        Missing::Prorate { most } if prorated <= most && answered > 0 => {
            sum *= items.len() as f64 / answered as f64;
        }
        _ => return Err(Unscored::Missing(absent)),
    }
    if !sum.is_finite() {
        return Err(Unscored::Boundless);
    }
    Ok(Total { value: sum, band: None, prorated, parts })
}

/// A critical question is known by its LOINC code in any Questionnaire, or by its place in an
/// instrument we recognised.
fn critical(questionnaire: &Questionnaire, answers: &Answers) -> Vec<Critical> {
    let recognised = instrument::recognise(questionnaire);
    let mut found: BTreeMap<String, (&'static str, f64)> = BTreeMap::new();
    for instrument in &REGISTRY {
        for rule in instrument.critical {
            let placed = recognised
                .iter()
                .filter(|(known, _)| known.id == instrument.id)
                .filter_map(|(_, items)| items.get(rule.question).copied());
            let code = instrument.questions[rule.question].loinc;
            let coded = questionnaire
                .all()
                .filter(|item| item.codes.iter().any(|coding| coding.is_loinc(code)));
            for item in placed.chain(coded) {
                let points = |answer| {
                    instrument.points(item, answer).or_else(|| chosen(item, answer)?.weight)
                };
                let worth = answers.of(&item.link_id).iter().filter_map(points);
                if let Some(most) = worth.max_by(f64::total_cmp).filter(|most| *most > rule.above) {
                    found.insert(item.link_id.clone(), (rule.reason, most));
                }
            }
        }
    }
    let critical = |(link_id, (reason, points))| Critical { link_id, reason, points };
    found.into_iter().map(critical).collect()
}

/// The total as the response states it, in the item that calculates it or is coded for it.
fn stated(
    questionnaire: &Questionnaire,
    answers: &Answers,
    instrument: Option<&Instrument>,
) -> Option<f64> {
    let total = questionnaire.all().find(|item| {
        let coded = |code| item.codes.iter().any(|coding| coding.is_loinc(code));
        item.sum.is_some() || instrument.is_some_and(|instrument| coded(instrument.total))
    })?;
    answers.of(&total.link_id).iter().find_map(|answer| match answer {
        Answer::Quantity { value, .. } => Some(*value),
        answer => answer.number(),
    })
}

fn is_weighed(item: &Item) -> bool {
    matches!(item.kind, Kind::Choice | Kind::OpenChoice)
        && matches!(&item.options, Options::Listed(choices) if choices.iter().any(|c| c.weight.is_some()))
}

fn chosen<'a>(item: &'a Item, answer: &Answer) -> Option<&'a Choice> {
    let Options::Listed(choices) = &item.options else { return None };
    choices.iter().find(|choice| choice.value.same(answer))
}

#[cfg(test)]
mod tests;
