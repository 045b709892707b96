//! A change, its event, its transition, its reply and its audit entry are there together or not at all.
use std::{collections::BTreeMap, time::Duration};

use caseward_testkit::Suite;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use tokio::time::sleep;
use uuid::Uuid;

use super::load::Load;
use crate::{Run, Trial};

/// What commits beside a new patient.
struct Partner {
    what: &'static str,
    /// What picks the rows, and of each the patient.
    ask: &'static str,
    /// Takes the one row of some patient away: the control.
    take_one: &'static str,
    /// Whether a request that is sent again leaves another one: its effect is there once, but it is on record as a call.
    of_calls: bool,
}

const PARTNERS: [Partner; 4] = [
    Partner {
        what: "event",
        ask: "SELECT aggregate FROM outbox WHERE subject = 'caseward.patient.v1.PatientCreated'",
        take_one: "DELETE FROM outbox WHERE id = (SELECT id FROM outbox \
                   WHERE subject = 'caseward.patient.v1.PatientCreated' LIMIT 1)",
        of_calls: false,
    },
    Partner {
        what: "transition",
        ask: "SELECT entity FROM transition WHERE from_state = ''",
        take_one: "DELETE FROM transition WHERE id = (SELECT id FROM transition LIMIT 1)",
        of_calls: false,
    },
    Partner {
        what: "reply",
        ask: "SELECT patients FROM replay",
        take_one: "DELETE FROM replay WHERE request_id = (SELECT request_id FROM replay LIMIT 1)",
        of_calls: false,
    },
    Partner {
        what: "audit entry",
        ask: "SELECT patients FROM audit WHERE phase = 'WHOLE' AND outcome = 'OK' \
              AND method LIKE '%/CreatePatient'",
        take_one: "DELETE FROM audit WHERE patients = (SELECT patients FROM audit \
                   WHERE phase = 'WHOLE' AND outcome = 'OK' AND method LIKE '%/CreatePatient' \
                   GROUP BY patients HAVING count(*) = 1 LIMIT 1)",
        of_calls: true,
    },
];

/// Kills the service in the middle of a load of creates, and then looks for rows without their partners.
pub async fn set(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let kills = run.of(2, 100);
    let suites = Suite::plan().own_postgres().suites().await;
    run.expect(kills * suites.len() as u64);
    for mut suite in suites {
        let load = Load::start(&suite, &suite.data(), run.seed);
        let mut chances = run.random();
        let name = if suite.is_cluster() { "patient" } else { "caseward" };
        for _ in 0..kills {
            sleep(Duration::from_millis(chances.u64(100..1000))).await;
            suite.member(name, 0).kill().await;
            suite.member(name, 0).start().await;
            suite.ready().await;
            run.step();
        }
        load.stop().await;
        // What the last call began may be committing yet; a stopped service has no more to say.
        suite.member(name, 0).stop().await;
        let db = connect(&suite.database("patient")).await;
        let patients = ids(&db, "SELECT id FROM patient").await;
        trial.tries += patients.len() as u64 * PARTNERS.len() as u64;
        for why in apart(&db, &patients).await {
            trial.fail(format!("{}: {why}", suite.shape()));
        }
        let mut seen = 0;
        for Partner { take_one, .. } in PARTNERS {
            let before = apart(&db, &patients).await.len();
            db.execute_unprepared(take_one).await.unwrap();
            seen += usize::from(apart(&db, &patients).await.len() > before);
        }
        let what =
            format!("{}: one row of each of the {} taken away", suite.shape(), PARTNERS.len());
        trial.control(what, seen == PARTNERS.len());
        db.close().await.unwrap();
    }
    trial
}

/// The rows without their partners.
async fn apart(db: &DatabaseConnection, patients: &BTreeMap<Uuid, u64>) -> Vec<String> {
    let mut wrong = vec![];
    for Partner { what, ask, of_calls, .. } in PARTNERS {
        let found = ids(db, ask).await;
        for (id, times) in patients {
            let is = found.get(id).copied().unwrap_or_default();
            if is < *times || is > *times && !of_calls {
                wrong.push(format!("patient {id} has its {what} {is} times"));
            }
        }
        let strange = found.keys().filter(|id| !patients.contains_key(*id));
        wrong.extend(
            strange.map(|id| format!("there is an {what} of patient {id}, and no patient")),
        );
    }
    wrong
}

/// How often each patient's id is in the only column that `ask` gives: as an id, or within a name.
async fn ids(db: &DatabaseConnection, ask: &str) -> BTreeMap<Uuid, u64> {
    let mut all = BTreeMap::new();
    let ask = Statement::from_string(db.get_database_backend(), ask);
    for row in db.query_all_raw(ask).await.unwrap() {
        let id = row.try_get_by_index::<Uuid>(0).or_else(|_| {
            let name: String = row.try_get_by_index(0)?;
            let id = name.trim_start_matches("patients/");
            Uuid::parse_str(id).map_err(|error| sea_orm::DbErr::Custom(error.to_string()))
        });
        *all.entry(id.unwrap()).or_default() += 1;
    }
    all
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}
