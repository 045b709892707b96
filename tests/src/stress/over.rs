//! More calls than a process takes: some are turned away at once, the others are served as ever.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use caseward_testkit::{OnCores, Suite};
use tokio::time::{Instant, sleep};

use super::{
    arrivals::{Crowd, Fare},
    others::patient,
};
use crate::{Run, Tier, Trial};

/// Calls in flight that a process takes: as it comes, and in a test, which does not last until so many are answered.
const IN_FLIGHT: [u64; 2] = [1024, 16];

/// So many that nobody is ever turned away.
const WITHOUT_END: u64 = 1 << 20;

/// Those who call: each takes a part of that at most.
const PEOPLE: usize = 16;

/// How many times as many calls come as are served at the peak, and what part of the peak is served then.
const LOADS: [(u32, f64); 4] = [(1, 0.0), (2, 0.9), (5, 0.8), (10, 0.8)];

/// What part of the peak is served to others than who leaves.
const SERVED_BESIDE: f64 = 0.8;

/// How long an impatient caller waits.
const IMPATIENT: Duration = Duration::from_millis(10);

/// How much more a process may hold.
const MEMORY: u64 = 64 << 20;

/// A suite under load, on a core of its own where figures are judged: what callers cost is not the suite's.
struct Target {
    suite: Suite,
    name: String,
    crowd: Crowd,
    time: Duration,
    judged: bool,
    peak: Fare,
    memory: u64,
    _callers: Option<OnCores>,
}

/// More calls than there is time for: none of them waits for another.
pub async fn load(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let target = Target::start(run).await;
    let loads = if target.judged { &LOADS[..] } else { &LOADS[1..2] };
    run.expect(loads.len() as u64);
    let (mut random, mut shed) = (run.random(), 0);
    for (times, least) in loads {
        let what = format!("{times} times as many calls");
        let rate = target.rate() * f64::from(*times);
        let load = target.crowd.open(rate, target.time, random.fork());
        let fare = target.watched(&mut trial, &what, load).await;
        shed += fare.shed;
        target.judge(&mut trial, &what, &fare, *least);
        // Callers who bring no more than this are late themselves: how long they waited says nothing of the suite.
        let brought = fare.came as f64 >= 0.9 * f64::from(*times) * target.peak.served as f64;
        let (usual, slowest) = (target.peak.p99(), fare.p99());
        let soon = slowest <= 2 * usual + Duration::from_millis(50);
        trial.check(!target.judged || !brought || soon, || {
            format!("{what}: served within {slowest:.0?} at p99, {usual:.0?} at the peak")
        });
        run.step();
    }
    target.is_over(&mut trial).await;
    trial.control(format!("of more than it takes {shed} were turned away"), shed > 0);
    trial
}

/// Somebody who leaves soon and calls again whatever they are told, many times over, beside others who wait.
pub async fn impatience(run: &Run) -> Trial {
    let mut trial = Trial::default();
    run.expect(2);
    let target = Target::start(run).await;
    let what = "beside one who leaves";
    let (waited, left) = target.beside_one_who_leaves(run, &mut trial, what).await;
    target.judge(&mut trial, what, &waited, SERVED_BESIDE);
    target.judge(&mut trial, "who leaves", &left, 0.0);
    trial.control(format!("{} calls were left", left.left), left.left > 0);
    target.is_over(&mut trial).await;
    run.step();
    if target.judged {
        // Its core is the next one's.
        drop(target);
        let (target, mut unheeded) = (Target::taking(run, WITHOUT_END).await, Trial::default());
        let (waited, _) = target.beside_one_who_leaves(run, &mut unheeded, "control").await;
        let served = waited.served as f64 / target.peak.served as f64;
        trial.control(
            format!("where nobody is turned away {served:.2} of the peak were served"),
            served < SERVED_BESIDE,
        );
    }
    run.step();
    trial
}

impl Target {
    async fn start(run: &Run) -> Target {
        Target::taking(run, IN_FLIGHT[usize::from(run.tier != Tier::Nightly)]).await
    }

    /// One that takes so many calls at once.
    async fn taking(run: &Run, in_flight: u64) -> Target {
        let judged = run.tier == Tier::Nightly;
        let mut plan = Suite::plan().with("CASEWARD__LIMITS__IN_FLIGHT", in_flight.to_string());
        let callers = judged.then(|| OnCores::only("1").expect("cores are parted"));
        if judged {
            plan = plan.core(0);
        }
        let suite = plan.one().await;
        let sam = suite.caller("sam", &["supervisor"]);
        let name = patient(&sam, "Load").await.expect("a patient is made");
        let (crowd, time) =
            (Crowd::of("sam", PEOPLE, &suite, &name), Duration::from_millis(run.of(1_500, 60_000)));
        let peak = crowd.closed(in_flight.min(IN_FLIGHT[0]) as usize, time).await;
        let memory = suite.members()[0].program().memory().unwrap_or_default();
        Target { suite, name, crowd, time, judged, peak, memory, _callers: callers }
    }

    /// Calls served in a second at the peak.
    fn rate(&self) -> f64 {
        self.peak.served as f64 / self.time.as_secs_f64()
    }

    /// How it goes for those who wait, and for one who leaves.
    async fn beside_one_who_leaves(
        &self,
        run: &Run,
        trial: &mut Trial,
        what: &str,
    ) -> (Fare, Fare) {
        let (mut random, rate) = (run.random(), self.rate());
        let leaver = Crowd::of("eve", 1, &self.suite, &self.name).leaving(IMPATIENT);
        let (waiting, leaving) = if self.judged { (2.0, 3.0) } else { (0.5, 0.5) };
        let load = async {
            tokio::join!(
                self.crowd.open(waiting * rate, self.time, random.fork()),
                leaver.open(leaving * rate, self.time, random.fork()),
            )
        };
        self.watched(trial, what, load).await
    }

    /// What `load` comes to, while the suite is asked for its health over and over.
    async fn watched<T>(&self, trial: &mut Trial, what: &str, load: impl Future<Output = T>) -> T {
        let health = watch_health(&self.suite);
        let fare = load.await;
        let ready = health.stop().await;
        trial.check(ready, || format!("{what}: health was shed"));
        fare
    }

    fn judge(&self, trial: &mut Trial, what: &str, fare: &Fare, least: f64) {
        trial.tries += fare.came;
        fare.wrong.iter().take(3).for_each(|why| trial.fail(format!("{what}: {why}")));
        let memory = self.suite.members()[0].program().memory().unwrap_or_default();
        let grown = memory.saturating_sub(self.memory);
        trial.check(grown <= MEMORY, || format!("{what}: {} MiB more", grown >> 20));
        let least = if self.judged { least } else { least.min(0.05) };
        let served = fare.served as f64 / self.peak.served as f64;
        trial.check(served >= least, || format!("{what}: {served:.2} of the peak were served"));
        trial.note(format!(
            "{what}, {:.1} times came: {served:.2} of the peak of {:.0}/s served, {} turned away, {} left, {} lost with their connections, p99 {:.0?} ({:.0?} at the peak)",
            fare.came as f64 / self.peak.served as f64,
            self.rate(),
            fare.shed,
            fare.left,
            fare.broken,
            fare.p99(),
            self.peak.p99(),
        ));
    }

    /// Whether all is as ever soon after.
    async fn is_over(&self, trial: &mut Trial) {
        let began = Instant::now();
        let after = self.crowd.closed(1, Duration::from_millis(300)).await;
        trial.check(after.shed == 0 && after.served > 0, || {
            format!(
                "{} turned away when the load was over ({:?} after)",
                after.shed,
                began.elapsed()
            )
        });
    }
}

struct Health {
    stop: Arc<AtomicBool>,
    asked: tokio::task::JoinHandle<bool>,
}

/// Asks for the health of the patient service over and over.
fn watch_health(suite: &Suite) -> Health {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, door) = (stop.clone(), suite.transport());
    let asked = tokio::spawn(async move {
        let mut health = tonic_health::pb::health_client::HealthClient::new(door);
        while !told.load(Relaxed) {
            let request = tonic_health::pb::HealthCheckRequest::default();
            if !matches!(health.check(request).await, Ok(reply) if reply.get_ref().status == 1) {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
        true
    });
    Health { stop, asked }
}

impl Health {
    async fn stop(self) -> bool {
        self.stop.store(true, Relaxed);
        self.asked.await.expect("a task does not panic")
    }
}
