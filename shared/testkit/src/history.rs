//! What clients asked for and what they were told, written down as it happens, and judged against what is there.
//!
//! A client says what it is about to do before it does it, and how that went after. A call has one of three
//! outcomes: it was done, it was refused, or nobody knows. So an end that was never written is unknown too, and
//! the file can be judged whatever happened to its writer.
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Context;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// A history that is being written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    path: Arc<PathBuf>,
    file: Arc<Mutex<File>>,
    next: Arc<AtomicU64>,
}

/// A call that is under way.
#[derive(Debug)]
pub struct Call {
    history: History,
    id: u64,
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and this is what the caller was told.
    Ok(String),
    /// It was not done; why.
    Refused(String),
    /// It may have been done; why that is not known.
    Unknown(String),
}

/// One intent, such as to create one record: all calls that share a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// What every acknowledged call was told.
    pub told: Vec<String>,
    /// How many calls were refused.
    pub refused: u64,
    /// How many calls have an unknown outcome.
    pub unknown: u64,
}

impl History {
    /// Begins a history in a new file, which says the seed of the run first.
    pub fn create(path: &Path, seed: u64) -> io::Result<History> {
        let mut file = File::create(path)?;
        writeln!(file, "{}", json!({ "seed": seed }))?;
        let (file, next) = (Arc::new(Mutex::new(file)), Arc::default());
        Ok(History { path: Arc::new(path.to_owned()), file, next })
    }

    /// Says that `client` is about to do `what` to the thing known by `key`.
    pub fn begin(&self, client: &str, what: &str, key: &str) -> Call {
        let id = self.next.fetch_add(1, Relaxed);
        self.write(&json!({ "call": id, "client": client, "what": what, "key": key }));
        Call { history: self.clone(), id }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The intents so far, by their keys.
    pub fn intents(&self) -> anyhow::Result<BTreeMap<String, Intent>> {
        read(&self.path)
    }

    fn write(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write per line, so that a reader meets no half of one.
        file.write_all(format!("{line}\n").as_bytes()).expect("a history can be written");
    }
}

impl Call {
    /// Says how it went. A call that never says so is unknown.
    pub fn end(self, outcome: &Outcome) {
        let (word, told) = match outcome {
            Outcome::Ok(told) => ("ok", told),
            Outcome::Refused(told) => ("refused", told),
            Outcome::Unknown(told) => ("unknown", told),
        };
        self.history.write(&json!({ "end": self.id, "outcome": word, "told": told }));
    }
}

impl Outcome {
    /// What an answer says of a change. `told` is what makes two answers the same.
    pub fn of<T>(answer: &Result<T, Status>, told: impl FnOnce(&T) -> String) -> Outcome {
        match answer {
            Ok(reply) => Outcome::Ok(told(reply)),
            Err(status) => {
                let why = format!("{:?}: {}", status.code(), status.message());
                let open = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled];
                // A status with a cause was made by the client: the connection broke.
                let broken = std::error::Error::source(status).is_some();
                if broken || open.contains(&status.code()) {
                    Outcome::Unknown(why)
                } else {
                    Outcome::Refused(why)
                }
            }
        }
    }
}

/// The intents of the history at `path`, by their keys.
pub fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Intent>> {
    let mut keys = BTreeMap::new();
    let mut intents = BTreeMap::<String, Intent>::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line: Value = serde_json::from_str(&line?).context("a line of a history")?;
        if let Some(id) = line["call"].as_u64() {
            let key = line["key"].as_str().context("a call has a key")?.to_owned();
            intents.entry(key.clone()).or_default().unknown += 1;
            keys.insert(id, key);
        } else if let Some(id) = line["end"].as_u64() {
            let key = keys.get(&id).context("an end has a beginning")?;
            let intent = intents.get_mut(key).context("a call has an intent")?;
            match line["outcome"].as_str() {
                Some("ok") => {
                    intent.told.push(line["told"].as_str().unwrap_or_default().to_owned());
                }
                Some("refused") => intent.refused += 1,
                _ => continue,
            }
            intent.unknown -= 1;
        }
    }
    Ok(intents)
}

/// What is wrong with a state that holds each key as often as `found` says, given what clients were told.
///
/// Acknowledged is there once; refused is not there; unknown is there once or not at all; nothing is there that
/// nobody asked for; and whoever asked twice was told the same twice.
pub fn judge(intents: &BTreeMap<String, Intent>, found: &BTreeMap<String, u64>) -> Vec<String> {
    let mut wrong = vec![];
    for (key, intent) in intents {
        let times = found.get(key).copied().unwrap_or_default();
        let acknowledged = !intent.told.is_empty();
        match times {
            0 if acknowledged => wrong.push(format!("{key} was acknowledged and is lost")),
            1 if !acknowledged && intent.unknown == 0 => {
                wrong.push(format!("{key} was refused and is there"));
            }
            0 | 1 => {}
            _ => wrong.push(format!("{key} is there {times} times")),
        }
        if intent.told.windows(2).any(|two| two[0] != two[1]) {
            wrong.push(format!("{key} was answered in different ways"));
        }
    }
    let strange = found.keys().filter(|key| !intents.contains_key(*key));
    wrong.extend(strange.map(|key| format!("{key} is there and nobody asked for it")));
    wrong
}
