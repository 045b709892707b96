//! `caseward audit verify` as an auditor runs it, on a data folder that somebody had their hands in.
use std::path::Path;

use sea_orm::{ConnectionTrait, Database};
use serde_json::Value;

use crate::{Home, bundle, stderr};

/// Runs `sql` on the patients' database, past the service.
fn tamper(home: &Home, sql: &str) {
    let url = format!("sqlite://{}", home.folder.path().join("data/patient.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        Database::connect(url).await.unwrap().execute_unprepared(sql).await.unwrap();
    });
}

fn verify(home: &Home, args: &[&str]) -> (Value, Option<i32>) {
    let output = home.run(&[&["audit", "verify", "--json"], args].concat());
    let verdict = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no verdict: {}", stderr(&output)));
    (verdict, output.status.code())
}

/// A data folder with a few accesses on record.
fn home() -> Home {
    let home = Home::new();
    let file = home.write("bundle.json", &bundle("1961-03-04"));
    for _ in 0..2 {
        assert_eq!(home.import(&file).1, Some(0));
    }
    home
}

#[test]
fn a_log_as_it_was_written_verifies_against_its_exported_heads() {
    let home = home();
    let (verdict, code) = verify(&home, &[]);
    assert_eq!((code, &verdict["ok"]), (Some(0), &Value::Bool(true)), "{verdict:#}");
    let patient = &verdict["services"]["patient"];
    assert!(
        patient["entries"].as_u64().unwrap() > 0 && patient["statements"].as_u64().unwrap() > 1
    );
    assert_eq!(patient["unexported"], 0, "a process exports when it ends");
}

#[test]
fn a_cut_log_shows_against_the_heads_and_not_without() {
    let home = home();
    tamper(
        &home,
        "DELETE FROM audit WHERE (chain, seq) = \
         (SELECT chain, seq FROM audit ORDER BY chain DESC, seq DESC LIMIT 1); \
         DELETE FROM audit_patient WHERE (chain, seq) NOT IN (SELECT chain, seq FROM audit)",
    );
    let (verdict, code) = verify(&home, &[]);
    assert_eq!(code, Some(1), "{verdict:#}");
    let faults = verdict["services"]["patient"]["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 1, "{verdict:#}");
    let (verdict, code) = verify(&home, &["--without-heads"]);
    assert_eq!(code, Some(0), "{verdict:#}");
}

#[test]
fn a_restored_older_copy_shows() {
    let home = Home::new();
    let file = home.write("bundle.json", &bundle("1961-03-04"));
    home.import(&file);
    let data = home.folder.path().join("data");
    let copy = home.folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let databases = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains(".db") {
                std::fs::copy(&path, to.join(name)).unwrap();
            }
        }
    };
    databases(&data, &copy);
    let changed = home.write("bundle.json", &bundle("1962-03-04"));
    home.import(&changed);
    assert_eq!(verify(&home, &[]).1, Some(0));
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains(".db") {
            std::fs::remove_file(path).unwrap();
        }
    }
    databases(&copy, &data);
    let (verdict, code) = verify(&home, &[]);
    assert_eq!(code, Some(1), "{verdict:#}");
    let reasons = verdict["services"]["patient"]["faults"].to_string();
    assert!(reasons.contains("the whole chain is missing"), "{verdict:#}");
}

#[test]
fn heads_and_keys_are_read_where_the_second_administrator_keeps_them() {
    let home = home();
    let data = home.folder.path().join("data");
    let elsewhere = home.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for name in ["audit-heads.jsonl", "audit.pub"] {
        std::fs::rename(data.join(name), elsewhere.join(name)).unwrap();
    }
    let output = home.run(&["audit", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--heads"), "{}", stderr(&output));
    let (heads, keys) = (elsewhere.join("audit-heads.jsonl"), elsewhere.join("audit.pub"));
    let args = ["--heads", heads.to_str().unwrap(), "--keys", keys.to_str().unwrap()];
    let (verdict, code) = verify(&home, &args);
    assert_eq!(code, Some(0), "{verdict:#}");
}
