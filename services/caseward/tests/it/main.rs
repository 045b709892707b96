//! The program as a person or a script runs it: what it prints, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod audit;
mod deploy;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A data folder, and an address that no other test listens on.
struct Home {
    folder: TempDir,
    listen: String,
}

impl Home {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Home { folder: tempfile::tempdir().unwrap(), listen: format!("127.0.0.1:{port}") }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caseward"));
        command
            .args(args)
            .current_dir(&self.folder)
            .env("CASEWARD__DATA", self.folder.path().join("data"))
            .env("CASEWARD__GATEWAY__LISTEN", &self.listen);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn write(&self, name: &str, content: &Value) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Imports a file, and answers the report and how the program ended.
    fn import(&self, file: &str) -> (Value, Option<i32>) {
        let output = self.run(&["import", "fhir", file, "--json"]);
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no report: {}", stderr(&output)));
        (report, output.status.code())
    }
}

/// A suite that serves, until the test is over.
struct Serving(Child);

impl Serving {
    fn start(home: &Home) -> Self {
        let mut child = home.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines();
        assert!(lines.any(|line| line.unwrap().contains("listening")), "it ended before it served");
        // What it says later must find a reader, or it would wait for one.
        std::thread::spawn(move || lines.for_each(drop));
        Serving(child)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A bundle of an organization and a patient that it cares for.
fn bundle(birth_date: &str) -> Value {
    json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": "urn:uuid:5b1c4f7e-6f0f-4a2f-9d3a-6c1f0a4a9d01",
                "resource": {
                    "resourceType": "Organization",
                    "name": "Harbor Clinic",
                    "active": true
                }
            },
            {
                "fullUrl": "urn:uuid:5b1c4f7e-6f0f-4a2f-9d3a-6c1f0a4a9d02",
                "resource": {
                    "resourceType": "Patient",
                    "name": [{"family": "Okafor", "given": ["Ada"]}],
                    "gender": "female",
                    "birthDate": birth_date
                }
            }
        ]
    })
}

#[test]
fn a_token_is_all_that_is_printed() {
    let output = Home::new().run(&["token", "--role", "supervisor", "--ttl", "5m"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let token = stdout(&output);
    assert_eq!(token.lines().count(), 1);
    assert_eq!(token.trim().split('.').count(), 3);
}

#[test]
fn a_role_that_is_none_is_refused_by_name() {
    let output = Home::new().run(&["token", "--role", "emperor"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("emperor"), "{}", stderr(&output));
}

#[test]
fn a_setting_that_is_none_is_refused_by_name() {
    let home = Home::new();
    let output = home.command(&["config"]).env("CASEWARD__PATIENT__DATABSE", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("databse"), "{}", stderr(&output));
}

#[test]
fn the_settings_are_printed_without_secrets() {
    let home = Home::new();
    let url = "postgres://caseward:hunter2@db.example.org/patient";
    let output =
        home.command(&["config"]).env("CASEWARD__PATIENT__DATABASE", url).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let settings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(settings["gateway"]["listen"], home.listen);
    assert!(!stdout(&output).contains("hunter2"));
}

#[test]
fn what_was_imported_is_there_the_second_time() {
    let home = Home::new();
    let file = home.write("bundle.json", &bundle("1961-03-04"));
    let (report, code) = home.import(&file);
    assert_eq!(code, Some(0), "{report:#}");
    for kind in ["Organization", "Patient"] {
        assert_eq!(report["resources"][kind]["created"], 1, "{report:#}");
    }
    let (report, code) = home.import(&file);
    assert_eq!(code, Some(0), "{report:#}");
    for kind in ["Organization", "Patient"] {
        let counts = &report["resources"][kind];
        assert_eq!((&counts["unchanged"], &counts["created"]), (&json!(1), &json!(0)));
    }

    let output = home.run(&["audit", "verify", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["ok"], true);
    assert!(verdict["services"]["patient"]["entries"].as_u64().unwrap() > 0, "{verdict:#}");
}

#[test]
fn a_bad_entry_costs_that_entry_and_the_exit_code() {
    let home = Home::new();
    let file = home.write("bundle.json", &bundle("1961-13-04"));
    let (report, code) = home.import(&file);
    assert_eq!(code, Some(1));
    assert_eq!(report["resources"]["Organization"]["created"], 1, "{report:#}");
    assert_eq!(report["resources"]["Patient"]["failed"], 1, "{report:#}");
    let failure = &report["failures"][0];
    assert_eq!(failure["file"], file);
    assert_eq!(failure["entry"], "entry[1]");
    assert_eq!(failure["path"], "Patient.birthDate");
    assert!(!failure["reason"].as_str().unwrap().is_empty());
    let text = home.run(&["import", "fhir", &file]);
    assert!(stdout(&text).contains("Patient.birthDate"), "{}", stdout(&text));
}

#[test]
fn a_suite_that_serves_takes_the_import_itself() {
    let home = Home::new();
    let file = home.write("bundle.json", &bundle("1961-03-04"));
    let serving = Serving::start(&home);
    let (report, code) = home.import(&file);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["resources"]["Patient"]["created"], 1, "{report:#}");
    let output = home.run(&["import", "fhir", &file, "--json", "--token", "no.such.token"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["failures"][0]["reason"].as_str().unwrap().contains("ended early"));
    drop(serving);
}

#[test]
fn an_import_goes_where_it_is_told_and_nowhere_else() {
    let home = Home::new();
    let file = home.write("bundle.json", &bundle("1961-03-04"));
    let import = |home: &Home, to: &str| {
        let output = home.run(&["import", "fhir", &file, "--json", "--to", to]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (report, output.status.code(), stderr(&output))
    };
    // Nothing listens there yet; the data folder is not what was meant.
    let (report, code, _) = import(&home, &format!("http://{}", home.listen));
    assert_eq!(code, Some(1));
    assert!(
        report["failures"][0]["reason"].as_str().unwrap().contains("ended early"),
        "{report:#}"
    );
    let (_, code, said) = import(&home, "http://caseward.example.org");
    assert_eq!(code, Some(1));
    assert!(said.contains("https://"), "{said}");

    let serving = Serving::start(&home);
    let (report, code, _) = import(&home, &format!("http://{}", home.listen));
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["resources"]["Patient"]["created"], 1, "nothing of it was there: {report:#}");
    drop(serving);
}

#[test]
fn an_import_leaves_the_data_folder_alone_where_something_else_listens() {
    let home = Home::new();
    let file = home.write("bundle.json", &bundle("1961-03-04"));
    // Takes connections and closes them without a word.
    let other = std::net::TcpListener::bind(&home.listen).unwrap();
    std::thread::spawn(move || other.incoming().for_each(drop));
    let output = home.run(&["import", "fhir", &file, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no suite"), "{}", stderr(&output));
}
