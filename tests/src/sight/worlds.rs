//! Two organizations that differ only in what a caller may not see look the same to that caller, answer by answer.
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use caseward_testkit::{Suite, suites};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use super::{
    ask::{Answer, Voice, text},
    contract::{Rpc, rpc, rpcs},
    fill::aim,
    world::{elsewhere, eventually, form},
};
use crate::{Run, Trial};

/// How many calls one pair is compared by.
const CALLS: usize = 50;
const OWN: usize = 3;
/// How many pairs are compared at a time.
const AT_ONCE: usize = 16;
/// In a request: a patient whom ana does not see.
const UNSEEN: &str = "unseen";
/// Whose cases the caller does not see.
const OTHER: &str = "ben";
/// What says by itself that a patient is there, to whoever gives a reason and is on record: that is its use.
const TELLS: &str = "RequestEmergencyAccess";

/// Lists in the order in which things came about: what comes of different resources comes in any order, and what is tried
/// again is on record again.
const AS_IT_CAME: [&str; 2] = ["ListInboxItems", "ListAccesses"];
/// What tells only when something came.
const PLACES: [&str; 5] = ["name", "message", "sequence", "resumeToken", "etag"];

/// What a comparison found.
struct Pair {
    /// What ana could tell the one by.
    told: Vec<String>,
    /// Whether who sees all of both sees them differ.
    differs: bool,
}

/// One organization, as ana sees it.
struct Side {
    ana: Voice,
    /// Sees all of it.
    sam: Voice,
    /// What ana sees, alike on both sides, in one order.
    own: Vec<String>,
    /// What she does not see: of one side only, or of neither.
    hidden: Vec<String>,
    labels: HashMap<Uuid, String>,
}

/// What is asked of both sides.
struct Call {
    rpc: &'static Rpc,
    request: Value,
    about: Option<About>,
}

/// What a call is about, so that each side can name its own.
enum About {
    /// Something of ana's.
    Hers(usize),
    /// Something of this form that she does not see.
    Others(String),
}

pub async fn look_alike(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (mut random, mut seen) = (run.random(), 0);
    let suites = suites().await;
    let pairs = run.of(2, 10_000);
    run.expect(pairs * suites.len() as u64);
    for suite in &suites {
        let chances = std::iter::repeat_with(|| random.fork()).take(pairs as usize);
        let compared = stream::iter(chances).map(|random| Pair::compare(suite, random));
        let mut compared = compared.buffer_unordered(AT_ONCE);
        while let Some(pair) = compared.next().await {
            trial.tries += CALLS as u64;
            trial.failures.extend(pair.told);
            seen += u64::from(pair.differs);
            run.step();
        }
    }
    trial.control(
        format!("who sees all of both sees them differ, {seen} times"),
        seen == pairs * suites.len() as u64,
    );
    trial
}

impl Pair {
    async fn compare(suite: &Suite, mut random: fastrand::Rng) -> Pair {
        let chances = random.u64(..);
        let (mut one, mut other) =
            tokio::join!(Side::furnish(suite, chances), Side::furnish(suite, chances));
        one.hide(&mut random, "Quiroga").await;
        if random.bool() {
            other.hide(&mut random, "Okonkwo").await;
        }
        let mut told = vec![];
        for _ in 0..CALLS {
            let call = Call::any(&mut random, &one);
            let (ours, theirs) = call.of_both(&one, &other).await;
            if ours != theirs {
                let (name, request) = (&call.rpc.name, &call.request);
                told.push(format!(
                    "{}: {name} {request} tells:\n{ours}\nand\n{theirs}",
                    suite.shape()
                ));
            }
        }
        let list = Call::plain("ListPatients", json!({}));
        let (ours, theirs) = tokio::join!(list.of(&one.sam, &one), list.of(&other.sam, &other));
        let differs = one.said(list.rpc, &ours) != other.said(list.rpc, &theirs);
        Pair { told, differs }
    }
}

impl Side {
    /// An organization with what ana sees.
    async fn furnish(suite: &Suite, chances: u64) -> Side {
        let organization = Uuid::now_v7();
        let voice = |name: &str, role| {
            let caller = suite.caller_of(organization, name, &[role]);
            Voice::new(&suite.transport(), caller.token())
        };
        let (ana, sam) = (voice("ana", "case_manager"), voice("sam", "supervisor"));
        let (own, hidden, labels) = (vec![], vec![], HashMap::new());
        let mut side = Side { ana, sam, own, hidden, labels };
        let mut random = fastrand::Rng::with_seed(chances);
        for n in 0..OWN {
            let patient = json!({ "patient": person(&format!("Own-{n}"), &format!("own-{n}")) });
            let patient = side.keep(&side.ana.get("CreatePatient", patient).await);
            let case = json!({ "case": { "patient": patient, "title": format!("Own {n}") } });
            let made = side.sam.get("CreateCase", case).await;
            let case = side.keep(&made);
            let step = json!({ "name": case, "etag": made["etag"] });
            let made = side.sam.get("StartOutreach", step).await;
            if random.bool() {
                let enrol = json!({ "name": case, "etag": made["etag"], "accountable": "ana", "consentStatement": "yes" });
                side.sam.get("EnrolCase", enrol).await;
            } else {
                let member = json!({ "person": "ana", "role": { "text": "nurse" } });
                side.sam.get("AddMember", json!({ "parent": case, "member": member })).await;
            }
            let task = json!({ "parent": case, "task": { "title": "call", "owner": "ana" } });
            side.keep(&side.sam.get("CreateTask", task).await);
            let covered = json!({ "parent": patient, "coverage": { "status": "STATUS_ACTIVE", "payerDisplay": "County" } });
            side.keep(&side.sam.get("CreateCoverage", covered).await);
            eventually(|| async {
                let answer = side.ana.ask("GetCase", &json!({ "name": case })).await;
                (answer.code == Code::Ok).then_some(())
            })
            .await;
        }
        side
    }

    /// Adds what ana does not see: people, their numbers, and somebody else's work for them.
    async fn hide(&mut self, random: &mut fastrand::Rng, family: &str) {
        for n in 0..random.usize(1..4) {
            let number = format!("hidden-{n}");
            let patient = json!({ "patient": person(family, &number) });
            let patient = self.sam.get("CreatePatient", patient).await["name"].clone();
            let close = json!({ "names": [{ "family": family }], "identifiers": ids(&number) });
            let close = json!({ "parent": patient, "relatedPerson": close });
            self.hidden.push(named(&self.sam.get("CreateRelatedPerson", close).await));
            let covered = json!({ "status": "STATUS_ACTIVE", "payerDisplay": family, "identifiers": ids(&number) });
            let covered = json!({ "parent": patient, "coverage": covered });
            self.hidden.push(named(&self.sam.get("CreateCoverage", covered).await));
            let case = json!({ "patient": patient, "title": family, "identifiers": ids(&number) });
            let made = self.sam.get("CreateCase", json!({ "case": case })).await;
            let case = made["name"].clone();
            let step = json!({ "name": case, "etag": made["etag"] });
            let made = self.sam.get("StartOutreach", step).await;
            let enrol = json!({ "name": case, "etag": made["etag"], "accountable": OTHER, "consentStatement": "yes" });
            self.sam.get("EnrolCase", enrol).await;
            let task = json!({ "parent": case, "task": { "title": family, "owner": OTHER } });
            self.hidden.push(named(&self.sam.get("CreateTask", task).await));
            self.hidden.extend([named(&json!({ "name": patient })), named(&made)]);
        }
    }

    /// The name of something that ana does not see, or of nothing where this side hides nothing.
    fn unseen(&self, kind: &str) -> String {
        let hidden = self.hidden.iter().find(|name| form(name) == kind);
        hidden.cloned().unwrap_or_else(|| {
            elsewhere(&kind.split('*').collect::<Vec<_>>().join(&Uuid::nil().to_string()))
        })
    }

    fn keep(&mut self, made: &Value) -> String {
        let name = named(made);
        for part in name.split('/').filter_map(|part| part.parse().ok()) {
            let label = format!("own-{}", self.own.len());
            self.labels.entry(part).or_insert(label);
        }
        self.own.push(name.clone());
        name
    }

    /// All that a caller could compare in an answer; ids by who they are, or by the order in which they come.
    fn said(&self, rpc: &Rpc, answer: &Answer) -> String {
        let details = String::from_utf8_lossy(&answer.details);
        let body = match answer.code {
            Code::Ok if !rpc.streams => {
                let mut body = answer.json(rpc);
                // A token is sealed over ids; where the next page begins shows in the next page.
                if let Some(token) = body.get_mut("nextPageToken") {
                    *token = json!(token.as_str().map(str::len));
                }
                if AS_IT_CAME.contains(&rpc.name.as_str()) {
                    return self.in_any_order(&body);
                }
                body.to_string()
            }
            _ => String::from_utf8_lossy(&answer.body).into_owned(),
        };
        let whole = format!(
            "{} {:?}\n{}\n{details}\n{} bytes\n{body}",
            answer.http,
            answer.code,
            answer.told(),
            answer.body.len()
        );
        self.without_ids(&whole)
    }

    /// What is in a list, each once.
    fn in_any_order(&self, body: &Value) -> String {
        let mut rows: Vec<Value> = body
            .as_object()
            .into_iter()
            .flat_map(|body| body.values())
            .filter_map(Value::as_array)
            .flatten()
            .cloned()
            .collect();
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            row.retain(|field, _| !PLACES.contains(&field.as_str()));
        }
        let rows: BTreeSet<String> =
            rows.iter().map(|row| self.without_ids(&row.to_string())).collect();
        rows.into_iter().collect::<Vec<_>>().join("\n")
    }

    fn without_ids(&self, mut rest: &str) -> String {
        let (mut kept, mut others) = (String::with_capacity(rest.len()), vec![]);
        while let Some(next) = rest.chars().next() {
            let id = rest.get(..36).and_then(|part| Uuid::try_parse(part).ok());
            let Some(id) = id else {
                kept.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            };
            kept += &self.labels.get(&id).cloned().unwrap_or_else(|| {
                let known = others.iter().position(|other| *other == id);
                format!(
                    "#{}",
                    known.unwrap_or_else(|| {
                        others.push(id);
                        others.len() - 1
                    })
                )
            });
            rest = &rest[36..];
        }
        kept
    }
}

impl Call {
    fn plain(name: &str, request: Value) -> Call {
        Call { rpc: rpc(name), request, about: None }
    }

    /// Some call: about what ana sees or what she does not, with numbers of hers, of others, of nobody.
    fn any(random: &mut fastrand::Rng, side: &Side) -> Call {
        let number = match random.u8(..3) {
            0 => format!("own-{}", random.usize(..OWN)),
            1 => format!("hidden-{}", random.usize(..3)),
            _ => format!("free-{}", random.u32(..)),
        };
        let whose = if random.u8(..4) == 0 { UNSEEN } else { "ana's" };
        let size = random.usize(1..4);
        let who = if random.bool() { OTHER } else { "ana" };
        let identifier = format!("urn:worlds|{number}");
        let close = json!({ "relatedPerson": { "names": [{ "family": "New" }], "identifiers": ids(&number) } });
        let covered = json!({ "coverage": { "status": "STATUS_ACTIVE", "payerDisplay": "New", "identifiers": ids(&number) } });
        let consent =
            json!({ "consent": { "type": "TYPE_MESSAGING", "identifiers": ids(&number) } });
        let owned = json!({ "task": { "title": "new", "owner": who } });
        let member = json!({ "member": { "person": who, "role": { "text": "nurse" } } });
        let handoff = json!({ "handoff": { "to": who, "reason": "leave", "summary": "well" } });
        let mask = json!("identifiers");
        let own = |kind: &str| side.own.iter().position(|name| form(name) == kind).expect("made");
        let (patient, case) = (own("patients/*"), own("cases/*"));
        let (name, request, about) = match random.u8(..22) {
            0 => ("CreatePatient", json!({ "patient": person("New", &number) }), None),
            1 => (
                "UpdatePatient",
                json!({ "patient": { "identifiers": ids(&number) }, "updateMask": mask }),
                Some(patient),
            ),
            2 => (
                "CreateCase",
                json!({ "case": { "patient": whose, "title": "New", "identifiers": ids(&number) } }),
                None,
            ),
            3 => (
                "UpdateCase",
                json!({ "case": { "identifiers": ids(&number) }, "updateMask": mask }),
                Some(case),
            ),
            4 => ("CreateRelatedPerson", close, Some(patient)),
            5 => ("CreateCoverage", covered, Some(patient)),
            6 => ("CreateConsent", consent, Some(patient)),
            7 => ("ListPatients", json!({ "identifier": identifier, "pageSize": size }), None),
            8 => ("ListPatients", json!({ "pageSize": size }), None),
            9 => ("ListCases", json!({ "identifier": identifier, "pageSize": size }), None),
            10 => ("ListCases", json!({ "accountable": who, "pageSize": size }), None),
            11 => ("ListWorklist", json!({ "includePool": true, "pageSize": size }), None),
            12 => ("ListWorklist", json!({ "owner": who }), None),
            13 => ("ListInboxItems", json!({ "parent": "inboxes/me", "pageSize": 1000 }), None),
            14 => ("ListEmergencyAccesses", json!({ "parent": "patients/-" }), None),
            15 => ("CreateTask", owned, Some(case)),
            16 => ("AddMember", member, Some(case)),
            17 => ("ProposeHandoff", handoff, Some(case)),
            _ => return Call::about(random, side),
        };
        Call { rpc: rpc(name), request, about: about.map(About::Hers) }
    }

    /// Any method about something of ana's, or something that she does not see.
    fn about(random: &mut fastrand::Rng, side: &Side) -> Call {
        let hers = random.u8(..3) == 0;
        let names = if hers { &side.own } else { &side.hidden };
        let n = random.usize(..names.len());
        let form = form(&names[n]);
        let of_it = |rpc: &&Rpc| {
            let reads = !rpc.mutates && !rpc.streams;
            let fits = rpc.target().is_some_and(|(_, wanted)| wanted == form);
            fits && rpc.name != TELLS && (reads || !hers)
        };
        let all: Vec<&'static Rpc> = rpcs().iter().filter(of_it).collect();
        let rpc = random.choice(all).expect("every kind is read by something");
        let request = match AS_IT_CAME.contains(&rpc.name.as_str()) {
            true => json!({ "pageSize": 1000 }),
            false => json!({}),
        };
        let about = if hers { About::Hers(n) } else { About::Others(form.clone()) };
        Call { rpc, request, about: Some(about) }
    }

    async fn of(&self, voice: &Voice, side: &Side) -> Answer {
        let mut request = self.request.clone();
        let name = match &self.about {
            None => None,
            Some(About::Hers(n)) => Some(side.own[*n].clone()),
            Some(About::Others(form)) => Some(side.unseen(form)),
        };
        if let Some(name) = name {
            aim(voice, self.rpc, &name, &mut request).await;
        }
        if let Some(patient) = request.get_mut("case").and_then(|case| case.get_mut("patient")) {
            let theirs = patient.as_str() == Some(UNSEEN);
            *patient = json!(if theirs { side.unseen("patients/*") } else { side.own[0].clone() });
        }
        voice.ask(&self.rpc.name, &request).await
    }

    /// What both sides answer. What arrives by event may be on its way to one of them, but not for ever.
    async fn of_both(&self, one: &Side, other: &Side) -> (String, String) {
        let mut said = (String::new(), String::from("nothing yet"));
        for wait in [0, 100, 300, 1000, 3000] {
            if said.0 == said.1 || (wait > 0 && self.rpc.mutates) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let (ours, theirs) = tokio::join!(self.of(&one.ana, one), self.of(&other.ana, other));
            said = (one.said(self.rpc, &ours), other.said(self.rpc, &theirs));
        }
        said
    }
}

fn person(family: &str, number: &str) -> Value {
    json!({ "names": [{ "family": family }], "identifiers": ids(number) })
}

fn ids(number: &str) -> Value {
    json!([{ "system": "urn:worlds", "value": number }])
}

fn named(made: &Value) -> String {
    text(made, "name").to_owned()
}
