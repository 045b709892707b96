//! What a caller is shown, against what somebody would show who reads the whole list for each question.
//!
//! The evaluator knows what was made, and the rules as the contracts tell them. It shares nothing with the services
//! but JSON.
use caseward_testkit::{START, Suite, suites};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tonic::Code;

use super::ask::{Voice, text};
use crate::{Run, Trial};

const PEOPLE: usize = 8;
const PATIENTS: usize = 14;
const CASES: usize = 18;
const TASKS: usize = 40;
const TOPICS: [&str; 6] = [SCHEDULE, "TOPIC_MEDICATION", PLAN, ASSESSMENT, NOTES, "TOPIC_MESSAGES"];
const SCHEDULE: &str = "TOPIC_SCHEDULE";
const PLAN: &str = "TOPIC_PLAN";
const ASSESSMENT: &str = "TOPIC_ASSESSMENT";
const NOTES: &str = "TOPIC_NOTES";
/// Without one of these there is no case to see.
const OF_CASES: [&str; 4] = [SCHEDULE, PLAN, ASSESSMENT, NOTES];
const STATES: [&str; 4] = ["STATE_DRAFT", "STATE_REQUESTED", "STATE_READY", "STATE_CANCELLED"];

/// Everything that was made.
#[derive(Debug, Default)]
struct Made {
    patients: Vec<Patient>,
    cases: Vec<Case>,
    tasks: Vec<Task>,
    ties: Vec<Tie>,
}

#[derive(Debug)]
struct Patient {
    name: String,
    number: String,
}

#[derive(Debug)]
struct Case {
    name: String,
    patient: usize,
    state: String,
    accountable: String,
    rank: i64,
}

#[derive(Debug)]
struct Task {
    name: String,
    case: usize,
    owner: String,
    state: &'static str,
    due: Option<OffsetDateTime>,
}

/// Why somebody sees a patient, and when.
#[derive(Debug)]
struct Tie {
    person: String,
    patient: usize,
    start: OffsetDateTime,
    end: Option<OffsetDateTime>,
    /// The parts of the record, where it is not the whole of it.
    topics: Option<Vec<&'static str>>,
}

/// Somebody with a role, and what the naive evaluator shows them.
struct Reader<'a> {
    voice: Voice,
    person: String,
    sees_all: bool,
    made: &'a Made,
    /// Whether a tie that ended still counts: what a wrong evaluator would think.
    forgetful: bool,
}

pub async fn lists(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let mut caught = 0;
    for suite in suites().await {
        let mut random = run.random();
        let made = Made::up(&suite, &mut random).await;
        let readers = made.readers(&suite, false);
        for reader in &readers {
            reader.settled().await;
        }
        let asks = run.of(400, 200_000);
        run.expect(asks);
        for _ in 0..asks {
            let reader = &readers[random.usize(..readers.len())];
            trial.tried();
            if let Err(why) = reader.asks(&mut random).await {
                trial.fail(format!("{} in {}: {why}", reader.person, suite.shape()));
            }
            run.step();
        }
        for reader in made.readers(&suite, true) {
            caught += u32::from(reader.patients().await.is_err());
        }
    }
    trial.control(
        format!("an evaluator that forgets that relations end disagrees for {caught} callers"),
        caught > 0,
    );
    trial
}

fn start() -> OffsetDateTime {
    OffsetDateTime::parse(START, &Rfc3339).expect("a time")
}

fn stamp(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a time is written")
}

fn person(n: usize) -> String {
    format!("person-{n}")
}

/// A time near the present, but never at it.
fn near(random: &mut fastrand::Rng) -> OffsetDateTime {
    let minutes = random.i64(1..20_000);
    start() + Duration::minutes(if random.bool() { minutes } else { -minutes })
}

impl Made {
    async fn up(suite: &Suite, random: &mut fastrand::Rng) -> Made {
        let voice =
            |name: &str, role| Voice::new(&suite.transport(), suite.caller(name, &[role]).token());
        let sam = voice("sam", "supervisor");
        let mut made = Made::default();
        for n in 0..PATIENTS {
            // Some are registered by a case manager, who sees them for a while.
            let registrar = (n % 5 == 0).then(|| person(random.usize(..PEOPLE)));
            let number = format!("{n}");
            let mut patient = json!({ "names": [{ "family": format!("Family-{n}") }] });
            patient["identifiers"] = json!([{ "system": "urn:oracle", "value": number }]);
            let subject = person(random.usize(..PEOPLE));
            if n % 4 == 1 && registrar.is_none() {
                patient["subject"] = json!(subject);
                made.tie(&subject, n, start(), None);
            }
            let by = match &registrar {
                Some(name) => {
                    made.tie(name, n, start(), None);
                    patient.as_object_mut().expect("an object").remove("identifiers");
                    voice(name, "case_manager")
                }
                None => sam.clone(),
            };
            let row = by.get("CreatePatient", json!({ "patient": patient })).await;
            let number = if registrar.is_some() { String::new() } else { number };
            made.patients.push(Patient { name: text(&row, "name").to_owned(), number });
            made.caregiver(&sam, n, random).await;
        }
        for n in 0..CASES {
            made.case(&sam, n, random).await;
        }
        for _ in 0..TASKS {
            made.task(&sam, random).await;
        }
        made
    }

    fn tie(
        &mut self,
        person: &str,
        patient: usize,
        start: OffsetDateTime,
        end: Option<OffsetDateTime>,
    ) {
        self.ties.push(Tie { person: person.to_owned(), patient, start, end, topics: None });
    }

    /// Perhaps somebody close to the patient, with a scope that holds, held or will hold, or was taken away.
    async fn caregiver(&mut self, sam: &Voice, n: usize, random: &mut fastrand::Rng) {
        if random.u8(..3) == 0 {
            return;
        }
        let subject = person(random.usize(..PEOPLE));
        let parent = self.patients[n].name.clone();
        let close = json!({ "names": [{ "family": "Close" }], "subject": subject });
        let row = sam
            .get("CreateRelatedPerson", json!({ "parent": parent, "relatedPerson": close }))
            .await;
        let (from, until) = period(random);
        let mut topics: Vec<&str> = TOPICS.into_iter().filter(|_| random.u8(..3) == 0).collect();
        if topics.is_empty() {
            topics.push(TOPICS[random.usize(..TOPICS.len())]);
        }
        let mut scope = json!({ "topics": topics, "legalBasis": "LEGAL_BASIS_GUARDIAN" });
        scope["period"] = json!({ "start": stamp(from), "end": until.map(stamp) });
        let grant = json!({ "name": row["name"], "etag": row["etag"], "scope": scope });
        let row = sam.get("GrantCaregiverScope", grant).await;
        let mut end = until;
        if random.u8(..4) == 0 {
            let revoke = json!({ "name": row["name"], "etag": row["etag"], "reason": "as wished" });
            sam.get("RevokeCaregiverScope", revoke).await;
            end = Some(start().min(until.unwrap_or(start())));
        }
        self.ties.push(Tie { person: subject, patient: n, start: from, end, topics: Some(topics) });
    }

    async fn case(&mut self, sam: &Voice, n: usize, random: &mut fastrand::Rng) {
        let patient = random.usize(..self.patients.len());
        let case = json!({ "patient": self.patients[patient].name, "title": format!("Case {n}") });
        let mut row = sam.get("CreateCase", json!({ "case": case })).await;
        let name = text(&row, "name").to_owned();
        let mut accountable = String::new();
        let mut rank = 0;
        if random.bool() {
            row = sam.get("StartOutreach", json!({ "name": name, "etag": row["etag"] })).await;
            if random.bool() {
                accountable = person(random.usize(..PEOPLE));
                let enrol = json!({ "name": name, "etag": row["etag"], "accountable": accountable, "consentStatement": "yes" });
                sam.get("EnrolCase", enrol).await;
                self.tie(&accountable, patient, start(), None);
                let inputs = json!({ "lengthOfStayDays": random.i32(0..20), "acuteAdmission": random.bool(),
                    "emergencyVisits": random.i32(0..5) });
                sam.get("ScoreLace", json!({ "parent": name, "inputs": inputs })).await;
                row = sam.get("GetCase", json!({ "name": name })).await;
                rank = row["risk"]["rank"].as_i64().unwrap_or(0);
            }
        }
        for _ in 0..random.usize(..3) {
            let who = person(random.usize(..PEOPLE));
            let (from, until) = period(random);
            let period = json!({ "start": stamp(from), "end": until.map(stamp) });
            let member = json!({ "person": who, "role": { "text": "nurse" }, "period": period });
            let row = sam.get("AddMember", json!({ "parent": name, "member": member })).await;
            let mut end = until;
            if from < start() && until.is_none_or(|until| until > start()) && random.bool() {
                sam.get("EndMember", json!({ "name": row["name"], "etag": row["etag"] })).await;
                end = Some(start());
            }
            self.tie(&who, patient, from, end);
        }
        let state = text(&row, "state").to_owned();
        self.cases.push(Case { name, patient, state, accountable, rank });
    }

    async fn task(&mut self, sam: &Voice, random: &mut fastrand::Rng) {
        let case = random.usize(..self.cases.len());
        let owner = if random.bool() { person(random.usize(..PEOPLE)) } else { String::new() };
        let due = random.bool().then(|| near(random));
        let draft = random.u8(..5) == 0;
        let task = json!({ "title": "something", "owner": owner, "dueTime": due.map(stamp) });
        let ask = json!({ "parent": self.cases[case].name, "task": task, "draft": draft });
        let row = sam.get("CreateTask", ask).await;
        let mut state = match (draft, owner.is_empty()) {
            (true, _) => "STATE_DRAFT",
            (_, true) => "STATE_READY",
            _ => "STATE_REQUESTED",
        };
        if random.u8(..5) == 0 {
            let cancel = json!({ "name": row["name"], "etag": row["etag"], "reason": "no need" });
            sam.get("CancelTask", cancel).await;
            state = "STATE_CANCELLED";
        }
        self.tasks.push(Task { name: text(&row, "name").to_owned(), case, owner, state, due });
    }

    fn readers(&self, suite: &Suite, forgetful: bool) -> Vec<Reader<'_>> {
        let reader = |person: &str, role: &str| Reader {
            voice: Voice::new(&suite.transport(), suite.caller(person, &[role]).token()),
            person: person.to_owned(),
            sees_all: role == "supervisor",
            made: self,
            forgetful,
        };
        let mut readers: Vec<Reader<'_>> =
            (0..PEOPLE).map(|n| reader(&person(n), ["case_manager", "care_team"][n % 2])).collect();
        readers.push(reader("stranger", "case_manager"));
        if !forgetful {
            readers.push(reader("sam", "supervisor"));
        }
        readers
    }
}

fn period(random: &mut fastrand::Rng) -> (OffsetDateTime, Option<OffsetDateTime>) {
    let from = near(random);
    let until = random.bool().then(|| from + Duration::minutes(random.i64(1..20_000)));
    (from, until)
}

impl Reader<'_> {
    /// Whether they see anything of a patient.
    fn sees(&self, patient: usize) -> bool {
        self.sees_in(patient, &TOPICS)
    }

    /// Whether they see one of some parts of a patient's record.
    fn sees_in(&self, patient: usize, parts: &[&str]) -> bool {
        self.sees_all
            || self.made.ties.iter().any(|tie| {
                let granted = |topics: &Vec<&str>| topics.iter().any(|topic| parts.contains(topic));
                tie.person == self.person
                    && tie.patient == patient
                    && tie.start <= start()
                    && (self.forgetful || tie.end.is_none_or(|end| end > start()))
                    && tie.topics.as_ref().is_none_or(granted)
            })
    }

    /// Whether they may read a case; what lies below others they may see all the same.
    fn reads(&self, case: &Case) -> bool {
        self.sees_in(case.patient, &[PLAN])
    }

    fn sees_case(&self, case: &Case) -> bool {
        self.sees_in(case.patient, &OF_CASES)
    }

    fn sees_task(&self, task: &Task) -> bool {
        self.sees_in(self.made.cases[task.case].patient, &[SCHEDULE])
    }

    /// Waits until the services have heard of what was made; what they then say is judged by the questions.
    async fn settled(&self) {
        let mut waited = 0;
        while waited < 200 && (self.patients().await.is_err() || self.cases().await.is_err()) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            waited += 1;
        }
    }

    async fn asks(&self, random: &mut fastrand::Rng) -> Result<(), String> {
        match random.u8(..8) {
            0 => self.patients_by(random).await,
            1 | 2 => self.cases_by(random).await,
            3 => self.tasks_by(random).await,
            4 | 5 => self.worklist(random).await,
            6 => {
                // Mail may arrive between two readings, but not for ever.
                let mut read = self.inbox(random).await;
                for _ in 0..3 {
                    if read.is_err() {
                        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                        read = self.inbox(random).await;
                    }
                }
                read
            }
            _ => self.one(random).await,
        }
    }

    async fn patients(&self) -> Result<(), String> {
        let seen = (0..self.made.patients.len()).filter(|n| self.sees(*n));
        let expected = seen.map(|n| self.made.patients[n].name.as_str()).collect();
        self.pages("ListPatients", "patients", json!({}), 1000, sorted(expected)).await
    }

    async fn cases(&self) -> Result<(), String> {
        let seen = self.made.cases.iter().filter(|case| self.reads(case));
        let expected = seen.map(|case| case.name.as_str()).collect();
        self.pages("ListCases", "cases", json!({}), 1000, sorted(expected)).await
    }

    async fn patients_by(&self, random: &mut fastrand::Rng) -> Result<(), String> {
        let wanted = random.bool().then(|| random.usize(..PATIENTS + 3).to_string());
        let seen = (0..self.made.patients.len()).filter(|n| {
            let patient = &self.made.patients[*n];
            self.sees(*n) && wanted.as_ref().is_none_or(|wanted| *wanted == patient.number)
        });
        let expected = seen.map(|n| self.made.patients[n].name.as_str()).collect();
        let identifier = wanted.as_ref().map(|wanted| format!("urn:oracle|{wanted}"));
        let ask = json!({ "identifier": identifier.unwrap_or_default() });
        self.pages("ListPatients", "patients", ask, random.usize(1..9), sorted(expected)).await
    }

    async fn cases_by(&self, random: &mut fastrand::Rng) -> Result<(), String> {
        let of = random.bool().then(|| random.usize(..PATIENTS));
        let states: Vec<&str> =
            ["STATE_IDENTIFIED", "STATE_OUTREACH", "STATE_ASSESSING", "STATE_CLOSED"]
                .into_iter()
                .filter(|_| random.u8(..3) == 0)
                .collect();
        let by = (random.u8(..3) == 0).then(|| person(random.usize(..PEOPLE)));
        let seen = self.made.cases.iter().filter(|case| {
            self.reads(case)
                && of.is_none_or(|of| of == case.patient)
                && (states.is_empty() || states.contains(&case.state.as_str()))
                && by.as_ref().is_none_or(|by| *by == case.accountable)
        });
        let expected = seen.map(|case| case.name.as_str()).collect();
        let of = of.map(|of| self.made.patients[of].name.clone());
        let ask = json!({ "patient": of.unwrap_or_default(), "states": states, "accountable": by.unwrap_or_default() });
        self.pages("ListCases", "cases", ask, random.usize(1..9), sorted(expected)).await
    }

    async fn tasks_by(&self, random: &mut fastrand::Rng) -> Result<(), String> {
        let case = random.usize(..self.made.cases.len());
        let states: Vec<&str> = STATES.into_iter().filter(|_| random.u8(..3) == 0).collect();
        let by = (random.u8(..3) == 0).then(|| person(random.usize(..PEOPLE)));
        let ask = json!({ "parent": self.made.cases[case].name, "states": states, "owner": by.clone().unwrap_or_default() });
        if !self.sees_case(&self.made.cases[case]) {
            let answer = self.voice.ask("ListTasks", &ask).await;
            return same(&answer.code, &Code::NotFound);
        }
        let seen = self.made.tasks.iter().filter(|task| {
            task.case == case
                && self.sees_task(task)
                && (states.is_empty() || states.contains(&task.state))
                && by.as_ref().is_none_or(|by| *by == task.owner)
        });
        let expected = seen.map(|task| task.name.as_str()).collect();
        self.pages("ListTasks", "tasks", ask, random.usize(1..6), sorted_by_last(expected)).await
    }

    async fn worklist(&self, random: &mut fastrand::Rng) -> Result<(), String> {
        let whose = match random.u8(..4) {
            0 => person(random.usize(..PEOPLE)),
            1 => "me".to_owned(),
            _ => String::new(),
        };
        let owner =
            if ["", "me"].contains(&whose.as_str()) { self.person.clone() } else { whose.clone() };
        let (pool, overdue) = (random.bool(), random.u8(..3) == 0);
        let before = (random.u8(..3) == 0).then(|| near(random));
        let mut ask = json!({ "owner": whose, "includePool": pool, "overdueOnly": overdue });
        if let Some(before) = before {
            ask["dueBefore"] = json!(stamp(before));
        }
        if owner != self.person && !self.sees_all {
            return same(&self.voice.ask("ListWorklist", &ask).await.code, &Code::InvalidArgument);
        }
        let mut seen: Vec<&Task> = self
            .made
            .tasks
            .iter()
            .filter(|task| {
                // A worklist is for those who work, not for caregivers.
                let works = self.sees_in(self.made.cases[task.case].patient, &[]);
                let open = ["STATE_REQUESTED", "STATE_READY"].contains(&task.state);
                let theirs = task.owner == owner || (pool && task.state == "STATE_READY");
                let late = task.due.is_some_and(|due| due < start());
                let soon = before.is_none_or(|before| task.due.is_some_and(|due| due < before));
                works && open && theirs && (late || !overdue) && soon
            })
            .collect();
        seen.sort_by_key(|task| {
            let id = task.name.rsplit('/').next().map(str::to_owned);
            (-self.made.cases[task.case].rank, task.due.is_none(), task.due, id)
        });
        let expected = seen.iter().map(|task| task.name.as_str()).collect();
        self.pages("ListWorklist", "items", ask, random.usize(1..6), expected).await
    }

    /// Whatever arrived, the pages of any size tell the same, the latest first, and nobody else's.
    async fn inbox(&self, random: &mut fastrand::Rng) -> Result<(), String> {
        let ask = json!({ "parent": "inboxes/me", "unreadOnly": random.bool() });
        let whole = self.walk("ListInboxItems", "items", ask.clone(), 1000).await?;
        let whole: Vec<&str> = whole.iter().map(|item| text(item, "name")).collect();
        let own = format!("inboxes/{}/items/", self.person);
        if let Some(other) = whole.iter().find(|name| !name.starts_with(&own)) {
            return Err(format!("is shown {other}"));
        }
        self.pages("ListInboxItems", "items", ask, random.usize(1..4), whole).await
    }

    async fn one(&self, random: &mut fastrand::Rng) -> Result<(), String> {
        let (rpc, name, sees) = match random.u8(..3) {
            0 => {
                let n = random.usize(..self.made.patients.len());
                ("GetPatient", &self.made.patients[n].name, self.sees(n))
            }
            1 => {
                let case = &self.made.cases[random.usize(..self.made.cases.len())];
                ("GetCase", &case.name, self.reads(case))
            }
            _ => {
                let task = &self.made.tasks[random.usize(..self.made.tasks.len())];
                ("GetTask", &task.name, self.sees_task(task))
            }
        };
        let wanted = if sees { Code::Ok } else { Code::NotFound };
        let code = self.voice.ask(rpc, &json!({ "name": name })).await.code;
        same(&(rpc, name, code), &(rpc, name, wanted))
    }

    /// Walks a list page by page.
    async fn walk(
        &self,
        rpc: &str,
        field: &str,
        mut ask: Value,
        size: usize,
    ) -> Result<Vec<Value>, String> {
        let mut all = vec![];
        ask["pageSize"] = json!(size);
        loop {
            let answer = self.voice.ask(rpc, &ask).await;
            if answer.code != Code::Ok {
                return Err(format!("{rpc} {ask}: {:?} {}", answer.code, answer.message));
            }
            let page = answer.json(super::contract::rpc(rpc));
            let rows = page[field].as_array().cloned().unwrap_or_default();
            let next = text(&page, "nextPageToken").to_owned();
            if rows.len() > size || (!next.is_empty() && rows.len() < size) {
                return Err(format!(
                    "{rpc} {ask}: a page of {} where {size} were asked for",
                    rows.len()
                ));
            }
            all.extend(rows);
            if next.is_empty() {
                return Ok(all);
            }
            ask["pageToken"] = json!(next);
        }
    }

    async fn pages(
        &self,
        rpc: &str,
        field: &str,
        ask: Value,
        size: usize,
        expected: Vec<&str>,
    ) -> Result<(), String> {
        let rows = self.walk(rpc, field, ask.clone(), size).await?;
        let name = |row: &Value| match row.get("task") {
            Some(task) => text(task, "name").to_owned(),
            None => text(row, "name").to_owned(),
        };
        let shown: Vec<String> = rows.iter().map(name).collect();
        same(&shown, &expected.into_iter().map(str::to_owned).collect())
            .map_err(|why| format!("{rpc} {ask}: {why}"))
    }
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names
}

fn sorted_by_last(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable_by_key(|name| name.rsplit('/').next());
    names
}

fn same<T: PartialEq + std::fmt::Debug>(shown: &T, expected: &T) -> Result<(), String> {
    if shown == expected { Ok(()) } else { Err(format!("shown {shown:?}, expected {expected:?}")) }
}
