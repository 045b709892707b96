//! A care-plan service with callers, and a patient service that shows every patient to everybody, and whom it is told of.
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use caseward_api::{
    careplan::v1::{
        self as pb, assessment_service_client::AssessmentServiceClient,
        care_plan_service_client::CarePlanServiceClient, case_service_client::CaseServiceClient,
        ingest_service_client::IngestServiceClient, note_service_client::NoteServiceClient,
        relation_service_client::RelationServiceClient, task_service_client::TaskServiceClient,
    },
    patient::v1::{Consent, GetRelatedPersonRequest, ListConsentsResponse, RelatedPerson},
};
use caseward_core::{Clock, Ctx, Time};
use caseward_events::{Consumer, Event};
use caseward_server::{LOCAL_ORGANIZATION, Process, Service, Transport, settings::Layers};
use caseward_store::{Store, Tx};
use caseward_testkit::{Database, databases};
use http_body_util::{BodyExt, Full};
use prost::{Message, Name};
use sea_orm::DatabaseConnection;
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use tempfile::TempDir;
use tonic::{Status, body::Body, metadata::MetadataValue, service::Interceptor};
use uuid::Uuid;

/// When every test begins.
pub const START: &str = "2026-03-02T14:00:00Z";

/// Whom the patient service knows to be close to somebody.
type Kin = Arc<Mutex<BTreeMap<String, RelatedPerson>>>;

pub struct World {
    pub process: Process,
    /// What the patient service has on record, of whomever it is asked.
    pub consents: Arc<Mutex<Vec<Consent>>>,
    /// What another service heard, by the time it was said.
    heard: Arc<Mutex<BTreeMap<Uuid, Event>>>,
    /// Where another service keeps what it tells.
    others: Store,
    kin: Kin,
    pub database: Database,
    _data: TempDir,
}

#[derive(Clone)]
pub struct Token(String);

impl Interceptor for Token {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let value: MetadataValue<_> = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

type Channel = tonic::service::interceptor::InterceptedService<Transport, Token>;

/// Somebody who calls.
#[derive(Clone)]
pub struct Caller {
    pub cases: CaseServiceClient<Channel>,
    pub plans: CarePlanServiceClient<Channel>,
    pub tasks: TaskServiceClient<Channel>,
    pub notes: NoteServiceClient<Channel>,
    pub assessments: AssessmentServiceClient<Channel>,
    pub ingest: IngestServiceClient<Channel>,
    pub relations: RelationServiceClient<Channel>,
}

/// The tables that every service has.
struct Tables;
impl MigratorTrait for Tables {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        caseward_store::migrations::all()
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
        let layers = Layers::load(None, &[caseward_care_plan::DEFAULTS]).unwrap();
        let layers = layers.with("data", data.path().to_str().unwrap()).unwrap();
        let layers = layers.with("care_plan.database", database.url.clone()).unwrap();
        let layers = layers.with("clock.simulated_start", START).unwrap();
        let mut process = Process::new(layers.common().unwrap()).await.unwrap();
        let (consents, kin) = (Arc::<Mutex<Vec<Consent>>>::default(), Kin::default());
        process.bind("patient", everybody_is_seen(consents.clone(), kin.clone()));
        caseward_care_plan::start(layers.section("care_plan").unwrap(), &mut process)
            .await
            .unwrap();
        let heard = Arc::<Mutex<BTreeMap<Uuid, Event>>>::default();
        let all = heard.clone();
        let listener =
            Consumer::new("listener", "notification", subjects(), move |event: Event, _| {
                all.lock().unwrap().insert(event.id, event);
                async { Ok(()) }
            });
        let ears = process.settings.database("notification", "").unwrap();
        let ears = Store::open::<Tables>(&ears).await.unwrap();
        let others = ears.clone();
        process.serve(Service::new("notification", Some(ears)).consume(listener)).unwrap();
        process.ready().unwrap();
        World { process, consents, heard, others, kin, database, _data: data }
    }

    /// Its database, past the service.
    pub async fn aside(&self) -> DatabaseConnection {
        sea_orm::Database::connect(&self.database.url).await.unwrap()
    }

    /// The patient service knows somebody close to `patient`, and answers with their name.
    pub fn knows(&self, patient: &str, person: RelatedPerson) -> String {
        let name = format!("{patient}/relatedPersons/{}", Uuid::now_v7());
        self.kin.lock().unwrap().insert(name.clone(), person);
        name
    }

    /// Another service tells of `event`, and everybody has heard it.
    pub async fn tell<E: Message + Name + Clone + 'static>(&self, event: E) {
        let clock = self.process.clock.clone();
        let ctx = Ctx::task("notification", "test", LOCAL_ORGANIZATION, clock);
        let tell = move |tx: Tx| {
            tx.emit("somebody", 1, &event);
            async { Ok(()) }
        };
        self.others.task(&ctx, tell).await.unwrap();
        self.process.settle().settle(Duration::from_secs(20)).await.unwrap();
    }

    /// What other services hear of `case`, in the order in which it happened.
    pub async fn heard<E: Message + Name + Default>(&self, case: &str) -> Vec<E> {
        self.process.settle().settle(Duration::from_secs(20)).await.unwrap();
        let heard = self.heard.lock().unwrap();
        let of_case = heard.values().filter(|event| event.aggregate == case);
        of_case.filter_map(|event| event.decode().unwrap()).collect()
    }

    pub fn caller(&self, subject: &str, role: &str) -> Caller {
        let life = Duration::from_secs(3600);
        let now = Clock::System.now();
        let token =
            self.process.verifier().mint(subject, &[role], LOCAL_ORGANIZATION, life, now).unwrap();
        let (peer, token) = (self.process.peer("care_plan"), Token(token));
        Caller {
            cases: CaseServiceClient::with_interceptor(peer.clone(), token.clone()),
            plans: CarePlanServiceClient::with_interceptor(peer.clone(), token.clone()),
            tasks: TaskServiceClient::with_interceptor(peer.clone(), token.clone()),
            notes: NoteServiceClient::with_interceptor(peer.clone(), token.clone()),
            assessments: AssessmentServiceClient::with_interceptor(peer.clone(), token.clone()),
            ingest: IngestServiceClient::with_interceptor(peer.clone(), token.clone()),
            relations: RelationServiceClient::with_interceptor(peer, token),
        }
    }

    pub fn now(&self) -> Time {
        self.process.clock.now()
    }

    /// Plays time forward; what comes due on the way fires.
    pub async fn advance(&self, by: time::Duration) {
        let to = self.now() + by;
        self.process.settle().advance(to, Duration::from_secs(20)).await.unwrap();
    }
}

fn subjects() -> [String; 8] {
    [
        pb::CaseEnrolled::full_name(),
        pb::CaseReturnedFromWaitlist::full_name(),
        pb::AccountabilityMoved::full_name(),
        pb::CaseClosed::full_name(),
        pb::DeliveryMismatch::full_name(),
        pb::TaskOverdue::full_name(),
        pb::TaskOffered::full_name(),
        pb::CriticalItemRaised::full_name(),
    ]
}

/// A patient service in which everybody sees every patient: of those it answers nothing, of consents and of `kin` what is
/// known.
fn everybody_is_seen(consents: Arc<Mutex<Vec<Consent>>>, kin: Kin) -> Transport {
    Transport::local(tower::service_fn(move |asked: http::Request<Body>| {
        let (consents, kin) = (consents.lock().unwrap().clone(), kin.clone());
        async move {
            let found = match asked.uri().path().rsplit('/').next() {
                Some("GetConsent") => {
                    Some(consents.first().map(Message::encode_to_vec).unwrap_or_default())
                }
                Some("ListConsents") => {
                    Some(ListConsentsResponse { consents, ..Default::default() }.encode_to_vec())
                }
                Some("GetRelatedPerson") => {
                    let message = asked.into_body().collect().await.unwrap().to_bytes().slice(5..);
                    let asked = GetRelatedPersonRequest::decode(message).unwrap();
                    kin.lock().unwrap().get(&asked.name).map(Message::encode_to_vec)
                }
                _ => Some(vec![]),
            };
            Ok::<_, Infallible>(reply(found))
        }
    }))
}

/// A unary reply with `message`, or NOT_FOUND.
fn reply(message: Option<Vec<u8>>) -> http::Response<Body> {
    let mut trailers = http::HeaderMap::new();
    let status = if message.is_some() { "0" } else { "5" };
    trailers.insert("grpc-status", status.parse().unwrap());
    let framed = message.map(|message| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], &message].concat()
    });
    let body = Full::new(tonic::codegen::Bytes::from(framed.unwrap_or_default()));
    let body = body.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    let reply = http::Response::builder().header("content-type", "application/grpc");
    reply.body(Body::new(body)).unwrap()
}

pub fn patient() -> String {
    format!("patients/{}", Uuid::now_v7())
}

pub fn concept(text: &str) -> Option<caseward_api::types::v1::Concept> {
    Some(caseward_api::types::v1::Concept { text: text.to_owned(), codings: vec![] })
}

impl Caller {
    /// Offers the case to somebody who may take it on.
    pub async fn offers(&mut self, case: &pb::Case, to: &str) -> Result<pb::Handoff, Status> {
        let handoff =
            pb::Handoff { to: to.to_owned(), reason: "leave".to_owned(), ..Default::default() };
        let parent = case.name.clone();
        let request =
            pb::ProposeHandoffRequest { parent, handoff: Some(handoff), ..Default::default() };
        self.cases.propose_handoff(request).await.map(tonic::Response::into_inner)
    }

    pub async fn case(&mut self) -> pb::Case {
        let case = pb::Case {
            patient: patient(),
            title: "Heart failure".to_owned(),
            ..Default::default()
        };
        let request = pb::CreateCaseRequest { case: Some(case), request_id: String::new() };
        self.cases.create_case(request).await.unwrap().into_inner()
    }

    pub async fn outreach(&mut self) -> pb::Case {
        let pb::Case { name, etag, .. } = self.case().await;
        let request = pb::StartOutreachRequest { name, etag, ..Default::default() };
        self.cases.start_outreach(request).await.unwrap().into_inner()
    }

    pub async fn enrolled(&mut self) -> pb::Case {
        let pb::Case { name, etag, .. } = self.outreach().await;
        let consent_statement = "said yes on the phone".to_owned();
        let request = pb::EnrolCaseRequest { name, etag, consent_statement, ..Default::default() };
        self.cases.enrol_case(request).await.unwrap().into_inner()
    }

    pub async fn read(&mut self, case: &pb::Case) -> pb::Case {
        let request = pb::GetCaseRequest { name: case.name.clone() };
        self.cases.get_case(request).await.unwrap().into_inner()
    }

    pub async fn plan(&mut self, case: &pb::Case) -> pb::CarePlan {
        let plan = pb::CarePlan { title: "Stay at home".to_owned(), ..Default::default() };
        let parent = case.name.clone();
        let request =
            pb::CreateCarePlanRequest { parent, care_plan: Some(plan), ..Default::default() };
        self.plans.create_care_plan(request).await.unwrap().into_inner()
    }

    pub async fn goal(&mut self, plan: &pb::CarePlan, text: &str) -> pb::Goal {
        let goal = pb::Goal { description: concept(text), ..Default::default() };
        let request = pb::CreateGoalRequest {
            parent: plan.name.clone(),
            goal: Some(goal),
            ..Default::default()
        };
        self.plans.create_goal(request).await.unwrap().into_inner()
    }

    pub async fn activity(&mut self, plan: &pb::CarePlan, description: &str) -> pb::Activity {
        let activity = pb::Activity { description: description.to_owned(), ..Default::default() };
        let parent = plan.name.clone();
        let request =
            pb::CreateActivityRequest { parent, activity: Some(activity), ..Default::default() };
        self.plans.create_activity(request).await.unwrap().into_inner()
    }
}
