//! GetPatient: what its audit costs, and what the gateway does.
use caseward_api::patient::v1::GetPatientRequest;

use super::{
    Bench,
    compare::{Subject, compare},
    fill::Generator,
    floor::GET,
    home::{Base, PEERS},
    load::Target,
    report::Section,
};

/// How many patients there are to read.
pub(super) const PATIENTS: u64 = 1000;

pub(super) async fn measure(bench: &Bench, base: Base) -> anyhow::Result<Section> {
    let mut section = Section::new(format!("GetPatient on {base}"));
    let homes = [bench.home(base)?, bench.home(base)?, bench.home(base)?];
    let mut tokens = vec![];
    for home in &homes {
        home.fill(PATIENTS).await?;
        tokens.push(home.token("bench", "supervisor")?);
    }
    let unaudited = homes[0].start("unaudited", &[]).await?;
    let audited = homes[1].start("patient", &[]).await?;
    let behind = PEERS.map(|peer| (peer, format!("http://{}", audited.address)));
    let gateway = homes[1].start("gateway", &behind).await?;
    let suite = homes[2].start("suite", &[]).await?;
    for callers in [1, 16, 64] {
        let subjects = [
            Subject::new("direct, no audit", get(unaudited.address, &tokens[0])?, &unaudited),
            Subject::new("direct", get(audited.address, &tokens[1])?, &audited),
            Subject::new("through a gateway process", get(gateway.address, &tokens[1])?, &gateway),
            Subject::new("the suite in one process", get(suite.address, &tokens[2])?, &suite),
        ];
        let found = compare(bench, callers, &subjects).await?;
        if callers == 64 {
            section.at_least("audited of unaudited, 64 callers", 0.6, found[1].of(&found[0]));
            let more = found[1].line.p99_micros as f64 - found[0].line.p99_micros as f64;
            section.at_most("p99 that the audit adds, in ms", 3.0, more / 1000.0);
            section.at_least(
                "through a gateway of direct, 64 callers",
                0.6,
                found[2].of(&found[1]),
            );
            section.at_least("the suite of direct, 64 callers", 0.6, found[3].of(&found[1]));
        }
        section.lines.extend(found.into_iter().map(|found| found.line));
    }
    for part in [gateway, audited, unaudited, suite] {
        part.stop().await?;
    }
    Ok(section)
}

/// Reads one patient after another of those that `fill` made.
pub(super) fn get(address: std::net::SocketAddr, token: &str) -> anyhow::Result<Target> {
    get_of(address, token, PATIENTS)
}

/// The same where there are so many.
pub(super) fn get_of(
    address: std::net::SocketAddr,
    token: &str,
    patients: u64,
) -> anyhow::Result<Target> {
    let generator = Generator::new(1);
    // A step that shares no factor with the count visits everybody, far apart.
    Target::grpc(address, GET, token, move |n| GetPatientRequest {
        name: format!("patients/{}", generator.patient_id((n as u64 * 7919) % patients)),
    })
}
