//! One process of a suite, to be stopped, killed, paused and started again.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use super::Plan;
use crate::{Program, cores};

/// One process, running or not.
#[derive(Debug)]
pub struct Member {
    name: &'static str,
    replica: usize,
    /// Where it listens, also after another start.
    pub(super) port: u16,
    binary: PathBuf,
    settings: Vec<(String, String)>,
    core: Option<usize>,
    folder: PathBuf,
    program: Option<Program>,
}

impl Member {
    pub(super) fn new(
        name: &'static str,
        replica: usize,
        port: u16,
        binary: PathBuf,
        plan: &Plan,
        folder: impl AsRef<Path>,
    ) -> Member {
        let (settings, core, folder) = (plan.settings.clone(), plan.core, folder.as_ref().into());
        Member { name, replica, port, binary, settings, core, folder, program: None }
    }

    pub(super) fn is(&self, name: &str, replica: usize) -> bool {
        self.name == name && self.replica == replica
    }

    /// Its service's section in the settings, and which replica it is.
    pub fn name(&self) -> (&'static str, usize) {
        (self.name, self.replica)
    }

    /// Where it listens, for bytes that no client would send.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Starts it, and waits until it listens.
    pub async fn start(&mut self) {
        self.launch();
        self.program().prints("listening", Duration::from_secs(60)).await;
    }

    /// Starts it, and does not wait for it.
    pub fn launch(&mut self) {
        let mut command = match self.core {
            Some(core) => cores::on_core(core, &self.binary),
            None => Command::new(&self.binary),
        };
        let name = format!("{}-{}", self.name, self.replica);
        let settings = self.settings.iter();
        command.envs(settings.map(|(key, value)| (key, value.replace("{member}", &name))));
        command.current_dir(&self.folder);
        let program = Program::start(&name, command, &self.folder);
        let program = program.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        self.program = Some(program);
    }

    /// Asks it to end, as an orchestrator would, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.end("TERM").await
    }

    /// Ends it without a warning.
    pub async fn kill(&mut self) {
        self.end("KILL").await;
    }

    /// Stops the time of its process; its connections stay open.
    pub fn pause(&self) {
        self.program().signal("STOP");
    }

    /// Lets its process go on.
    pub fn resume(&self) {
        self.program().signal("CONT");
    }

    /// Its process.
    pub fn program(&self) -> &Program {
        self.program.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    async fn end(&mut self, signal: &str) -> ExitStatus {
        let program = self.program();
        program.signal(signal);
        let status = program.exited(Duration::from_secs(60)).await;
        self.program = None;
        status
    }
}
