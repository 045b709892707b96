//! Whatever was told of a patient is on the audit log, also when the process that told it was killed right after, and
//! where the log cannot be written nothing is told.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use caseward_api::patient::v1::{self as pb, patient_service_client::PatientServiceClient};
use caseward_testkit::{Caller, Suite};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement, TransactionTrait,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, Request, Status};

use crate::{Run, Trial, stress::patient};

const READERS: usize = 16;

/// A reader gives up on a call after this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a reader was told, under a name that only this call had.
struct Told {
    subject: String,
    outcome: &'static str,
    patient: Option<String>,
}

/// What the log says of one caller: outcome and patients of each entry; of the beginning of a slow read neither.
type Log = BTreeMap<String, Vec<(String, String)>>;

impl Told {
    /// Whether `log` has it: an entry says what was told, and of whom.
    fn is_on(&self, log: &Log) -> bool {
        log.get(&self.subject).is_some_and(|entries| {
            entries.iter().any(|(outcome, patients)| {
                outcome == self.outcome
                    && self.patient.as_ref().is_none_or(|patient| patients.contains(patient))
            })
        })
    }
}

/// Kills anything of a suite while readers are told of patients, of what is not there, and that they may not.
pub async fn kills(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let kills = run.of(2, 500);
    let suites = Suite::plan().own_postgres().suites().await;
    run.expect(kills * suites.len() as u64);
    for mut suite in suites {
        let name = patient(&suite.caller("sam", &["supervisor"]), "Read").await.unwrap();
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut readers = JoinSet::new();
        let desk = suite.desk();
        for _ in 0..READERS {
            let (door, desk, name) = (suite.transport(), desk.clone(), name.clone());
            let (stop, calls) = (stop.clone(), calls.clone());
            readers.spawn(async move {
                let mut told = vec![];
                while !stop.load(Relaxed) {
                    let n = calls.fetch_add(1, Relaxed);
                    let (roles, wanted) = match n % 8 {
                        0 => (["directory_editor"], &name[..]),
                        1 => (["supervisor"], "patients/00000000-0000-7000-8000-000000000000"),
                        _ => (["supervisor"], &name[..]),
                    };
                    let subject = format!("reader-{n}");
                    let reader = desk.caller(&subject, &roles).at(&door);
                    match read(&reader, wanted).await {
                        Some(outcome) => {
                            let patient = wanted.strip_prefix("patients/").unwrap().to_owned();
                            let patient = (outcome == "OK").then_some(patient);
                            told.push(Told { subject, outcome, patient });
                        }
                        None => sleep(Duration::from_millis(20)).await,
                    }
                }
                told
            });
        }
        let mut chances = run.random();
        for _ in 0..kills {
            sleep(Duration::from_millis(chances.u64(0..2000))).await;
            let victim = chances.choice(suite.victims()).unwrap();
            suite.kill(victim, &mut chances).await;
            suite.restart(victim).await;
            suite.ready().await;
            run.step();
        }
        stop.store(true, Relaxed);
        let told: Vec<Told> = readers.join_all().await.into_iter().flatten().collect();
        let mut log = log(&suite.database("patient")).await;
        let shape = suite.shape();
        let missing = |log: &Log| told.iter().filter(|told| !told.is_on(log)).count();
        trial.tries += told.len() as u64;
        for told in told.iter().filter(|told| !told.is_on(&log)).take(3) {
            trial.fail(format!(
                "{shape}: {} was told {} off the record",
                told.subject, told.outcome
            ));
        }
        let before = missing(&log);
        let taken = told.iter().find(|told| told.outcome == "OK" && told.is_on(&log));
        log.remove(&taken.expect("somebody was told of a patient").subject);
        trial.control(
            format!("{shape}: the entry of one who was told is taken away"),
            missing(&log) == before + 1,
        );
        let of = |outcome| told.iter().filter(|told| told.outcome == outcome).count();
        trial.note(format!(
            "{shape}: {} told of a patient, {} that there is none, {} that they may not, in {kills} kills",
            of("OK"),
            of("NOT_FOUND"),
            of("PERMISSION_DENIED"),
        ));
    }
    trial
}

/// What befalls the log.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its table is gone.
    Gone,
    /// Somebody holds it.
    Locked,
    /// It refuses what is new, as a full disk would.
    Full,
}

/// Harms the log of a running service; nothing of a patient is told then, what concerns nobody is.
pub async fn faults(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let lasts = Duration::from_millis(run.of(500, 60_000));
    let suites = Suite::plan().suites().await;
    run.expect(3 * suites.len() as u64);
    for suite in suites {
        let (shape, sam) = (suite.shape(), suite.caller("sam", &["supervisor"]));
        let name = patient(&sam, "Read").await.unwrap();
        let db = open(&suite.database("patient")).await;
        let mut served = 0;
        for fault in [Fault::Gone, Fault::Locked, Fault::Full] {
            served += u64::from(read(&sam, &name).await == Some("OK"));
            let held = fault.strike(&db).await;
            let until = tokio::time::Instant::now() + lasts;
            let mut readers = JoinSet::new();
            for _ in 0..4 {
                let (sam, name, door) = (sam.clone(), name.clone(), suite.transport());
                readers.spawn(async move {
                    let mut answers = vec![];
                    while tokio::time::Instant::now() < until {
                        answers
                            .push(ask(&sam.at(&door), &name).await.map_err(|status| status.code()));
                    }
                    answers
                });
            }
            let mut health = tonic_health::pb::health_client::HealthClient::new(suite.transport());
            let healthy = health.check(tonic_health::pb::HealthCheckRequest::default()).await;
            trial.check(healthy.is_ok(), || format!("{shape}: {fault:?}: {healthy:?}"));
            for answer in readers.join_all().await.into_iter().flatten() {
                trial.tried();
                trial.check(
                    matches!(answer, Err(Code::Unavailable | Code::DeadlineExceeded)),
                    || format!("{shape}: {fault:?}: a reader got {:?}", answer.map(drop)),
                );
            }
            fault.heal(&db, held).await;
            let well = async {
                while read(&sam, &name).await != Some("OK") {
                    sleep(Duration::from_millis(50)).await;
                }
            };
            let well = timeout(Duration::from_secs(30), well).await;
            trial.check(well.is_ok(), || format!("{shape}: {fault:?}: not well after 30 s"));
            run.step();
        }
        trial.control(
            format!("{shape}: with the log as it should be readers are told"),
            served == 3,
        );
    }
    trial
}

impl Fault {
    /// Strikes; what has to be kept until it is over.
    async fn strike(self, db: &DatabaseConnection) -> Option<sea_orm::DatabaseTransaction> {
        let sqlite = db.get_database_backend() == sea_orm::DbBackend::Sqlite;
        let run = async |sql: &str| {
            db.execute_unprepared(sql).await.unwrap();
        };
        match self {
            Fault::Gone => run("ALTER TABLE audit RENAME TO audit_away").await,
            Fault::Locked => {
                #[expect(clippy::disallowed_methods, reason = "somebody else's hold on the log")]
                let lock = db.begin().await.unwrap();
                let hold = match sqlite {
                    true => "UPDATE audit SET rows = rows WHERE seq = 0",
                    false => "LOCK TABLE audit IN ACCESS EXCLUSIVE MODE",
                };
                lock.execute_unprepared(hold).await.unwrap();
                return Some(lock);
            }
            Fault::Full if sqlite => {
                run("CREATE TRIGGER strike BEFORE INSERT ON audit \
                     BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
                .await;
            }
            Fault::Full => {
                run("CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS \
                     $$ BEGIN RAISE 'No space left on device' USING ERRCODE = '53100'; END $$; \
                     CREATE TRIGGER strike BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION strike()")
                .await;
            }
        }
        None
    }

    async fn heal(self, db: &DatabaseConnection, held: Option<sea_orm::DatabaseTransaction>) {
        let heal = match self {
            Fault::Gone => "ALTER TABLE audit_away RENAME TO audit",
            Fault::Locked => return held.unwrap().rollback().await.unwrap(),
            Fault::Full if db.get_database_backend() == sea_orm::DbBackend::Sqlite => {
                "DROP TRIGGER strike"
            }
            Fault::Full => "DROP TRIGGER strike ON audit; DROP FUNCTION strike",
        };
        db.execute_unprepared(heal).await.unwrap();
    }
}

/// The outcome of a read that a service answered, or nothing where none did.
async fn read(reader: &Caller, name: &str) -> Option<&'static str> {
    match ask(reader, name).await.map_err(|status| status.code()) {
        Ok(_) => Some("OK"),
        Err(Code::NotFound) => Some("NOT_FOUND"),
        Err(Code::PermissionDenied) => Some("PERMISSION_DENIED"),
        Err(_) => None,
    }
}

async fn ask(reader: &Caller, name: &str) -> Result<pb::Patient, Status> {
    let mut request = Request::new(pb::GetPatientRequest { name: name.to_owned() });
    request.set_timeout(PATIENCE);
    let mut client = reader.client(PatientServiceClient::new);
    match timeout(PATIENCE, client.get_patient(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer")),
    }
}

async fn open(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

/// What the log says of the readers.
async fn log(url: &str) -> Log {
    let db = open(url).await;
    let sql = "SELECT subject, outcome, patients FROM audit WHERE subject LIKE 'reader-%'";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let mut log = Log::new();
    for row in db.query_all_raw(statement).await.unwrap() {
        let text = |n| row.try_get_by_index::<String>(n).unwrap();
        log.entry(text(0)).or_default().push((text(1), text(2)));
    }
    db.close().await.unwrap();
    log
}
