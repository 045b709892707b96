//! A case from identification to closure, over REST through the gateway, in both shapes.
use std::time::Duration;

use caseward_api::careplan::v1::{
    TimelineEntry, WatchCaseRequest, case_service_client::CaseServiceClient,
};
use caseward_testkit::{Suite, suites};
use http::StatusCode;
use serde_json::{Value, json};
use time::ext::NumericalDuration;
use tonic::Streaming;

use crate::rest::{Rest, list, nothing, text};

/// The team of the stories.
struct Team {
    sam: Rest,
    ana: Rest,
    ben: Rest,
}

impl Team {
    fn of(suite: &Suite) -> Team {
        let rest = |subject, role| Rest::new(&suite.caller(subject, &[role]));
        Team {
            sam: rest("sam", "supervisor"),
            ana: rest("ana", "case_manager"),
            ben: rest("ben", "case_manager"),
        }
    }

    /// A case that Sam found and somebody said yes to, with Ana accountable.
    async fn enrolled(&self) -> Value {
        let patient =
            self.sam.post("/v1/patients", json!({"names": [{"family": "Marchena"}]})).await;
        let case = json!({"patient": patient["name"], "title": "Heart failure",
            "programme": "complex care", "source": "discharge list", "acuity": "ACUITY_HIGH"});
        let case = self.sam.post("/v1/cases", case).await;
        let name = text(&case, "name");
        self.sam.step(name, "startOutreach", nothing()).await;
        let attempt = json!({"mode": "CONTACT_MODE_PHONE", "outcome": "OUTCOME_NO_ANSWER"});
        self.sam.step(name, "recordContactAttempt", json!({"attempt": attempt})).await;
        let yes = json!({"consentStatement": "said yes on the phone", "accountable": "ana"});
        self.sam.step(name, "enrol", yes).await
    }

    /// A PHQ-9 of `case` with every answer "not at all" but the ninth.
    async fn assessed(&self, case: &str, item_9: &str) -> Value {
        let forms = self.ana.get("/v1/questionnaires?pageSize=50").await;
        let mut forms = list(&forms, "questionnaires").iter();
        let form = forms.find(|form| text(form, "url").ends_with("phq-9")).unwrap();
        let assessment = json!({"questionnaire": form["name"], "mode": "CONTACT_MODE_PHONE"});
        let assessment = self.ana.post(&format!("/v1/{case}/assessments"), assessment).await;
        let name = text(&assessment, "name");
        if assessment["state"] == "STATE_SCHEDULED" {
            self.ana.step(name, "start", nothing()).await;
        }
        self.ana.step(name, "complete", phq9(item_9)).await
    }

    /// A plan of `case` with a goal and an activity of Ana's, in force.
    async fn planned(&self, case: &str) -> Value {
        let problem = json!({"code": {"text": "Weight rises between visits"}});
        let problem = self.ana.post(&format!("/v1/{case}/problems"), problem).await;
        let plan = json!({"title": "At home", "problems": [problem["name"]]});
        let plan = self.ana.post(&format!("/v1/{case}/carePlans"), plan).await;
        let plan = text(&plan, "name");
        let goal = json!({"description": {"text": "Weigh every morning"}, "problems": [problem["name"]],
            "targets": [{"detail": "six of seven", "dueDate": {"year": 2026, "month": 3, "day": 1}}]});
        let goal = self.ana.post(&format!("/v1/{plan}/goals"), goal).await;
        let activity = json!({"description": "A nurse brings a scale", "kind": "KIND_SERVICE",
            "owner": "ana", "goals": [goal["name"]],
            "costEstimate": {"currency": "USD", "minorUnits": "18000"}});
        self.ana.post(&format!("/v1/{plan}/activities"), activity).await;
        let goal = text(&goal, "name");
        self.ana.step(goal, "accept", nothing()).await;
        let plan = self.in_force(&self.ana, plan).await;
        for verb in ["plan", "start"] {
            self.ana.step(goal, verb, nothing()).await;
        }
        plan
    }

    /// Takes a draft to where it is carried out: Sam approves, the patient agrees to exactly these words.
    async fn in_force(&self, writer: &Rest, plan: &str) -> Value {
        writer.step(plan, "submit", nothing()).await;
        let (status, said) = writer.refused(plan, "activate", nothing()).await;
        assert_eq!(
            (status, text(&said, "status")),
            (StatusCode::BAD_REQUEST, "FAILED_PRECONDITION")
        );
        self.sam.step(plan, "return", json!({"comments": "say who pays"})).await;
        writer.step(plan, "submit", nothing()).await;
        let approved = self.sam.step(plan, "approve", nothing()).await;
        let agree = |hash: &str| json!({"agreement": {"party": "PARTY_PATIENT", "method": "METHOD_VERBAL", "contentHash": hash}});
        writer.refused(plan, "recordAgreement", agree(&"0".repeat(64))).await;
        writer.step(plan, "recordAgreement", agree(text(&approved, "contentHash"))).await;
        writer.step(plan, "activate", nothing()).await
    }
}

fn phq9(item_9: &str) -> Value {
    let items: Vec<Value> = (1..=9)
        .map(|n| {
            let code = if n == 9 { item_9 } else { "LA6568-5" };
            let answer = json!({"valueCoding": {"system": "http://loinc.org", "code": code}});
            json!({"linkId": n.to_string(), "answer": [answer]})
        })
        .collect();
    let response = json!({"resourceType": "QuestionnaireResponse", "status": "completed",
        "questionnaire": "urn:caseward:questionnaire:phq-9|1.0.0",
        "item": [{"linkId": "problems", "item": items}]});
    json!({"json": response.to_string()})
}

async fn accountable(rest: &Rest, case: &str, at: &str) -> String {
    let found = rest.get(&format!("/v1/{case}:getAccountable?time={at}")).await;
    text(&found, "person").to_owned()
}

/// The states through which the resource went, in order.
async fn states(rest: &Rest, case: &str, resource: &str) -> Vec<String> {
    let log = rest.get(&format!("/v1/{case}/transitions?pageSize=1000")).await;
    let of_it = list(&log, "transitions").iter().filter(|step| step["resource"] == resource);
    of_it.map(|step| text(step, "toState").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_goes_from_identification_to_closure() {
    for suite in suites().await {
        let team = Team::of(&suite);
        let Team { sam, ana, ben } = &team;
        let case = team.enrolled().await;
        let case = text(&case, "name");
        let enrolled = suite.now().await.to_string();
        // What the machine does not list is refused, and the refusal says what would go.
        let (status, said) = ana.refused(case, "resume", nothing()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(text(&said, "status"), "FAILED_PRECONDITION");
        assert!(text(&said, "message").contains("ACTIVE"), "{said}");

        let done = team.assessed(case, "LA6569-3").await;
        assert_eq!(done["scores"][0]["value"].as_f64(), Some(1.0), "{done}");
        let raised = ana.get(&format!("/v1/{case}/tasks")).await;
        assert_eq!(
            list(&raised, "tasks").len(),
            1,
            "a hint at item 9 raises a task, whatever the total"
        );

        let plan = team.planned(case).await;
        let plan = text(&plan, "name");
        ana.step(case, "activate", nothing()).await;

        let due = (suite.now().await + 3.days()).to_string();
        let check_in =
            json!({"title": "Check in by phone", "owner": "ana", "focus": plan, "dueTime": due});
        let check_in = ana.post(&format!("/v1/{case}/tasks"), check_in).await;
        let check_in = text(&check_in, "name");
        suite.advance(4.days()).await;
        assert_eq!(ana.get(&format!("/v1/{check_in}")).await["overdue"], true);
        let worklist = ana.get("/v1/worklist?pageSize=10").await;
        let first = &list(&worklist, "items")[0]["task"];
        assert_ne!(first["name"], check_in, "the task about item 9 comes before one that is late");

        let goals = ana.get(&format!("/v1/{plan}/goals")).await;
        let goal = text(&list(&goals, "goals")[0], "name");
        let note = json!({"class": "CLASS_CONTACT", "text": "Weighs most mornings.", "goals": [goal],
            "mode": "CONTACT_MODE_PHONE", "contactOutcome": "OUTCOME_REACHED", "contactWith": "Rosa"});
        let note = ana.post(&format!("/v1/{case}/notes"), note).await;
        let note = text(&note, "name");
        let signed = ana.step(note, "sign", nothing()).await;
        ana.step(note, "amend", json!({"text": "Five of seven.", "reason": "left out"})).await;
        let after = ana.get(&format!("/v1/{note}")).await;
        assert_eq!(after["text"], signed["text"], "what was signed stays as it was");
        let progress = json!({"achievement": "ACHIEVEMENT_IMPROVING", "note": "five of seven"});
        ana.step(goal, "recordProgress", json!({"progress": progress})).await;

        let handoff =
            json!({"handoff": {"to": "ben", "reason": "leave", "summary": "Ask about the scale."}});
        let handoff = ana.post(&format!("/v1/{case}/handoffs:propose"), handoff).await;
        let proposed = suite.now().await.to_string();
        suite.advance(5.hours()).await;
        let before = suite.now().await.to_string();
        assert_eq!(accountable(sam, case, &before).await, "ana", "an offer moves nothing");
        suite.advance(1.minutes()).await;
        ben.step(text(&handoff, "name"), "accept", nothing()).await;
        suite.advance(1.hours()).await;
        let after = suite.now().await.to_string();
        for (at, who) in [(&enrolled, "ana"), (&proposed, "ana"), (&before, "ana"), (&after, "ben")]
        {
            assert_eq!(accountable(sam, case, at).await, who, "at {at}");
        }

        suite.advance(14.days()).await;
        let draft = ben.step(plan, "revise", json!({"reason": "she wants to cook again"})).await;
        let draft = text(&draft, "name");
        let cook = json!({"description": {"text": "Cook twice a week"}});
        let cook = ben.post(&format!("/v1/{draft}/goals"), cook).await;
        let diff = ben.get(&format!("/v1/{draft}:diff")).await;
        assert_eq!(list(&diff, "changes").len(), 1, "{diff}");
        assert_eq!(diff["changes"][0]["action"], "ACTION_ADDED");
        assert_eq!(diff["changes"][0]["after"], cook["name"]);
        team.in_force(ben, draft).await;
        assert_eq!(sam.get(&format!("/v1/{plan}")).await["state"], "STATE_COMPLETED");

        let goals = ben.get(&format!("/v1/{draft}/goals")).await;
        let findings: Vec<Value> = list(&goals, "goals")
            .iter()
            .filter(|goal| goal["state"] == "STATE_ACTIVE")
            .map(|goal| json!({"goal": goal["name"], "achievement": "ACHIEVEMENT_ACHIEVED"}))
            .collect();
        assert!(!findings.is_empty());
        let evaluation = json!({"carePlan": draft, "findings": findings,
            "decision": "DECISION_CLOSE", "summary": "No stay in hospital since."});
        ben.post(&format!("/v1/{case}/evaluations"), evaluation).await;

        let closing = json!({"closeReason": "CLOSE_REASON_GOALS_MET", "reason": "goals met"});
        ben.step(case, "proposeClosure", closing).await;
        let open = ben.get(&format!("/v1/{case}/openObligations?pageSize=1000")).await;
        assert!(!list(&open, "openObligations").is_empty());
        let (status, said) = ben.refused(case, "close", nothing()).await;
        assert_eq!(
            (status, text(&said, "status")),
            (StatusCode::BAD_REQUEST, "FAILED_PRECONDITION")
        );
        let closed =
            sam.step(case, "close", json!({"waiver": "goes on with her own doctor"})).await;
        assert_eq!(text(&closed, "state"), "STATE_CLOSED");
        let over = suite.now().await.to_string();
        assert_eq!(accountable(sam, case, &after).await, "ben", "the past does not change");
        let path = format!("/v1/{case}:getAccountable?time={over}");
        suite.advance(1.hours()).await;
        let (status, _) = sam.call(http::Method::GET, &path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "nobody is accountable for what is closed");

        let walked = states(sam, case, case).await;
        assert_eq!(walked, ["IDENTIFIED", "OUTREACH", "ASSESSING", "ACTIVE", "CLOSING", "CLOSED"]);
        let timeline = sam.get(&format!("/v1/{case}/timeline?pageSize=1000")).await;
        let places: Vec<String> = list(&timeline, "timeline")
            .iter()
            .map(|entry| text(entry, "sequence").to_owned())
            .collect();
        let whole: Vec<String> = (1..=places.len()).map(|n| n.to_string()).collect();
        assert_eq!(places, whole, "everything that happened, in order and without a gap");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_stops_the_clocks_a_task_is_claimed_once_and_a_revoked_plan_takes_its_work_along() {
    for suite in suites().await {
        let team = Team::of(&suite);
        let Team { sam, ana, ben } = &team;
        let case = team.enrolled().await;
        let case = text(&case, "name");
        team.assessed(case, "LA6568-5").await;
        let plan = team.planned(case).await;
        let plan = text(&plan, "name");
        ana.step(case, "activate", nothing()).await;
        let member = json!({"person": "ben", "role": {"text": "covers for Ana"}});
        sam.post(&format!("/v1/{case}/members"), member).await;

        let due = (suite.now().await + 1.days()).to_string();
        let task = json!({"title": "Call the pharmacy", "dueTime": due});
        let task = ana.post(&format!("/v1/{case}/tasks"), task).await;
        let task = text(&task, "name");
        let back = (suite.now().await + 10.days()).to_string();
        let pause = json!({"reason": "in hospital", "expectedReturnTime": back});
        ana.step(case, "pause", pause).await;
        suite.advance(5.days()).await;
        ana.step(case, "resume", nothing()).await;
        assert_ne!(ana.get(&format!("/v1/{task}")).await["overdue"], true, "its clock stood");
        suite.advance(2.days()).await;
        let task = ana.get(&format!("/v1/{task}")).await;
        assert_eq!(task["overdue"], true, "and runs again");

        let path = format!("/v1/{}:claim", text(&task, "name"));
        let claim = json!({"etag": task["etag"]});
        let ask = |who: &'static str| {
            let rest = Rest::new(&suite.caller(who, &["case_manager"]));
            let (path, claim) = (path.clone(), claim.clone());
            async move { rest.call(http::Method::POST, &path, Some(claim)).await.0 }
        };
        let (one, other) = tokio::join!(ask("ana"), ask("ben"));
        assert_eq!([one, other].iter().filter(|status| status.is_success()).count(), 1);
        assert!([one, other].contains(&StatusCode::CONFLICT), "{one} {other}");

        sam.step(plan, "revoke", json!({"reason": "moved away"})).await;
        let activities = ben.get(&format!("/v1/{plan}/activities")).await;
        for activity in list(&activities, "activities") {
            let state = text(activity, "state");
            assert!(["STATE_CANCELLED", "STATE_STOPPED"].contains(&state), "{state}");
        }
    }
}

/// The next entries of a stream, as many as are wanted.
async fn next(stream: &mut Streaming<TimelineEntry>, wanted: usize) -> Vec<TimelineEntry> {
    let mut heard = vec![];
    while heard.len() < wanted {
        let entry = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
        heard.push(entry.expect("the stream goes on").unwrap().expect("it does not end"));
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_goes_on_after_a_kill_where_it_was_and_misses_nothing() {
    for mut suite in suites().await {
        let team = Team::of(&suite);
        let case = team.enrolled().await;
        let case = text(&case, "name");
        let mut cases = suite.caller("ana", &["case_manager"]).client(CaseServiceClient::new);
        let watch = |resume_token: &str| WatchCaseRequest {
            name: case.to_owned(),
            resume_token: resume_token.to_owned(),
        };
        let mut stream = cases.watch_case(watch("")).await.unwrap().into_inner();
        let note = |n: i32| json!({"class": "CLASS_PROGRESS", "text": format!("Day {n}.")});
        let notes = format!("/v1/{case}/notes");
        for n in 1..=3 {
            team.ana.post(&notes, note(n)).await;
        }
        let first = next(&mut stream, 3).await;
        let replicas = if suite.is_cluster() {
            vec![("care_plan", 0), ("care_plan", 1)]
        } else {
            vec![("caseward", 0)]
        };
        for (name, n) in &replicas {
            suite.member(name, *n).kill().await;
        }
        for (name, n) in replicas {
            suite.member(name, n).start().await;
        }
        suite.ready().await;
        let team = Team::of(&suite);
        for n in 4..=6 {
            team.ana.post(&notes, note(n)).await;
        }
        let mut cases = suite.caller("ana", &["case_manager"]).client(CaseServiceClient::new);
        let mut stream =
            cases.watch_case(watch(&first[2].resume_token)).await.unwrap().into_inner();
        let rest = next(&mut stream, 3).await;
        let places: Vec<i64> = first.iter().chain(&rest).map(|entry| entry.sequence).collect();
        let whole: Vec<i64> = (places[0]..).take(6).collect();
        assert_eq!(places, whole);
    }
}
