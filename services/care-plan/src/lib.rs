//! The care of a person from identification to closure: cases, who is accountable, assessments, plans, tasks, notes.
mod accountability;
mod activity;
mod agreement;
mod assessment;
mod assessment_score;
mod assessment_step;
mod care_plan;
mod case;
mod case_step;
mod consumers;
mod delivery;
mod evaluation;
pub mod fill;
mod form;
mod form_rule;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod goal;
mod grpc;
mod handoff;
mod ingest;
mod kin;
mod lace;
mod member;
mod migrations;
mod note;
mod obligation;
mod participation;
mod plan_content;
mod problem;
mod questionnaire;
mod recurrence;
mod reference;
mod score;
mod sight;
mod task;
mod timeline;
mod transition;
mod watch;
mod worklist;

use caseward_api::careplan::v1::{
    assessment_service_server::AssessmentServiceServer,
    care_plan_service_server::CarePlanServiceServer, case_service_server::CaseServiceServer,
    ingest_service_server::IngestServiceServer, note_service_server::NoteServiceServer,
    relation_service_server::RelationServiceServer, task_service_server::TaskServiceServer,
};
use caseward_events::Handler;
use caseward_server::{
    Process, Service, relation,
    settings::{Common, ServiceSettings},
};
use caseward_store::Store;

/// The section of this service in the settings.
pub const NAME: &str = "care_plan";

/// The defaults of the section.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// What this service is told.
pub type Settings = ServiceSettings;

/// Starts the service within `process`.
pub async fn start(settings: Settings, process: &mut Process) -> anyhow::Result<()> {
    let store = open(&settings, &process.settings).await?;
    let cases = grpc::case::Cases {
        store: store.clone(),
        patients: process.peer("patient"),
        stopping: process.life.stopping(),
    };
    let patients = process.own_peer("patient");
    let relations = grpc::relation::Relations { store: store.clone() };
    let plans =
        grpc::care_plan::CarePlans { store: store.clone(), patients: process.peer("patient") };
    let tasks = grpc::task::Tasks { store: store.clone() };
    let ingest = grpc::ingest::Ingest { store: store.clone() };
    let notes = grpc::note::Notes { store: store.clone() };
    let assessments = grpc::assessment::Assessments { store: store.clone() };
    let service = Service::new(NAME, Some(store))
        .with(CaseServiceServer::new(cases))
        .with(RelationServiceServer::new(relations))
        .with(CarePlanServiceServer::new(plans))
        .with(TaskServiceServer::new(tasks))
        .with(NoteServiceServer::new(notes))
        .with(AssessmentServiceServer::new(assessments))
        .with(IngestServiceServer::new(ingest))
        .consume(relation::consumer("care-plan.relations", NAME))
        .consume(consumers::unreached())
        .consume(consumers::deaths(patients.clone()))
        .consume(participation::ended(patients))
        .on_timer(Handler::new(handoff::EXPIRY, |timer, tx| async move {
            handoff::fire_expiry(&tx, timer.subject.into()).await
        }))
        .on_timer(Handler::new(task::DUE, |timer, tx| async move {
            task::fire_due(&tx, timer.subject.into()).await
        }));
    process.serve(service)
}

/// Opens the database of this service.
pub async fn open(settings: &Settings, common: &Common) -> anyhow::Result<Store> {
    Store::open::<migrations::Migrator>(&common.database(NAME, &settings.database)?).await
}
