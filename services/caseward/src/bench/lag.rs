//! How long it takes from a change to a consumer of its event.
use anyhow::Context;

use super::{Bench, home::Base, report::Section, write::create};

pub(super) async fn measure(bench: &Bench, base: Base) -> anyhow::Result<Section> {
    let mut section =
        Section::new(format!("From CreatePatient to a consumer of its event, {base}"));
    for callers in [1, 16, 64] {
        bench.says(&format!("event lag, {callers} callers"));
        let home = bench.home(base)?;
        let part = home.start("heard", &[]).await?;
        let target = create(part.address, &home.token("bench", "supervisor")?)?;
        let sample = target.load(callers, bench.slice * bench.rounds).await?;
        let heard = part.stop().await?;
        let mut heard = heard.split_whitespace().map(str::parse::<f64>);
        let mut next = || heard.next().context("no event was heard")?.context("no figure");
        let (p50, p99, count): (f64, f64, f64) = (next()?, next()?, next()?);
        let what = |share| format!("{callers} callers, {share} (the change's own commit included)");
        section.fact(what("p50"), p50 / 1000.0, "ms");
        section.fact(what("p99"), p99 / 1000.0, "ms");
        let share = 100.0 * count / sample.all().max(1) as f64;
        section.fact(format!("{callers} callers, heard by the end"), share, "%");
    }
    Ok(section)
}
