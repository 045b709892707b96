//! What the same calls cost as data grows.
use super::{
    Bench,
    compare::{Subject, compare},
    fill::{CASELOAD, owner},
    home::{Base, Home},
    list::{list, worklist},
    part::Part,
    read::get_of,
    report::Section,
    write::create,
};

/// How many callers there are at each size.
const CALLERS: usize = 16;

pub(super) async fn measure(bench: &Bench, base: Base) -> anyhow::Result<Section> {
    let mut section = Section::new(format!("As data grows, {base}"));
    let mut places: Vec<(u64, Home, Part)> = vec![];
    for &size in &bench.sizes {
        bench.says(&format!("filling {size} patients in"));
        let home = bench.home(base)?;
        let start = tokio::time::Instant::now();
        home.fill(size).await?;
        let what = format!("{size} patients, each with a case and a task, filled in");
        section.fact(what, start.elapsed().as_secs_f64(), "s");
        let part = home.start("suite", &[]).await?;
        places.push((size, home, part));
    }
    for call in ["GetPatient", "CreatePatient", "page of 50", "worklist"] {
        let mut subjects = vec![];
        for (size, home, part) in &places {
            let supervisor = home.token("bench", "supervisor")?;
            // Somebody in the middle, as good as anybody.
            let manager = home.token(&owner(size / 2 / CASELOAD * CASELOAD), "case_manager")?;
            let target = match call {
                "GetPatient" => get_of(part.address, &supervisor, *size)?,
                "CreatePatient" => create(part.address, &supervisor)?,
                "page of 50" => list(part.address, &supervisor)?,
                _ => worklist(part.address, &manager)?,
            };
            subjects.push(Subject::new(format!("{call}, {size} patients"), target, part));
        }
        let found = compare(bench, CALLERS, &subjects).await?;
        for ((size, ..), grown) in places.iter().zip(&found).skip(1) {
            let cost = 1.0 / grown.of(&found[0]).max(f64::EPSILON);
            section.at_most(format!("cost of {call}, {size} patients"), 1.5, cost);
        }
        section.lines.extend(found.into_iter().map(|found| found.line));
    }
    for (_, _, part) in places {
        part.stop().await?;
    }
    Ok(section)
}
