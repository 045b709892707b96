//! The instruments we may ship and know how to score, and how to recognise a copy of one.
use crate::questionnaire::{Answer, Item, Kind, Options, Questionnaire};

/// An instrument: what it counts, how, and by what right we carry it.
#[derive(Debug)]
pub(crate) struct Instrument {
    pub(crate) id: &'static str,
    /// The version of the scoring rule, kept with each score so that it can be scored again.
    pub(crate) version: &'static str,
    /// LOINC, for the whole.
    pub(crate) panel: &'static str,
    /// LOINC, for the total.
    pub(crate) total: &'static str,
    pub(crate) questions: &'static [Question],
    pub(crate) points: &'static [Points],
    /// The least and the most that a total can be.
    pub(crate) range: (f64, f64),
    pub(crate) missing: Missing,
    pub(crate) bands: &'static [Band],
    pub(crate) critical: &'static [Rule],
    /// By what right it is shipped.
    #[cfg_attr(not(test), expect(dead_code, reason = "stands by the text it allows"))]
    pub(crate) licence: &'static str,
    /// Where scoring and licence were read.
    #[cfg_attr(not(test), expect(dead_code, reason = "stands by the numbers it vouches for"))]
    pub(crate) source: &'static str,
    /// Our own FHIR R4 Questionnaire of it.
    pub(crate) questionnaire: &'static str,
}

/// One counted question.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) loinc: &'static str,
    /// Words of the validated text that no other question of the instrument has, for copies
    /// without item codes.
    pub(crate) phrase: &'static str,
}

/// One of the answers that all counted questions share.
#[derive(Debug)]
pub(crate) struct Points {
    pub(crate) loinc: &'static str,
    pub(crate) label: &'static str,
    pub(crate) value: f64,
}

/// What happens to a total when items are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Refuse,
    /// Up to so many are replaced by the mean of those answered.
    Prorate {
        most: usize,
    },
    /// They count nothing.
    Zero,
}

/// Totals from here up to the next band.
#[derive(Debug, PartialEq)]
pub(crate) struct Band {
    pub(crate) from: f64,
    pub(crate) name: &'static str,
    /// What the instrument asks for from here on.
    pub(crate) action: Option<&'static str>,
}

/// A question whose answer alone calls for someone.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The position in `questions`.
    pub(crate) question: usize,
    pub(crate) above: f64,
    pub(crate) reason: &'static str,
}

const FREE: &str = "no permission required to reproduce, translate, display or distribute";
const SOURCE: &str = "https://www.phqscreeners.com";

const FREQUENCY: &[Points] = &[
    Points { loinc: "LA6568-5", label: "not at all", value: 0.0 },
    Points { loinc: "LA6569-3", label: "several days", value: 1.0 },
    Points { loinc: "LA6570-1", label: "more than half the days", value: 2.0 },
    Points { loinc: "LA6571-9", label: "nearly every day", value: 3.0 },
];

const PHQ: &[Question] = &[
    Question { loinc: "44250-9", phrase: "little interest" },
    Question { loinc: "44255-8", phrase: "feeling down" },
    Question { loinc: "44259-0", phrase: "asleep" },
    Question { loinc: "44254-1", phrase: "tired" },
    Question { loinc: "44251-7", phrase: "appetite" },
    Question { loinc: "44258-2", phrase: "bad about yourself" },
    Question { loinc: "44252-5", phrase: "concentrating" },
    Question { loinc: "44253-3", phrase: "moving or speaking" },
    Question { loinc: "44260-8", phrase: "better off dead" },
];

const GAD: &[Question] = &[
    Question { loinc: "69725-0", phrase: "nervous" },
    Question { loinc: "68509-9", phrase: "control worrying" },
    Question { loinc: "69733-4", phrase: "worrying too much" },
    Question { loinc: "69734-2", phrase: "relaxing" },
    Question { loinc: "69735-9", phrase: "restless" },
    Question { loinc: "69689-8", phrase: "annoyed" },
    Question { loinc: "69736-7", phrase: "afraid" },
];

const FLAG: Option<&str> = Some("further evaluation");

/// Every instrument we ship; one that holds all questions of another stands before it.
pub(crate) static REGISTRY: [Instrument; 3] = [
    Instrument {
        id: "phq-9",
        version: "1.0.0",
        panel: "44249-1",
        total: "44261-6",
        questions: PHQ,
        points: FREQUENCY,
        range: (0.0, 27.0),
        missing: Missing::Refuse,
        bands: &[
            Band { from: 0.0, name: "minimal", action: None },
            Band { from: 5.0, name: "mild", action: None },
            Band { from: 10.0, name: "moderate", action: FLAG },
            Band { from: 15.0, name: "moderately severe", action: FLAG },
            Band { from: 20.0, name: "severe", action: FLAG },
        ],
        critical: &[Rule {
            question: 8,
            above: 0.0,
            reason: "thoughts of death or self-harm: follow the safety protocol",
        }],
        licence: FREE,
        source: SOURCE,
        questionnaire: include_str!("../../instruments/phq-9.json"),
    },
    Instrument {
        id: "gad-7",
        version: "1.0.0",
        panel: "69737-5",
        total: "70274-6",
        questions: GAD,
        points: FREQUENCY,
        range: (0.0, 21.0),
        missing: Missing::Refuse,
        bands: &[
            Band { from: 0.0, name: "minimal", action: None },
            Band { from: 5.0, name: "mild", action: None },
            Band { from: 10.0, name: "moderate", action: FLAG },
            Band { from: 15.0, name: "severe", action: FLAG },
        ],
        critical: &[],
        licence: FREE,
        source: SOURCE,
        questionnaire: include_str!("../../instruments/gad-7.json"),
    },
    Instrument {
        id: "phq-2",
        version: "1.0.0",
        panel: "55757-9",
        total: "55758-7",
        questions: PHQ.split_at(2).0,
        points: FREQUENCY,
        range: (0.0, 6.0),
        missing: Missing::Refuse,
        bands: &[
            Band { from: 0.0, name: "negative", action: None },
            Band { from: 3.0, name: "positive", action: Some("ask the PHQ-9") },
        ],
        critical: &[],
        licence: FREE,
        source: SOURCE,
        questionnaire: include_str!("../../instruments/phq-2.json"),
    },
];

impl Instrument {
    /// What an answer is worth here: by its LOINC code, or else by what people read.
    pub(super) fn points(&self, item: &Item, answer: &Answer) -> Option<f64> {
        let known = match answer {
            Answer::Coding(given) => {
                // A response may leave the display out; the option it chose has it.
                let label = given.display.as_deref().or_else(|| {
                    match &super::chosen(item, answer)?.value {
                        Answer::Coding(option) => option.display.as_deref(),
                        _ => None,
                    }
                });
                let coded = self.points.iter().find(|points| given.is_loinc(points.loinc));
                coded.or_else(|| self.labelled(label?))
            }
            Answer::Text(text) => self.labelled(text),
            Answer::Integer(number) => {
                self.points.iter().find(|points| points.value == *number as f64)
            }
            _ => None,
        };
        known.map(|points| points.value)
    }

    pub(super) fn band(&self, total: f64) -> Option<&'static Band> {
        let (least, most) = self.range;
        let bands: &'static [Band] = self.bands;
        (least..=most)
            .contains(&total)
            .then(|| bands.iter().rev().find(|band| total >= band.from))
            .flatten()
    }

    /// Where the options of a copy differ from the instrument, such as "not at all sure" for
    /// "not at all", or another weight.
    pub(super) fn departures(&self, items: &[&Item]) -> Vec<String> {
        let mut notes = vec![];
        for item in items {
            let Options::Listed(choices) = &item.options else { continue };
            for (n, choice) in choices.iter().enumerate() {
                let link = &item.link_id;
                let Answer::Coding(coding) = &choice.value else { continue };
                let label = coding.display.as_deref();
                let points = self.points(item, &choice.value);
                match (points, choice.weight) {
                    (None, _) => notes.push(format!("{link}: option {n} is not of {}", self.id)),
                    (Some(points), Some(weight)) if points != weight => notes.push(format!(
                        "{link}: option {n} weighs {weight} there and {points} in {}",
                        self.id
                    )),
                    (Some(points), _) => {
                        let said = label.and_then(|label| self.labelled(label));
                        if label.is_some() && said.is_none_or(|said| said.value != points) {
                            notes.push(format!("{link}: option {n} is worded unlike {}", self.id));
                        }
                    }
                }
            }
        }
        notes
    }

    fn labelled(&self, label: &str) -> Option<&Points> {
        self.points.iter().find(|points| points.label.eq_ignore_ascii_case(label.trim()))
    }

    /// The counted items of a copy, in our order: by item codes, or in a Questionnaire that is
    /// coded for our panel or total, by the words of its questions.
    fn items<'a>(&self, questionnaire: &'a Questionnaire) -> Option<Vec<&'a Item>> {
        let asked = || questionnaire.all().filter(|item| item.kind.asks() && item.sum.is_none());
        let only = |found: Vec<&'a Item>| match found[..] {
            [item] => Some(item),
            _ => None,
        };
        let coded = |question: &Question| {
            let has =
                |item: &&Item| item.codes.iter().any(|coding| coding.is_loinc(question.loinc));
            only(asked().filter(has).collect())
        };
        if let Some(items) = self.questions.iter().map(coded).collect() {
            return Some(items);
        }
        let panel = questionnaire.codes.iter().any(|coding| coding.is_loinc(self.panel));
        let total = questionnaire
            .all()
            .any(|item| item.codes.iter().any(|coding| coding.is_loinc(self.total)));
        if !panel && !total {
            return None;
        }
        let worded = |question: &Question| {
            let says = |item: &&Item| {
                matches!(item.kind, Kind::Choice | Kind::OpenChoice)
                    && item.text.to_ascii_lowercase().contains(question.phrase)
            };
            only(asked().filter(says).collect())
        };
        self.questions.iter().map(worded).collect()
    }
}

/// The instrument a Questionnaire is a copy of, and its counted items.
///
/// One that is coded in LOINC as another panel is not: the PHQ-4 holds the questions of the PHQ-2
/// and is scored in its own way.
pub(super) fn recognise(
    questionnaire: &Questionnaire,
) -> Option<(&'static Instrument, Vec<&Item>)> {
    REGISTRY.iter().find_map(|instrument| {
        let mut codes = questionnaire.codes.iter();
        let loinc = |system: &Option<String>| system.as_deref() == Some("http://loinc.org");
        let another = codes.any(|coding| loinc(&coding.system))
            && !questionnaire.codes.iter().any(|coding| coding.is_loinc(instrument.panel));
        if another {
            return None;
        }
        Some((instrument, instrument.items(questionnaire)?))
    })
}
