//! What the reader finds in the real files.
use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

use caseward_fhir::{Entry, Reading};
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
    write(
        "e.json",
        r#"{"resourceType": "Bundle", "type": "heap", "entry": [{"resource": {"resourceType": "Device"}}]}"#,
    );
    write("f.json.gz", "not gzip");
    write("g.txt", "not ours");
    let reading = Reading::of(&[folder.path().to_owned()]);
    assert_eq!(reading.entries.len(), 3);
    assert_eq!(reading.others["Device"], 2);
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
            ("e.json", "", "wants a code of bundle-type"),
            ("f.json.gz", "", "is not JSON, column 2"),
        ]
    );
}

/// The types and ids of what was read, in order.
fn read(name: &str, bytes: &[u8]) -> (Vec<String>, Reading) {
    let folder = folder();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let reading = Reading::of(&[path]);
    let id =
        |entry: &Entry| format!("{}/{}", entry.resource_type, entry.id.as_deref().unwrap_or(""));
    (reading.entries.iter().map(id).collect(), reading)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn a_file_is_read_by_what_it_holds_and_not_by_its_name() {
    let one = r#"{"resourceType":"Patient","id":"a"}"#;
    let two = r#"{"resourceType":"Patient","id":7}"#;
    let both = ["Patient/a", "Patient/7"];
    let lines = format!("{one}\n{two}\n");
    assert_eq!(read("export.json", lines.as_bytes()).0, both);
    assert_eq!(read("named-by-hand", &gzipped(lines.as_bytes())).0, both);
    assert_eq!(read("list.json", format!("[{one}, {two}]").as_bytes()).0, both);
    let pretty = one.replace(',', ",\n  ").replace('{', "{\n  ");
    assert_eq!(read("one.ndjson", pretty.as_bytes()).0, ["Patient/a"]);
    let (read, reading) = read("heap.json", format!("{pretty}\n{pretty}").as_bytes());
    assert!(read.is_empty());
    assert_eq!(reading.failures.len(), 1);
}

#[test]
fn bundles_of_every_type_and_within_each_other_are_read() {
    for kind in ["searchset", "document", "message", "batch-response", "collection"] {
        let inner = r#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":5},
            {"resource":{"resourceType":"Patient","id":"b"}}]}"#;
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"{kind}","entry":[
            {{"resource":{{"resourceType":"OperationOutcome"}},"search":{{"mode":"outcome"}}}},
            {{"response":{{"status":"201 Created","location":"Patient/9/_history/1"}}}},
            {{"resource":{inner}}}]}}"#
        );
        let (read, reading) = read("bundle.json", bundle.as_bytes());
        assert_eq!(read, ["Patient/b"], "{kind}");
        assert_eq!(reading.entries[0].place.to_string(), "entry[2].entry[1]");
        assert_eq!(reading.failures[0].entry, "entry[2].entry[0]");
        assert_eq!((reading.others["OperationOutcome"], reading.others["Patient"]), (1, 1));
    }
}

#[test]
fn the_newest_of_a_history_is_read_last_and_what_was_deleted_is_not_read() {
    let bundle = br#"{"resourceType":"Bundle","type":"history","entry":[
        {"request":{"method":"DELETE","url":"Patient/gone"}},
        {"resource":{"resourceType":"Patient","id":"here","gender":"female"},"request":{"method":"PUT","url":"Patient/here"}},
        {"resource":{"resourceType":"Patient","id":"gone"},"request":{"method":"PUT","url":"Patient/gone"}},
        {"resource":{"resourceType":"Patient","id":"here"},"request":{"method":"POST","url":"Patient"}}]}"#;
    let (read, reading) = read("history.json", bundle);
    assert_eq!(read, ["Patient/here", "Patient/here"]);
    assert_eq!(reading.entries[1].json["gender"], "female");
    assert_eq!(reading.others["Patient"], 2);
    assert_eq!(reading.failures, []);
}

#[test]
fn a_file_that_holds_nothing_whole_says_so() {
    let whole = gzipped(br#"{"resourceType":"Patient","id":"a"}"#);
    for (name, bytes, reason) in [
        ("cut.json.gz", &whole[..whole.len() / 2], "ends too early to be a gzip file"),
        ("empty.json", b" \n".as_slice(), "is empty"),
        (
            "cut.json",
            br#"{"resourceType":"Bundle","entry":[{"#,
            "ends too early to be JSON, column 35",
        ),
        ("scalar.json", b"5", "wants a FHIR resource"),
    ] {
        let (_, reading) = read(name, bytes);
        assert_eq!(reading.failures.len(), 1, "{name}");
        assert_eq!(reading.failures[0].reason, reason, "{name}");
    }
    assert_eq!(read("none.ndjson", b"").1.failures, []);
}

#[cfg(unix)]
#[test]
fn links_lead_to_each_file_once() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("deep")).unwrap();
    fs::create_dir(at("bare")).unwrap();
    fs::write(at("deep/a.json"), r#"{"resourceType":"Patient"}"#).unwrap();
    symlink("a.json", at("deep/b.json")).unwrap();
    symlink("..", at("deep/around")).unwrap();
    symlink("nowhere.json", at("broken.json")).unwrap();
    let reading = Reading::of(&[folder.path().to_owned(), at("deep"), at("bare")]);
    assert_eq!(reading.entries.len(), 1);
    assert_eq!(reading.failures.len(), 1, "{:?}", reading.failures);
    assert!(reading.failures[0].file.ends_with("broken.json"));
    let reading = Reading::of(&[at("bare")]);
    assert_eq!(reading.failures[0].reason, "holds no .json or .ndjson file, plain or .gz");
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
