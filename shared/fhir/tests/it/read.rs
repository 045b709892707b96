//! What the reader finds in the real files.
use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

use caseward_fhir::Reading;
use flate2::{Compression, write::GzEncoder};

/// The folder of real input, or a plain word that there is none.
pub(crate) fn data(part: &str) -> Option<PathBuf> {
    let root = env::var_os("CASEWARD_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(env::var_os("CI").is_none(), "the real input is missing");
    eprintln!("skipped: the real input is not here");
    None
}

/// How many of each type, kept or not.
fn census(reading: &Reading) -> BTreeMap<&str, u64> {
    let mut census: BTreeMap<&str, u64> =
        reading.others.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    for entry in &reading.entries {
        *census.entry(&entry.resource_type).or_default() += 1;
    }
    census
}

#[test]
fn every_real_file_is_read_and_every_resource_counted() {
    let parts = ["synthea", "provider-directory", "care-plans-sdoh", "assessments"];
    let Some(paths) = parts.into_iter().map(data).collect::<Option<Vec<_>>>() else { return };
    let reading = Reading::of(&paths);
    assert_eq!(reading.failures, []);
    let census = census(&reading);
    for (resource_type, count) in [
        ("Observation", 2547),
        ("Claim", 871),
        ("Procedure", 835),
        ("Practitioner", 728),
        ("PractitionerRole", 674),
        ("ExplanationOfBenefit", 631),
        ("Location", 554),
        ("Condition", 466),
        ("Organization", 323),
        ("HealthcareService", 112),
        ("CarePlan", 68),
        ("Goal", 62),
        ("CareTeam", 51),
        ("Patient", 35),
        ("ServiceRequest", 32),
        ("Questionnaire", 17),
        ("InsurancePlan", 15),
        ("Consent", 9),
        ("RelatedPerson", 7),
        ("Coverage", 2),
    ] {
        assert_eq!(census.get(resource_type), Some(&count), "{resource_type}");
    }
    // Tables, which are not FHIR.
    assert_eq!(reading.skipped.len(), 5, "{:?}", reading.skipped);
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn one_bad_entry_costs_that_entry_and_one_bad_file_that_file() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "a.json",
        r#"{"entry": [{"resource": 5}, {"fullUrl": "urn:uuid:1"}, {"resource": {"id": "1"}},
        {"resource": {"id": "p", "resourceType": "Patient"}}, "x"], "type": "batch", "resourceType": "Bundle"}"#,
    );
    write(
        "b.ndjson",
        "{\"resourceType\":\"Patient\"}\n\n{broken\r\n{\"resourceType\":\"Device\"}\r\n",
    );
    write("c.json", "\u{feff}{\"resourceType\":\"Patient\"}");
    write("d.json", "not JSON");
    write("e.json", r#"{"resourceType": "Bundle", "type": "history"}"#);
    write("f.json.gz", "not gzip");
    write("g.txt", "not ours");
    let reading = Reading::of(&[folder.path().to_owned()]);
    assert_eq!(reading.entries.len(), 3);
    assert_eq!(reading.others["Device"], 1);
    assert_eq!(reading.skipped.len(), 1);
    let failures: Vec<(&str, &str, &str)> = reading
        .failures
        .iter()
        .map(|f| (f.file.rsplit('/').next().unwrap(), f.entry.as_str(), f.reason.as_str()))
        .collect();
    assert_eq!(
        failures,
        [
            ("a.json", "entry[0]", "wants a FHIR resource"),
            ("a.json", "entry[1]", "is required"),
            ("a.json", "entry[2]", "wants the name of a FHIR resource type"),
            ("a.json", "entry[4]", "is required"),
            ("b.ndjson", "line 3", "is not JSON, column 2"),
            ("d.json", "", "is not JSON, column 2"),
            ("e.json", "", "wants transaction, batch, collection or searchset"),
            ("f.json.gz", "", "is not a gzip file"),
        ]
    );
}

#[test]
fn a_gzip_bomb_is_refused() {
    let folder = folder();
    let path = folder.path().join("bomb.ndjson.gz");
    let mut gzip = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::fast());
    let block = vec![b'\n'; 1 << 20];
    for _ in 0..257 {
        gzip.write_all(&block).unwrap();
    }
    gzip.finish().unwrap();
    let reading = Reading::of(&[path]);
    assert_eq!(reading.failures[0].reason, "wants at most 256 MiB unpacked");
}

#[test]
fn a_path_that_is_not_there_is_a_failure() {
    let reading = Reading::of(&[PathBuf::from("nowhere/at/all.json")]);
    assert!(reading.failures[0].reason.starts_with("cannot be read"));
}
