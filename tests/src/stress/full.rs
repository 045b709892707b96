//! No room on the disk, no file handles: refusals, no loss, and back by itself.
use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use caseward_testkit::{Caller, History, Program, Suite, history};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::others::{Others, patient};
use crate::{
    Run, Trial,
    data::load::{create, shown, stored},
};

/// How long after there is room again writes must go through.
const BACK: Duration = Duration::from_secs(30);
/// How long after there are handles again newcomers must be served.
const AGAIN: Duration = Duration::from_secs(5);

/// A small file system of a trial's own. Only root can make one.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Small> {
        std::fs::create_dir_all(at).ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "caseward-trial"]).arg(at);
        mount.output().ok()?.status.success().then(|| Small(at.to_owned()))
    }

    /// Leaves no room.
    fn fill(&self) {
        let Ok(mut file) = std::fs::File::create(self.0.join("filler")) else { return };
        let piece = [7; 4096];
        while file.write_all(&piece).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("the filler is there");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a process that is about to end may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub async fn disk(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(small) = Small::mount(&folder.path().join("small")) else {
        trial.note("not tried: only root can make a small file system");
        trial.control("not tried", true);
        trial.tried();
        return trial;
    };
    let database = format!("sqlite://{}", small.0.join("patient.db").display());
    let mut suite = Suite::plan().with("CASEWARD__PATIENT__DATABASE", &database).one().await;
    let sam = suite.caller("sam", &["supervisor"]);
    let told = History::create(&folder.path().join("history"), run.seed).expect("a history");
    let rounds = run.of(2, 10);
    run.expect(rounds);
    let mut latest = Duration::ZERO;
    for round in 0..rounds {
        for _ in 0..20 {
            write(&sam, &told).await;
        }
        small.fill();
        for _ in 0..20 {
            write(&sam, &told).await;
        }
        let member = &suite.members()[0];
        trial.check(member.program().is_running(), || format!("round {round}: it died"));
        small.free();
        let began = Instant::now();
        while patient(&sam, "Back").await.is_err() && began.elapsed() < BACK * 2 {
            sleep(Duration::from_millis(50)).await;
        }
        latest = latest.max(began.elapsed());
        trial.check(began.elapsed() <= BACK, || {
            format!("round {round}: back after {:?}", began.elapsed())
        });
        trial.tried();
        run.step();
    }
    let intents = told.intents().expect("a history");
    // What was acknowledged is there for who asks, in the file, and after a kill.
    let mut found = BTreeMap::new();
    for by in ["the API", "the database", "a new process"] {
        if by == "a new process" {
            suite.member("caseward", 0).kill().await;
            suite.member("caseward", 0).start().await;
            suite.ready().await;
        }
        found = match by {
            "the database" => stored(&database).await,
            _ => shown(&sam).await,
        };
        found.remove("Back");
        let wrong = history::judge(&intents, &found);
        trial.check(wrong.is_empty(), || {
            format!("by {by}: {} wrong, {:?}", wrong.len(), wrong.first())
        });
    }
    let refused: u64 = intents.values().map(|intent| intent.refused).sum();
    let unknown: u64 = intents.values().map(|intent| intent.unknown).sum();
    trial.note(format!("{refused} writes refused, {unknown} of unknown outcome, back after {latest:.1?} at the latest"));
    trial.check(refused + unknown > 0, || "the disk was never full".to_owned());
    let told =
        intents.iter().find(|(_, intent)| !intent.told.is_empty()).map(|(key, _)| key.clone());
    found.remove(&told.unwrap_or_default());
    let caught = !history::judge(&intents, &found).is_empty();
    trial.control("a record taken away", caught);
    drop(suite);
    trial
}

async fn write(sam: &Caller, history: &History) {
    let key = Uuid::now_v7().to_string();
    create(sam, history, "sam", &key, &key).await;
}

pub async fn handles(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let suite = Suite::one().await;
    let program = suite.members()[0].program();
    let rounds = run.of(2, 20);
    run.expect(rounds);
    let limit = |most: u64| {
        let most = format!("--nofile={most}:4096");
        let id = program.id().to_string();
        let done = Command::new("prlimit").args(["--pid", &id, &most]).status();
        assert!(done.is_ok_and(|status| status.success()), "prlimit is a part of every Linux");
    };
    let (mut worked, mut kept_out, mut latest) = (0.0_f64, 0, Duration::ZERO);
    for round in 0..rounds {
        // What a spin costs shows while nobody calls; what callers cost is no matter here.
        let second = Duration::from_secs(1);
        let quiet = busy(program, second * 2).await;
        let others = Others::at(&suite, suite.transport()).await;
        sleep(Duration::from_millis(500)).await;
        let used =
            std::fs::read_dir(format!("/proc/{}/fd", program.id())).expect("on Linux").count();
        limit(used as u64 + 20);
        let mut held = vec![];
        for _ in 0..200 {
            held.push(TcpStream::connect(suite.address()).await.expect("the kernel takes it"));
        }
        let newcomer = Others::start(&suite, {
            let address = suite.address();
            move || Suite::door(address)
        });
        // While there are no handles a newcomer waits.
        kept_out += u64::from(tokio::time::timeout(second / 2, newcomer).await.is_err());
        let fare = others.stop().await;
        worked = worked.max(busy(program, second * 2).await - quiet);
        limit(4096);
        drop(held);
        let began = Instant::now();
        while !suite.is_ready().await && began.elapsed() < AGAIN * 2 {
            sleep(Duration::from_millis(20)).await;
        }
        latest = latest.max(began.elapsed());
        trial.tried();
        run.step();
        trial.check(began.elapsed() <= AGAIN, || {
            format!("round {round}: again after {:?}", began.elapsed())
        });
        trial.check(fare.failed.is_empty(), || {
            format!("round {round}: {} others failed: {:?}", fare.failed.len(), fare.failed.first())
        });
    }
    // One core in twenty.
    trial.check(worked <= 0.05, || format!("{worked:.2} of a core more at work without handles"));
    trial.note(format!(
        "{worked:.2} of a core more at work, served again after {latest:.1?} at the latest"
    ));
    trial.control(format!("newcomers were kept out {kept_out} times"), kept_out > 0);
    trial
}

/// Which part of a core a process needs.
async fn busy(program: &Program, time: Duration) -> f64 {
    let before = program.worked().unwrap_or_default();
    sleep(time).await;
    let worked = program.worked().unwrap_or_default().saturating_sub(before);
    worked.as_secs_f64() / time.as_secs_f64()
}
