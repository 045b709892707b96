//! Starts the front door within a process: before every service of the contracts, wherever it is.
use std::collections::HashMap;

use anyhow::{Context, bail};
use caseward_server::{Process, Transport, policy::Methods};

use crate::{Settings, routes};

/// Which service, by the section of the settings that is about it, owns a package of the contracts.
const OWNERS: [(&str, &str); 6] = [
    ("caseward.access.v1", "clock"),
    ("caseward.audit.v1", "patient"),
    ("caseward.patient.v1", "patient"),
    ("caseward.careplan.v1", "care_plan"),
    ("caseward.directory.v1", "directory"),
    ("caseward.notification.v1", "notification"),
];

/// Puts the door before `process`, which may hold every service or none.
pub async fn start(settings: Settings, process: &mut Process) -> anyhow::Result<()> {
    process.serve_clock()?;
    let mut owners: HashMap<String, Transport> = HashMap::new();
    for method in Methods::get().iter() {
        let (package, _) =
            method.service.rsplit_once('.').context("a service without a package")?;
        let Some((_, section)) = OWNERS.iter().find(|(owned, _)| *owned == package) else {
            bail!("nobody serves {package}; say who in the gateway's table of owners");
        };
        owners.entry(method.service.to_owned()).or_insert_with(|| process.peer(section));
    }
    process.front(routes(owners, &settings)?);
    Ok(())
}
