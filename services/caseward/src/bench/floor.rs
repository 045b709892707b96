//! What the guard costs over a bare echo, and what traces cost on top.
use caseward_api::{access::v1::GetClockRequest, patient::v1::GetPatientRequest};

use super::{
    Bench,
    compare::{Subject, compare},
    home::Base,
    load::Target,
    report::Section,
};

pub(super) const HEALTH: &str = "/grpc.health.v1.Health/Check";
const CLOCK: &str = "/caseward.access.v1.ClockService/GetClock";
pub(super) const GET: &str = "/caseward.patient.v1.PatientService/GetPatient";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("The guard over a bare echo");
    let home = bench.home(Base::Sqlite)?;
    let token = home.token("bench", "supervisor")?;
    let sink = home.start("sink", &[]).await?;
    let echo = home.start("echo", &[]).await?;
    let traced = |ratio: &str| {
        [
            ("otlp.endpoint", format!("http://{}", sink.address)),
            ("otlp.sample_ratio", ratio.to_owned()),
        ]
    };
    let homes = [bench.home(Base::Sqlite)?, bench.home(Base::Sqlite)?, bench.home(Base::Sqlite)?];
    let off = homes[0].start("patient", &[]).await?;
    let little = homes[1].start("patient", &traced("0.01")).await?;
    let all = homes[2].start("patient", &traced("1")).await?;
    let health = |part: &super::part::Part, token: &str| {
        let request = |_| tonic_health::pb::HealthCheckRequest::default();
        Target::grpc(part.address, HEALTH, token, request)
    };
    let clock = |part: &super::part::Part, token: &str| {
        Target::grpc(part.address, CLOCK, token, |_| GetClockRequest {})
    };
    let tokens = homes.iter().map(|home| home.token("bench", "supervisor"));
    let tokens = tokens.collect::<anyhow::Result<Vec<_>>>()?;
    for callers in [1, 16, 64] {
        let request = |_| GetPatientRequest::default();
        let subjects = [
            Subject::new("bare echo", Target::grpc(echo.address, GET, &token, request)?, &echo),
            Subject::new("health Check, traced 1 %", health(&little, &tokens[1])?, &little),
            Subject::new("GetClock, not traced", clock(&off, &tokens[0])?, &off),
            Subject::new("GetClock, traced 1 %", clock(&little, &tokens[1])?, &little),
            Subject::new("GetClock, traced 100 %", clock(&all, &tokens[2])?, &all),
        ];
        let found = compare(bench, callers, &subjects).await?;
        let what = format!("health Check traced 1 % of the echo, {callers} callers");
        section.at_least(what, 0.7, found[1].line.ratio);
        section.lines.extend(found.into_iter().map(|found| found.line));
    }
    for part in [off, little, all, echo, sink] {
        part.stop().await?;
    }
    Ok(section)
}
