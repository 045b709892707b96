//! What `deploy/` says is true of the programs: its settings are known, its metrics are exported.
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use caseward_server::telemetry::{Kind, METRICS};
use serde_json::Value;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// Every file below `folder` whose name ends in `ext`.
fn files(folder: PathBuf, ext: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path, ext));
        } else if path.extension().is_some_and(|has| has == ext) {
            found.push(path);
        }
    }
    found
}

/// The words of `text` that begin with `prefix`, made of letters, digits and underscores.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(move |word| word.starts_with(prefix))
}

/// How a collector names our metrics for Prometheus.
fn exported() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        let name = metric.name.replace('.', "_");
        let unit = match metric.unit {
            "s" => "_seconds",
            "1" => "_ratio",
            _ => "",
        };
        match metric.kind {
            Kind::Counter => names.extend([format!("{name}{unit}_total")]),
            Kind::Gauge => names.extend([format!("{name}{unit}")]),
            Kind::Histogram => {
                names.extend(["bucket", "count", "sum"].map(|end| format!("{name}{unit}_{end}")));
            }
        }
    }
    names
}

#[test]
fn every_settings_file_is_read_whole() {
    let files = files(deploy(), "toml");
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let layers = caseward::settings(Some(&file))
            .unwrap_or_else(|why| panic!("{}: {why:#}", file.display()));
        let common = layers.common().unwrap_or_else(|why| panic!("{}: {why:#}", file.display()));
        let peers = ["patient", "care_plan", "directory", "notification"];
        for peer in peers {
            common.peer(peer).unwrap_or_else(|why| panic!("{}: {why:#}", file.display()));
        }
    }
}

#[test]
fn every_variable_is_a_setting() {
    let known = caseward::settings(None).unwrap().effective().unwrap();
    let mut seen = 0;
    for file in files(deploy(), "yaml") {
        let text = std::fs::read_to_string(&file).unwrap();
        for variable in words(&text, "CASEWARD__") {
            let path = variable.trim_start_matches("CASEWARD__").to_lowercase();
            let setting = path.split("__").try_fold(&known, |at: &Value, key| at.get(key));
            assert!(
                setting.is_some(),
                "{} sets {variable}, which no process knows",
                file.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "the files set {seen} variables");
}

#[test]
fn dashboards_and_alerts_name_metrics_that_are_exported() {
    let exported = exported();
    let mut named = BTreeSet::new();
    for file in files(deploy().join("alerts"), "yaml")
        .into_iter()
        .chain(files(deploy().join("dashboards"), "json"))
    {
        let text = std::fs::read_to_string(&file).unwrap();
        // Labels and names of rules are spelt otherwise.
        let labels = ["caseward_service", "rpc_method", "rpc_response_status_code"];
        let metrics = words(&text, "caseward_").chain(words(&text, "rpc_"));
        named.extend(metrics.filter(|word| !labels.contains(word)).map(str::to_owned));
    }
    let unknown: Vec<_> = named.difference(&exported).collect();
    assert!(unknown.is_empty(), "nobody exports {unknown:?}");
    assert!(named.len() >= 10, "{named:?}");
}
