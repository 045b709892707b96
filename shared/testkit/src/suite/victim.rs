//! What a suite can lose: any process of it, or of what it stands on.
use super::Suite;

/// A process to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// A replica of a service, by its section; of a suite in one process, `caseward`.
    Member(&'static str, usize),
    /// One process of PostgreSQL that serves a client.
    Backend,
    /// PostgreSQL with every process of it.
    Postgres,
    /// The bus.
    Nats,
}

impl Suite {
    /// Everything that can be killed and started again.
    pub fn victims(&self) -> Vec<Victim> {
        let members = self.members.iter().map(|member| member.name());
        let mut all: Vec<_> = members.map(|(name, n)| Victim::Member(name, n)).collect();
        if self.postgres.is_some() {
            all.extend([Victim::Backend, Victim::Postgres]);
        }
        if self.nats.as_ref().is_some_and(|nats| nats.is_own()) {
            all.push(Victim::Nats);
        }
        all
    }

    /// Kills `victim` without a warning; `chances` choose among backends.
    pub async fn kill(&mut self, victim: Victim, chances: &mut fastrand::Rng) {
        match victim {
            Victim::Member(name, n) => self.member(name, n).kill().await,
            Victim::Backend => self.own_postgres().kill_backend(chances).await,
            Victim::Postgres => self.own_postgres().kill().await,
            Victim::Nats => self.nats().expect("a cluster has a bus").stop().await,
        }
    }

    /// Starts what was killed, and waits until it is there; [`Suite::ready`] waits for the whole.
    pub async fn restart(&mut self, victim: Victim) {
        match victim {
            Victim::Member(name, n) => self.member(name, n).start().await,
            Victim::Backend | Victim::Postgres => self.own_postgres().start().await,
            Victim::Nats => self.nats().expect("a cluster has a bus").start().await,
        }
    }

    fn own_postgres(&mut self) -> &mut crate::Postgres {
        self.postgres.as_mut().expect("the server is the suite's own")
    }
}
