//! One PostgreSQL server per test process, started from the programs on this machine.
use std::{
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::sync::OnceCell;

use crate::program::{self, Program};

/// The server on which this process makes its databases.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Up to the name of the database.
    pub(crate) url: String,
    /// Kept alive as long as the process.
    _program: Option<Program>,
}

/// The server, if there is one or it can be started.
pub(crate) async fn postgres() -> Option<&'static Postgres> {
    static SERVER: OnceCell<Option<Postgres>> = OnceCell::const_new();
    let server = SERVER.get_or_init(|| async {
        if let Some(url) = crate::variable("CASEWARD_TEST_POSTGRES_URL") {
            let url = url.trim_end_matches('/').to_owned();
            return Some(Postgres { url, _program: None });
        }
        let Some(programs) = programs() else {
            crate::missing("postgres", "no PostgreSQL on PATH");
            return None;
        };
        Some(start(&programs).await.expect("PostgreSQL is here, so it starts"))
    });
    server.await.as_ref()
}

/// The folder that holds `initdb` and `postgres`. Debian keeps them off `PATH`.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut debian: Vec<PathBuf> = versions.flatten().map(|v| v.path().join("bin")).collect();
    debian.sort();
    let beside = |initdb: &Path| initdb.with_file_name("postgres").is_file();
    program::find("initdb", debian.into_iter().rev(), beside)?.parent().map(Path::to_owned)
}

async fn start(programs: &Path) -> anyhow::Result<Postgres> {
    let folder = tempfile::Builder::new().prefix("caseward-postgres-").tempdir()?.keep();
    program::remove_at_exit(folder.clone());
    let data = folder.join("data");
    let owner = Owner::of(&folder)?;
    let mut initdb = owner.command(&programs.join("initdb"));
    initdb.args(["--username=caseward", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    let made = initdb.arg("--no-sync").arg("-D").arg(&data).current_dir(&folder).output()?;
    if !made.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
    }
    let port = program::free_port()?;
    let mut command = owner.command(&programs.join("postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(&folder).current_dir(&folder);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    // No test cuts the power, so none has to wait for the disk.
    for setting in ["fsync=off", "full_page_writes=off", "max_connections=400"] {
        command.args(["-c", setting]);
    }
    let program = Program::start("postgres", command, &folder)?;
    program.prints("ready to accept connections", Duration::from_secs(60)).await;
    let url = format!("postgres://caseward@127.0.0.1:{port}");
    Ok(Postgres { url, _program: Some(program) })
}

/// Who runs the server: PostgreSQL refuses to be root.
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
