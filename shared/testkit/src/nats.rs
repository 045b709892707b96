//! A NATS server with JetStream, one test's own, that can be stopped and started again.
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use async_nats::{header, jetstream};
use tempfile::TempDir;
use uuid::Uuid;

use crate::program::{self, Program};

/// The oldest server whose streams keep what the bus is promised.
const OLDEST: [u32; 3] = [2, 10, 23];

/// A server. Dropping it stops it.
#[derive(Debug)]
pub struct Nats {
    /// Where it listens, as the bus's settings want it.
    pub url: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    server: PathBuf,
    port: u16,
    folder: TempDir,
    program: Option<Program>,
}

/// A server with no stream, where this machine has one.
///
/// That of `CASEWARD_TEST_NATS_URL` is shared: a test names its streams apart there.
pub async fn nats() -> Option<Nats> {
    if let Some(url) = crate::variable("CASEWARD_TEST_NATS_URL") {
        return Some(Nats { url, own: None });
    }
    let Some(server) = program::find("nats-server", [], |file| version(file) >= Some(OLDEST))
    else {
        crate::missing("nats", "no nats-server of 2.10.23 or later on PATH");
        return None;
    };
    let folder = tempfile::Builder::new().prefix("caseward-nats-").tempdir().expect("a folder");
    program::remove_at_exit(folder.path().to_owned());
    let port = program::free_port().expect("a free port");
    let own = Own { server, port, folder, program: None };
    let mut nats = Nats { url: format!("nats://127.0.0.1:{port}"), own: Some(own) };
    nats.start().await;
    Some(nats)
}

impl Nats {
    /// Whether it is this test's own, so that [`Nats::stop`] and [`Nats::start`] work.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Where it keeps its streams, and its log in `nats.log`.
    pub fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.path())
    }

    /// Kills the server. What its streams hold stays.
    pub async fn stop(&mut self) {
        let own = self.own.as_mut().expect("a server of others is not ours to stop");
        if let Some(program) = own.program.take() {
            program.signal("KILL");
            program.exited(Duration::from_secs(10)).await;
        }
    }

    /// Starts the server on its streams, at the place where it was.
    pub async fn start(&mut self) {
        let own = self.own.as_mut().expect("a server of others is not ours to start");
        let mut command = Command::new(&own.server);
        command.args(["-a", "127.0.0.1", "-p", &own.port.to_string(), "-js", "-sd"]);
        command.arg(own.folder.path().join("streams"));
        let program = Program::start("nats", command, own.folder.path()).expect("nats starts");
        program.prints("Server is ready", Duration::from_secs(30)).await;
        own.program = Some(program);
    }

    /// Puts every message of `stream` on it once more, under another message id; answers how many.
    pub async fn copy(&self, stream: &str) -> u64 {
        let client = async_nats::connect(&self.url).await.expect("the server runs");
        let context = jetstream::new(client);
        let mut stream = context.get_stream(stream).await.expect("the stream is there");
        let last = stream.info().await.expect("the server answers").state.last_sequence;
        let mut copied = 0;
        for sequence in 1..=last {
            // What was taken away leaves a gap.
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            let mut headers = message.headers;
            headers.insert(header::NATS_MESSAGE_ID, Uuid::now_v7().to_string());
            let sent = context.publish_with_headers(message.subject, headers, message.payload);
            let taken = sent.await.expect("the server runs").await;
            taken.expect("the stream takes messages");
            copied += 1;
        }
        copied
    }

    /// Takes every stream away, as a lost disk would. The server is stopped.
    pub async fn lose(&mut self) {
        self.stop().await;
        let own = self.own.as_ref().expect("it was stopped");
        std::fs::remove_dir_all(own.folder.path().join("streams")).expect("its streams are files");
    }
}

fn version(server: &std::path::Path) -> Option<[u32; 3]> {
    let said = Command::new(server).arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let mut parts = said.trim().rsplit_once('v')?.1.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}
