//! What is wrong with the input, and where: findings name file, entry, path and reason, never a value.
use std::{fmt, sync::Arc};

use serde::Serialize;

/// Where in a file something stands: on a line of NDJSON or CSV, in an entry of a Bundle, or of a Bundle within one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    line: Option<usize>,
    entries: Vec<usize>,
}

impl Place {
    /// A line, counted from 1 as editors do.
    pub(crate) fn line(n: usize) -> Self {
        Place { line: Some(n), entries: vec![] }
    }

    /// An entry at this place, counted from 0 as FHIRPath does.
    pub(crate) fn entry(&self, n: usize) -> Self {
        let mut place = self.clone();
        place.entries.push(n);
        place
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(n) = self.line {
            write!(f, "line {n}")?;
        }
        for (depth, n) in self.entries.iter().enumerate() {
            let before = match (depth, self.line) {
                (0, None) => "",
                (0, Some(_)) => " ",
                _ => ".",
            };
            write!(f, "{before}entry[{n}]")?;
        }
        Ok(())
    }
}

/// Something that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The file, as it was named or found.
    pub file: Arc<str>,
    /// The entry within the file, such as `entry[3]` or `line 3`; empty for the whole file.
    pub entry: String,
    /// The FHIR path, such as `Patient.birthDate`.
    pub path: String,
    /// What is wrong, as a sentence without any value of a patient.
    pub reason: String,
}

impl Failure {
    /// Of a file as a whole.
    pub fn of_file(file: &str, reason: String) -> Self {
        Failure { file: file.into(), entry: String::new(), path: String::new(), reason }
    }
}

/// Something that was taken although it is not as it should be.
///
/// A source that makes a mistake makes it a thousand times, so equal warnings are one, with a count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The FHIR path without positions, such as `Patient.identifier.value`.
    pub path: String,
    /// What is odd, and what was made of it.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// The first file.
    pub file: Arc<str>,
    /// The first entry within that file.
    pub entry: String,
}

/// The path without its positions: `Patient.name[2].given[0]` is `Patient.name.given`.
pub(crate) fn unnumbered(path: &str) -> String {
    let mut depth = 0_usize;
    path.chars()
        .filter(|c| {
            match c {
                '[' => depth += 1,
                ']' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_its_positions() {
        assert_eq!(unnumbered("Patient.name[2].given[0]"), "Patient.name.given");
        assert_eq!(unnumbered("Patient"), "Patient");
    }

    #[test]
    fn a_place_reads_as_a_person_would_say_it() {
        assert_eq!(Place::default().entry(3).to_string(), "entry[3]");
        assert_eq!(Place::line(2).entry(0).entry(5).to_string(), "line 2 entry[0].entry[5]");
        assert_eq!(Place::default().to_string(), "");
    }
}
