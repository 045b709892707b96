//! What becomes of the NPPES rows, which are real people: nothing here prints one.
use caseward_api::directory::v1::{Organization, Practitioner, RecordStatus};
use caseward_fhir::{Batch, Counts, Report, import_nppes, unpacked};

use crate::{import::now, memory::Memory, read::data};

fn run(file: &str, into: &mut Memory) -> Option<Report> {
    let path = data("provider-directory/nppes")?.join(file);
    let mut report = Report::default();
    now(import_nppes(file, unpacked(&path).unwrap(), into, &mut report)).unwrap();
    Some(report)
}

fn from_text(csv: &str) -> (Memory, Report) {
    let (mut memory, mut report) = (Memory::default(), Report::default());
    now(import_nppes("text.csv", csv.as_bytes(), &mut memory, &mut report)).unwrap();
    (memory, report)
}

fn practitioners(memory: &Memory) -> Vec<&Practitioner> {
    let all = memory.batches.iter().filter_map(|batch| match batch {
        Batch::Practitioners(all) => Some(all),
        _ => None,
    });
    all.flatten().collect()
}

fn organizations(memory: &Memory) -> Vec<&Organization> {
    let all = memory.batches.iter().filter_map(|batch| match batch {
        Batch::Organizations(all) => Some(all),
        _ => None,
    });
    all.flatten().collect()
}

#[test]
fn every_row_goes_in_and_a_second_import_changes_nothing() {
    let mut memory = Memory::default();
    let Some(report) = run("npidata_practitioners_329col.csv.gz", &mut memory) else { return };
    assert_eq!(report.failures, []);
    assert_eq!(report.resources["Practitioner"], Counts { created: 250, ..Counts::default() });
    for one in practitioners(&memory) {
        // Two were deactivated, and are in use again.
        assert_eq!(one.status(), RecordStatus::Active);
        assert!(!one.specialties.is_empty() && !one.addresses.is_empty());
        let zip = &one.addresses[0].postal_code;
        assert!(zip.len() == 5 || zip.len() == 10 && zip.as_bytes()[5] == b'-');
    }
    let again = run("npidata_practitioners_329col.csv.gz", &mut memory).unwrap();
    assert_eq!(again.resources["Practitioner"], Counts { unchanged: 250, ..Counts::default() });

    let report = run("npidata_organizations_329col.csv", &mut memory).unwrap();
    assert_eq!(report.failures, []);
    assert_eq!(report.resources["Organization"], Counts { created: 21, ..Counts::default() });
}

#[test]
fn a_table_that_is_not_nppes_is_refused_whole() {
    let mut memory = Memory::default();
    let Some(report) = run("managing_orgs_data.csv", &mut memory) else { return };
    assert_eq!(report.failures[0].reason, "has no column `NPI`, so it is not an NPPES file");
}

#[test]
fn columns_are_found_by_name_wherever_they_stand() {
    let (memory, report) = from_text(
        "Certification Date,Provider First Name,\"Provider Last Name (Legal Name)\",entity type code,NPI,\
         Healthcare Provider Taxonomy Code_1,Healthcare Provider Taxonomy Code_2,Healthcare Provider Primary Taxonomy Switch_1,\
         Healthcare Provider Primary Taxonomy Switch_2,NPI Deactivation Date\n\
         05/05/2024,ADA,BYRON,1,1234567893,AAA,BBB,N,Y,01/02/2020\n",
    );
    assert_eq!(report.failures, []);
    let ada = practitioners(&memory)[0];
    assert_eq!((&*ada.names[0].family, &*ada.names[0].given[0]), ("BYRON", "ADA"));
    assert_eq!(ada.specialties[0].codings[0].code, "BBB");
    assert_eq!(ada.status(), RecordStatus::Inactive);
}

#[test]
fn a_bad_row_costs_that_row() {
    let (memory, report) = from_text(
        "NPI,Entity Type Code,Provider Organization Name (Legal Business Name),NPI Deactivation Date\n\
         1234567890,2,WRONG,\n1234567893,2,RIGHT,\n1740283779,,,01/02/2020\n1851396014,3,WHAT,\n1346245255,2,,\n",
    );
    assert_eq!(organizations(&memory).len(), 1);
    let failures: Vec<_> = report.failures.iter().map(|one| (&*one.entry, &*one.path)).collect();
    assert_eq!(
        failures,
        [
            ("line 2", "NPI"),
            ("line 5", "Entity Type Code"),
            ("line 6", "Provider Organization Name (Legal Business Name)"),
        ]
    );
    assert_eq!(report.resources["Provider"], Counts { ignored: 1, failed: 2, ..Counts::default() });
}
