//! PostgreSQL servers, started from the programs on this machine: one that a test process shares, others that one
//! test may kill.
use std::{
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::sync::OnceCell;

use crate::{
    Disk,
    program::{self, Program},
};

/// A server. Dropping it stops it.
#[derive(Debug)]
pub struct Postgres {
    /// Up to the name of the database.
    pub url: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    owner: Owner,
    /// Whether it waits for the disk.
    flushes: bool,
    program: Option<Program>,
}

/// How long the server may take to come back, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// The server on which this process makes its databases, if there is one or it can be started.
pub(crate) async fn postgres() -> Option<&'static Postgres> {
    static SERVER: OnceCell<Option<Postgres>> = OnceCell::const_new();
    let server = SERVER.get_or_init(|| async {
        match crate::variable("CASEWARD_TEST_POSTGRES_URL") {
            Some(url) => Some(Postgres { url: url.trim_end_matches('/').to_owned(), own: None }),
            None => Postgres::own().await,
        }
    });
    server.await.as_ref()
}

impl Postgres {
    /// A server of a test's own, that it may kill; nothing where this machine has no PostgreSQL.
    pub async fn own() -> Option<Postgres> {
        let Some(programs) = programs() else {
            crate::missing("postgres", "no PostgreSQL on PATH");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("caseward-postgres-").tempdir();
        let folder = folder.expect("a folder").keep();
        program::remove_at_exit(folder.clone());
        Some(start(programs, folder, false).await.expect("PostgreSQL is here, so it starts"))
    }

    /// The same with its data in a new folder on a disk whose power will be cut: what it commits, it flushes.
    pub async fn own_on(disk: &Disk) -> Option<Postgres> {
        let Some(programs) = programs() else {
            crate::missing("postgres", "no PostgreSQL on PATH");
            return None;
        };
        let folder = disk.path().join("postgres");
        std::fs::create_dir(&folder).expect("a folder");
        Some(start(programs, folder, true).await.expect("PostgreSQL is here, so it starts"))
    }

    /// Where it keeps its data, and its log in `postgres.log`.
    pub fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.as_path())
    }

    /// Kills one process that serves a client, if there is one; the server then ends the others, and recovers.
    pub async fn kill_backend(&mut self, chances: &mut fastrand::Rng) {
        let serving: Vec<u32> = self.children().into_iter().filter(|pid| serves(*pid)).collect();
        if let Some(pid) = chances.choice(serving) {
            kill(&[pid]);
        }
    }

    /// Kills the server and every process of it.
    pub async fn kill(&mut self) {
        let children = self.children();
        let own = self.own.as_mut().expect("a server of others is not ours to kill");
        let Some(program) = own.program.take() else { return };
        program.signal("KILL");
        program.exited(START).await;
        kill(&children);
        // A new server refuses the memory of one that still has a process.
        while children.iter().any(|pid| runs(*pid)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts the server on its data, if it does not run, and waits until it takes connections.
    pub async fn start(&mut self) {
        let own = self.own.as_mut().expect("a server of others is not ours to start");
        if own.program.is_none() {
            own.program = Some(serve(own).await.expect("PostgreSQL starts"));
        }
        let taking = async {
            while crate::database::on_server(&self.url, "SELECT 1").await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START, taking).await.expect("PostgreSQL takes connections");
    }

    fn children(&self) -> Vec<u32> {
        let own = self.own.as_ref().expect("a server of others is not ours to kill");
        let Some(program) = &own.program else { return vec![] };
        let id = program.id();
        let all = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        all.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

/// Whether a process of the server serves a client of ours; its title says whom.
fn serves(pid: u32) -> bool {
    let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    title.contains(": caseward ")
}

fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A process that ended and was not waited for is gone all the same.
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn kill(pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let pids = pids.iter().map(u32::to_string);
    // One that ended meanwhile is as dead as it should be.
    let _ = Command::new("kill").args(["-s", "KILL"]).args(pids).stderr(Stdio::null()).status();
}

/// The folder that holds `initdb` and `postgres`. Debian keeps them off `PATH`.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut debian: Vec<PathBuf> = versions.flatten().map(|v| v.path().join("bin")).collect();
    debian.sort();
    let beside = |initdb: &Path| initdb.with_file_name("postgres").is_file();
    program::find("initdb", debian.into_iter().rev(), beside)?.parent().map(Path::to_owned)
}

async fn start(programs: PathBuf, folder: PathBuf, flushes: bool) -> anyhow::Result<Postgres> {
    let owner = Owner::of(&folder)?;
    let mut initdb = owner.command(&programs.join("initdb"));
    initdb.args(["--username=caseward", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    if !flushes {
        initdb.arg("--no-sync");
    }
    let made = initdb.arg("-D").arg(folder.join("data")).current_dir(&folder).output()?;
    if !made.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
    }
    let port = program::free_port()?;
    let mut own = Own { programs, folder, port, owner, flushes, program: None };
    own.program = Some(serve(&own).await?);
    Ok(Postgres { url: format!("postgres://caseward@127.0.0.1:{port}"), own: Some(own) })
}

async fn serve(own: &Own) -> anyhow::Result<Program> {
    let Own { programs, folder, port, owner, flushes, .. } = own;
    let mut command = owner.command(&programs.join("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).current_dir(folder);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command.args(["-c", "max_connections=400"]);
    if !flushes {
        // Where nobody cuts the power, nobody has to wait for the disk.
        command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
    }
    let program = Program::start("postgres", command, folder)?;
    program.prints("ready to accept connections", START).await;
    Ok(program)
}

/// Who runs the server: PostgreSQL refuses to be root.
#[derive(Debug)]
enum Owner {
    Us,
    Other(u32, u32),
}

impl Owner {
    fn of(folder: &Path) -> anyhow::Result<Owner> {
        if std::fs::metadata(folder)?.uid() != 0 {
            return Ok(Owner::Us);
        }
        let (user, group) = account().context("root needs an account `postgres` or `nobody`")?;
        chown(folder, Some(user), Some(group))?;
        Ok(Owner::Other(user, group))
    }

    fn command(&self, program: &Path) -> Command {
        match self {
            Owner::Us => Command::new(program),
            Owner::Other(user, group) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
                command.arg("--clear-groups").arg(program);
                command
            }
        }
    }
}

fn account() -> Option<(u32, u32)> {
    let all = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let id_of = |name: &str| {
        let line = all.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    id_of("postgres").or_else(|| id_of("nobody"))
}
