//! A page of patients, and what one person has to do across all their cases.
use std::net::SocketAddr;

use caseward_api::{careplan::v1::ListWorklistRequest, patient::v1::ListPatientsRequest};

use super::{
    Bench,
    compare::{Subject, compare},
    home::Base,
    load::Target,
    read::PATIENTS,
    report::Section,
};

const LIST: &str = "/caseward.patient.v1.PatientService/ListPatients";
const WORKLIST: &str = "/caseward.careplan.v1.TaskService/ListWorklist";

/// As a screen shows them.
const PAGE: i32 = 50;

pub(super) async fn measure(bench: &Bench, base: Base) -> anyhow::Result<Section> {
    let mut section = Section::new(format!("Pages of {PAGE} on {base}"));
    let home = bench.home(base)?;
    home.fill(PATIENTS).await?;
    let suite = home.start("suite", &[]).await?;
    let supervisor = home.token("bench", "supervisor")?;
    let manager = home.token(&super::fill::owner(0), "case_manager")?;
    for callers in [1, 16, 64] {
        let subjects = [
            Subject::new("patients", list(suite.address, &supervisor)?, &suite),
            Subject::new("worklist over 1,000 cases", worklist(suite.address, &manager)?, &suite),
        ];
        let found = compare(bench, callers, &subjects).await?;
        section.lines.extend(found.into_iter().map(|found| found.line));
    }
    suite.stop().await?;
    Ok(section)
}

/// The first page of all patients.
pub(super) fn list(address: SocketAddr, token: &str) -> anyhow::Result<Target> {
    let request = |_| ListPatientsRequest { page_size: PAGE, ..Default::default() };
    Target::grpc(address, LIST, token, request)
}

/// The first page of the caller's own worklist.
pub(super) fn worklist(address: SocketAddr, token: &str) -> anyhow::Result<Target> {
    let request = |_| ListWorklistRequest { page_size: PAGE, ..Default::default() };
    Target::grpc(address, WORKLIST, token, request)
}
