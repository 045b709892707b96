//! The people and providers of the demo, invented by us: a town, three patients, a daughter.
use std::{fs, path::Path};

use anyhow::Context;
use caseward::Suite;
use caseward_server::settings::Layers;
use serde_json::{Value, json};

use crate::{
    door::{Person, text},
    import,
};

const TOWN: &str = include_str!("../samples/town.json");

/// The identifier of the patient whose case is told.
const ROSA: &str = "https://caseward.dev/samples/patient%7Crosa";

/// Loads the samples as any FHIR file is loaded, and answers the name of the patient whose case is told.
pub async fn load(
    suite: &Suite,
    layers: &Layers,
    folder: &Path,
    supervisor: &Person,
) -> anyhow::Result<String> {
    let file = folder.join("town.json");
    fs::write(&file, TOWN)?;
    let report = import::fhir_into(suite, layers, vec![file]).await?;
    anyhow::ensure!(report.is_clean(), "the samples were not all taken: {:?}", report.failures);
    let found = supervisor.get(&format!("/v1/patients?identifier={ROSA}")).await?;
    let rosa = text(&found["patients"][0], "name").to_owned();
    anyhow::ensure!(!rosa.is_empty(), "the sample patient was not found");
    Ok(rosa)
}

/// What Rosa answers to the PHQ-9: moderate in all, with a hint at item 9.
pub fn phq9_answers() -> Value {
    let points = [2, 2, 1, 2, 1, 1, 1, 0, 1];
    let codes = ["LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9"];
    let items: Vec<Value> = points
        .iter()
        .enumerate()
        .map(|(n, points)| {
            let coding = json!({"system": "http://loinc.org", "code": codes[*points]});
            json!({"linkId": (n + 1).to_string(), "answer": [{"valueCoding": coding}]})
        })
        .collect();
    json!({
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "questionnaire": "urn:caseward:questionnaire:phq-9|1.0.0",
        "item": [{"linkId": "problems", "item": items}],
    })
}

/// The name of the first related person of a patient.
pub async fn first_related(who: &Person, patient: &str) -> anyhow::Result<String> {
    let related = who.get(&format!("/v1/{patient}/relatedPersons")).await?;
    let name = text(&related["relatedPersons"][0], "name");
    (!name.is_empty()).then(|| name.to_owned()).context("the patient has a daughter in the samples")
}
