//! Heads of chains, signed and kept outside the database: what makes a cut, rebuilt or restored log show.
//!
//! A file of lines, one statement each, appended to and flushed. A statement says where the chains of one exporter's
//! writers ended, and at its start where every chain of the database did. Statements of one exporter are numbered and
//! linked, so that one that is missing shows. They hold hashes, and nothing of anybody.
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use caseward_core::{Clock, Time};
use sea_orm::{QueryOrder, entity::prelude::*};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, futures::OwnedNotified};
use tracing::{info, warn};

use super::{Chain, Column, Entity};
use crate::Store;

#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::heads as fuzz_heads;

/// Where a chain ended at some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The chain.
    pub chain: Uuid,
    /// The place of its last entry; 0 where it has none yet.
    pub seq: i64,
    /// The hash of its last entry.
    #[serde(with = "base64_text")]
    pub hash: Vec<u8>,
}

/// Where the chains of a store's writers end, kept by the writers.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    heads: Mutex<BTreeMap<Uuid, Head>>,
    /// Chains that go on no more, whose last entries may be there or not: the database is asked for their ends.
    ended: Mutex<BTreeSet<Uuid>>,
    begun: Arc<Notify>,
}

impl Ends {
    /// Notes that `chain` has grown.
    pub(crate) fn moved(&self, chain: &Chain) {
        let head = chain.head();
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.insert(head.chain, head);
    }

    /// Notes that `chain` begins where it is not known how `before` ended; both are told at once.
    pub(crate) fn began(&self, chain: &Chain, before: &Chain) {
        self.moved(chain);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(before.id);
        self.begun.notify_one();
    }

    fn ended(&self) -> BTreeSet<Uuid> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves the ends of `chains` to the inventories, like those of other processes.
    fn leave(&self, chains: &BTreeSet<Uuid>) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.retain(|chain, _| !chains.contains(chain));
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|chain| !chains.contains(chain));
    }

    fn all(&self) -> Vec<Head> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn begun(&self) -> OwnedNotified {
        self.begun.clone().notified_owned()
    }
}

/// What an exporter states.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    /// Whose log, by the section of the service in the settings.
    service: String,
    /// By the machine's clock, in RFC 3339.
    at: String,
    /// One per service and start of a process.
    exporter: Uuid,
    /// From 1, without a gap.
    number: u64,
    /// SHA-256 of the exporter's statement before; empty in the first.
    #[serde(with = "base64_text")]
    previous: Vec<u8>,
    /// Whether `found` holds every chain of the database.
    all: bool,
    /// Chains of the exporter's own writers.
    own: Vec<Head>,
    /// Chains as the database has them.
    found: Vec<Head>,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    statement: Statement,
    /// The public key.
    #[serde(with = "base64_text")]
    key: Vec<u8>,
    /// Ed25519 over the JSON of the statement.
    #[serde(with = "base64_text")]
    signature: Vec<u8>,
}

/// The file to which a process appends, and the key with which it signs.
#[derive(Debug)]
pub struct HeadLog {
    path: PathBuf,
    pair: Ed25519KeyPair,
    file: Mutex<File>,
}

impl HeadLog {
    /// Opens the file at `path` and the key at `key`, and makes what is not there yet.
    /// The public key is kept beside the key, for whoever verifies elsewhere.
    pub fn open(path: &Path, key: &Path) -> Result<HeadLog> {
        let pair = pair(key)?;
        for folder in [path.parent(), key.parent()].into_iter().flatten() {
            fs::create_dir_all(folder)?;
        }
        // The key may be on a mount that takes no files; whoever mounts it knows its public half.
        if let Err(cause) = publish(&key.with_extension("pub"), pair.public_key().as_ref()) {
            warn!(cause = %cause, "the public key of the audit log is not kept beside the key");
        }
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path);
        let file =
            file.with_context(|| format!("opening {} for heads of the audit log", path.display()))?;
        Ok(HeadLog { path: path.to_owned(), pair, file: Mutex::new(file) })
    }

    /// Puts a statement on the disk; answers its hash.
    fn append(&self, statement: Statement) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(&statement)?;
        let line = Line {
            statement,
            key: self.pair.public_key().as_ref().to_vec(),
            signature: self.pair.sign(&text).as_ref().to_vec(),
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that a full disk or a crash cut must not swallow the next.
        if !ends_with_line(&mut file)? {
            bytes.insert(0, b'\n');
        }
        // One call, so that processes that share the file do not mix their lines.
        file.write_all(&bytes).and_then(|()| file.sync_data())?;
        Ok(digest(&SHA256, &text).as_ref().to_vec())
    }
}

fn ends_with_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Tells where the chains of one store end.
#[derive(Debug)]
pub struct Exporter {
    service: &'static str,
    store: Store,
    log: Arc<HeadLog>,
    id: Uuid,
    number: u64,
    previous: Vec<u8>,
    told: HashMap<Uuid, i64>,
}

/// How often every chain of the database is looked at, in rounds: one whose process was killed has a tail untold.
const ROUNDS: u32 = 60;

impl Exporter {
    /// Announces the chains of the store's writers in `log`: what is on no such list was written by nobody of ours.
    pub fn open(service: &'static str, store: Store, log: Arc<HeadLog>) -> Result<Exporter> {
        let mut exporter = Exporter {
            service,
            store,
            log,
            id: Uuid::now_v7(),
            number: 0,
            previous: vec![],
            told: HashMap::new(),
        };
        exporter.export()?;
        Ok(exporter)
    }

    /// Exports at start, then each time `every` has passed, then at the end.
    pub async fn run(
        mut self,
        every: Duration,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let mut stop = std::pin::pin!(stop);
        let mut round = 0;
        loop {
            let mut told = self.export();
            if told.is_ok() && round % ROUNDS == 0 {
                told = self.export_all().await;
            }
            match told {
                Ok(()) => round += 1,
                // The round is not counted, so that an inventory that failed comes next.
                Err(cause) => warn!(
                    service = self.service, file = %self.log.path.display(), cause = %cause,
                    "could not export the heads of the audit log; will try again"
                ),
            }
            let begun = self.store.ends().begun();
            tokio::select! {
                () = &mut stop => break,
                () = begun => round = 0,
                () = tokio::time::sleep(every) => {}
            }
        }
        self.export()
    }

    /// States where the chains of the writers end, if any has grown.
    pub fn export(&mut self) -> Result<()> {
        self.state(false, vec![])
    }

    /// States besides where every other chain of the database ends.
    pub async fn export_all(&mut self) -> Result<()> {
        let ended = self.store.ends().ended();
        let mut own: BTreeSet<Uuid> =
            self.store.ends().all().iter().map(|head| head.chain).collect();
        own.retain(|chain| !ended.contains(chain));
        let mut found = vec![];
        let mut after = Uuid::nil();
        // From chain to chain along the key, so that the length of the log does not matter.
        while let Some(next) = Entity::find()
            .filter(Column::Chain.gt(after))
            .order_by_asc(Column::Chain)
            .order_by_asc(Column::Seq)
            .one(self.store.reader())
            .await?
        {
            after = next.chain;
            let last = Entity::find()
                .filter(Column::Chain.eq(next.chain))
                .order_by_desc(Column::Seq)
                .one(self.store.reader())
                .await?;
            if let Some(last) = last.filter(|last| !own.contains(&last.chain)) {
                found.push(Head { chain: last.chain, seq: last.seq, hash: last.hash });
            }
        }
        let first = !self.told.contains_key(&self.id);
        if !first {
            found.retain(|head| self.told.get(&head.chain) != Some(&head.seq));
        }
        self.state(first, found)?;
        self.store.ends().leave(&ended);
        // The exporter's own id stands for the inventory, which no chain can have.
        self.told.insert(self.id, 0);
        Ok(())
    }

    fn state(&mut self, all: bool, found: Vec<Head>) -> Result<()> {
        let mut own = self.store.ends().all();
        own.retain(|head| self.told.get(&head.chain) != Some(&head.seq));
        if own.is_empty() && found.is_empty() && !all && self.number > 0 {
            return Ok(());
        }
        let grown: Vec<_> = own.iter().chain(&found).map(|head| (head.chain, head.seq)).collect();
        let statement = Statement {
            service: self.service.to_owned(),
            at: Clock::System.now().to_string(),
            exporter: self.id,
            number: self.number + 1,
            previous: self.previous.clone(),
            all,
            own,
            found,
        };
        self.previous = self.log.append(statement)?;
        self.number += 1;
        self.told.extend(grown);
        Ok(())
    }
}

/// The public keys whose statements count.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeSet<Vec<u8>>);

impl Keys {
    /// Reads keys, one a line, as they stand beside the key that signs.
    pub fn read(path: &Path) -> Result<Keys> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.map(|line| BASE64.decode(line).context("a key that does not read"));
        Ok(Keys(keys.collect::<Result<_>>()?))
    }
}

/// What statements say of the log of one service.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// How many statements there are.
    pub(super) statements: u64,
    /// What is wrong with the statements themselves.
    pub(super) faults: Vec<String>,
    /// Where each chain was said to end, time and again.
    pub(super) chains: BTreeMap<Uuid, BTreeMap<i64, Vec<u8>>>,
    /// The chains that somebody wrote who was there to say so, and those that were there before anybody said anything.
    pub(super) known: BTreeSet<Uuid>,
    /// When the last statement was made.
    pub(super) last: Option<Time>,
}

impl Heads {
    /// Reads what `files` say of every service.
    pub fn read(files: &[PathBuf], keys: &Keys) -> Result<BTreeMap<String, Heads>> {
        let mut lines = vec![];
        for path in files {
            let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
            for line in BufReader::new(file).split(b'\n') {
                // A line that was cut short says nothing; where it hid a statement, the next one's number shows it.
                if let Ok(line) = serde_json::from_slice::<Line>(&line?) {
                    lines.push(line);
                }
            }
        }
        lines.sort_by(|a, b| {
            let order = |line: &Line| (line.statement.exporter, line.statement.number);
            order(a).cmp(&order(b))
        });
        let mut services: BTreeMap<String, Heads> = BTreeMap::new();
        let mut first: BTreeMap<String, (Time, Vec<Uuid>)> = BTreeMap::new();
        let mut before: Option<(Uuid, u64, Vec<u8>)> = None;
        for Line { statement, key, signature } in lines {
            let heads = services.entry(statement.service.clone()).or_default();
            let text = serde_json::to_vec(&statement)?;
            let hash = digest(&SHA256, &text).as_ref().to_vec();
            let (exporter, number) = (statement.exporter, statement.number);
            let mut wrong = |why: &str| {
                heads.faults.push(format!("statement {number} of exporter {exporter} {why}"));
            };
            if !keys.0.contains(&key) {
                wrong("is signed with a key that is not known");
                continue;
            }
            if UnparsedPublicKey::new(&ED25519, &key).verify(&text, &signature).is_err() {
                wrong("was changed after it was signed");
                continue;
            }
            let last = before.as_ref().filter(|(same, ..)| *same == exporter);
            match last {
                // The same file, given twice.
                Some((_, last, same)) if *last == number && *same == hash => continue,
                Some((_, last, same)) if *last + 1 == number && *same == statement.previous => {}
                None if number == 1 => {}
                _ => wrong("does not follow the one before it"),
            }
            before = Some((exporter, number, hash));
            heads.take(statement, &mut first);
        }
        for (service, (_, chains)) in first {
            services.entry(service).or_default().known.extend(chains);
        }
        Ok(services)
    }

    fn take(&mut self, statement: Statement, first: &mut BTreeMap<String, (Time, Vec<Uuid>)>) {
        self.statements += 1;
        let at = Time::parse(&statement.at).unwrap_or(Time::from_micros(0));
        self.last = self.last.max(Some(at));
        self.known.extend(statement.own.iter().map(|head| head.chain));
        if statement.all && first.get(&statement.service).is_none_or(|(earlier, _)| at < *earlier) {
            let chains = statement.found.iter().map(|head| head.chain).collect();
            first.insert(statement.service.clone(), (at, chains));
        }
        for Head { chain, seq, hash } in statement.own.into_iter().chain(statement.found) {
            let earlier = self.chains.entry(chain).or_default().insert(seq, hash.clone());
            if earlier.is_some_and(|earlier| earlier != hash) {
                let why = format!("entry {seq} of chain {chain} was said to have two hashes");
                self.faults.push(why);
            }
        }
    }
}

/// The key at `path`, made where there is none: of two processes that start together both use the first.
fn pair(path: &Path) -> Result<Ed25519KeyPair> {
    let read = || match fs::read(path) {
        Ok(key) => Ok(Some(key)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause).with_context(|| format!("reading {}", path.display())),
    };
    let key = match read()? {
        Some(key) => key,
        None => {
            make(path)?;
            read()?.ok_or_else(|| anyhow!("{} vanished", path.display()))?
        }
    };
    Ed25519KeyPair::from_pkcs8(&key)
        .map_err(|_| anyhow!("{} holds no Ed25519 key in PKCS #8", path.display()))
}

fn make(path: &Path) -> Result<()> {
    let key = Ed25519KeyPair::generate()
        .and_then(|pair| pair.to_pkcs8v1())
        .map_err(|_| anyhow!("no key could be made"))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("key.{}", Uuid::now_v7()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(key.as_ref()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => info!(path = %path.display(), "made a key that signs heads of the audit log"),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
        Err(cause) => return Err(cause).context("the key of the audit log cannot be stored"),
    }
    Ok(())
}

/// Adds `key` to the public keys at `path`; those that signed before stay.
fn publish(path: &Path, key: &[u8]) -> Result<()> {
    if path.exists() && Keys::read(path)?.0.contains(key) {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    Ok(file.write_all(format!("{}\n", BASE64.encode(key)).as_bytes())?)
}

/// Bytes in JSON.
mod base64_text {
    use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        BASE64.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
