//! Who may import whom: an edge that the architecture does not have fails here.
use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

/// What each crate may import of ours. `caseward` and the tests stand above everything.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("caseward-api", &[]),
    ("caseward-core", &["api"]),
    ("caseward-store", &["api", "core"]),
    ("caseward-events", &["api", "core", "store"]),
    ("caseward-server", &["api", "core", "store", "events"]),
    ("caseward-fhir", &["api", "core"]),
    ("caseward-testkit", &["api", "core", "store", "events", "server"]),
    ("caseward-patient", &["api", "core", "store", "events", "server", "fhir"]),
    ("caseward-care-plan", &["api", "core", "store", "events", "server", "fhir"]),
    ("caseward-directory", &["api", "core", "store", "events", "server", "fhir"]),
    ("caseward-notification", &["api", "core", "store", "events", "server", "fhir"]),
    ("caseward-gateway", &["api", "core", "server"]),
];

#[test]
fn no_crate_imports_what_the_architecture_forbids() {
    let cargo =
        Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--format-version=1"]).output();
    let metadata: Value = serde_json::from_slice(&cargo.unwrap().stdout).unwrap();
    let list = |of: &Value, key: &str| of[key].as_array().unwrap().clone();
    let name = |of: &Value| of["name"].as_str().unwrap().to_owned();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut seen = 0;
    for package in list(&metadata, "packages") {
        let Some(allowed) = allowed.get(&*name(&package)) else { continue };
        seen += 1;
        // Those of tests and build scripts have a kind.
        for dependency in list(&package, "dependencies").iter().filter(|d| d["kind"].is_null()) {
            let dependency = name(dependency);
            let Some(ours) = dependency.strip_prefix("caseward-") else { continue };
            assert!(allowed.contains(&ours), "{} must not import {dependency}", name(&package));
        }
    }
    assert_eq!(seen, ALLOWED.len(), "a crate was renamed; the architecture's table must follow");
}

#[test]
fn the_database_is_known_to_stores_and_services_only() {
    for folder in ["shared/server", "services/gateway", "services/caseward"] {
        each_source(Path::new("..").join(folder).join("src").as_path(), &mut |path, text| {
            assert!(!text.contains("sea_orm"), "{} must not know the database", path.display());
        });
    }
}

#[test]
fn no_service_leaves_reads_unaudited() {
    let mut callers = vec![];
    for folder in ["shared", "services"] {
        each_source(Path::new("..").join(folder).as_path(), &mut |path, text| {
            if text.contains(".leave_reads_unaudited()") {
                callers.push(path.to_owned());
            }
        });
    }
    // Not none: then this would look for a name that is gone.
    assert_eq!(callers, [Path::new("../services/caseward/src/bench/serve.rs")]);
}

fn each_source(folder: &Path, with: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, with);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            with(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
