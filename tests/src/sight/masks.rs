//! What is not a caller's to set or to see is neither set, moved nor told by naming it: in a body, a mask, a filter.
use std::collections::{BTreeSet, HashMap};

use caseward_testkit::{Suite, suites};
use http::Method as Verb;
use prost_reflect::{FieldDescriptor, Kind};
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use super::{
    ask::{Voice, encode, without_ids},
    contract::{self, Rpc, rpcs},
    fill::{self, Filler, aim},
    world::{ROLES, World, elsewhere, eventually},
};
use crate::{Run, Trial};

/// What no mask may name: columns, paths into a field, what is no path.
const NEVER: [&str; 12] = [
    "organization",
    "id",
    "revision",
    "created_at",
    "tenant",
    "*",
    ".",
    "etag",
    "names[0].family",
    "patient.subject",
    "state.",
    "../state",
];

/// What other systems order, filter and expand lists by.
const ELSEWHERE: [&str; 10] = [
    "orderBy", "order_by", "sort", "filter", "fields", "select", "expand", "_include", "$filter",
    "view",
];

const TOPICS: [&str; 6] = [
    "TOPIC_SCHEDULE",
    "TOPIC_MEDICATION",
    "TOPIC_PLAN",
    "TOPIC_ASSESSMENT",
    "TOPIC_NOTES",
    "TOPIC_MESSAGES",
];

/// What begins the name of something that not everybody sees.
const OWNED: [&str; 3] = ["patients/", "cases/", "messages/"];

/// Filters by every value that there is, asked by caregivers who do not see every field.
pub async fn filters(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (mut random, mut matched) = (run.random(), 0);
    for suite in suites().await {
        let world = World::furnish(&suite).await;
        let all = Voice::new(&suite.transport(), suite.caller("sam", &ROLES).token());
        more_of_each(&all, &mut Filler::new(&world, run.random()), 1).await;
        let lists: Vec<&Rpc> = rpcs().iter().filter(|rpc| of_patients(rpc)).collect();
        for n in 0..run.of(3, 60) {
            let close = caregiver(&suite, &all, &world, n, &mut random).await;
            for rpc in &lists {
                matched += filtered(&all, &close, &world, rpc, &mut trial).await;
            }
            run.step();
        }
        for rpc in rpcs().iter().filter(|rpc| rpc.name.starts_with("List")) {
            foreign_parameters(&all, &world, rpc, &mut trial).await;
        }
    }
    trial.control(format!("who sees all is shown rows by {matched} filters"), matched > 20);
    trial
}

/// Makes more of everything.
async fn more_of_each(voice: &Voice, filler: &mut Filler<'_>, times: usize) {
    for rpc in rpcs().iter().filter(|rpc| rpc.name.starts_with("Create")) {
        for _ in 0..times {
            filler.asks(voice, rpc).await;
        }
    }
}

fn of_patients(rpc: &Rpc) -> bool {
    let form = rpc.target().map(|(_, form)| form);
    let below =
        form.is_some_and(|form| form.starts_with("cases/") || form.starts_with("patients/"));
    let paged = rpc.method.input().get_field_by_name("page_size").is_some();
    paged && (rpc.name == "ListCases" || (rpc.name.starts_with("List") && below))
}

/// Somebody who sees some parts of the record, chosen by chance.
async fn caregiver(
    suite: &Suite,
    sam: &Voice,
    world: &World,
    n: u64,
    random: &mut fastrand::Rng,
) -> Voice {
    let (subject, patient) = (format!("close-{n}"), world.name("patients/*"));
    let person = json!({ "names": [{ "family": "Close" }], "subject": subject });
    let person = json!({ "parent": patient, "relatedPerson": person });
    let person = sam.get("CreateRelatedPerson", person).await;
    let mut topics: Vec<&str> = TOPICS.into_iter().filter(|_| random.bool()).collect();
    if topics.is_empty() {
        topics.push(random.choice(TOPICS).expect("a topic"));
    }
    let scope = json!({ "topics": topics, "legalBasis": "LEGAL_BASIS_GUARDIAN" });
    let grant = json!({ "name": person["name"], "etag": person["etag"], "scope": scope });
    sam.get("GrantCaregiverScope", grant).await;
    let close = Voice::new(&suite.transport(), suite.caller(&subject, &["caregiver"]).token());
    eventually(|| async {
        let answer = close.ask("GetPatient", &json!({ "name": patient })).await;
        (answer.code == Code::Ok).then_some(())
    })
    .await;
    close
}

/// A filter finds among what is shown what shows the value, and nothing by a value that is not shown. Answers how many
/// filters found something for who sees all.
async fn filtered(
    all: &Voice,
    close: &Voice,
    world: &World,
    rpc: &Rpc,
    trial: &mut Trial,
) -> usize {
    let mut ask = world.target(rpc).map_or(json!({}), |name| rpc.about(name));
    ask["pageSize"] = json!(1000);
    let rows_of =
        rpc.method.output().fields().find(FieldDescriptor::is_list).expect("a list lists");
    let list = async |voice: &Voice, ask: &Value| -> Option<Vec<Value>> {
        let answer = voice.ask(&rpc.name, ask).await;
        let rows = (answer.code == Code::Ok).then(|| answer.json(rpc))?;
        Some(rows[rows_of.json_name()].as_array().cloned().unwrap_or_default())
    };
    let Some(whole) = list(all, &ask).await else { return 0 };
    let Some(shown) = list(close, &ask).await else { return 0 };
    let Kind::Message(row) = rows_of.kind() else { return 0 };
    let mut matched = 0;
    for filter in rpc.method.input().fields() {
        let one = filter.name().strip_suffix('s').filter(|_| filter.is_list());
        let Some(field) = row.get_field_by_name(one.unwrap_or(filter.name())) else { continue };
        let values: BTreeSet<&str> =
            whole.iter().filter_map(|row| row[field.json_name()].as_str()).collect();
        for value in values.into_iter().filter(|value| !value.is_empty()) {
            let mut ask = ask.clone();
            let given = if filter.is_list() { json!([value]) } else { json!(value) };
            ask[filter.json_name()] = given;
            let has = |row: &&Value| row[field.json_name()] == json!(value);
            let expected: Vec<&Value> = shown.iter().filter(has).collect();
            let found = list(close, &ask).await.unwrap_or_default();
            trial.tried();
            trial.check(found.iter().collect::<Vec<_>>() == expected, || {
                format!(
                    "{} by {} tells of {} rows, {} show it",
                    rpc.name,
                    filter.name(),
                    found.len(),
                    expected.len()
                )
            });
            matched += usize::from(list(all, &ask).await.is_some_and(|rows| !rows.is_empty()));
        }
    }
    matched
}

/// What other systems understand is refused, or changes nothing.
async fn foreign_parameters(voice: &Voice, world: &World, rpc: &Rpc, trial: &mut Trial) {
    let url = rpc.url(world.target(rpc).unwrap_or_default());
    let plain = voice.rest(Verb::GET, &url, &Value::Null).await;
    for name in ELSEWHERE {
        let answer = voice.rest(Verb::GET, &format!("{url}?{name}=subject"), &Value::Null).await;
        trial.tried();
        trial.check(answer.http == 400 || answer.body == plain.body, || {
            format!("GET {url}?{name}: {}", answer.http)
        });
    }
}

/// Sets every field that is the service's to set, in whatever makes or changes something.
pub async fn mass_assignment(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let mut set = BTreeSet::new();
    for suite in suites().await {
        let world = World::furnish(&suite).await;
        let all = Voice::new(&suite.transport(), suite.caller("sam", &ROLES).token());
        let mut filler = Filler::new(&world, run.random());
        for _ in 0..run.of(1, 20) {
            for rpc in rpcs().iter().filter(|rpc| rpc.name.starts_with("Create")) {
                made(&all, &mut filler, rpc, &mut trial, &mut set).await;
            }
        }
        for rpc in rpcs().iter().filter(|rpc| rpc.rest.0 == Verb::PATCH) {
            masked(&all, &world, rpc, &mut trial).await;
        }
        foreign_names(&suite, &world, run, &mut trial).await;
    }
    trial.control(
        format!("what a caller may set is seen to be set by {} methods", set.len()),
        set.len() > 10,
    );
    trial
}

/// What is made of a request with every field filled has what is the service's to say from the service.
async fn made(
    voice: &Voice,
    filler: &mut Filler<'_>,
    rpc: &Rpc,
    trial: &mut Trial,
    set: &mut BTreeSet<String>,
) {
    let answers = filler.asks(voice, rpc).await;
    let Some(answer) = answers.iter().find(|answer| answer.code == Code::Ok) else { return };
    let row = answer.json(rpc);
    for field in rpc.method.output().fields() {
        trial.tried();
        let value = row[field.json_name()].to_string();
        let marked = !filler.marks.within(value.as_bytes()).is_empty();
        if contract::is_output_only(&field) {
            let given = marked || value.contains(fill::PAST) || value.contains(fill::FUTURE);
            trial.check(!given, || {
                format!("{} takes {} from the caller: {value}", rpc.name, field.name())
            });
        } else if marked {
            set.insert(rpc.name.clone());
        }
    }
}

/// A mask that names what is not the caller's to set is refused, or changes none of it.
async fn masked(voice: &Voice, world: &World, rpc: &Rpc, trial: &mut Trial) {
    let (Some(name), Some((target, form))) = (world.target(rpc), rpc.target()) else { return };
    let Some(gets) = contract::getter(form) else { return };
    let body = target.split('.').next().expect("a target has a field");
    let field = rpc.method.input().get_field_by_name(body).expect("the body is a field");
    let Kind::Message(of) = field.kind() else { return };
    let ours: Vec<FieldDescriptor> = of.fields().filter(contract::is_output_only).collect();
    let paths = ours.iter().map(|field| field.name().to_owned());
    for path in paths.chain(NEVER.map(str::to_owned)) {
        let before = voice.get(&gets.name, json!({ "name": name })).await;
        let mut row = json!({});
        for field in &ours {
            row[field.json_name()] = match field.kind() {
                Kind::String => json!(elsewhere(world.name("patients/*"))),
                Kind::Enum(of) => json!(of.values().last().map(|value| value.number())),
                Kind::Bool => json!(true),
                Kind::Message(of) if of.full_name() == "google.protobuf.Timestamp" => {
                    json!("2001-01-01T00:00:00Z")
                }
                _ => continue,
            };
        }
        let mut request = json!({ field.json_name(): row });
        aim(voice, rpc, name, &mut request).await;
        // JSON cannot say every mask; a client in code can.
        let mut message = encode(rpc.method.input(), &request);
        message.extend(mask(rpc, &path));
        let answer = voice.raw(&rpc.path, &[], &message).await;
        trial.tried();
        let known = [Code::Ok, Code::InvalidArgument, Code::FailedPrecondition];
        trial.check(known.contains(&answer.code), || {
            format!("{} with mask {path:?}: {:?}", rpc.name, answer.code)
        });
        let after = voice.get(&gets.name, json!({ "name": name })).await;
        for field in ours.iter().filter(|field| field.name() != "update_time") {
            let field = field.json_name();
            trial.check(before[field] == after[field], || {
                format!("{} with mask {path:?} changes {field}", rpc.name)
            });
        }
    }
}

/// An update mask of one path, as it stands in a message.
fn mask(rpc: &Rpc, path: &str) -> Vec<u8> {
    let field = rpc.method.input().get_field_by_name("update_mask").expect("an update has a mask");
    let paths = [&[0x0a, path.len() as u8], path.as_bytes()].concat();
    [&[(field.number() as u8) << 3 | 2, paths.len() as u8], &paths[..]].concat()
}

/// Somebody who sees one patient names what is another's in whatever refers to something: it is answered like what is
/// not there, and nothing of it comes into sight.
async fn foreign_names(suite: &Suite, world: &World, run: &Run, trial: &mut Trial) {
    let hidden = World::furnish(suite).await;
    let voice =
        |name: &str, role| Voice::new(&suite.transport(), suite.caller(name, &[role]).token());
    let (max, sam) = (voice("max", "case_manager"), voice("sam", "supervisor"));
    let member = json!({ "person": "max", "role": { "text": "nurse" } });
    sam.get("AddMember", json!({ "parent": world.name("cases/*"), "member": member })).await;
    eventually(|| async {
        let ask = json!({ "name": world.name("patients/*") });
        (max.ask("GetPatient", &ask).await.code == Code::Ok).then_some(())
    })
    .await;
    let mut filler = Filler::new(&hidden, run.random());
    let makes = |rpc: &&Rpc| {
        ["Create", "Update", "Add", "Send"].iter().any(|verb| rpc.name.starts_with(verb))
    };
    for rpc in rpcs().iter().filter(makes) {
        let target = world.target(rpc);
        if target.is_some_and(|name| !name.starts_with("patients/") && !name.starts_with("cases/"))
        {
            continue;
        }
        for _ in 0..run.of(1, 20) {
            let mut request = filler.request(rpc);
            // What is made by the first of two must not bar the second.
            unnumbered(&mut request);
            let mut absent = renamed(&request, &mut HashMap::new());
            if request == absent {
                continue;
            }
            if let Some(name) = target {
                aim(&max, rpc, name, &mut request).await;
            }
            let theirs = max.ask(&rpc.name, &request).await;
            if let Some(name) = target {
                aim(&max, rpc, name, &mut absent).await;
            }
            let nobodys = max.ask(&rpc.name, &absent).await;
            trial.tried();
            let alike = without_ids(&theirs.message) == without_ids(&nobodys.message);
            trial.check(theirs.code == nobodys.code && alike, || {
                format!(
                    "{} tells what is another's, {:?} {}, from what is not there, {:?} {}",
                    rpc.name, theirs.code, theirs.message, nobodys.code, nobodys.message
                )
            });
        }
    }
    for form in ["patients/*", "cases/*", "cases/*/tasks/*", "patients/*/coverages/*"] {
        let gets = contract::getter(form).expect("it is read by something");
        let answer = max.ask(&gets.name, &json!({ "name": hidden.name(form) })).await;
        trial.tried();
        trial.check(answer.code == Code::NotFound, || format!("{form} came into sight"));
    }
}

fn unnumbered(request: &mut Value) {
    match request {
        Value::Array(all) => all.iter_mut().for_each(unnumbered),
        Value::Object(all) => {
            all.remove("identifiers");
            all.values_mut().for_each(unnumbered);
        }
        _ => {}
    }
}

/// `request` with every name of what belongs to somebody in it that of nothing; what is one stays one.
fn renamed(request: &Value, others: &mut HashMap<Uuid, Uuid>) -> Value {
    match request {
        Value::String(text) if OWNED.iter().any(|kind| text.starts_with(kind)) => {
            let other = |part: &str| match part.parse() {
                Ok(id) => others.entry(id).or_insert_with(Uuid::now_v7).to_string(),
                Err(_) => part.to_owned(),
            };
            json!(text.split('/').map(other).collect::<Vec<_>>().join("/"))
        }
        Value::Array(all) => all.iter().map(|value| renamed(value, others)).collect(),
        Value::Object(all) => {
            all.iter().map(|(key, value)| (key.clone(), renamed(value, others))).collect()
        }
        other => other.clone(),
    }
}
