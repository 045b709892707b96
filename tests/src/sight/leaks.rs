//! What callers send comes to rest in the tables made for it, and nowhere else.
use std::collections::{BTreeMap, BTreeSet};

use caseward_testkit::{Collector, Plan, Suite};
use http::Method as Verb;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tonic::Code;

use super::{
    ask::{Answer, Voice, encode},
    contract::{self, Rpc, rpcs},
    fill::{Filler, aim},
    marks::{Found, Marks, spellings},
    sinks::{self, SERVICES, Sink},
    world::{ROLES, World, elsewhere},
};
use crate::{Run, Trial};

/// The value of a statement that fails, of which PostgreSQL is known to complain in so many words.
const KNOWN: &str = "known to be bad";

/// What was answered, besides what was asked for.
#[derive(Debug, Default)]
struct Said {
    /// The changes that were asked for, and those that were made.
    asked: BTreeSet<String>,
    accepted: BTreeSet<String>,
    refusals: u64,
    /// Values in a refusal or a header, by the method that told them.
    told: BTreeMap<String, BTreeSet<Found>>,
}

pub async fn nowhere(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let collector = Collector::start().await;
    one_shape(run, talkative(&collector).one().await, &collector, &mut trial).await;
    let collector = Collector::start().await;
    if let Some(cluster) = talkative(&collector).own_postgres().cluster().await {
        one_shape(run, cluster, &collector, &mut trial).await;
    }
    trial
}

/// A suite that tells as much as it can.
fn talkative(collector: &Collector) -> Plan {
    let plan = Suite::plan().with("CASEWARD__OTLP__ENDPOINT", collector.endpoint());
    let plan = plan.with("CASEWARD__OTLP__SAMPLE_RATIO", "1").with("CASEWARD__LOG__LEVEL", "debug");
    plan.with("RUST_LOG", "trace").with("RUST_BACKTRACE", "full")
}

async fn one_shape(run: &Run, mut suite: Suite, collector: &Collector, trial: &mut Trial) {
    let world = World::furnish(&suite).await;
    let mut filler = Filler::new(&world, run.random());
    let all = Voice::new(&suite.transport(), suite.caller("sam", &ROLES).token());
    let eve = Voice::new(&suite.transport(), suite.caller("eve", &["case_manager"]).token());
    let said = talk(run, &mut filler, &all, &eve).await;
    for (method, found) in &said.told {
        trial.fail(format!("{method} in {} tells {found:?}", suite.shape()));
    }
    let (changes, accepted) = (said.asked.len(), said.accepted.len());
    trial.check(accepted * 4 > changes, || format!("of {changes} changes {accepted} were made"));
    if suite.is_cluster() {
        complain(&suite, &mut filler.marks).await;
    }
    let mut sinks = sinks::outside(&suite).await;
    sinks.extend(sinks::behind(&mut suite, collector).await);
    let secrets = [&all, &eve].map(|voice| signature(voice).to_owned());
    for sink in &sinks {
        judge(sink, &filler.marks, &secrets, suite.shape(), trial);
    }
    for service in SERVICES {
        strayed(&suite, service, &filler.marks, trial).await;
    }
    trial.tries += filler.marks.len() as u64;
    trial.note(format!(
        "{}: {} values in {} places, {} of {changes} changes accepted, {} refusals",
        suite.shape(),
        filler.marks.len(),
        sinks.len() + SERVICES.len() + 1,
        accepted,
        said.refusals
    ));
    let blind = blind(&sinks, &mut filler.marks);
    let what = format!("{}: a value put into each place is found in every spelling", suite.shape());
    trial.control(what, blind.is_empty());
}

/// Calls every method with values in every field: in a way that is accepted, and in several that are not.
async fn talk(run: &Run, filler: &mut Filler<'_>, all: &Voice, eve: &Voice) -> Said {
    let mut said = Said::default();
    let rounds = run.of(1, 12);
    let methods = run.of(60, rpcs().len() as u64) as usize;
    run.expect(rounds * methods as u64);
    for _ in 0..rounds {
        let mut order: Vec<&Rpc> = rpcs().iter().filter(|rpc| !moves_time(rpc)).collect();
        filler.random.shuffle(&mut order);
        for rpc in order.into_iter().take(methods) {
            said.asked.extend(rpc.mutates.then(|| rpc.name.clone()));
            for answer in filler.asks(all, rpc).await {
                said.hear(&filler.marks, rpc, &answer);
            }
            for answer in wrong_calls(filler, rpc, all, eve).await {
                said.hear(&filler.marks, rpc, &answer);
            }
            run.step();
        }
    }
    said
}

/// Calls that cannot be accepted: by a stranger, of what is not there, cut off, of another type, over REST.
async fn wrong_calls(filler: &mut Filler<'_>, rpc: &Rpc, all: &Voice, eve: &Voice) -> Vec<Answer> {
    let (mut answers, target) = (vec![], filler.world.target(rpc));
    let mut request = filler.request(rpc);
    if let Some(name) = target {
        aim(all, rpc, name, &mut request).await;
        answers.push(eve.ask(&rpc.name, &request).await);
        aim(eve, rpc, &elsewhere(name), &mut request).await;
        answers.push(all.ask(&rpc.name, &request).await);
        // An inbox goes by the name with which somebody signs in, so that any word is one.
        if let Some((kind, _)) = name.rsplit_once('/').filter(|(kind, _)| *kind != "inboxes") {
            let odd = format!("{kind}/{}", filler.marks.word(&format!("{}.name", rpc.name)));
            answers.push(all.ask(&rpc.name, &rpc.about(&odd)).await);
        }
    }
    let mut cut = encode(rpc.method.input(), &request);
    cut.truncate(cut.len() * 2 / 3);
    answers.push(all.raw(&rpc.path, &[], &cut).await);
    let url = rpc.url(target.unwrap_or_default());
    let input = rpc.method.input();
    let fields = input.fields().map(|field| field.json_name().to_owned());
    let mut word = |part: &str| filler.marks.word(&format!("{}.{part}", rpc.name));
    if rpc.rest.0 == Verb::GET {
        let query: Vec<String> = fields.map(|field| format!("{field}={}", word(&field))).collect();
        answers
            .push(all.rest(Verb::GET, &format!("{url}?{}", query.join("&")), &Value::Null).await);
        let query = format!("noField={}", word("query"));
        answers.push(all.rest(Verb::GET, &format!("{url}?{query}"), &Value::Null).await);
        return answers;
    }
    let confused: Value = fields.map(|field| (field.clone(), json!([word(&field)]))).collect();
    for body in [json!({ "noField": word("body") }), json!(word("body")), confused] {
        answers.push(all.rest(rpc.rest.0.clone(), &url, &body).await);
    }
    answers
}

impl Said {
    fn hear(&mut self, marks: &Marks, rpc: &Rpc, answer: &Answer) {
        let mut heap = vec![];
        for value in answer.headers.values() {
            heap.extend(value.as_bytes());
            heap.push(b'\n');
        }
        let good = answer.code == Code::Ok || answer.http.is_success() && answer.body.len() > 5;
        if good {
            self.accepted.extend(rpc.mutates.then(|| rpc.name.clone()));
        } else {
            self.refusals += 1;
            heap.extend([answer.message.as_bytes(), &answer.details, &answer.body].concat());
        }
        let found = marks.within(&heap);
        if !found.is_empty() {
            self.told.entry(rpc.name.clone()).or_default().extend(found);
        }
    }
}

/// Whether it moves the clock, under which the trial would lose its hold.
fn moves_time(rpc: &Rpc) -> bool {
    rpc.mutates && rpc.service == "caseward.access.v1.ClockService"
}

/// Has PostgreSQL write down a value, as it does whatever its settings where a value cannot be cast.
async fn complain(suite: &Suite, marks: &mut Marks) {
    let db = Database::connect(suite.database("patient")).await.expect("the database answers");
    let cast = format!("SELECT '{}'::int", marks.word(KNOWN));
    db.execute_unprepared(&cast).await.expect_err("a word is no number");
    db.close().await.expect("it closes");
}

fn judge(sink: &Sink, marks: &Marks, secrets: &[String], shape: &str, trial: &mut Trial) {
    let Sink { name, bytes, .. } = sink;
    trial.check(sink.was_read(), || format!("{shape}: {name} holds no {:?}", sink.proof));
    let (known, found): (Vec<Found>, Vec<Found>) =
        marks.within(bytes).into_iter().partition(|found| found.field == KNOWN);
    trial.check(found.is_empty(), || format!("{shape}: {name} holds {found:?}"));
    let held = |secret: &&String| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    trial.check(!secrets.iter().any(|s| held(&s)), || format!("{shape}: {name} holds a token"));
    if name == sinks::POSTGRES {
        trial
            .control("a value that PostgreSQL complains of is found in its log", !known.is_empty());
    }
}

/// A value sent to one service is in no table of another.
async fn strayed(suite: &Suite, service: &str, marks: &Marks, trial: &mut Trial) {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    for (table, row) in sinks::rows_of(suite, service).await {
        *tables.entry(table).or_default() += &(row + "\n");
    }
    for (table, rows) in tables {
        let found = marks.within(rows.as_bytes()).into_iter();
        let strange: Vec<Found> =
            found.filter(|found| owner(&found.field) != Some(service)).collect();
        trial.check(strange.is_empty(), || {
            format!("{}: {service}.{table} holds {strange:?}", suite.shape())
        });
    }
}

/// Whose table may hold what was sent in a field.
fn owner(field: &str) -> Option<&str> {
    let service = &contract::rpc(field.split('.').next()?).service;
    match service.split('.').nth(1)? {
        "careplan" => Some("care_plan"),
        package => Some(package),
    }
}

/// The places in which a value would not be found in every spelling.
fn blind<'s>(sinks: &'s [Sink], marks: &mut Marks) -> Vec<&'s str> {
    let word = marks.word("control");
    let seen = |sink: &&Sink| {
        let around = &sink.bytes[..sink.bytes.len().min(4096)];
        spellings(&word).iter().all(|spelling| {
            let heap = [around, b" ", spelling.as_bytes(), b" ", around].concat();
            let found = marks.within(&heap);
            found.iter().any(|found| ["", "control"].contains(&found.field.as_str()))
        })
    };
    sinks.iter().filter(|sink| !seen(sink)).map(|sink| sink.name.as_str()).collect()
}

/// What only the issuer could have written of a token.
fn signature(voice: &Voice) -> &str {
    voice.token.as_deref().and_then(|token| token.rsplit('.').next()).expect("a token is signed")
}
