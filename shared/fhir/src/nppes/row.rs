//! One row of the NPPES file, read by the names of its columns.
use std::collections::HashMap;

use caseward_api::{
    directory::v1::{Gender, Organization, Practitioner, Qualification, RecordStatus},
    types::v1::{
        Address, Coding, Concept, ContactPoint, HumanName, Identifier, contact_point, human_name,
    },
};
use csv::ByteRecord;

use super::NPI_SYSTEM;
use crate::{
    moment,
    node::{Note, Notes},
    plan_net::TAXONOMY,
};

/// The system of licence numbers, followed by the state that gave the licence.
const LICENCE_SYSTEM: &str = "https://npiregistry.cms.hhs.gov/license";

/// Where each column stands.
pub(super) struct Columns(HashMap<String, usize>);

impl Columns {
    pub(super) fn of(headers: &ByteRecord) -> Result<Columns, String> {
        let name =
            |bytes: &[u8]| decode(bytes).trim_start_matches('\u{feff}').trim().to_lowercase();
        let columns: HashMap<String, usize> =
            headers.iter().enumerate().map(|(n, header)| (name(header), n)).collect();
        for needed in ["NPI", "Entity Type Code"] {
            if !columns.contains_key(&needed.to_lowercase()) {
                return Err(format!("has no column `{needed}`, so it is not an NPPES file"));
            }
        }
        Ok(Columns(columns))
    }
}

/// Text of a file that is ASCII by its documents, and UTF-8 or Latin-1 in places.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// What a row says.
pub(super) enum Provider {
    Organization(Box<Organization>),
    Practitioner(Box<Practitioner>),
}

/// One row.
pub(super) struct Row<'a> {
    pub(super) columns: &'a Columns,
    pub(super) record: &'a ByteRecord,
    pub(super) notes: Notes,
}

impl Row<'_> {
    /// The provider that the row speaks of.
    pub(super) fn provider(&self) -> Option<Provider> {
        let npi = self.text("NPI", 20);
        if !is_npi(&npi) {
            self.fail("NPI", "wants 10 digits with the right check digit");
            return None;
        }
        let identifiers = vec![Identifier { system: NPI_SYSTEM.to_owned(), value: npi }];
        let status = self.status();
        match &*self.text("Entity Type Code", 5) {
            "1" => Some(Provider::Practitioner(Box::new(self.practitioner(identifiers, status)))),
            "2" => Some(Provider::Organization(Box::new(self.organization(identifiers, status)))),
            "" if status == RecordStatus::Inactive => {
                self.warn(
                    "NPI Deactivation Date",
                    "is all that the row says; the record is left as it is",
                );
                None
            }
            _ => {
                self.fail("Entity Type Code", "wants 1 or 2");
                None
            }
        }
    }

    fn practitioner(&self, identifiers: Vec<Identifier>, status: RecordStatus) -> Practitioner {
        let mut names = vec![self.name("", "Last Name (Legal Name)", human_name::Use::Official)];
        let usage = match &*self.text("Provider Other Last Name Type Code", 5) {
            "1" => human_name::Use::Old,
            "2" => human_name::Use::Usual,
            _ => human_name::Use::Unspecified,
        };
        names.push(self.name("Other ", "Last Name", usage));
        names.retain(|name| !name.family.is_empty() || !name.given.is_empty());
        if names.is_empty() {
            self.fail("Provider Last Name (Legal Name)", "is required");
        }
        let gender = match &*self.text_of(&["Provider Gender Code", "Provider Sex Code"], 5) {
            "M" => Gender::Male,
            "F" => Gender::Female,
            "X" => Gender::Other,
            "U" => Gender::Unknown,
            _ => Gender::Unspecified,
        };
        Practitioner {
            identifiers,
            status: status as i32,
            names,
            gender: gender as i32,
            telecoms: self.telecoms(),
            addresses: self.addresses(),
            specialties: self.specialties(),
            qualifications: self.qualifications(),
            ..Practitioner::default()
        }
    }

    fn organization(&self, identifiers: Vec<Identifier>, status: RecordStatus) -> Organization {
        let display_name = self.text("Provider Organization Name (Legal Business Name)", 300);
        if display_name.is_empty() {
            self.fail("Provider Organization Name (Legal Business Name)", "is required");
        }
        let other = self.text("Provider Other Organization Name", 300);
        Organization {
            identifiers,
            status: status as i32,
            aliases: Some(other)
                .filter(|name| !name.is_empty() && *name != display_name)
                .into_iter()
                .collect(),
            display_name,
            telecoms: self.telecoms(),
            addresses: self.addresses(),
            specialties: self.specialties(),
            qualifications: self.qualifications(),
            ..Organization::default()
        }
    }

    /// An NPI may be deactivated and later used again; the last word counts.
    fn status(&self) -> RecordStatus {
        let (gone, back) = (self.date("NPI Deactivation Date"), self.date("NPI Reactivation Date"));
        match (gone, back) {
            (Some(gone), Some(back)) if back >= gone => RecordStatus::Active,
            (Some(_), _) => RecordStatus::Inactive,
            (None, _) => RecordStatus::Active,
        }
    }

    fn name(&self, other: &str, family: &str, usage: human_name::Use) -> HumanName {
        let part = |name: &str, most| self.text(&format!("Provider {other}{name}"), most);
        let list = |parts: [String; 2]| parts.into_iter().filter(|part| !part.is_empty()).collect();
        HumanName {
            r#use: usage as i32,
            given: list([part("First Name", 100), part("Middle Name", 100)]),
            family: part(family, 100),
            prefix: list([part("Name Prefix Text", 40), String::new()]),
            suffix: list([part("Name Suffix Text", 40), part("Credential Text", 40)]),
            text: String::new(),
        }
    }

    /// Where they work, then where their mail goes if that is elsewhere.
    fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> = vec![];
        for kind in ["Practice Location", "Mailing"] {
            let part = |name: &str, most| {
                self.text(&format!("Provider Business {kind} Address {name}"), most)
            };
            let line =
                |nth: &str| self.text(&format!("Provider {nth} Line Business {kind} Address"), 200);
            let country = part("Country Code (If outside U.S.)", 100);
            let postal_code = part("Postal Code", 20);
            let abroad = !matches!(&*country, "" | "US");
            let address = Address {
                lines: [line("First"), line("Second")]
                    .into_iter()
                    .filter(|line| !line.is_empty())
                    .collect(),
                city: part("City Name", 100),
                district: String::new(),
                state: part("State Name", 100),
                postal_code: if abroad { postal_code } else { zip(&postal_code) },
                country,
            };
            let empty = address.lines.is_empty() && address.city.is_empty();
            if !empty && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    fn telecoms(&self) -> Vec<ContactPoint> {
        use contact_point::System;
        let mut telecoms: Vec<ContactPoint> = vec![];
        for kind in ["Practice Location", "Mailing"] {
            for (name, system) in [("Telephone", System::Phone), ("Fax", System::Fax)] {
                let value =
                    self.text(&format!("Provider Business {kind} Address {name} Number"), 254);
                let known = telecoms.iter().any(|one| one.value == value && one.system() == system);
                if !value.is_empty() && !known {
                    let usage = contact_point::Use::Work as i32;
                    telecoms.push(ContactPoint {
                        system: system as i32,
                        value,
                        r#use: usage,
                        rank: 0,
                    });
                }
            }
        }
        telecoms
    }

    /// The taxonomy codes, the primary one first, each once.
    fn specialties(&self) -> Vec<Concept> {
        let mut codes: Vec<(bool, String)> = vec![];
        for n in 1..=15 {
            let code = self.text(&format!("Healthcare Provider Taxonomy Code_{n}"), 20);
            let primary =
                self.text(&format!("Healthcare Provider Primary Taxonomy Switch_{n}"), 5) == "Y";
            match codes.iter_mut().find(|(_, known)| *known == code) {
                Some((known, _)) => *known |= primary,
                None if !code.is_empty() => codes.push((primary, code)),
                None => {}
            }
        }
        codes.sort_by_key(|(primary, _)| !primary);
        codes.into_iter().map(|(_, code)| taxonomy(code)).collect()
    }

    fn qualifications(&self) -> Vec<Qualification> {
        let licence = |n: usize| {
            let number = self.text(&format!("Provider License Number_{n}"), 200);
            if number.is_empty() {
                return None;
            }
            let state = self.text(&format!("Provider License Number State Code_{n}"), 100);
            let system = match &*state {
                "" => LICENCE_SYSTEM.to_owned(),
                state => format!("{LICENCE_SYSTEM}/{state}"),
            };
            let code = self.text(&format!("Healthcare Provider Taxonomy Code_{n}"), 20);
            Some(Qualification {
                identifiers: vec![Identifier { system, value: number }],
                code: (!code.is_empty()).then(|| taxonomy(code)),
                jurisdiction: state,
                ..Qualification::default()
            })
        };
        (1..=15).filter_map(licence).collect()
    }

    /// A date as the file writes it, `MM/DD/YYYY`, or as everyone else does; in an order that sorts.
    fn date(&self, column: &str) -> Option<(i32, i32, i32)> {
        let text = self.text(column, 10);
        if text.is_empty() {
            return None;
        }
        let iso = match text.split('/').collect::<Vec<_>>()[..] {
            [month, day, year] => format!("{year}-{month:0>2}-{day:0>2}"),
            _ => text,
        };
        let Some(date) = moment::parse(&iso).map(|moment| moment.date()) else {
            self.fail(column, "wants a date that exists, such as 04/30/2020");
            return None;
        };
        Some((date.year, date.month, date.day))
    }

    fn text_of(&self, columns: &[&str], most: usize) -> String {
        let mut all = columns.iter().map(|column| self.text(column, most));
        all.find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// The value of a column; empty where the file or the row lacks it.
    fn text(&self, column: &str, most: usize) -> String {
        let at = self.columns.0.get(&column.to_lowercase());
        let bytes = at.and_then(|at| self.record.get(*at)).unwrap_or_default();
        let text = decode(bytes).trim().to_owned();
        // What the file writes where it withholds a value.
        if text == "<UNAVAIL>" {
            return String::new();
        }
        if text.chars().count() > most {
            self.fail(column, format!("wants at most {most} characters"));
            return String::new();
        }
        if text.chars().any(char::is_control) {
            self.fail(column, "must not hold control characters");
            return String::new();
        }
        text
    }

    fn fail(&self, column: &str, reason: impl Into<String>) {
        let note = Note { path: column.to_owned(), reason: reason.into() };
        self.notes.failures.borrow_mut().push(note);
    }

    fn warn(&self, column: &str, reason: impl Into<String>) {
        let note = Note { path: column.to_owned(), reason: reason.into() };
        self.notes.warnings.borrow_mut().push(note);
    }
}

fn taxonomy(code: String) -> Concept {
    let coding = Coding { system: TAXONOMY.to_owned(), code, display: String::new() };
    Concept { codings: vec![coding], text: String::new() }
}

/// A ZIP code as it is written: five digits, or nine with a dash. Spreadsheets lose the zeros it may begin with.
fn zip(text: &str) -> String {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    match digits.len() {
        3..=5 => format!("{digits:0>5}"),
        7..=9 => {
            let digits = format!("{digits:0>9}");
            format!("{}-{}", &digits[..5], &digits[5..])
        }
        _ => text.to_owned(),
    }
}

/// Whether the text is an NPI: ten digits whose last is the Luhn check digit after the prefix 80840.
fn is_npi(text: &str) -> bool {
    if text.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    // The digits of the prefix add 24 to the sum.
    let sum = text.bytes().enumerate().fold(24_u32, |sum, (n, byte)| {
        let digit = u32::from(byte - b'0') * if n % 2 == 0 { 2 } else { 1 };
        sum + digit / 10 + digit % 10
    });
    sum % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zip_code_gets_its_zeros_and_its_dash_back() {
        assert_eq!(zip("2101"), "02101");
        assert_eq!(zip("061051770"), "06105-1770");
        assert_eq!(zip("61051770"), "06105-1770");
        assert_eq!(zip("06105-1770"), "06105-1770");
        assert_eq!(zip("SW1A 1AA"), "SW1A 1AA");
    }

    #[test]
    fn an_npi_has_a_check_digit() {
        assert!(is_npi("1740283779"));
        assert!(is_npi("1234567893"));
        assert!(!is_npi("1740283778"));
        assert!(!is_npi("174028377"));
    }
}
