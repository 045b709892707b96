//! A process under measurement: started, watched, stopped.
use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

/// How long a process may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ticks of `/proc/…/stat` per second on every Linux there is.
const TICKS: u64 = 100;

/// A process under measurement. It ends with this value.
#[derive(Debug)]
pub(super) struct Part {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    pub(super) address: SocketAddr,
    /// From the start to the first sign of readiness.
    pub(super) ready_after: Duration,
}

/// What a process took so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) resident_mib: f64,
    pub(super) peak_mib: f64,
}

impl Part {
    /// Starts this program as `kind` (see `serve`), with settings over those of the environment, on one core if told.
    pub(super) async fn start(
        kind: &str,
        settings: &[(&str, String)],
        core: Option<usize>,
    ) -> anyhow::Result<Part> {
        let mut command = pinned(&std::env::current_exe()?, core);
        command.args(["bench", "part", kind]);
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {kind}"))?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        timeout(PATIENCE, output.read_line(&mut line)).await.context("not ready in time")??;
        let address =
            line.trim().parse().with_context(|| format!("{kind} ended before it was ready"))?;
        Ok(Part { child, output: Some(output), address, ready_after: start.elapsed() })
    }

    /// Starts another program, which is ready when it takes connections at `address`.
    pub(super) async fn foreign(
        program: &Path,
        args: &[&str],
        address: SocketAddr,
        core: Option<usize>,
    ) -> anyhow::Result<Part> {
        let mut command = pinned(program, core);
        let start = Instant::now();
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut part = Part { child, output: None, address, ready_after: Duration::ZERO };
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = part.child.try_wait()? {
                bail!("{} ended: {status}", program.display());
            }
            if start.elapsed() > PATIENCE {
                bail!("{} takes no connections", program.display());
            }
            sleep(Duration::from_millis(5)).await;
        }
        part.ready_after = start.elapsed();
        Ok(part)
    }

    /// What the process took so far; nothing where the system does not tell.
    pub(super) fn usage(&self) -> Usage {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.child.id().unwrap_or_default());
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let stat = read("stat");
        // The name before it may hold spaces.
        let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        let status = read("status");
        let mib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            let kib: f64 =
                line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
            kib / 1024.0
        };
        Usage {
            cpu: Duration::from_millis(ticks * 1000 / TICKS),
            resident_mib: mib("VmRSS:"),
            peak_mib: mib("VmHWM:"),
        }
    }

    /// Ends the process in order; answers what else it printed.
    pub(super) async fn stop(mut self) -> anyhow::Result<String> {
        let mut rest = String::new();
        let Some(mut output) = self.output.take() else {
            self.child.kill().await?;
            return Ok(rest);
        };
        drop(self.child.stdin.take());
        let whole = async {
            output.read_to_string(&mut rest).await?;
            self.child.wait().await
        };
        let status = timeout(PATIENCE, whole).await.context("a process did not stop")??;
        if !status.success() {
            bail!("a process under measurement ended with {status}");
        }
        Ok(rest)
    }
}

/// `program` on one core where `taskset` is there to put it; a runtime then has one worker.
fn pinned(program: &Path, core: Option<usize>) -> Command {
    let Some(core) = core.filter(|_| can_pin()) else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// Whether processes can be put on a core of their own.
pub(super) fn can_pin() -> bool {
    std::process::Command::new("taskset").arg("--version").output().is_ok()
}

/// Puts the callers on the cores in `list`, as `taskset` spells them.
pub(super) fn pin_callers(list: &str) {
    let own = std::process::id().to_string();
    // Where it cannot be done, the notes say that nothing was pinned.
    let _ = std::process::Command::new("taskset").args(["-a", "-pc", list, &own]).output();
}
