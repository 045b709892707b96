//! Nothing that was acknowledged is lost when a process ends exactly between two steps of a change.
use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use caseward_testkit::{Program, Suite};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::load::{Load, create};
use crate::{Run, Trial};

/// What a service asks of the kernel between one step of a change and the next.
const CALLS: [&str; 4] = ["pwrite64", "fdatasync", "sendto", "writev"];

/// How many such calls of one thread there are before the one that it dies at, at most.
const MOST: u64 = 12;

/// How long a process gets to die at a call that may never come.
const WAIT: Duration = Duration::from_secs(3);

/// One change per try, made by a process that is killed as it enters its n-th call of a kind; what it died at is read
/// from the trace.
pub async fn named(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let tries = run.of(6, 300);
    let suites = Suite::plan().own_postgres().suites().await;
    run.expect(tries * suites.len() as u64);
    for mut suite in suites {
        let shape = suite.shape();
        let aside = tempfile::tempdir().unwrap();
        let load = Load::none(&suite, aside.path(), run.seed);
        let history = load.history();
        let sam = suite.caller("sam", &["supervisor"]);
        let mut chances = run.random();
        let (mut died, mut lived) = (BTreeMap::<&str, u64>::new(), 0);
        for n in 0..tries {
            let (name, calls) = match suite.is_cluster() {
                true => (if n % 3 == 2 { "care_plan" } else { "patient" }, &CALLS[2..4]),
                false => ("caseward", &CALLS[..]),
            };
            let call = *chances.choice(calls).unwrap();
            let trace = aside.path().join(format!("trace-{n}"));
            // The first of a kind is where a step begins.
            let at = if chances.bool() { chances.u64(1..=2) } else { chances.u64(1..=MOST) };
            let strace = attach(suite.member(name, 0).program().id(), call, at, &trace);
            strace.prints("attached", WAIT * 10).await;
            let key = Uuid::from_u128(chances.u128(..)).to_string();
            let mut unsure = create(&sam, &history, "one", &key, &key).await;
            let began = Instant::now();
            while suite.member(name, 0).program().is_running() && began.elapsed() < WAIT {
                sleep(Duration::from_millis(20)).await;
            }
            if suite.member(name, 0).program().is_running() {
                // It lets go of the process.
                strace.signal("TERM");
                strace.exited(WAIT * 10).await;
                lived += 1;
            } else {
                strace.exited(WAIT * 10).await;
                suite.member(name, 0).kill().await;
                suite.member(name, 0).start().await;
                suite.ready().await;
                let log = std::fs::read_to_string(&trace).unwrap();
                *died.entry(point(&log, call)).or_default() += 1;
                trial.tried();
            }
            while unsure {
                unsure = create(&sam, &history, "one", &key, &key).await;
            }
            run.step();
        }
        let judgement = load.judge(&suite).await;
        judgement.wrong.iter().for_each(|why| trial.fail(format!("{shape}: {why}")));
        trial.check(!died.is_empty(), || format!("{shape}: nothing was killed"));
        trial.control(
            format!("{shape}: a record taken away, and one put in twice"),
            judgement.sees_loss_and_doubling(),
        );
        let died: Vec<_> = died.iter().map(|(what, times)| format!("{what} {times}")).collect();
        trial.note(format!(
            "{shape}: killed {}; {lived} had no such call; {} acknowledged",
            died.join(", "),
            judgement.acknowledged
        ));
    }
    trial
}

/// Has `pid` killed as one of its threads enters its n-th `call`.
fn attach(pid: u32, call: &str, n: u64, trace: &Path) -> Program {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-yy", "-s", "160", "-p", &pid.to_string()]).arg("-o").arg(trace);
    strace.args(["-e", &format!("trace={}", CALLS.join(","))]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={n}")]);
    let folder = trace.parent().expect("a file is in a folder");
    Program::start("strace", strace, folder).expect("a kill at a point takes strace")
}

/// One call in a trace: its thread, what it is, to what, with what.
struct Step<'a> {
    thread: &'a str,
    call: &'a str,
    to: &'a str,
    text: &'a str,
    done: bool,
}

impl Step<'_> {
    fn read(line: &str) -> Option<Step<'_>> {
        let (thread, rest) = line.split_once(' ')?;
        let (call, rest) = rest.trim_start().split_once('(')?;
        let (_, rest) = rest.split_once('<')?;
        let (to, text) = rest.split_once(">, ").or_else(|| rest.split_once(">)"))?;
        let unfinished = text.ends_with("<unfinished ...>") || text.ends_with("= ?");
        Some(Step { thread, call, to, text, done: !unfinished })
    }
}

/// Between which steps a process died, by the last call that it entered.
fn point(log: &str, call: &str) -> &'static str {
    let steps: Vec<_> = log.lines().filter_map(Step::read).collect();
    let Some(last) = steps.iter().rposition(|step| step.call == call && !step.done) else {
        return "elsewhere";
    };
    let (before, last) = (&steps[..last], &steps[last]);
    let flushed =
        |file: &str| before.iter().any(|step| step.call == "fdatasync" && step.to.ends_with(file));
    if last.to.ends_with("-wal") {
        let mut mine = before.iter().rev().filter(|step| step.thread == last.thread);
        let begins =
            mine.find(|step| step.to == last.to).is_none_or(|step| step.call != "pwrite64");
        return match (last.call, begins) {
            ("fdatasync", _) => "with a commit written and not flushed",
            (_, true) => "before COMMIT",
            (_, false) => "with a commit half written",
        };
    }
    if last.to.contains("audit") {
        return "before heads of the audit log are exported";
    }
    if !last.to.starts_with("TCP") {
        return "elsewhere";
    }
    // What was said on the same connection since its last BEGIN.
    let mut said: Vec<_> = before.iter().filter(|step| step.to == last.to).collect();
    let begun = said.iter().rposition(|step| step.text.contains("BEGIN"));
    let said = begun.map(|begun| said.split_off(begun)).unwrap_or_default();
    let over =
        said.iter().any(|step| step.text.contains("COMMIT") || step.text.contains("ROLLBACK"));
    let said_of = |what: &str| said.iter().any(|step| step.text.contains(what));
    let says = |what: &str| last.text.contains(what);
    let committed = before.iter().any(|step| step.text.contains("COMMIT"));
    if says("PUB $JS.ACK") {
        "a consumer after commit, before ack"
    } else if says("PUB caseward.") {
        "the relay before publish"
    } else if says("UPDATE \\\"outbox\\\"") || said_of("UPDATE \\\"outbox\\\"") && !over {
        "the relay after publish, before mark"
    } else if said_of("UPDATE \\\"outbox\\\"") {
        "the relay after mark"
    } else if says("COMMIT") {
        "before COMMIT"
    } else if !said.is_empty() && !over {
        match () {
            () if said_of("INSERT INTO \\\"outbox\\\"") => "after the insert into the outbox",
            () if said_of("INSERT INTO \\\"patient\\\"") => "after the write of the domain",
            () if said.len() == 1 => "after BEGIN",
            () => "within a transaction",
        }
    } else if committed || flushed("patient.db-wal") {
        "after COMMIT, before an answer"
    } else {
        "elsewhere"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_says_between_which_steps_a_process_died() {
        let wal = "7 fdatasync(9</data/patient.db-wal>) = 0\n7 pwrite64(9</data/patient.db-wal>, \"\\1\", 24, 0 <unfinished ...>\n7 +++ killed by SIGKILL +++\n";
        assert_eq!(point(wal, "pwrite64"), "before COMMIT");
        let half = format!(
            "7 pwrite64(9</data/patient.db-wal>, \"\\1\", 24, 0) = 24\n{}",
            wal.lines().nth(1).unwrap()
        );
        assert_eq!(point(&half, "pwrite64"), "with a commit half written");
        let to = "TCP:[127.0.0.1:1->127.0.0.1:2]";
        let sent =
            |text: &str, end: &str| format!("7 sendto(9<{to}>, \"{text}\", 9, 0, NULL, 0{end}\n");
        let begin = sent("Q\\0BEGIN\\0", ") = 9");
        let insert = sent("P\\0INSERT INTO \\\"outbox\\\" (", ") = 9");
        let commit = sent("Q\\0COMMIT\\0", " <unfinished ...>");
        assert_eq!(point(&(begin.clone() + &insert + &commit), "sendto"), "before COMMIT");
        let next = sent("B\\0", " <unfinished ...>");
        assert_eq!(point(&(begin.clone() + &next), "sendto"), "after BEGIN");
        assert_eq!(point(&(begin + &insert + &next), "sendto"), "after the insert into the outbox");
    }
}
