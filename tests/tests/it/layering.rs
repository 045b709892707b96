//! Who may import whom: an edge that the architecture does not have fails here.
use std::{collections::BTreeMap, fs, path::Path};

use cargo_metadata::{DependencyKind, MetadataCommand};

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
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut seen = 0;
    for package in &metadata.packages {
        let Some(allowed) = allowed.get(package.name.as_str()) else { continue };
        seen += 1;
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let Some(ours) = dependency.name.strip_prefix("caseward-") else { continue };
            assert!(
                allowed.contains(&ours),
                "{} must not import {}",
                package.name,
                dependency.name
            );
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
