//! One part that is dead, frozen, slow or gone without a word: what does not need it goes on.
use std::time::Duration;

use caseward_api::directory::v1::{
    ListOrganizationsRequest, directory_service_client::DirectoryServiceClient,
};
use caseward_testkit::{Caller, Link, Suite, Toxic, Way};
use tokio::time::{Instant, sleep};
use tonic::{Code, Request, Status};

use super::others::Others;
use crate::{Run, Tier, Trial};

/// How long it may take until a caller is told that a part does not answer.
const TOLD: Duration = Duration::from_secs(15);
/// How long after it is healed everything must be well again.
const WELL: Duration = Duration::from_secs(10);
/// What callers wait for an answer of the directory.
const DEADLINE: Duration = Duration::from_secs(2);

/// What becomes of the directory, which nobody needs who reads a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Dead,
    Frozen,
    HalfOpen,
    DatabaseStalls,
    DatabaseSlow,
    BusGone,
    BusStalls,
}

impl Fault {
    const ALL: [Fault; 7] = [
        Fault::Dead,
        Fault::HalfOpen,
        Fault::Frozen,
        Fault::DatabaseStalls,
        Fault::DatabaseSlow,
        Fault::BusGone,
        Fault::BusStalls,
    ];

    /// Whether the directory cannot answer.
    fn silences(self) -> bool {
        !matches!(self, Fault::DatabaseSlow | Fault::BusGone | Fault::BusStalls)
    }

    async fn inflict(self, suite: &mut Suite) {
        let both = |link, toxic| {
            suite.proxy(link).set(Way::There, toxic);
            suite.proxy(link).set(Way::Back, toxic);
        };
        let piece = Duration::from_millis(50);
        match self {
            Fault::HalfOpen => both(Link::Peer("directory"), Toxic::HalfOpen),
            Fault::DatabaseStalls => both(Link::Database("directory"), Toxic::Stall),
            Fault::DatabaseSlow => both(Link::Database("directory"), Toxic::Latency(piece, piece)),
            Fault::BusStalls => both(Link::Bus, Toxic::Stall),
            Fault::Dead => suite.member("directory", 0).kill().await,
            Fault::Frozen => suite.member("directory", 0).pause(),
            Fault::BusGone => suite.nats().expect("a cluster has a bus").stop().await,
        }
    }

    async fn heal(self, suite: &mut Suite) {
        match self {
            Fault::HalfOpen => suite.proxy(Link::Peer("directory")).heal(),
            Fault::DatabaseStalls | Fault::DatabaseSlow => {
                suite.proxy(Link::Database("directory")).heal();
            }
            Fault::BusStalls => suite.proxy(Link::Bus).heal(),
            Fault::Dead => suite.member("directory", 0).start().await,
            Fault::Frozen => suite.member("directory", 0).resume(),
            Fault::BusGone => suite.nats().expect("a cluster has a bus").start().await,
        }
    }
}

pub async fn one(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let mut suite = Suite::plan().proxied().cluster().await.expect("PostgreSQL and NATS");
    let sam = suite.caller("sam", &["supervisor"]);
    let time = Duration::from_millis(run.of(1_000, 60_000));
    let slack = Duration::from_millis(if run.tier == Tier::Pr { 1000 } else { 20 });
    let mut faults = Fault::ALL.to_vec();
    if run.tier == Tier::Pr {
        faults.truncate(3);
    }
    run.expect(faults.len() as u64);
    ask(&sam).await.expect("the directory answers");
    let before = Others::fare(&suite, suite.transport(), time).await;
    let (mut missed, mut told, mut well) = (0, Duration::ZERO, Duration::ZERO);
    for fault in faults {
        let others = Others::at(&suite, suite.transport()).await;
        fault.inflict(&mut suite).await;
        let began = Instant::now();
        let first = ask(&sam).await;
        told = told.max(began.elapsed());
        let as_expected = match &first {
            Ok(()) => !fault.silences(),
            Err(status) => {
                missed += 1;
                fault.silences()
                    && matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
            }
        };
        trial.check(as_expected, || format!("{fault:?}: the directory said {first:?}"));
        trial.check(began.elapsed() <= TOLD, || {
            format!("{fault:?}: told after {:?}", began.elapsed())
        });
        sleep(time).await;
        let during = others.stop().await;
        trial.tries += during.took.len() as u64;
        trial.check(during.failed.is_empty(), || {
            format!("{fault:?}: {} others failed: {:?}", during.failed.len(), during.failed.first())
        });
        let (slower, bound) = (during.p99(), before.p99().mul_f64(1.5) + slack);
        trial.check(slower <= bound, || {
            format!("{fault:?}: others' p99 {slower:?}, {:?} before", before.p99())
        });
        fault.heal(&mut suite).await;
        let healed = Instant::now();
        while ask(&sam).await.is_err() && healed.elapsed() < WELL * 3 {
            sleep(Duration::from_millis(50)).await;
        }
        well = well.max(healed.elapsed());
        trial.check(healed.elapsed() <= WELL, || {
            format!("{fault:?}: well {:?} after it was healed", healed.elapsed())
        });
        let after =
            Others::fare(&suite, suite.transport(), time.min(Duration::from_secs(10))).await;
        trial.check(
            after.failed.is_empty() && after.p99() <= before.p99().mul_f64(1.5) + slack,
            || format!("{fault:?}: after it p99 {:?}, {:?}", after.p99(), after.failed.first()),
        );
        run.step();
    }
    trial.note(format!("told after {told:.1?}, well after {well:.1?} at the latest"));
    trial
        .control(format!("calls of the part itself were seen to fail, {missed} times"), missed > 0);
    trial
}

async fn ask(sam: &Caller) -> Result<(), Status> {
    let mut request = Request::new(ListOrganizationsRequest::default());
    request.set_timeout(DEADLINE);
    sam.client(DirectoryServiceClient::new).list_organizations(request).await.map(drop)
}
