//! Real files through the running suite: what was in them can be read, and a second import changes nothing.
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    slice::from_ref,
};

use caseward_api::patient::v1::{
    ListPatientsRequest, Patient, patient_service_client::PatientServiceClient,
};
use caseward_testkit::{Caller, Suite, data, suites};
use flate2::read::GzDecoder;
use serde_json::Value;

/// What `caseward import … --json` printed.
async fn import(suite: &Suite, format: &str, paths: &[PathBuf]) -> Value {
    let mut command = suite.command().await;
    let output = command.args(["import", format, "--json"]).args(paths).output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| {
        panic!("{why}: {}", String::from_utf8_lossy(&output.stderr));
    });
    let clean = report["failures"].as_array().unwrap().is_empty();
    assert_eq!(output.status.success(), clean, "the exit code says whether all was taken");
    report
}

/// How many of all resources, or of those of one type, met `end`.
fn count(report: &Value, kind: Option<&str>, end: &str) -> u64 {
    let all = report["resources"].as_object().unwrap();
    let wanted = all.iter().filter(|(name, _)| kind.is_none_or(|kind| kind == *name));
    wanted.map(|(_, counts)| counts[end].as_u64().unwrap()).sum()
}

/// Every resource of the Bundles below `folder`.
fn resources(folder: &Path) -> Vec<Value> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(resources(&path));
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|ext| ext == "gz") {
            let packed = std::mem::take(&mut bytes);
            GzDecoder::new(&*packed).read_to_end(&mut bytes).unwrap();
        }
        let bundle: Value = serde_json::from_slice(&bytes).unwrap();
        let entries = bundle["entry"].as_array().unwrap();
        found.extend(entries.iter().map(|entry| entry["resource"].clone()));
    }
    found
}

fn kind(resource: &Value) -> &str {
    resource["resourceType"].as_str().unwrap()
}

/// The patient with the identifier that `resource` gives first.
async fn kept(caller: &Caller, resource: &Value) -> Patient {
    let all = resource["identifier"].as_array().unwrap();
    let first = all.iter().find(|one| one["system"].is_string()).unwrap();
    let identifier =
        format!("{}|{}", first["system"].as_str().unwrap(), first["value"].as_str().unwrap());
    let request = ListPatientsRequest { identifier, ..Default::default() };
    let mut people = caller.client(PatientServiceClient::new);
    let mut found = people.list_patients(request).await.unwrap().into_inner().patients;
    assert_eq!(found.len(), 1, "{} of them", found.len());
    found.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_go_in_whole_read_back_as_they_were_and_a_second_time_change_nothing() {
    let Some(synthea) = data("synthea") else { return };
    let given = resources(&synthea);
    let mut of_kind: BTreeMap<&str, u64> = BTreeMap::new();
    for resource in &given {
        *of_kind.entry(kind(resource)).or_default() += 1;
    }
    for suite in suites().await {
        let first = import(&suite, "fhir", from_ref(&synthea)).await;
        assert_eq!(first["failures"], serde_json::json!([]));
        for (kind, given) in &of_kind {
            let ends = ["created", "updated", "unchanged", "ignored"];
            let told: u64 = ends.iter().map(|end| count(&first, Some(kind), end)).sum();
            assert_eq!(told, *given, "every {kind} is accounted for");
        }
        let persons: Vec<&Value> = given.iter().filter(|one| kind(one) == "Patient").collect();
        assert_eq!(count(&first, Some("Patient"), "created"), persons.len() as u64);
        for taken in ["CarePlan", "Goal", "CareTeam", "Condition", "Coverage"] {
            assert!(count(&first, Some(taken), "created") > 0, "{taken}");
        }
        let sam = suite.caller("sam", &["supervisor"]);
        for person in persons {
            let patient = kept(&sam, person).await;
            let name = &person["name"][0];
            assert_eq!(patient.names[0].family, name["family"].as_str().unwrap());
            let given: Vec<&str> =
                name["given"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
            assert_eq!(patient.names[0].given, given);
            let born = patient.birth_date.unwrap();
            let born = format!("{:04}-{:02}-{:02}", born.year, born.month, born.day);
            assert_eq!(born, person["birthDate"].as_str().unwrap());
        }
        let again = import(&suite, "fhir", from_ref(&synthea)).await;
        assert_eq!((count(&again, None, "created"), count(&again, None, "updated")), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_entry_costs_itself_only_and_the_report_says_which_where_and_why() {
    let Some(plans) = data("care-plans-sdoh") else { return };
    for suite in suites().await {
        let first = import(&suite, "fhir", from_ref(&plans)).await;
        assert!(count(&first, Some("CarePlan"), "created") > 0);
        let failures = first["failures"].as_array().unwrap();
        assert!(
            !failures.is_empty(),
            "the specification's own examples refer to what is not there"
        );
        for failure in failures {
            // Whole by themselves are all but the examples of the specification, of which a part is left out.
            assert!(failure["file"].as_str().unwrap().contains("fhir-r4-spec"), "{failure}");
            for said in ["entry", "reason"] {
                assert!(!failure[said].as_str().unwrap().is_empty(), "{failure}");
            }
        }
        let again = import(&suite, "fhir", from_ref(&plans)).await;
        assert_eq!((count(&again, None, "created"), count(&again, None, "updated")), (0, 0));
        assert_eq!(again["failures"].as_array().unwrap().len(), failures.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_go_in_from_plan_net_and_from_nppes() {
    let Some(directory) = data("provider-directory") else { return };
    let nppes: Vec<PathBuf> = std::fs::read_dir(directory.join("nppes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("npidata"))
        .collect();
    let plan_net =
        vec![directory.join("plannet-ct"), directory.join("plannet-1.2.0-examples.ndjson")];
    for suite in suites().await {
        for (format, paths) in [("plan-net", &plan_net), ("nppes", &nppes)] {
            let first = import(&suite, format, paths).await;
            assert_eq!(first["failures"], serde_json::json!([]), "{format}");
            assert!(count(&first, Some("Practitioner"), "created") > 0, "{format}");
            let again = import(&suite, format, paths).await;
            let changed = (count(&again, None, "created"), count(&again, None, "updated"));
            assert_eq!(changed, (0, 0), "{format}");
        }
    }
}
