//! Reads FHIR JSON from files and folders: Bundles, single resources, arrays, NDJSON, each plain or gzipped.
//!
//! Only what the import understands is kept in memory; everything else is counted by type while it is parsed.
//! An import needs all of its entries before it can order them, so memory grows with the kept ones (about 5 % of a
//! Synthea export), and with one unpacked file at a time.
use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use crate::{
    Failure, Place,
    document::{self, Parsed},
};

/// The most bytes of one file, unpacked: a gzip of a megabyte may hold a gigabyte.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// What a file of gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One resource as it was read.
#[derive(Clone)]
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
caseward_core::confidential!(Entry);

/// Everything that was read, and what could not be.
#[derive(Default)]
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
caseward_core::confidential!(Reading);

/// Whether a file found in a folder holds FHIR, by its name.
fn is_fhir(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".json", ".ndjson", ".jsonl"].iter().any(|ending| name.ends_with(ending))
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

    /// The files to read: those named, and those of FHIR found in the folders named, each once however many links
    /// and names lead to it.
    pub fn files(&mut self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let (mut found, mut seen) = (vec![], HashSet::new());
        for path in paths {
            let before = (found.len(), self.failures.len());
            let folder = path.is_dir() && !seen.contains(&itself(path));
            self.walk(path, true, &mut seen, &mut found);
            if folder && before == (found.len(), self.failures.len()) {
                self.fail_file(path, "holds no .json or .ndjson file, plain or .gz".to_owned());
            }
        }
        found
    }

    fn walk(
        &mut self,
        path: &Path,
        named: bool,
        seen: &mut HashSet<PathBuf>,
        found: &mut Vec<PathBuf>,
    ) {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) => return self.fail_file(path, unreadable(&error)),
        };
        let itself = itself(path);
        if meta.is_dir() {
            // A link to a folder above would be walked for ever.
            if !seen.insert(itself) {
                return;
            }
            let children = fs::read_dir(path)
                .and_then(|all| all.map(|child| child.map(|c| c.path())).collect());
            match children {
                Err(error) => self.fail_file(path, unreadable(&error)),
                Ok::<Vec<PathBuf>, _>(mut children) => {
                    children.sort();
                    for child in children {
                        self.walk(&child, false, seen, found);
                    }
                }
            }
        } else if named || meta.is_file() && is_fhir(path) {
            if seen.insert(itself) {
                found.push(path.to_owned());
            }
        } else {
            self.skipped.push(path.display().to_string());
        }
    }

    /// Reads one file. What is wrong with it becomes a failure; nothing stops.
    pub fn take(&mut self, path: &Path) {
        let file: Arc<str> = path.to_string_lossy().into();
        let bytes = match bytes(path) {
            Ok(bytes) => bytes,
            Err(reason) => return self.fail_file(path, reason),
        };
        if bytes.trim_ascii().is_empty() {
            // A bulk export writes an empty file where there is none of a type.
            let of_lines = path.to_string_lossy().to_ascii_lowercase();
            if !of_lines.contains(".ndjson") && !of_lines.contains(".jsonl") {
                self.fail_file(path, "is empty".to_owned());
            }
            return;
        }
        // What a file holds says more than its name: exports call both forms `.json`.
        match document::parse(&bytes) {
            Ok(Parsed::Whole(value)) => self.value(&file, Place::default(), value),
            _ if is_of_lines(&bytes) => self.lines(&file, &bytes),
            Ok(Parsed::More) => {
                let reason = "holds more than one resource; wants them in a list, or one a line";
                self.fail_file(path, reason.to_owned());
            }
            Err(error) => self.fail_file(path, not_json(&error)),
        }
    }

    fn lines(&mut self, file: &Arc<str>, bytes: &[u8]) {
        for (n, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let place = Place::line(n + 1);
            match document::parse(line) {
                Ok(Parsed::Whole(value)) => self.value(file, place, value),
                Ok(Parsed::More) => {
                    self.fail(file, &place, "", "holds more than one resource".to_owned());
                }
                Err(error) => self.fail(file, &place, "", not_json(&error)),
            }
        }
    }

    /// Takes what a file or a line holds: a resource, a Bundle, or a list of either.
    fn value(&mut self, file: &Arc<str>, place: Place, value: Value) {
        match value {
            Value::Array(members) => {
                for (n, member) in members.into_iter().enumerate() {
                    self.resource(file, place.entry(n), "", None, member);
                }
            }
            one => self.resource(file, place, "", None, one),
        }
    }

    fn bundle(&mut self, file: &Arc<str>, place: &Place, mut bundle: Value) {
        let kind = bundle.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !BUNDLES.contains(&&*kind) {
            // It says nothing about the entries, which are taken all the same.
            self.fail(file, place, "Bundle.type", "wants a code of bundle-type".to_owned());
        }
        let entries = match bundle.get_mut("entry").map(Value::take) {
            Some(Value::Array(entries)) => entries,
            None => vec![],
            Some(_) => {
                return self.fail(file, place, "Bundle.entry", "wants an array".to_owned());
            }
        };
        let first = self.entries.len();
        let mut entries: Vec<(usize, Value)> = entries.into_iter().enumerate().collect();
        if kind == "history" {
            // The newest stands first there; what is read last is what a resource is now.
            entries.reverse();
        }
        for (n, mut entry) in entries {
            let at = place.entry(n);
            let full_url = entry.get("fullUrl").and_then(Value::as_str).map(str::to_owned);
            if let Some(resource) = entry.get_mut("resource").map(Value::take) {
                self.resource(file, at, "Bundle.entry.resource", full_url, resource);
            } else if entry.get("request").or_else(|| entry.get("response")).is_some() {
                self.without_resource(&entry, first);
            } else {
                self.fail(file, &at, "Bundle.entry.resource", "is required".to_owned());
            }
        }
    }

    /// Counts an entry that asks for something or answers it, and holds nothing. In a history, what was deleted is
    /// not there any more.
    fn without_resource(&mut self, entry: &Value, first: usize) {
        let text = |pointer| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (url, located) = (text("/request/url"), text("/response/location"));
        let address = if url.is_empty() { located } else { url };
        let address = address.split_once("/_history").map_or(address, |(address, _)| address);
        let mut parts = address.split('?').next().unwrap_or_default().rsplit('/');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (resource_type, id) = if is_type(before) { (before, last) } else { (last, "") };
        let known = if is_type(resource_type) { resource_type } else { "Bundle" };
        let mut gone = 1;
        if text("/request/method") == "DELETE" && !id.is_empty() {
            let rest = self.entries.split_off(first);
            let all = rest.len();
            let of_deleted =
                |one: &Entry| one.resource_type == known && one.id.as_deref() == Some(id);
            self.entries.extend(rest.into_iter().filter(|one| !of_deleted(one)));
            gone += all - (self.entries.len() - first);
        }
        *self.others.entry(known.to_owned()).or_default() += gone as u64;
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
            return self.fail(file, &place, path, "wants a FHIR resource".to_owned());
        }
        let Some(resource_type) =
            json.get("resourceType").and_then(Value::as_str).filter(|t| is_type(t))
        else {
            let path =
                if path.is_empty() { "resourceType" } else { "Bundle.entry.resource.resourceType" };
            return self.fail(
                file,
                &place,
                path,
                "wants the name of a FHIR resource type".to_owned(),
            );
        };
        if resource_type == "Bundle" {
            return self.bundle(file, &place, json);
        }
        if document::Keep::of(resource_type) == document::Keep::Nothing {
            *self.others.entry(resource_type.to_owned()).or_default() += 1;
            return;
        }
        let id = match json.get("id") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        let resource_type = resource_type.to_owned();
        self.entries.push(Entry { file: file.clone(), place, full_url, resource_type, id, json });
    }

    fn fail_file(&mut self, path: &Path, reason: String) {
        self.failures.push(Failure::of_file(&path.to_string_lossy(), reason));
    }

    fn fail(&mut self, file: &Arc<str>, place: &Place, path: &str, reason: String) {
        self.failures.push(Failure {
            file: file.clone(),
            entry: place.to_string(),
            path: path.to_owned(),
            reason,
        });
    }
}

/// The codes of bundle-type.
const BUNDLES: [&str; 9] = [
    "document",
    "message",
    "transaction",
    "transaction-response",
    "batch",
    "batch-response",
    "history",
    "searchset",
    "collection",
];

/// Whether the text can be the name of a resource type. Counting by it must not fill memory or a report.
fn is_type(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether some line is a whole resource, so that the file is one of lines.
fn is_of_lines(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.any(|line| match document::parse(line) {
        Ok(Parsed::Whole(value)) => value.get("resourceType").is_some(),
        _ => false,
    })
}

/// What all links and names of a file lead to. A pipe, which a shell may name too, has no place of its own.
fn itself(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Opens a file, and unpacks it where it begins as gzip does.
pub fn unpacked(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut reader = BufReader::new(File::open(path)?);
    let gzipped = reader.fill_buf()?.starts_with(&GZIP);
    Ok(if gzipped { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) })
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let reader = unpacked(path).map_err(|error| unreadable(&error))?;
    let mut bytes = vec![];
    reader.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| {
        match error.kind() {
            io::ErrorKind::InvalidInput => "is not a gzip file".to_owned(),
            io::ErrorKind::UnexpectedEof => "ends too early to be a gzip file".to_owned(),
            io::ErrorKind::InvalidData => "is a damaged gzip file".to_owned(),
            _ => unreadable(&error),
        }
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
