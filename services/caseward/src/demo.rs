//! `caseward demo`: one person's case from identification to closure, told step by step, on a clock that is played.
use std::path::{Path, PathBuf};

use anyhow::Context;
use caseward::Suite;
use caseward_server::{
    settings::{Layers, make_private},
    telemetry,
};
use clap::Args as Arguments;
use serde_json::{Value, json};
use time::{
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

use crate::{
    door::{Door, Person, text},
    samples,
};

/// When the story begins: a Monday morning.
const BEGINNING: &str = "2026-03-02T14:00:00Z";

#[derive(Debug, Arguments)]
pub struct Args {
    /// End after the story instead of serving on.
    #[arg(long)]
    exit: bool,
}

pub async fn run(layers: Layers, args: Args) -> anyhow::Result<()> {
    let folder = fresh(&layers.common()?.data)?;
    let path = folder.to_str().context("the data folder's name is not UTF-8")?.to_owned();
    let layers = layers.with("data", path)?.with("clock.simulated_start", BEGINNING)?;
    let layers = layers.with("log.level", "warn")?;
    let common = layers.common()?;
    let telemetry = telemetry::start(&common.telemetry(), "caseward")?;
    let suite = Suite::start(&layers).await?;
    let address = suite.listen(&layers).await?;
    println!("Caseward runs on http://{address}, with its data in {}.\n", folder.display());

    let door = Door::new(address, suite.process.verifier().clone());
    let case = Story::new(&door)?.tell(&suite, &layers, &folder).await?;

    let sam = door.person("sam", "supervisor")?;
    if args.exit {
        suite.stop().await;
    } else {
        invite(address, sam.token(), &case);
        suite.process.life.run(common.drain()).await?;
    }
    telemetry.stop().await;
    Ok(())
}

/// A folder nobody used yet, below the data folder.
fn fresh(data: &Path) -> anyhow::Result<PathBuf> {
    make_private(data)?;
    for n in 1.. {
        let folder = data.join(format!("demo-{n}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(taken) if taken.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(other) => return Err(other).context("making a data folder for the demo"),
        }
    }
    anyhow::bail!("every name for a data folder is taken")
}

fn invite(address: std::net::SocketAddr, token: &str, case: &str) {
    println!(
        "\nIt goes on serving on http://{address} until you stop it (Ctrl-C). A supervisor's token, good for an hour:"
    );
    println!("\n  export TOKEN={token}\n");
    println!("Three calls to try:\n");
    println!("  # REST");
    println!(
        "  curl -H \"authorization: Bearer $TOKEN\" 'http://{address}/v1/patients?pageSize=50'\n"
    );
    println!("  # gRPC, by reflection");
    println!(
        "  npx @bufbuild/buf curl --protocol grpc --http2-prior-knowledge -H \"authorization: Bearer $TOKEN\" \\"
    );
    println!(
        "    -d '{{\"name\":\"{case}\"}}' http://{address}/caseward.careplan.v1.CaseService/GetCase\n"
    );
    let id = case.trim_start_matches("cases/");
    println!(
        "  # a stream: all that happened to the case and what happens from now on, one JSON line each"
    );
    println!(
        "  curl -N -H \"authorization: Bearer $TOKEN\" 'http://{address}/v1/{case}:watch?resumeToken={id}.0'"
    );
}

/// The people of the story, and what they do.
struct Story {
    sam: Person,
    ana: Person,
    ben: Person,
    luz: Person,
    operator: Person,
}

impl Story {
    fn new(door: &Door) -> anyhow::Result<Self> {
        Ok(Story {
            sam: door.person("sam", "supervisor")?,
            ana: door.person("ana", "case_manager")?,
            ben: door.person("ben", "case_manager")?,
            luz: door.person("luz", "caregiver")?,
            operator: door.person("operator", "operator")?,
        })
    }

    async fn tell(&self, suite: &Suite, layers: &Layers, folder: &Path) -> anyhow::Result<String> {
        chapter("The people");
        let rosa = samples::load(suite, layers, folder, &self.sam).await?;
        println!("   Three patients, a daughter, two organizations and a service were loaded.");

        chapter("Identify and enrol");
        self.consent(&rosa).await?;
        let case = self.identify(&rosa).await?;
        chapter("Assess");
        self.assess(&case).await?;
        chapter("Plan");
        let plan = self.plan(&case).await?;
        chapter("The family");
        self.family(&rosa).await?;
        chapter("Carry out and document");
        self.carry_out(&case, &plan).await?;
        chapter("Hand over");
        self.hand_over(&case).await?;
        chapter("Adjust");
        self.adjust(&case, &plan).await?;
        chapter("Close");
        self.close(&case).await?;
        chapter("What was told to whom");
        self.messages(&case).await?;
        chapter("Looking back");
        self.look_back(&case).await?;
        Ok(case)
    }

    async fn consent(&self, rosa: &str) -> anyhow::Result<()> {
        let yes =
            json!({"type": "TYPE_MESSAGING", "evidence": "said on admission, signed form on file"});
        let consent = self.sam.post(&format!("/v1/{rosa}/consents"), yes).await?;
        for verb in ["propose", "activate"] {
            self.step(&self.sam, text(&consent, "name"), verb, json!({})).await?;
        }
        println!("   On the ward Rosa agreed to be told things by message; it is on record.");
        Ok(())
    }

    async fn identify(&self, rosa: &str) -> anyhow::Result<String> {
        let case = self
            .sam
            .post(
                "/v1/cases",
                json!({"patient": rosa, "title": "Heart failure, two stays in hospital",
                "programme": "complex care", "source": "discharge list", "acuity": "ACUITY_HIGH"}),
            )
            .await?;
        let name = text(&case, "name").to_owned();
        let case = self.step(&self.sam, &name, "startOutreach", json!({})).await?;
        told("Sam finds Rosa on the discharge list and opens her case", &case);
        let attempt =
            json!({"attempt": {"mode": "CONTACT_MODE_PHONE", "outcome": "OUTCOME_NO_ANSWER"}});
        self.step(&self.sam, &name, "recordContactAttempt", attempt).await?;
        told("He calls: no answer", &case);
        self.advance(hours(26)).await?;
        let yes = json!({"consentStatement": "said yes on the phone, read back to her", "accountable": "ana"});
        let case = self.step(&self.sam, &name, "enrol", yes).await?;
        told("The next day she says yes. Ana is accountable from now on", &case);
        self.inbox(&self.ana, "Ana").await?;
        Ok(name)
    }

    async fn assess(&self, case: &str) -> anyhow::Result<()> {
        let forms = self.ana.get("/v1/questionnaires?pageSize=50").await?;
        let phq9 = forms["questionnaires"].as_array().and_then(|all| {
            all.iter()
                .find(|form| text(form, "url").contains("phq-9"))
                .map(|form| text(form, "name").to_owned())
        });
        let phq9 = phq9.context("the PHQ-9 ships with the product")?;
        let path = format!("/v1/{case}/assessments");
        let assessment = self
            .ana
            .post(&path, json!({"questionnaire": phq9, "mode": "CONTACT_MODE_PHONE"}))
            .await?;
        let name = text(&assessment, "name").to_owned();
        if text(&assessment, "state") == "STATE_SCHEDULED" {
            self.step(&self.ana, &name, "start", json!({})).await?;
        }
        let answers = json!({"json": samples::phq9_answers().to_string()});
        let done = self.step(&self.ana, &name, "complete", answers).await?;
        let score = &done["scores"][0];
        println!(
            "   Ana asks the PHQ-9: {} of 27, {}.",
            score["value"].as_f64().unwrap_or_default(),
            text(score, "band")
        );
        println!(
            "   Item 9 was not \"not at all\": a task was raised at once, whatever the total."
        );
        self.worklist(&self.ana, "Ana").await
    }

    async fn plan(&self, case: &str) -> anyhow::Result<String> {
        let problem =
            json!({"code": {"text": "Weight rises between visits"}, "priority": "PRIORITY_HIGH"});
        let problem = self.ana.post(&format!("/v1/{case}/problems"), problem).await?;
        let plan = json!({"title": "At home, and out of hospital", "problems": [problem["name"]]});
        let plan = self.ana.post(&format!("/v1/{case}/carePlans"), plan).await?;
        let name = text(&plan, "name").to_owned();
        let goal = json!({"description": {"text": "Weigh every morning"}, "statement": "I want to dance at the wedding",
            "problems": [problem["name"]], "targets": [{"detail": "six of seven mornings", "dueDate": {"year": 2026, "month": 5, "day": 1}}]});
        let goal = self.ana.post(&format!("/v1/{name}/goals"), goal).await?;
        let activity = json!({"description": "Nurse visits and brings a scale", "kind": "KIND_SERVICE", "owner": "ana",
            "goals": [goal["name"]], "costEstimate": {"currency": "USD", "minorUnits": "18000"}});
        self.ana.post(&format!("/v1/{name}/activities"), activity).await?;
        self.step(&self.ana, text(&goal, "name"), "accept", json!({})).await?;
        println!("   Ana writes a plan: one goal in Rosa's words, one activity for 180.00 USD.");
        self.activate(&name).await?;
        let case = self.step(&self.ana, case, "activate", json!({})).await?;
        told("The case is in the hands of its team", &case);
        Ok(name)
    }

    /// From a draft to a plan that is carried out: reviewed by another, agreed to word by word.
    async fn activate(&self, plan: &str) -> anyhow::Result<()> {
        self.step(&self.ana, plan, "submit", json!({})).await?;
        let approved = self.step(&self.sam, plan, "approve", json!({})).await?;
        println!("   Sam approves it.");
        let hash = text(&approved, "contentHash");
        let agreement = json!({"agreement": {"party": "PARTY_PATIENT", "method": "METHOD_VERBAL", "contentHash": hash}});
        self.step(&self.ana, plan, "recordAgreement", agreement).await?;
        println!("   Rosa agrees to exactly these words (SHA-256 {}…).", &hash[..12]);
        let plan = self.step(&self.ana, plan, "activate", json!({})).await?;
        told("The plan is in force", &plan);
        Ok(())
    }

    async fn family(&self, rosa: &str) -> anyhow::Result<()> {
        let luz = samples::first_related(&self.ana, rosa).await?;
        let body = json!({"subject": "luz", "etag": self.etag(&self.sam, &luz).await?});
        self.sam.patch(&format!("/v1/{luz}?updateMask=subject"), body).await?;
        println!(
            "   Before: Luz, the daughter, asks for her mother's record: {}.",
            self.sees(rosa).await
        );
        let scope = json!({"scope": {"topics": ["TOPIC_SCHEDULE", "TOPIC_PLAN", "TOPIC_MESSAGES"],
            "channels": ["CHANNEL_INBOX"], "legalBasis": "LEGAL_BASIS_PATIENT_PERMISSION"}});
        self.step(&self.ana, &luz, "grantScope", scope).await?;
        println!(
            "   Rosa lets her daughter see schedule, plan and messages. Now: {}.",
            self.sees(rosa).await
        );
        Ok(())
    }

    async fn sees(&self, rosa: &str) -> &'static str {
        if self.luz.get(&format!("/v1/{rosa}")).await.is_ok() { "she may" } else { "not found" }
    }

    async fn carry_out(&self, case: &str, plan: &str) -> anyhow::Result<()> {
        let goals = self.ana.get(&format!("/v1/{plan}/goals")).await?;
        let goal = text(&goals["goals"][0], "name").to_owned();
        for verb in ["plan", "start"] {
            self.step(&self.ana, &goal, verb, json!({})).await?;
        }
        let task = json!({"title": "Check in by phone", "owner": "ana", "focus": plan, "dueTime": self.in_(hours(72)).await?});
        self.ana.post(&format!("/v1/{case}/tasks"), task).await?;
        println!("   Ana will check in within three days.");
        self.advance(hours(96)).await?;
        println!("   Four days later nobody did, and it shows:");
        self.worklist(&self.ana, "Ana").await?;
        let note = json!({"class": "CLASS_CONTACT", "text": "Weighs most mornings. Shoes fit again.",
            "mode": "CONTACT_MODE_PHONE", "contactOutcome": "OUTCOME_REACHED", "contactWith": "Rosa", "goals": [goal]});
        let note = self.ana.post(&format!("/v1/{case}/notes"), note).await?;
        let note = self.step(&self.ana, text(&note, "name"), "sign", json!({})).await?;
        let more = json!({"text": "It was the left shoe.", "reason": "left out"});
        self.step(&self.ana, text(&note, "name"), "amend", more).await?;
        println!(
            "   Ana calls, writes a note, signs it, and adds to it; what was signed stays as it was."
        );
        let progress =
            json!({"progress": {"achievement": "ACHIEVEMENT_IMPROVING", "note": "five of seven"}});
        self.step(&self.ana, &goal, "recordProgress", progress).await?;
        println!("   The goal is improving.");
        let list = self.ana.get(&format!("/v1/{case}/tasks?pageSize=100")).await?;
        for task in list["tasks"].as_array().into_iter().flatten() {
            let name = text(task, "name");
            if text(task, "state") == "STATE_REQUESTED" {
                self.step(&self.ana, name, "accept", json!({})).await?;
            }
            self.step(&self.ana, name, "start", json!({})).await?;
            self.step(&self.ana, name, "complete", json!({"output": "done"})).await?;
        }
        println!("   She completes her tasks, the one about item 9 first.");
        Ok(())
    }

    async fn hand_over(&self, case: &str) -> anyhow::Result<()> {
        let handoff = json!({"handoff": {"to": "ben", "reason": "Ana goes on leave", "summary": "Ask about the scale first."}});
        let handoff = self.ana.post(&format!("/v1/{case}/handoffs:propose"), handoff).await?;
        println!(
            "   Ana asks Ben to take over. {} is accountable still.",
            self.accountable(case, None).await?
        );
        self.settle().await?;
        self.inbox(&self.ben, "Ben").await?;
        self.advance(hours(5)).await?;
        self.step(&self.ben, text(&handoff, "name"), "accept", json!({})).await?;
        println!("   Ben accepts. {} is accountable now.", self.accountable(case, None).await?);
        Ok(())
    }

    async fn adjust(&self, case: &str, plan: &str) -> anyhow::Result<()> {
        self.advance(hours(24 * 16)).await?;
        let draft = self
            .step(&self.ben, plan, "revise", json!({"reason": "she wants to cook again"}))
            .await?;
        let draft = text(&draft, "name").to_owned();
        let goal = json!({"description": {"text": "Cook twice a week with little salt"}});
        self.ben.post(&format!("/v1/{draft}/goals"), goal).await?;
        let diff = self.ben.get(&format!("/v1/{draft}:diff")).await?;
        for change in diff["changes"].as_array().into_iter().flatten() {
            println!(
                "   Two weeks later Ben revises the plan: {} \"{}\".",
                words(text(change, "action"), "ACTION_"),
                text(change, "description")
            );
        }
        self.step(&self.ben, &draft, "submit", json!({})).await?;
        let approved = self.step(&self.sam, &draft, "approve", json!({})).await?;
        let agreement = json!({"agreement": {"party": "PARTY_PATIENT", "method": "METHOD_SIGNATURE",
            "contentHash": approved["contentHash"]}});
        self.step(&self.ben, &draft, "recordAgreement", agreement).await?;
        let revised = self.step(&self.ben, &draft, "activate", json!({})).await?;
        told("The revision is in force, and the first plan ended with it", &revised);
        self.settle().await?;
        self.advance(hours(24 * 28)).await?;
        let goals = self.ben.get(&format!("/v1/{draft}/goals")).await?;
        let carried = goals["goals"].as_array().into_iter().flatten();
        let findings: Vec<Value> = carried
            .filter(|goal| text(goal, "state") == "STATE_ACTIVE")
            .map(|goal| json!({"goal": goal["name"], "achievement": "ACHIEVEMENT_ACHIEVED", "note": "every morning"}))
            .collect();
        let evaluation = json!({"carePlan": draft, "findings": findings, "decision": "DECISION_CLOSE",
            "summary": "No stay in hospital since. She manages by herself, and her daughter helps."});
        self.ben.post(&format!("/v1/{case}/evaluations"), evaluation).await?;
        println!("   Four weeks later Ben evaluates: the goal is achieved; the case can close.");
        Ok(())
    }

    async fn close(&self, case: &str) -> anyhow::Result<()> {
        let closing = json!({"closeReason": "CLOSE_REASON_GOALS_MET", "reason": "goals met"});
        self.step(&self.ben, case, "proposeClosure", closing).await?;
        self.settle().await?;
        let etag = self.etag(&self.ben, case).await?;
        let refusal = self.ben.refused(&format!("/v1/{case}:close"), json!({"etag": etag})).await?;
        println!("   Ben closes the case, and is refused: {refusal}");
        let waiver = json!({"waiver": "the rest goes on with her daughter and her own doctor"});
        let closed = self.step(&self.sam, case, "close", waiver).await?;
        told("Sam waives the rest, with a reason", &closed);
        self.settle().await
    }

    async fn messages(&self, case: &str) -> anyhow::Result<()> {
        let all = self.sam.get("/v1/messages?pageSize=100").await?;
        for message in all["messages"].as_array().into_iter().flatten() {
            if text(message, "case") != case {
                continue;
            }
            let to = &message["recipient"];
            let whom = match (text(to, "patient"), text(to, "relatedPerson"), text(to, "subject")) {
                ("", "", "") => "the supervisors".to_owned(),
                ("", "", subject) => capital(subject),
                ("", ..) => "Luz".to_owned(),
                _ => "Rosa".to_owned(),
            };
            let tried = message["attempts"].as_array().and_then(|all| all.last());
            let channel = tried.map_or("", |attempt| text(attempt, "channel"));
            let why = words(text(message, "suppression"), "SUPPRESSION_");
            println!(
                "   {}, {whom}: {} ({}{}).",
                day(text(message, "createTime")),
                text(message, "purpose").replace('-', " "),
                words(text(message, "state"), "STATE_"),
                match (channel, &*why) {
                    ("", "") => String::new(),
                    ("", why) => format!(", {why}"),
                    (channel, _) => format!(", by {}", words(channel, "CHANNEL_")),
                }
            );
        }
        Ok(())
    }

    async fn look_back(&self, case: &str) -> anyhow::Result<()> {
        for (when, what) in [
            ("2026-03-02T15:00:00Z", "an hour after it was opened"),
            ("2026-03-04T00:00:00Z", "on the second day"),
            ("2026-03-10T00:00:00Z", "after the handoff"),
        ] {
            println!("   Accountable {what}: {}.", self.accountable(case, Some(when)).await?);
        }
        let timeline = self.sam.get(&format!("/v1/{case}/timeline?pageSize=1000")).await?;
        let entries = timeline["timeline"].as_array().map_or(0, Vec::len);
        println!("   {entries} things happened to this case; each says who, when and to what.");
        Ok(())
    }

    /// Takes a step with the version that the resource has now.
    async fn step(
        &self,
        who: &Person,
        name: &str,
        verb: &str,
        mut body: Value,
    ) -> anyhow::Result<Value> {
        body["etag"] = self.etag(who, name).await?.into();
        who.post(&format!("/v1/{name}:{verb}"), body)
            .await
            .with_context(|| format!("{verb} {name}"))
    }

    async fn etag(&self, who: &Person, name: &str) -> anyhow::Result<String> {
        Ok(text(&who.get(&format!("/v1/{name}")).await?, "etag").to_owned())
    }

    async fn advance(&self, by: String) -> anyhow::Result<()> {
        self.operator.post("/v1/clock:advance", json!({"by": by})).await?;
        Ok(())
    }

    /// Lets what is under way arrive.
    async fn settle(&self) -> anyhow::Result<()> {
        self.advance("1s".to_owned()).await
    }

    async fn in_(&self, by: String) -> anyhow::Result<String> {
        let clock = self.operator.get("/v1/clock").await?;
        let now = caseward_core::Time::parse(text(&clock, "now")).context("the clock")?;
        let seconds: i64 = by.trim_end_matches('s').parse()?;
        Ok((now + time::Duration::seconds(seconds)).to_string())
    }

    async fn accountable(&self, case: &str, at: Option<&str>) -> anyhow::Result<String> {
        let query = at.map(|at| format!("?time={at}")).unwrap_or_default();
        match self.sam.get(&format!("/v1/{case}:getAccountable{query}")).await {
            Ok(found) => Ok(capital(text(&found, "person"))),
            Err(_) => Ok("nobody yet".to_owned()),
        }
    }

    async fn inbox(&self, who: &Person, name: &str) -> anyhow::Result<()> {
        self.settle().await?;
        let items = who.get("/v1/inboxes/me/items?pageSize=10").await?;
        match items["inboxItems"].as_array().or(items["items"].as_array()) {
            Some(items) if !items.is_empty() => {
                for item in items {
                    println!("   Message in {name}'s inbox: {}", text(item, "subject"));
                }
            }
            _ => println!("   {name}'s inbox is empty."),
        }
        Ok(())
    }

    async fn worklist(&self, who: &Person, name: &str) -> anyhow::Result<()> {
        let list = who.get("/v1/worklist?pageSize=10").await?;
        for item in list["items"].as_array().into_iter().flatten() {
            let task = &item["task"];
            let late = if task["overdue"] == true { ", overdue" } else { "" };
            println!(
                "   On {name}'s worklist: \"{}\", due {}{late}",
                text(task, "title"),
                day(text(task, "dueTime"))
            );
        }
        Ok(())
    }
}

fn chapter(title: &str) {
    println!("\n== {title}");
}

fn told(what: &str, resource: &Value) {
    println!("   {what} ({}).", words(text(resource, "state"), "STATE_"));
}

/// An enum's value as words.
fn words(value: &str, prefix: &str) -> String {
    value.trim_start_matches(prefix).to_lowercase().replace('_', " ")
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A moment as a person says it, in UTC.
fn day(moment: &str) -> String {
    const SAID: &[BorrowedFormatItem<'_>] =
        format_description!("[weekday] [day padding:none] [month repr:long] at [hour]:[minute]");
    let read = time::OffsetDateTime::parse(moment, &Rfc3339).ok();
    read.and_then(|at| at.format(SAID).ok()).unwrap_or_else(|| moment.to_owned())
}

fn hours(n: i64) -> String {
    format!("{}s", n * 3600)
}
