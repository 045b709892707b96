//! Reads FHIR JSON from files and folders: Bundles, single resources, NDJSON, each plain or gzipped.
//!
//! Only what the import understands is kept in memory; everything else is counted by type while it is parsed.
//! An import needs all of its entries before it can order them, so memory grows with the kept ones (about 5 % of a
//! Synthea export), and with one unpacked file at a time.
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::{Failure, Place, document};

/// The most bytes of one file, unpacked: a gzip of a megabyte may hold a gigabyte.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The most folders within folders.
const MAX_FOLDER_DEPTH: usize = 32;

/// One resource as it was read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file it stands in.
    pub file: Arc<str>,
    /// Where in that file.
    pub place: Place,
    /// The `fullUrl` of a Bundle entry.
    pub full_url: Option<String>,
    /// The type of the resource.
    pub resource_type: String,
    /// The logical id, where the resource has one.
    pub id: Option<String>,
    /// The resource.
    pub json: Value,
}

/// Everything that was read, and what could not be.
#[derive(Debug, Default)]
pub struct Reading {
    /// The resources of types that the import understands, in order.
    pub entries: Vec<Entry>,
    /// What could not be read.
    pub failures: Vec<Failure>,
    /// How many resources of each other type there were.
    pub others: BTreeMap<String, u64>,
    /// Files that hold no FHIR by their names.
    pub skipped: Vec<String>,
}

/// How the bytes of a file are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
}

impl Form {
    fn of(path: &Path) -> Option<Form> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "json" => Some(Form::Json),
            "ndjson" | "jsonl" => Some(Form::Lines),
            _ => None,
        }
    }
}

impl Reading {
    /// Reads every path, folders with all that is in them, in the order of their names.
    pub fn of(paths: &[PathBuf]) -> Reading {
        let mut reading = Reading::default();
        for file in reading.files(paths) {
            reading.take(&file);
        }
        reading
    }

    /// The files to read: those named, and those of FHIR found in the folders named, each once.
    pub fn files(&mut self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let mut found = vec![];
        for path in paths {
            self.walk(path, 0, &mut found);
        }
        // A folder and a file of it may both be named.
        let mut seen = std::collections::HashSet::new();
        found.retain(|path| seen.insert(path.clone()));
        found
    }

    fn walk(&mut self, path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
        let children = match fs::metadata(path) {
            Err(error) => return self.fail_file(path, unreadable(&error)),
            Ok(meta) if meta.is_dir() => fs::read_dir(path)
                .and_then(|all| all.map(|child| child.map(|c| c.path())).collect()),
            Ok(_) if depth == 0 || Form::of(path).is_some() => return found.push(path.to_owned()),
            Ok(_) => return self.skipped.push(path.display().to_string()),
        };
        if depth >= MAX_FOLDER_DEPTH {
            return self.fail_file(path, "lies too deep in folders".to_owned());
        }
        match children {
            Err(error) => self.fail_file(path, unreadable(&error)),
            Ok::<Vec<PathBuf>, _>(mut children) => {
                children.sort();
                for child in children {
                    self.walk(&child, depth + 1, found);
                }
            }
        }
    }

    /// Reads one file. What is wrong with it becomes a failure; nothing stops.
    pub fn take(&mut self, path: &Path) {
        let Some(form) = Form::of(path) else {
            return self.fail_file(path, "wants a .json or .ndjson file, plain or .gz".to_owned());
        };
        match bytes(path) {
            Err(reason) => self.fail_file(path, reason),
            Ok(bytes) => {
                let file: Arc<str> = path.to_string_lossy().into();
                match form {
                    Form::Json => self.document(&file, Place::File, &bytes),
                    Form::Lines => self.lines(&file, &bytes),
                }
            }
        }
    }

    fn lines(&mut self, file: &Arc<str>, bytes: &[u8]) {
        for (n, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() {
                self.document(file, Place::Line(n + 1), line);
            }
        }
    }

    fn document(&mut self, file: &Arc<str>, place: Place, bytes: &[u8]) {
        let resource = match document::parse(bytes) {
            Ok(resource) => resource,
            Err(error) => return self.fail(file, place, "", not_json(&error)),
        };
        if resource.get("resourceType").and_then(Value::as_str) == Some("Bundle") {
            return self.bundle(file, place, resource);
        }
        self.resource(file, place, "", None, resource);
    }

    fn bundle(&mut self, file: &Arc<str>, place: Place, mut bundle: Value) {
        let kind = bundle.get("type").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "transaction" | "batch" | "collection" | "searchset") {
            let reason = "wants transaction, batch, collection or searchset";
            return self.fail(file, place, "Bundle.type", reason.to_owned());
        }
        let entries = match bundle.get_mut("entry").map(Value::take) {
            Some(Value::Array(entries)) => entries,
            None => vec![],
            Some(_) => {
                return self.fail(file, place, "Bundle.entry", "wants an array".to_owned());
            }
        };
        for (n, mut entry) in entries.into_iter().enumerate() {
            let at = match place {
                Place::Line(line) => Place::LineEntry(line, n),
                _ => Place::Entry(n),
            };
            let full_url = entry.get("fullUrl").and_then(Value::as_str).map(str::to_owned);
            match entry.get_mut("resource").map(Value::take) {
                Some(resource) => {
                    self.resource(file, at, "Bundle.entry.resource", full_url, resource)
                }
                None => {
                    self.fail(file, at, "Bundle.entry.resource", "is required".to_owned());
                }
            }
        }
    }

    fn resource(
        &mut self,
        file: &Arc<str>,
        place: Place,
        path: &str,
        full_url: Option<String>,
        json: Value,
    ) {
        if !json.is_object() {
            return self.fail(file, place, path, "wants a FHIR resource".to_owned());
        }
        let Some(resource_type) =
            json.get("resourceType").and_then(Value::as_str).filter(|t| is_type(t))
        else {
            let path =
                if path.is_empty() { "resourceType" } else { "Bundle.entry.resource.resourceType" };
            return self.fail(
                file,
                place,
                path,
                "wants the name of a FHIR resource type".to_owned(),
            );
        };
        if document::Keep::of(resource_type) == document::Keep::Nothing {
            *self.others.entry(resource_type.to_owned()).or_default() += 1;
            return;
        }
        self.entries.push(Entry {
            file: file.clone(),
            place,
            full_url,
            resource_type: resource_type.to_owned(),
            id: json.get("id").and_then(Value::as_str).map(str::to_owned),
            json,
        });
    }

    fn fail_file(&mut self, path: &Path, reason: String) {
        self.fail(&path.to_string_lossy().into(), Place::File, "", reason);
    }

    fn fail(&mut self, file: &Arc<str>, place: Place, path: &str, reason: String) {
        self.failures.push(Failure {
            file: file.clone(),
            entry: place.to_string(),
            path: path.to_owned(),
            reason,
        });
    }
}

/// Whether the text can be the name of a resource type. Counting by it must not fill memory or a report.
fn is_type(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let gzipped = path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("gz"));
    let reader: Box<dyn Read> =
        if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = vec![];
    reader.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| {
        if gzipped { "is not a gzip file".to_owned() } else { unreadable(&error) }
    })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("wants at most {} MiB unpacked", MAX_FILE_BYTES >> 20));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {}", error.kind())
}

/// Says where the JSON breaks; the parser's own message could quote what stands there.
fn not_json(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "ends too early to be JSON",
        _ => "is not JSON",
    };
    match (error.line(), error.column()) {
        (0, _) => what.to_owned(),
        (1, column) => format!("{what}, column {column}"),
        (line, column) => format!("{what}, line {line} column {column}"),
    }
}
