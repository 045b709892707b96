//! What a suite takes that does nothing, and how soon it is ready.
use std::{net::TcpListener, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::{Bench, home::Base, load::Target, part::Part, read::PATIENTS, report::Section};

/// How long a process settles before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("Idle");
    let home = bench.home(Base::Sqlite)?;
    home.fill(PATIENTS).await?;
    // Once before, so that it starts on a folder that is complete.
    home.start("suite", &[]).await?.stop().await?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let file = bench.folder.join("idle.toml");
    let data = home.folder().display();
    std::fs::write(&file, format!("data = \"{data}\"\n[gateway]\nlisten = \"{address}\"\n"))?;
    let (mut ready, mut resident) = (vec![], vec![]);
    for _ in 0..bench.rounds {
        bench.says("serve, idle");
        let start = Instant::now();
        let args = ["--config", &file.to_string_lossy(), "serve"];
        let part = Part::foreign(&std::env::current_exe()?, &args, address, None).await?;
        let asked = Target::json(address, "/readyz", "nobody")?;
        while asked.once().await.is_err() {
            if start.elapsed() > Duration::from_secs(60) {
                bail!("`serve` is not ready");
            }
            sleep(Duration::from_millis(5)).await;
        }
        ready.push(start.elapsed().as_secs_f64());
        sleep(SETTLE).await;
        resident.push(part.usage().resident_mib);
        part.stop().await?;
    }
    let median = super::sample::median;
    section.at_most("`serve` ready on an existing data folder, s", 1.0, median(ready));
    section.at_most("`serve` idle, MiB resident", 80.0, median(resident));
    let mut resident = vec![];
    for kind in ["patient", "care-plan", "gateway"] {
        bench.says(&format!("{kind}, idle"));
        let part = home.start(kind, &[]).await?;
        sleep(SETTLE).await;
        let mib = part.usage().resident_mib;
        section.fact(format!("{kind} alone"), mib, "MiB resident");
        resident.push(mib);
        part.stop().await?;
    }
    let most = resident.into_iter().fold(0.0, f64::max);
    section.at_most("the largest of them, MiB resident", 40.0, most);
    Ok(section)
}
