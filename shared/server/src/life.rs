//! One process: start tasks, stop them all, wait a while.
use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

/// The life of a process, shared by everything that runs in it.
#[derive(Clone, Debug, Default)]
pub struct Life {
    leaving: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
    notice: Duration,
}

impl Life {
    /// A life that ends `notice` after it was said that it will.
    pub fn new(notice: Duration) -> Self {
        Life { notice, ..Life::default() }
    }

    /// Runs `task` until it ends. If it fails, the whole process stops.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let life = self.clone();
        self.tasks.spawn(async move {
            if let Err(cause) = task.await {
                error!(task = name, cause = %cause, "a task failed; the process stops");
                life.stop();
            }
        });
    }

    /// Told when the process is about to stop: it still takes calls, and says that no more should come.
    pub fn leaving(&self) -> CancellationToken {
        self.leaving.clone()
    }

    /// Told when the process stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops the process.
    pub fn stop(&self) {
        self.leaving.cancel();
        self.stop.cancel();
    }

    /// Waits for a signal or a failed task, then for the tasks, at most `drain`.
    pub async fn run(&self, drain: Duration) -> anyhow::Result<()> {
        tokio::select! {
            () = self.stop.cancelled() => {}
            signal = signal() => {
                info!(signal = signal?, "stopping");
                self.leaving.cancel();
                self.stop.run_until_cancelled(tokio::time::sleep(self.notice)).await;
            }
        }
        self.finish(drain).await;
        Ok(())
    }

    /// Stops and waits for the tasks, at most `drain`.
    pub async fn finish(&self, drain: Duration) {
        self.stop();
        self.tasks.close();
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_err() {
            warn!(left = self.tasks.len(), "tasks did not end in time and are dropped");
        }
    }
}

async fn signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
