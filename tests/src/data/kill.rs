//! Nothing that was acknowledged is lost when anything is killed.
use std::time::Duration;

use caseward_testkit::Suite;
use tokio::time::{Instant, sleep};

use super::load::Load;
use crate::{Run, Trial};

/// Kills anything of a suite at any moment of a load of creates, and starts it again.
pub async fn random(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let kills = run.of(3, 500);
    let suites = Suite::plan().own_postgres().suites().await;
    run.expect(kills * suites.len() as u64);
    for mut suite in suites {
        let folder = suite.data();
        let load = Load::start(&suite, &folder, run.seed);
        let mut chances = run.random();
        let (mut slowest, mut last) = (Duration::ZERO, String::new());
        for _ in 0..kills {
            sleep(Duration::from_millis(chances.u64(0..2000))).await;
            let victim = chances.choice(suite.victims()).unwrap();
            suite.kill(victim, &mut chances).await;
            let began = Instant::now();
            suite.restart(victim).await;
            suite.ready().await;
            if began.elapsed() > slowest {
                (slowest, last) = (began.elapsed(), format!("{victim:?}"));
            }
            trial.tried();
            run.step();
        }
        let shape = suite.shape();
        let judgement = load.judge(&suite).await;
        judgement.wrong.iter().for_each(|why| trial.fail(format!("{shape}: {why}")));
        trial.check(judgement.acknowledged > 0, || format!("{shape}: nothing was acknowledged"));
        trial.control(
            format!("{shape}: a record taken away, and one put in twice"),
            judgement.sees_loss_and_doubling(),
        );
        trial.note(format!(
            "{shape}: {} acknowledged, {} calls of unknown outcome, ready again at the latest after {:.1} s ({last})",
            judgement.acknowledged,
            judgement.unknown,
            slowest.as_secs_f64(),
        ));
    }
    trial
}
