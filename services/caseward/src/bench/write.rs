//! CreatePatient: what sharing a flush to disk gains, and how it stands beside pgbench.
use std::{fmt::Write as _, net::SocketAddr, path::Path};

use anyhow::{Context, ensure};
use caseward_api::patient::v1::CreatePatientRequest;
use uuid::Uuid;

use super::{
    Bench,
    compare::{Subject, compare},
    fill::Generator,
    home::{Base, Home},
    load::Target,
    report::{Line, Section},
    sample::median,
};

const CREATE: &str = "/caseward.patient.v1.PatientService/CreatePatient";

/// How many callers are set beside pgbench.
const CLIENTS: usize = 32;

pub(super) async fn measure(bench: &Bench, base: Base) -> anyhow::Result<Section> {
    let mut section = Section::new(format!("CreatePatient on {base}"));
    let homes = [bench.home(base)?, bench.home(base)?, bench.home(base)?];
    let tokens = homes.iter().map(|home| home.token("bench", "supervisor"));
    let tokens = tokens.collect::<anyhow::Result<Vec<_>>>()?;
    let single = homes[0].start("patient", &[("store.group", "1".to_owned())]).await?;
    let grouped = homes[1].start("patient", &[]).await?;
    let suite = homes[2].start("suite", &[]).await?;
    for callers in [1, 16, 64] {
        let subjects = [
            Subject::new("one transaction each", create(single.address, &tokens[0])?, &single),
            Subject::new("grouped", create(grouped.address, &tokens[1])?, &grouped),
            Subject::new("the suite in one process", create(suite.address, &tokens[2])?, &suite),
        ];
        let found = compare(bench, callers, &subjects).await?;
        if callers == 64 && base == Base::Sqlite {
            section.at_least("grouped of one each, 64 callers", 4.0, found[1].of(&found[0]));
        }
        section.lines.extend(found.into_iter().map(|found| found.line));
    }
    single.stop().await?;
    suite.stop().await?;
    if base == Base::Postgres {
        let target = create(grouped.address, &tokens[1])?;
        beside_pgbench(bench, &homes[1], &target, &mut section).await?;
    }
    grouped.stop().await?;
    Ok(section)
}

/// Sets the grouped service beside pgbench, which writes the same rows one statement a round trip.
async fn beside_pgbench(
    bench: &Bench,
    home: &Home,
    target: &Target,
    section: &mut Section,
) -> anyhow::Result<()> {
    let database = home.patients().context("no server")?;
    let script = bench.folder.join("create.sql");
    std::fs::write(&script, statements())?;
    let (mut ours, mut theirs, mut millis) = (vec![], vec![], vec![]);
    for _ in 0..bench.rounds {
        bench.says("pgbench");
        let (tps, latency) = pgbench(&database, &script, bench.slice.as_secs().max(1)).await?;
        theirs.push(tps);
        millis.push(latency);
        bench.says("beside pgbench");
        ours.push(target.load(CLIENTS, bench.slice).await?.per_second());
    }
    let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
    let ratio = median(ratios);
    section.lines.push(Line {
        what: "pgbench, the same rows (p50 is its mean)".to_owned(),
        callers: CLIENTS,
        per_second: median(theirs),
        p50_micros: (median(millis) * 1000.0) as u64,
        p99_micros: 0,
        cpu_micros: 0.0,
        peak_mib: 0.0,
        ratio: 1.0,
    });
    section.fact(
        format!("grouped, {CLIENTS} callers, in turn with pgbench"),
        median(ours),
        "calls/s",
    );
    section.at_least(format!("grouped of pgbench, {CLIENTS} callers"), 1.5, ratio);
    Ok(())
}

/// Makes one patient after another.
pub(super) fn create(address: SocketAddr, token: &str) -> anyhow::Result<Target> {
    let generator = Generator::new(2);
    Target::grpc(address, CREATE, token, move |n| {
        let id = Uuid::now_v7().to_string();
        let mut patient = generator.patient(n as u64);
        for identifier in &mut patient.identifiers {
            identifier.value.clone_from(&id);
        }
        CreatePatientRequest { patient: Some(patient), request_id: id }
    })
}

/// The rows of one CreatePatient, as the service writes them. The events are written as published, so that the
/// service does not take them up. No text may hold a colon: pgbench would take what follows for a variable.
fn statements() -> String {
    let (organization, now) = ("'01930000-0000-7000-8000-000000000001'", "1764000000000000");
    let id = "lpad(to_hex(:n::bigint), 32, '0')";
    let json = |length: usize| format!("'[\"{}\"]'", "x".repeat(length));
    let mut script = "\\set n random(1, 9000000000000000000)\nBEGIN;\n".to_owned();
    let mut add = |statement: String| {
        let _ = writeln!(script, "{statement};");
    };
    add(format!(
        "SELECT reply FROM replay WHERE organization = {organization} AND subject = 'bench' AND request_id = {id}::uuid"
    ));
    add(format!(
        "INSERT INTO patient (id, organization, identifiers, names, gender, birth_date, deceased, telecoms, addresses, \
         communications, time_zone, state, created_at, updated_at, revision) VALUES ({id}::uuid, {organization}, {}, {}, \
         1, {}, false, {}, {}, {}, 'America/New_York', 'ACTIVE', {now}, {now}, 1)",
        json(180),
        json(110),
        json(30),
        json(70),
        json(150),
        json(30)
    ));
    add(format!(
        "INSERT INTO identifier (organization, kind, system, value, resource) VALUES \
         ({organization}, 'patient', 'urn.caseward.bench', {id}, {id}::uuid), \
         ({organization}, 'patient', 'hospital.example.org/mrn', {id}, {id}::uuid)"
    ));
    add(format!(
        "INSERT INTO relation (source, organization, subject, patient, basis, starts_at, ends_at, revision) VALUES \
         ({id}::uuid, {organization}, 'bench', {id}::uuid, 'REGISTRAR', {now}, {now}, 1)"
    ));
    add(format!(
        "INSERT INTO replay (organization, subject, request_id, digest, reply, patients, created_at) VALUES \
         ({organization}, 'bench', {id}::uuid, decode(repeat('ab', 32), 'hex'), decode(repeat('ab', 500), 'hex'), {id}, {now})"
    ));
    add(format!(
        "INSERT INTO outbox (id, organization, subject, aggregate, revision, payload, trace, created_at, published_at) VALUES \
         (gen_random_uuid(), {organization}, 'caseward.access.v1.RelationChanged', {id}, 1, decode(repeat('ab', 120), 'hex'), '', {now}, {now}), \
         (gen_random_uuid(), {organization}, 'caseward.patient.v1.PatientCreated', {id}, 1, decode(repeat('ab', 50), 'hex'), '', {now}, {now})"
    ));
    add(format!(
        "INSERT INTO transition (id, organization, entity, name, root, from_state, to_state, effective_at, recorded_at, \
         actor, role, purpose, reason_code, reason_text) VALUES (gen_random_uuid(), {organization}, {id}::uuid, {id}, \
         {id}::uuid, '', 'ACTIVE', {now}, {now}, 'bench', 'supervisor', 'TREAT', '', '')"
    ));
    add(format!(
        "INSERT INTO audit (chain, seq, record, phase, at, organization, subject, roles, method, purpose, patients, rows, \
         outcome, hash) VALUES ({id}::uuid, 1, {id}::uuid, 'WHOLE', {now}, {organization}, 'bench', 'supervisor', \
         '{CREATE}', 'TREAT', {id}, 1, 'OK', decode(repeat('ab', 32), 'hex'))"
    ));
    script + "COMMIT;\n"
}

/// Transactions per second, and the mean of their milliseconds.
async fn pgbench(database: &str, script: &Path, seconds: u64) -> anyhow::Result<(f64, f64)> {
    let done = tokio::process::Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-j", "1", "-c", &CLIENTS.to_string()])
        .args(["-T", &seconds.to_string(), "-f"])
        .arg(script)
        .arg(database)
        .kill_on_drop(true)
        .output()
        .await
        .context("PostgreSQL is measured with `psql` and `pgbench` on PATH")?;
    let (text, errors) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let first = errors.lines().next().unwrap_or_default();
    ensure!(done.status.success(), "{first}");
    let figure = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
    };
    let tps = figure("tps = ").context("pgbench printed no figure")?;
    Ok((tps, figure("latency average = ").unwrap_or_default()))
}
