//! A patient service with callers, beside another service, at a time of its own.
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use caseward_api::{
    careplan::v1::{
        CheckRelationRequest, Relation, RelationBasis,
        relation_service_server::{RelationService, RelationServiceServer},
    },
    patient::v1::{self as pb, patient_service_client::PatientServiceClient},
    types::v1::{Concept, HumanName, Identifier},
};
use caseward_core::{Clock, Ctx, Time};
use caseward_events::{Consumer, Event};
use caseward_server::{LOCAL_ORGANIZATION, Process, Service, Transport, settings::Layers};
use caseward_store::{Store, Tx};
use caseward_testkit::{Database, databases};
use prost_types::FieldMask;
use sea_orm::ConnectionTrait;
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tempfile::TempDir;
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataValue,
    service::interceptor::{InterceptedService, Interceptor},
};

/// When every test begins.
pub const START: &str = "2026-03-02T14:00:00Z";

const PATIENCE: Duration = Duration::from_secs(30);

/// What the other service listens to.
const EVENTS: [&str; 9] = [
    "caseward.access.v1.RelationChanged",
    "caseward.patient.v1.EmergencyAccessGranted",
    "caseward.patient.v1.EmergencyAccessEnded",
    "caseward.patient.v1.EmergencyAccessReviewed",
    "caseward.patient.v1.DisclosureRecorded",
    "caseward.patient.v1.DisclosureEnteredInError",
    "caseward.patient.v1.ConsentActivated",
    "caseward.patient.v1.ConsentRevoked",
    "caseward.patient.v1.ConsentExpired",
];

pub type Caller = PatientServiceClient<InterceptedService<Transport, Token>>;

pub struct World {
    pub process: Process,
    /// What the patient service told the other.
    heard: Arc<Mutex<Vec<Event>>>,
    pub other: Store,
    /// What the other service says when it is asked, and how often it was.
    pub teams: Teams,
    pub database: Database,
    _data: TempDir,
}

/// The tables that every service has.
pub struct Tables;
impl MigratorTrait for Tables {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        caseward_store::migrations::all()
    }
}

#[derive(Clone)]
pub struct Token(String);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value: MetadataValue<_> = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// A care-plan service that knows the relations it was given.
#[derive(Clone, Default)]
pub struct Teams {
    pub known: Arc<Mutex<Vec<(String, RelationBasis)>>>,
    pub asked: Arc<Mutex<Vec<CheckRelationRequest>>>,
}

#[tonic::async_trait]
impl RelationService for Teams {
    async fn check_relation(
        &self,
        req: Request<CheckRelationRequest>,
    ) -> Result<Response<Relation>, Status> {
        let CheckRelationRequest { subject, patient } = req.into_inner();
        let known = self.known.lock().unwrap();
        let of_both = known.iter().filter(|(name, _)| *name == format!("{subject} {patient}"));
        let bases: Vec<_> = of_both.map(|(_, basis)| basis.clone()).collect();
        self.asked
            .lock()
            .unwrap()
            .push(CheckRelationRequest { subject: subject.clone(), patient: patient.clone() });
        Ok(Response::new(Relation { subject, patient, related: !bases.is_empty(), bases }))
    }
}

/// A world on each database of this machine.
pub async fn worlds() -> Vec<World> {
    let mut worlds = vec![];
    for database in databases().await {
        worlds.push(World::on(database).await);
    }
    worlds
}

impl World {
    async fn on(database: Database) -> World {
        let data = tempfile::tempdir().unwrap();
        let layers = Layers::load(None, &[caseward_patient::DEFAULTS]).unwrap();
        let layers = layers.with("data", data.path().to_str().unwrap()).unwrap();
        let layers = layers.with("patient.database", database.url.clone()).unwrap();
        let layers = layers.with("clock.simulated_start", START).unwrap();
        let common = layers.common().unwrap();
        let other = common.database("care_plan", "").unwrap();
        let other = Store::open::<Tables>(&other).await.unwrap();
        let mut process = Process::new(common).await.unwrap();
        let heard = Arc::new(Mutex::new(vec![]));
        let ears = heard.clone();
        let consumer = Consumer::new(
            "care_plan.test",
            "care_plan",
            EVENTS.map(str::to_owned),
            move |event, _| {
                ears.lock().unwrap().push(event);
                async { Ok(()) }
            },
        );
        let teams = Teams::default();
        let double = RelationServiceServer::new(teams.clone());
        let service = Service::new("care_plan", Some(other.clone())).with(double).consume(consumer);
        process.serve(service).unwrap();
        caseward_patient::start(layers.section("patient").unwrap(), &mut process).await.unwrap();
        process.ready().unwrap();
        World { process, heard, other, teams, database, _data: data }
    }

    pub fn caller(&self, subject: &str, role: &str) -> Caller {
        self.caller_as(subject, &[role])
    }

    pub fn caller_as(&self, subject: &str, roles: &[&str]) -> Caller {
        PatientServiceClient::with_interceptor(
            self.process.peer("patient"),
            self.token(subject, roles),
        )
    }

    /// What `subject` shows with each call, whichever service it is to.
    pub fn token(&self, subject: &str, roles: &[&str]) -> Token {
        let (life, now) = (Duration::from_secs(3600), Clock::System.now());
        let minted = self.process.verifier().mint(subject, roles, LOCAL_ORGANIZATION, life, now);
        Token(minted.unwrap())
    }

    /// Plays time forward, so that what comes due on the way comes late.
    pub async fn advance_past_timers(&self, by: time::Duration) {
        let db = sea_orm::Database::connect(&self.database.url).await.unwrap();
        db.execute_unprepared("DELETE FROM timer").await.unwrap();
        self.process.clock.advance(by);
    }

    /// Asks until there is an answer.
    pub async fn until<T>(&self, ask: impl AsyncFn() -> Option<T>) -> T {
        let asked = async {
            loop {
                match ask().await {
                    Some(answer) => return answer,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap()
    }

    pub fn now(&self) -> Time {
        self.process.clock.now()
    }

    /// The events of one kind that were told so far, in their order.
    pub async fn told<E: prost::Message + prost::Name + Default>(&self) -> Vec<E> {
        self.process.settle().settle(PATIENCE).await.unwrap();
        let heard = self.heard.lock().unwrap();
        heard.iter().filter_map(|event| event.decode().unwrap()).collect()
    }

    /// Tells an event in the name of the other service, and waits until it is heard.
    pub async fn tell<E>(&self, about: &str, revision: i64, event: E)
    where
        E: prost::Message + prost::Name + Clone + 'static,
    {
        let ctx = Ctx::task("care_plan", "test", LOCAL_ORGANIZATION, self.process.clock.clone());
        let about = about.to_owned();
        let work = move |tx: Tx| {
            tx.emit(&about, revision, &event);
            async { Ok(()) }
        };
        self.other.task(&ctx, work).await.unwrap();
        self.process.settle().settle(PATIENCE).await.unwrap();
    }

    /// Plays time forward; what comes due on the way fires.
    pub async fn advance(&self, by: time::Duration) {
        let to = self.now() + by;
        self.process.settle().advance(to, PATIENCE).await.unwrap();
    }
}

pub fn person(family: &str) -> Vec<HumanName> {
    vec![HumanName {
        family: family.to_owned(),
        given: vec!["Ada".to_owned()],
        ..Default::default()
    }]
}

pub fn identifier(value: &str) -> Vec<Identifier> {
    vec![Identifier { system: "urn:test:mrn".to_owned(), value: value.to_owned() }]
}

pub fn concept(text: &str) -> Concept {
    Concept { text: text.to_owned(), codings: vec![] }
}

/// A patient whom `caller` registers.
pub async fn patient(caller: &mut Caller) -> pb::Patient {
    let patient = pb::Patient { names: person("Byron"), ..Default::default() };
    let request = pb::CreatePatientRequest { patient: Some(patient), ..Default::default() };
    caller.create_patient(request).await.unwrap().into_inner()
}

/// A daughter of the patient who signs in as `subject`.
pub async fn daughter(caller: &mut Caller, patient: &str, subject: &str) -> pb::RelatedPerson {
    let related_person = pb::RelatedPerson {
        relationships: vec![concept("daughter")],
        subject: subject.to_owned(),
        ..Default::default()
    };
    let request = pb::CreateRelatedPersonRequest {
        parent: patient.to_owned(),
        related_person: Some(related_person),
        ..Default::default()
    };
    caller.create_related_person(request).await.unwrap().into_inner()
}

/// Lets the patient sign in as `subject`, as `caller`, who sees all patients, says.
pub async fn sign_in(caller: &mut Caller, patient: &pb::Patient, subject: &str) {
    let request = pb::UpdatePatientRequest {
        patient: Some(pb::Patient { subject: subject.to_owned(), ..patient.clone() }),
        update_mask: Some(FieldMask { paths: vec!["subject".to_owned()] }),
        ..Default::default()
    };
    caller.update_patient(request).await.unwrap();
}

/// Whether the caller sees the patient.
pub async fn sees(caller: &mut Caller, patient: &str) -> bool {
    match caller.get_patient(pb::GetPatientRequest { name: patient.to_owned() }).await {
        Ok(_) => true,
        Err(refusal) => {
            assert_eq!(refusal.code(), Code::NotFound, "{refusal}");
            false
        }
    }
}

/// The fields that a refusal names.
pub fn fields<T: std::fmt::Debug>(reply: Result<Response<T>, Status>) -> Vec<String> {
    use tonic_types::StatusExt;
    let refusal = reply.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    let said = refusal.get_details_bad_request().unwrap();
    said.field_violations.into_iter().map(|violation| violation.field).collect()
}

/// The code of a refusal.
pub fn code<T: std::fmt::Debug>(reply: Result<Response<T>, Status>) -> Code {
    reply.unwrap_err().code()
}
