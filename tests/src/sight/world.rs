//! A suite with one of everything in it, made by those whose work it is.
use std::collections::BTreeMap;

use caseward_testkit::{START, Suite};
use serde_json::{Value, json};

use super::{
    ask::{Voice, text},
    contract::Rpc,
};

/// Every role that the settings know.
pub const ROLES: [&str; 10] = [
    "case_manager",
    "supervisor",
    "care_team",
    "patient",
    "caregiver",
    "directory_editor",
    "auditor",
    "operator",
    "integration",
    "service",
];

/// The name of one resource of each kind, by the form of its name, such as `cases/*/tasks/*`.
#[derive(Debug)]
pub struct World {
    names: BTreeMap<String, String>,
}

impl World {
    /// Fills `suite` with one of everything: of a patient whom ana cares for, carl helps, luz is close to.
    pub async fn furnish(suite: &Suite) -> World {
        let who = |name: &str, role: &str| {
            Voice::new(&suite.transport(), suite.caller(name, &[role]).token())
        };
        let (sam, ana) = (who("sam", "supervisor"), who("ana", "case_manager"));
        let editor = who("edith", "directory_editor");
        let mut world = World { names: BTreeMap::new() };
        world.names.insert("inboxes/*".to_owned(), "inboxes/ana".to_owned());

        let patient =
            json!({ "patient": { "names": [{ "family": "Marchena" }], "subject": "rosa" } });
        let patient = world.keep(&sam.get("CreatePatient", patient).await);
        world.names.insert("patients/*/preference".to_owned(), format!("{patient}/preference"));
        let person = json!({ "parent": patient, "relatedPerson": { "names": [{ "family": "Marchena" }], "subject": "luz" } });
        let person = sam.get("CreateRelatedPerson", person).await;
        let scope =
            json!({ "topics": ["TOPIC_PLAN"], "legalBasis": "LEGAL_BASIS_PATIENT_PERMISSION" });
        let grant = json!({ "name": person["name"], "etag": person["etag"], "scope": scope });
        world.keep(&sam.get("GrantCaregiverScope", grant).await);
        let coverage = json!({ "parent": patient, "coverage": { "status": "STATUS_ACTIVE", "payerDisplay": "County plan" } });
        world.keep(&sam.get("CreateCoverage", coverage).await);
        let consent = json!({ "parent": patient, "consent": { "type": "TYPE_MESSAGING" } });
        world.keep(&sam.get("CreateConsent", consent).await);

        let told = json!({ "discloseTime": START, "recipientName": "County", "description": "a summary",
            "purpose": "as the law says", "basis": "BASIS_REQUIRED_BY_LAW" });
        world.keep(
            &sam.get("CreateDisclosure", json!({ "parent": patient, "disclosure": told })).await,
        );
        let urgent = json!({ "parent": patient, "reason": "found unconscious" });
        let dana = who("dana", "case_manager");
        world.keep(&dana.get("RequestEmergencyAccess", urgent).await);

        let case = json!({ "case": { "patient": patient, "title": "Heart failure" } });
        let made = sam.get("CreateCase", case).await;
        let case = world.keep(&made);
        let step = json!({ "name": case, "etag": made["etag"] });
        let made = sam.get("StartOutreach", step).await;
        let step = json!({ "name": case, "etag": made["etag"], "accountable": "ana", "consentStatement": "said yes" });
        sam.get("EnrolCase", step).await;
        let member =
            json!({ "parent": case, "member": { "person": "carl", "role": { "text": "nurse" } } });
        world.keep(&sam.get("AddMember", member).await);
        let handoff = json!({ "parent": case, "handoff": { "to": "ben", "reason": "leave", "summary": "all well" } });
        world.keep(&sam.get("ProposeHandoff", handoff).await);
        let problem = json!({ "parent": case, "problem": { "code": { "text": "weight" } } });
        world.keep(&sam.get("CreateProblem", problem).await);
        let plan = json!({ "parent": case, "carePlan": { "title": "At home" } });
        let plan = world.keep(&sam.get("CreateCarePlan", plan).await);
        let goal = json!({ "parent": plan, "goal": { "description": { "text": "weigh" } } });
        world.keep(&sam.get("CreateGoal", goal).await);
        let activity = json!({ "parent": plan, "activity": { "description": "bring a scale" } });
        world.keep(&sam.get("CreateActivity", activity).await);
        let task = json!({ "parent": case, "task": { "title": "call", "owner": "ana" } });
        world.keep(&sam.get("CreateTask", task).await);
        let note =
            json!({ "parent": case, "note": { "class": "CLASS_PROGRESS", "text": "doing well" } });
        world.keep(&sam.get("CreateNote", note).await);
        let review = (suite.now().await + time::Duration::days(31)).to_string();
        let evaluation = json!({ "parent": case, "evaluation": { "summary": "well", "decision": "DECISION_CONTINUE", "nextReviewTime": review } });
        world.keep(&sam.get("CreateEvaluation", evaluation).await);
        let forms = sam.get("ListQuestionnaires", json!({})).await;
        let form = world.keep(&forms["questionnaires"][0]);
        let assessment = json!({ "parent": case, "assessment": { "questionnaire": form } });
        world.keep(&sam.get("CreateAssessment", assessment).await);
        let templates = sam.get("ListTemplates", json!({})).await;
        let template = world.keep(&templates["templates"][0]);
        let to = json!({ "patient": patient });
        let message =
            json!({ "message": { "recipient": to, "template": template, "purpose": "a-word" } });
        world.keep(&sam.get("SendMessage", message).await);
        world.directory(&editor).await;
        let item = eventually(|| async {
            let items = ana.get("ListInboxItems", json!({ "parent": "inboxes/me" })).await;
            items["items"].get(0).cloned()
        })
        .await;
        world.keep(&item);
        world
    }

    async fn directory(&mut self, editor: &Voice) {
        let organization = json!({ "organization": { "displayName": "County clinic" } });
        let organization = self.keep(&editor.get("CreateOrganization", organization).await);
        let location = json!({ "location": { "displayName": "Main street", "managingOrganization": organization } });
        self.keep(&editor.get("CreateLocation", location).await);
        let practitioner = json!({ "practitioner": { "names": [{ "family": "Diaz" }] } });
        let practitioner = self.keep(&editor.get("CreatePractitioner", practitioner).await);
        let role = json!({ "practitionerRole": { "practitioner": practitioner, "organization": organization } });
        self.keep(&editor.get("CreatePractitionerRole", role).await);
        let service =
            json!({ "healthcareService": { "displayName": "Meals", "providedBy": organization } });
        self.keep(&editor.get("CreateHealthcareService", service).await);
        let plan = json!({ "insurancePlan": { "displayName": "County plan" } });
        self.keep(&editor.get("CreateInsurancePlan", plan).await);
    }

    fn keep(&mut self, made: &Value) -> String {
        let name = text(made, "name").to_owned();
        self.names.insert(form(&name), name.clone());
        name
    }

    /// The resource that a request of `rpc` is about, where it is about one.
    pub fn target(&self, rpc: &Rpc) -> Option<&str> {
        let (_, form) = rpc.target()?;
        Some(self.names.get(form).unwrap_or_else(|| panic!("nothing is called {form}")))
    }

    /// A resource by what one of its kind is called, such as `carePlan`.
    pub fn called(&self, kind: &str) -> Option<&str> {
        let plural = match kind.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{kind}s"),
        };
        let of = |form: &str| {
            form.strip_suffix("/*").is_some_and(|kind| kind.rsplit('/').next() == Some(&plural))
        };
        self.names.iter().find(|(form, _)| of(form)).map(|(_, name)| name.as_str())
    }

    /// The resource of a form, such as `cases/*`.
    pub fn name(&self, form: &str) -> &str {
        &self.names[form]
    }
}

/// The form of a name: every second part is a star.
pub fn form(name: &str) -> String {
    let parts = name.split('/').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { "*" } else { part }).collect::<Vec<_>>().join("/")
}

/// `name` with other ids: of the same form, of nothing that is there.
pub fn elsewhere(name: &str) -> String {
    let other = |part: &str| match part.parse::<uuid::Uuid>() {
        Ok(_) => uuid::Uuid::now_v7().to_string(),
        Err(_) => part.to_owned(),
    };
    name.split('/').map(other).collect::<Vec<_>>().join("/")
}

/// Asks until there is an answer: what crosses services arrives by event.
pub async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it did not come about within 30 seconds");
}
