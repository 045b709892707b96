//! Every change that the contracts know, done once to a small world of its own.
use std::collections::{BTreeMap, BTreeSet};

use caseward_server::Transport;
use caseward_testkit::{START, Suite};
use prost_reflect::Kind;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep, timeout};
use tonic::Code;
use uuid::Uuid;

use crate::sight::{
    ask::{Answer, Voice, encode, text},
    contract::{Rpc, rpc, rpcs},
    world::{ROLES, eventually},
};

/// What moves the time of a whole deployment belongs to no world.
const OTHERS: [&str; 1] = ["Advance"];

/// How a caller behaves before it waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It waits at once.
    Patient,
    /// It resets its stream.
    Leaves,
    /// It says how long it will wait.
    Hurries,
}

/// What can be done to a world or left, once it has a patient and a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Directory,
    Messages,
    Plan,
    TasksAndNotes,
    Assessments,
    EndsOfCases,
    Loads,
}

impl Part {
    /// In an order in which they can be done.
    pub const ALL: [Part; 7] = [
        Part::Directory,
        Part::Messages,
        Part::Plan,
        Part::TasksAndNotes,
        Part::Assessments,
        Part::EndsOfCases,
        Part::Loads,
    ];
}

/// What the callers of one world do and saw.
#[derive(Debug)]
pub struct Hands {
    doors: BTreeMap<&'static str, Transport>,
    callers: BTreeMap<&'static str, String>,
    manner: Manner,
    /// The longest that such a caller waits.
    most: Duration,
    /// How often it goes before it stays.
    times: u64,
    chances: fastrand::Rng,
    /// Which methods were called.
    pub done: BTreeSet<&'static str>,
    /// How long each answer took.
    pub took: Vec<Duration>,
    /// How many calls were cut short.
    pub cut: u64,
    /// How many of those that could have been were answered first.
    pub answered: u64,
    /// What was answered otherwise when it was asked again.
    pub wrong: Vec<String>,
}

/// The section of the service that answers a method.
fn section(rpc: &Rpc) -> &'static str {
    match rpc.service.split('.').nth(1) {
        Some("careplan") => "care_plan",
        Some("patient") => "patient",
        Some("directory") => "directory",
        _ => "notification",
    }
}

impl Hands {
    /// Callers of `organization`, through the gateway or at each service's own port.
    pub fn new(suite: &Suite, organization: Uuid, through_gateway: bool, seed: u64) -> Hands {
        let services = ["patient", "care_plan", "directory", "notification"];
        let door = |service: &'static str| match suite.is_cluster() && !through_gateway {
            true => suite.replica(service, 0),
            false => suite.transport(),
        };
        let token = |name: &'static str, roles: &[&str]| {
            (name, suite.caller_of(organization, name, roles).token().to_owned())
        };
        Hands {
            doors: services.map(|service| (service, door(service))).into(),
            callers: [
                token("sam", &ROLES),
                token("ana", &ROLES),
                token("ben", &ROLES),
                token("dana", &["case_manager"]),
            ]
            .into(),
            manner: Manner::Patient,
            most: Duration::ZERO,
            times: 0,
            chances: fastrand::Rng::with_seed(seed),
            done: BTreeSet::new(),
            took: vec![],
            cut: 0,
            answered: 0,
            wrong: vec![],
        }
    }

    /// From now on each change is cut short so many times, after up to `most`, before its caller waits for the answer.
    pub fn behave(mut self, manner: Manner, most: Duration, times: u64) -> Hands {
        (self.manner, self.most, self.times) = (manner, most, times);
        self
    }

    fn voice(&self, who: &str, rpc: &Rpc) -> Voice {
        Voice::new(&self.doors[section(rpc)], &self.callers[who])
    }

    async fn reads(&self, name: &str, request: Value) -> Value {
        self.reads_as("sam", name, request).await
    }

    async fn reads_as(&self, who: &str, name: &str, request: Value) -> Value {
        let rpc = rpc(name);
        let answer = patiently(&self.voice(who, rpc), rpc, &request).await;
        answer.json(rpc)
    }

    /// Sends a change until it is answered, always under the same request id.
    async fn does(&mut self, who: &str, name: &str, mut request: Value) -> Value {
        let rpc = rpc(name);
        self.done.insert(&rpc.name);
        request["requestId"] = Uuid::from_u128(self.chances.u128(..)).to_string().into();
        let voice = self.voice(who, rpc);
        let message = encode(rpc.method.input(), &request);
        let mut first = None;
        for _ in 0..self.times {
            let wait = self.most.mul_f64(self.chances.f64());
            let answer = match self.manner {
                Manner::Patient => None,
                Manner::Leaves => timeout(wait, voice.raw(&rpc.path, &[], &message)).await.ok(),
                Manner::Hurries => {
                    let header = format!("{}u", wait.as_micros());
                    let headers = [("grpc-timeout", header.as_str())];
                    Some(voice.raw(&rpc.path, &headers, &message).await)
                }
            };
            match answer.filter(|answer| answer.code == Code::Ok) {
                Some(answer) => {
                    self.answered += 1;
                    first = Some(answer.json(rpc));
                }
                None => self.cut += 1,
            }
        }
        let began = Instant::now();
        let answer = patiently(&voice, rpc, &request).await.json(rpc);
        self.took.push(began.elapsed());
        if first.is_some_and(|first| first != answer) {
            self.wrong.push(format!("{name} was answered otherwise when it was sent again"));
        }
        answer
    }

    /// Creates what `name` creates below `parent`.
    async fn makes(&mut self, who: &str, name: &str, parent: &str, body: Value) -> String {
        let rpc = rpc(name);
        let mut request = json!({ body_of(rpc): body });
        if !parent.is_empty() {
            request["parent"] = parent.into();
        }
        text(&self.does(who, name, request).await, "name").to_owned()
    }

    /// Takes a resource one step on, from what it is now.
    async fn step(&mut self, who: &str, name: &str, of: &str, mut more: Value) -> Value {
        more["name"] = of.into();
        more["etag"] = self.etag(who, rpc(name), of).await;
        self.does(who, name, more).await
    }

    /// Takes a resource through steps that need no more than a reason.
    async fn steps(&mut self, who: &str, of: &str, names: &[&str]) {
        for name in names {
            let more = match rpc(name).method.input().get_field_by_name("reason") {
                Some(_) => json!({ "reason": "as it must be" }),
                None => json!({}),
            };
            self.step(who, name, of, more).await;
        }
    }

    /// Sets fields of a resource.
    async fn sets(&mut self, who: &str, name: &str, of: &str, mut fields: Value) {
        let rpc = rpc(name);
        let mask: Vec<&str> =
            fields.as_object().into_iter().flatten().map(|(field, _)| &**field).collect();
        let mask = mask.join(",");
        fields["name"] = of.into();
        fields["etag"] = self.etag(who, rpc, of).await;
        self.does(who, name, json!({ body_of(rpc): fields, "updateMask": mask })).await;
    }

    async fn etag(&self, who: &str, rpc: &Rpc, of: &str) -> Value {
        // Before it is signed a note is its author's alone.
        let who = if rpc.method.output().name() == "Note" { who } else { "sam" };
        let read = match &*rpc.name {
            // The only record that has no type of its own.
            "VerifyRecord" => "GetOrganization".to_owned(),
            // Steps on an item of an inbox answer with it, and it is read in its list.
            "MarkRead" => return Value::from(""),
            _ => format!("Get{}", rpc.method.output().name()),
        };
        self.reads_as(who, &read, json!({ "name": of })).await["etag"].clone()
    }

    /// Does every change there is; fails where the contracts know one that is not here.
    pub async fn everything(&mut self) {
        self.some(&Part::ALL).await;
        let known = rpcs().iter().filter(|rpc| rpc.mutates).map(|rpc| rpc.name.as_str());
        let missing: Vec<_> =
            known.filter(|name| !self.done.contains(name) && !OTHERS.contains(name)).collect();
        assert!(missing.is_empty(), "changes that nobody does here: {missing:?}");
    }

    /// Does the changes of a patient and a case, and of these parts.
    pub async fn some(&mut self, parts: &[Part]) {
        let patient = self.of_a_patient().await;
        let case = self.of_a_case(&patient).await;
        for part in parts {
            match part {
                Part::Directory => self.of_a_directory().await,
                Part::Messages => self.of_messages(&patient).await,
                Part::Plan => self.of_a_plan(&case).await,
                Part::TasksAndNotes => self.of_tasks_and_notes(&case).await,
                Part::Assessments => self.of_assessments(&case).await,
                Part::EndsOfCases => self.ends_of_cases(&patient).await,
                Part::Loads => self.loads(&patient).await,
            }
        }
    }

    async fn of_a_patient(&mut self) -> String {
        let names = json!([{ "family": "Marchena" }]);
        let patient = json!({ "names": names, "subject": "rosa" });
        let patient = self.makes("sam", "CreatePatient", "", patient).await;
        self.sets("sam", "UpdatePatient", &patient, json!({ "names": [{ "family": "Prats" }] }))
            .await;
        let preference = format!("{patient}/preference");
        self.sets("sam", "UpdatePreference", &preference, json!({ "language": "es" })).await;

        let person = json!({ "names": names, "subject": "luz" });
        let person = self.makes("sam", "CreateRelatedPerson", &patient, person).await;
        self.sets("sam", "UpdateRelatedPerson", &person, json!({ "timeZone": "Europe/Madrid" }))
            .await;
        let scope = json!({ "scope": { "topics": ["TOPIC_PLAN"], "legalBasis": "LEGAL_BASIS_PATIENT_PERMISSION" } });
        self.step("sam", "GrantCaregiverScope", &person, scope).await;
        self.steps("sam", &person, &["RevokeCaregiverScope"]).await;

        let coverage = json!({ "status": "STATUS_ACTIVE", "payerDisplay": "County plan" });
        let coverage = self.makes("sam", "CreateCoverage", &patient, coverage).await;
        self.sets("sam", "UpdateCoverage", &coverage, json!({ "memberId": "7" })).await;

        let kinds = ["TYPE_MESSAGING", "TYPE_RELEASE", "TYPE_RESEARCH"];
        let ways: [&[&str]; 3] = [
            &["ProposeConsent", "ActivateConsent", "RevokeConsent"],
            &["ProposeConsent", "RejectConsent"],
            &["MarkConsentEnteredInError"],
        ];
        for (kind, way) in kinds.into_iter().zip(ways) {
            let consent = json!({ "type": kind, "decision": "DECISION_PERMIT", "evidence": "on paper",
                "recipients": ["County clinic"], "purposes": [{ "text": "care" }] });
            let consent = self.makes("sam", "CreateConsent", &patient, consent).await;
            self.sets("sam", "UpdateConsent", &consent, json!({ "evidence": "signed" })).await;
            self.steps("sam", &consent, way).await;
        }

        let told = json!({ "discloseTime": START, "recipientName": "County", "description": "a summary",
            "purpose": "as the law says", "basis": "BASIS_REQUIRED_BY_LAW" });
        let told = self.makes("sam", "CreateDisclosure", &patient, told).await;
        self.steps("sam", &told, &["MarkDisclosureEnteredInError"]).await;

        let urgent = json!({ "parent": patient, "reason": "found unconscious" });
        let urgent = self.does("dana", "RequestEmergencyAccess", urgent).await;
        let urgent = text(&urgent, "name").to_owned();
        self.step("dana", "EndEmergencyAccess", &urgent, json!({})).await;
        let verdict = json!({ "verdict": "VERDICT_JUSTIFIED", "comment": "it was one" });
        self.step("sam", "ReviewEmergencyAccess", &urgent, verdict).await;
        patient
    }

    async fn of_a_directory(&mut self) {
        let clinic = json!({ "displayName": "County clinic" });
        let clinic = self.makes("sam", "CreateOrganization", "", clinic).await;
        let place = json!({ "displayName": "Main street", "managingOrganization": clinic });
        let place = self.makes("sam", "CreateLocation", "", place).await;
        let person = json!({ "names": [{ "family": "Diaz" }] });
        let person = self.makes("sam", "CreatePractitioner", "", person).await;
        let role = json!({ "practitioner": person, "organization": clinic });
        let role = self.makes("sam", "CreatePractitionerRole", "", role).await;
        let meals = json!({ "displayName": "Meals", "providedBy": clinic });
        let meals = self.makes("sam", "CreateHealthcareService", "", meals).await;
        let plan = json!({ "displayName": "County plan" });
        let plan = self.makes("sam", "CreateInsurancePlan", "", plan).await;
        let named = json!({ "displayName": "Another name" });
        self.sets("sam", "UpdateOrganization", &clinic, named.clone()).await;
        self.sets("sam", "UpdateLocation", &place, named.clone()).await;
        self.sets("sam", "UpdatePractitioner", &person, json!({ "names": [{ "family": "Roca" }] }))
            .await;
        self.sets("sam", "UpdatePractitionerRole", &role, json!({ "locations": [place] })).await;
        self.sets("sam", "UpdateHealthcareService", &meals, named.clone()).await;
        self.sets("sam", "UpdateInsurancePlan", &plan, named).await;
        let seen = json!({ "method": "METHOD_PHONE", "note": "the number rings" });
        self.step("sam", "VerifyRecord", &clinic, seen).await;
    }

    async fn of_messages(&mut self, patient: &str) {
        let variant = |language: &str| json!({ "language": language, "channel": "CHANNEL_INBOX", "subject": "A word", "body": "Please call" });
        let template = json!({ "key": "please-call", "displayName": "Please call",
            "variants": [variant("en"), variant("es")] });
        let template = self.makes("sam", "CreateTemplate", "", template).await;
        self.sets("sam", "UpdateTemplate", &template, json!({ "displayName": "Do call" })).await;
        self.steps("ana", &template, &["ApproveTemplate"]).await;
        let later = json!({ "recipient": { "patient": patient }, "template": template,
            "purpose": "a-word", "dueTime": "2026-02-05T08:00:00Z" });
        let later = self.makes("sam", "SendMessage", "", later).await;
        self.steps("sam", &later, &["CancelMessage"]).await;
        self.steps("sam", &template, &["RetireTemplate"]).await;
    }

    async fn case(&mut self, patient: &str, title: &str) -> String {
        let case = json!({ "patient": patient, "title": title });
        let case = self.makes("sam", "CreateCase", "", case).await;
        self.steps("sam", &case, &["StartOutreach"]).await;
        case
    }

    async fn of_a_case(&mut self, patient: &str) -> String {
        let case = self.case(patient, "Heart failure").await;
        self.sets("sam", "UpdateCase", &case, json!({ "reason": "admitted twice" })).await;
        let enrol = json!({ "accountable": "ana", "consentStatement": "said yes" });
        self.step("sam", "EnrolCase", &case, enrol).await;
        let member = json!({ "person": "carl", "role": { "text": "nurse" } });
        let member = self.makes("sam", "AddMember", &case, member).await;
        self.steps("sam", &member, &["EndMember"]).await;
        for (who, end) in
            [("ben", "DeclineHandoff"), ("ben", "WithdrawHandoff"), ("sam", "AcceptHandoff")]
        {
            let handoff = json!({ "to": who, "reason": "leave", "summary": "all well" });
            let handoff = self.makes("ana", "ProposeHandoff", &case, handoff).await;
            let by = if end == "WithdrawHandoff" { "ana" } else { who };
            self.steps(by, &handoff, &[end]).await;
        }
        self.step("sam", "ReassignCase", &case, json!({ "accountable": "ana", "reason": "back" }))
            .await;
        let item = json!({ "parent": "inboxes/ana" });
        let voice = self.voice("ana", rpc("ListInboxItems"));
        let item = eventually(|| async {
            let items = voice.get("ListInboxItems", item.clone()).await;
            items["items"].get(0).cloned()
        })
        .await;
        let read = json!({ "name": item["name"], "etag": item["etag"] });
        self.does("ana", "MarkRead", read).await;
        case
    }

    async fn plan(&mut self, case: &str, title: &str) -> (String, String) {
        let plan = self.makes("ana", "CreateCarePlan", case, json!({ "title": title })).await;
        let goal = json!({ "description": { "text": "sleep" } });
        let goal = self.makes("ana", "CreateGoal", &plan, goal).await;
        (plan, goal)
    }

    async fn activate(&mut self, plan: &str) {
        self.steps("ana", plan, &["SubmitCarePlan"]).await;
        let approved = self.step("sam", "ApproveCarePlan", plan, json!({})).await;
        let agreement = json!({ "agreement": { "party": "PARTY_PATIENT", "method": "METHOD_VERBAL",
            "contentHash": approved["contentHash"] } });
        self.step("ana", "RecordAgreement", plan, agreement).await;
        self.steps("ana", plan, &["ActivateCarePlan"]).await;
    }

    async fn of_a_plan(&mut self, case: &str) {
        let ways: [&[&str]; 2] = [
            &["DeactivateProblem", "ResolveProblem", "ReactivateProblem"],
            &["MarkProblemEnteredInError"],
        ];
        for way in ways {
            let problem = json!({ "code": { "text": "weight" } });
            let problem = self.makes("ana", "CreateProblem", case, problem).await;
            self.sets("ana", "UpdateProblem", &problem, json!({ "code": { "text": "sleep" } }))
                .await;
            self.steps("ana", &problem, way).await;
        }

        let (plan, first) = self.plan(case, "At home").await;
        self.steps("ana", &first, &["RejectGoal"]).await;
        self.sets("ana", "UpdateCarePlan", &plan, json!({ "title": "At home again" })).await;
        // Before the plan is carried out, and after.
        let ways: [[&[&str]; 2]; 4] = [
            [&["AcceptGoal", "PlanGoal"], &["StartGoal", "HoldGoal", "ReleaseGoal"]],
            [&["AcceptGoal", "PlanGoal"], &["StartGoal", "CancelGoal"]],
            [&["RejectGoal"], &[]],
            [&["MarkGoalEnteredInError"], &[]],
        ];
        let mut goals = vec![];
        for [before, _] in ways {
            let goal = json!({ "description": { "text": "weigh" } });
            let goal = self.makes("ana", "CreateGoal", &plan, goal).await;
            self.sets("ana", "UpdateGoal", &goal, json!({ "statement": "weigh daily" })).await;
            self.steps("ana", &goal, before).await;
            goals.push(goal);
        }
        let mut activities = vec![];
        for _ in 0..4 {
            let activity = json!({ "description": "bring a scale" });
            let activity = self.makes("ana", "CreateActivity", &plan, activity).await;
            let better = json!({ "description": "bring a good scale" });
            self.sets("ana", "UpdateActivity", &activity, better).await;
            activities.push(activity);
        }
        self.steps("ana", &plan, &["SubmitCarePlan"]).await;
        let comments = json!({ "comments": "say more" });
        self.step("sam", "ReturnCarePlan", &plan, comments).await;
        self.activate(&plan).await;
        for (goal, [_, after]) in goals.iter().zip(ways) {
            self.steps("ana", goal, after).await;
        }
        let progress =
            json!({ "progress": { "achievement": "ACHIEVEMENT_ACHIEVED", "note": "yes" } });
        self.step("ana", "RecordGoalProgress", &goals[0], progress).await;
        self.steps("ana", &goals[0], &["CompleteGoal"]).await;
        for (n, activity) in activities.into_iter().enumerate() {
            let schedule = json!({ "schedule": { "text": "every Monday" } });
            match n {
                0 => {
                    self.step("ana", "ScheduleActivity", &activity, schedule).await;
                    let way = ["StartActivity", "HoldActivity", "ReleaseActivity"];
                    self.steps("ana", &activity, &way).await;
                    let denied = json!({ "confirmation": { "side": "SIDE_PATIENT",
                        "finding": "FINDING_NOT_DELIVERED", "text": "nobody came" } });
                    self.step("ana", "ConfirmDelivery", &activity, denied).await;
                    let evidence =
                        json!({ "evidence": { "kind": "KIND_PATIENT", "text": "she has it" } });
                    self.step("ana", "CompleteActivity", &activity, evidence).await;
                }
                1 => {
                    self.step("ana", "ScheduleActivity", &activity, schedule).await;
                    self.steps("ana", &activity, &["StartActivity", "StopActivity"]).await;
                }
                2 => self.steps("ana", &activity, &["CancelActivity"]).await,
                _ => self.steps("ana", &activity, &["MarkActivityEnteredInError"]).await,
            }
        }
        self.steps("ana", &plan, &["HoldCarePlan", "ReleaseCarePlan"]).await;
        let next =
            self.step("ana", "ReviseCarePlan", &plan, json!({ "reason": "a year on" })).await;
        let next = text(&next, "name").to_owned();
        self.steps("ana", &next, &["RevokeCarePlan"]).await;
        let seen = json!({ "carePlan": plan, "summary": "well", "decision": "DECISION_CLOSE" });
        self.makes("ana", "CreateEvaluation", case, seen).await;
        self.steps("ana", &plan, &["CompleteCarePlan"]).await;
        let (wrong, _) = self.plan(case, "Of somebody else").await;
        self.steps("ana", &wrong, &["MarkCarePlanEnteredInError"]).await;
    }

    async fn of_tasks_and_notes(&mut self, case: &str) {
        let ways: [&[&str]; 5] = [
            &["ClaimTask", "StartTask", "HoldTask", "ReleaseTask", "CompleteTask"],
            &["ClaimTask", "StartTask", "FailTask"],
            &["OfferTask", "AssignTask", "RejectTask", "CancelTask"],
            &["AssignTask", "AcceptTask"],
            &["MarkTaskEnteredInError"],
        ];
        for way in ways {
            let task = json!({ "title": "call", "candidateRole": "case_manager" });
            let request = json!({ "parent": case, "task": task, "draft": way[0] == "OfferTask" });
            let task = self.does("sam", "CreateTask", request).await;
            let task = text(&task, "name").to_owned();
            self.sets("sam", "UpdateTask", &task, json!({ "title": "call twice" })).await;
            for name in way {
                match *name {
                    "AssignTask" => {
                        self.step("sam", name, &task, json!({ "owner": "ana" })).await;
                    }
                    "MarkTaskEnteredInError" => self.steps("sam", &task, &[name]).await,
                    _ => self.steps("ana", &task, &[name]).await,
                }
            }
        }
        let ways: [&[&str]; 2] = [&["SignNote"], &["MarkNoteEnteredInError"]];
        for way in ways {
            let note = json!({ "class": "CLASS_PROGRESS", "text": "doing well" });
            let note = self.makes("ana", "CreateNote", case, note).await;
            self.sets("ana", "UpdateNote", &note, json!({ "text": "doing very well" })).await;
            self.steps("ana", &note, way).await;
            if way == ["SignNote"] {
                let more = json!({ "text": "sleeps too", "reason": "forgotten" });
                self.step("ana", "AmendNote", &note, more).await;
            }
        }
        let evaluation = json!({ "summary": "well", "decision": "DECISION_CONTINUE", "nextReviewTime": "2026-02-05T08:00:00Z" });
        self.makes("ana", "CreateEvaluation", case, evaluation).await;
    }

    async fn of_assessments(&mut self, case: &str) {
        let forms = self.reads("ListQuestionnaires", json!({})).await;
        let forms = forms["questionnaires"].as_array().cloned().unwrap_or_default();
        let form = forms.iter().find(|form| text(form, "title").contains("GAD-7"));
        let form = form.expect("a form that ships").clone();
        let own =
            json!({ "json": renamed(&form, "urn:own"), "scoringRules": form["scoringRules"] });
        let own = self.makes("sam", "CreateQuestionnaire", "", own).await;
        self.steps("sam", &own, &["RetireQuestionnaire"]).await;
        for way in ["whole", "StopAssessment", "MarkAssessmentEnteredInError"] {
            let assessment = json!({ "questionnaire": form["name"] });
            let one = self.makes("ana", "CreateAssessment", case, assessment).await;
            self.steps("ana", &one, &["StartAssessment"]).await;
            if way != "whole" {
                self.steps("ana", &one, &[way]).await;
                continue;
            }
            self.step("ana", "SaveAnswers", &one, json!({ "json": answers(0) })).await;
            self.step("ana", "CompleteAssessment", &one, json!({ "json": answers(1) })).await;
            let better = json!({ "json": answers(2), "reason": "misheard" });
            self.step("ana", "AmendAssessment", &one, better).await;
        }
        let inputs = json!({ "parent": case, "inputs": { "lengthOfStayDays": 3 } });
        self.does("ana", "ScoreLace", inputs).await;
    }

    async fn ends_of_cases(&mut self, patient: &str) {
        let attempt =
            json!({ "attempt": { "mode": "CONTACT_MODE_PHONE", "outcome": "OUTCOME_NO_ANSWER" } });
        let lost = self.case(patient, "Lost").await;
        for _ in 0..3 {
            self.step("sam", "RecordContactAttempt", &lost, attempt.clone()).await;
        }
        self.steps("sam", &lost, &["MarkUnableToReach", "ReopenCase", "DeclineCase"]).await;
        let wrong = self.case(patient, "Wrong").await;
        self.steps("sam", &wrong, &["MarkCaseEnteredInError"]).await;

        let whole = self.case(patient, "Whole").await;
        self.steps("sam", &whole, &["WaitlistCase"]).await;
        self.step("sam", "ReturnFromWaitlist", &whole, json!({})).await;
        let enrol = json!({ "accountable": "ana", "consentStatement": "said yes" });
        self.step("sam", "EnrolCase", &whole, enrol).await;
        let inputs = json!({ "parent": whole, "inputs": { "lengthOfStayDays": 3 } });
        self.does("ana", "ScoreLace", inputs).await;
        let (plan, _) = self.plan(&whole, "At home").await;
        self.activate(&plan).await;
        self.steps("sam", &whole, &["ActivateCase"]).await;
        let away = json!({ "reason": "travels", "expectedReturnTime": "2026-02-05T08:00:00Z" });
        self.step("sam", "PauseCase", &whole, away).await;
        self.steps("sam", &whole, &["ResumeCase"]).await;
        let evaluation = json!({ "summary": "well", "decision": "DECISION_CLOSE" });
        self.makes("ana", "CreateEvaluation", &whole, evaluation).await;
        let goals_met = json!({ "closeReason": "CLOSE_REASON_GOALS_MET", "reason": "done" });
        self.step("sam", "ProposeClosure", &whole, goals_met.clone()).await;
        self.steps("sam", &whole, &["ReturnClosure"]).await;
        self.step("sam", "ProposeClosure", &whole, goals_met).await;
        self.step("sam", "CloseCase", &whole, json!({ "waiver": "the family does it" })).await;
    }

    async fn loads(&mut self, patient: &str) {
        let known = |value: &str| json!([{ "system": "urn:other", "value": value }]);
        let load = async |hands: &mut Hands, name: &str, field: &str, body: Value| {
            let answer = hands.does("sam", name, json!({ field: [body] })).await;
            let outcome = &answer["outcomes"][0];
            let outcome = outcome.get("case").unwrap_or(outcome);
            assert_eq!(text(outcome, "action"), "ACTION_CREATED", "{name}: {answer}");
            text(outcome, "name").to_owned()
        };
        let names = json!([{ "family": "Sol" }]);
        let one = json!({ "identifiers": known("1"), "names": names });
        load(self, "IngestPatients", "patients", one.clone()).await;
        let person = json!({ "patient": patient, "relatedPerson": one });
        load(self, "IngestRelatedPersons", "relatedPersons", person).await;
        let coverage = json!({ "identifiers": known("1"), "status": "STATUS_ACTIVE", "payerDisplay": "County plan" });
        let coverage = json!({ "patient": patient, "coverage": coverage });
        load(self, "IngestCoverages", "coverages", coverage).await;
        let consent = json!({ "identifiers": known("1"), "type": "TYPE_RELEASE", "state": "STATE_ACTIVE", "grantor": patient });
        let consent = json!({ "patient": patient, "consent": consent });
        load(self, "IngestConsents", "consents", consent).await;

        let clinic = json!({ "identifiers": known("clinic"), "displayName": "Clinic" });
        let clinic = load(self, "IngestOrganizations", "organizations", clinic).await;
        let place = json!({ "identifiers": known("place"), "displayName": "Place" });
        load(self, "IngestLocations", "locations", place).await;
        let doctor = load(self, "IngestPractitioners", "practitioners", one).await;
        let role =
            json!({ "identifiers": known("role"), "practitioner": doctor, "organization": clinic });
        load(self, "IngestPractitionerRoles", "practitionerRoles", role).await;
        let meals = json!({ "identifiers": known("meals"), "displayName": "Meals" });
        load(self, "IngestHealthcareServices", "healthcareServices", meals).await;
        let plan = json!({ "identifiers": known("plan"), "displayName": "Plan" });
        load(self, "IngestInsurancePlans", "insurancePlans", plan).await;

        let case = json!({ "patient": patient, "identifiers": known("case"), "title": "Old" });
        load(self, "IngestCases", "bundles", json!({ "case": case })).await;
        let problem = json!({ "identifiers": known("problem"), "code": { "text": "old" }, "state": "STATE_ACTIVE" });
        let problem = json!({ "patient": patient, "problem": problem });
        load(self, "IngestProblems", "problems", problem).await;
        let forms = self.reads("ListQuestionnaires", json!({})).await;
        let form = json!({ "json": renamed(&forms["questionnaires"][0], "urn:loaded") });
        load(self, "IngestQuestionnaires", "questionnaires", form).await;
    }
}

/// Asks until there is an answer that says what became of the request.
async fn patiently(voice: &Voice, rpc: &Rpc, request: &Value) -> Answer {
    for _ in 0..200 {
        let answer = voice.ask(&rpc.name, request).await;
        match answer.code {
            Code::Ok => return answer,
            Code::Unavailable | Code::DeadlineExceeded => sleep(Duration::from_millis(50)).await,
            code => panic!(
                "{} was refused: {code:?} {} {}",
                rpc.name,
                answer.message,
                String::from_utf8_lossy(&answer.details)
            ),
        }
    }
    panic!("{} was not answered", rpc.name);
}

/// The field of a request that holds what is created or changed.
fn body_of(rpc: &Rpc) -> String {
    let input = rpc.method.input();
    let body = input.fields().find(|field| match field.kind() {
        Kind::Message(message) => !message.full_name().starts_with("google.") && !field.is_list(),
        _ => false,
    });
    body.expect("a request with a body").json_name().to_owned()
}

/// The content of a form, under another name.
fn renamed(form: &Value, url: &str) -> String {
    let mut content: Value = serde_json::from_str(text(form, "json")).expect("a form is JSON");
    content["url"] = url.into();
    content.to_string()
}

/// Answers to GAD-7, each of `points`.
fn answers(points: usize) -> String {
    let code = ["LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9"][points];
    let item = |n: usize| {
        let coding = json!({ "system": "http://loinc.org", "code": code });
        json!({ "linkId": n.to_string(), "answer": [{ "valueCoding": coding }] })
    };
    let items: Vec<Value> = (1..=7).map(item).collect();
    let all = json!({ "resourceType": "QuestionnaireResponse", "status": "completed",
        "item": [{ "linkId": "problems", "item": items }] });
    all.to_string()
}
