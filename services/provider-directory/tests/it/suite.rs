//! One directory on one database, and the people who call it.
use std::time::Duration;

use caseward_api::{
    directory::v1::directory_service_client::DirectoryServiceClient, types::v1 as types,
};
use caseward_core::{Clock, Time};
use caseward_server::{LOCAL_ORGANIZATION, Process, Transport, settings::Layers};
use caseward_testkit::Database;
use tonic::{Request, Status};
use tonic_types::StatusExt;

pub(crate) const EDITOR: &str = "eve/directory_editor";
pub(crate) const INTEGRATION: &str = "feed/integration";
pub(crate) const CASE_MANAGER: &str = "ana/case_manager";

/// A gazetteer of the places that the stories are about.
fn gazetteer(folder: &std::path::Path) -> String {
    let file = folder.join("postal-codes.csv");
    let areas = "06473,41.3817,-72.8588\n06514,41.3659,-72.9301\n02108,42.3576,-71.0651\n";
    std::fs::write(&file, areas).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A directory of its own.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) process: Process,
    pub(crate) client: DirectoryServiceClient<Transport>,
    _database: Database,
    _folder: tempfile::TempDir,
}

impl Suite {
    /// Starts one that stands at the beginning of 2026 until its clock is moved.
    pub(crate) async fn start(database: Database) -> Suite {
        let folder = tempfile::tempdir().unwrap();
        let layers = Layers::load(None, &[caseward_directory::DEFAULTS])
            .and_then(|all| all.with("data", folder.path().to_str().unwrap()))
            .and_then(|all| all.with("clock.simulated_start", "2026-01-01T00:00:00Z"))
            .and_then(|all| all.with("directory.database", database.url.as_str()))
            .and_then(|all| all.with("directory.postal_codes", gazetteer(folder.path())))
            .unwrap();
        let mut process = Process::new(layers.common().unwrap()).await.unwrap();
        let settings = layers.section(caseward_directory::NAME).unwrap();
        caseward_directory::start(settings, &mut process).await.unwrap();
        process.ready().unwrap();
        let client = DirectoryServiceClient::new(process.peer(caseward_directory::NAME));
        Suite { process, client, _database: database, _folder: folder }
    }

    /// `ask` in the name of `subject/role`.
    pub(crate) fn by<T>(&self, who: &str, ask: T) -> Request<T> {
        let (subject, role) = who.split_once('/').unwrap();
        let life = Duration::from_secs(600);
        let token = self
            .process
            .verifier()
            .mint(subject, &[role], LOCAL_ORGANIZATION, life, Clock::System.now())
            .unwrap();
        let mut request = Request::new(ask);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    }

    /// Plays time forward, through every timer on the way.
    pub(crate) async fn advance(&self, by: time::Duration) {
        let to = self.now() + by;
        self.process.settle().advance(to, Duration::from_secs(30)).await.unwrap();
    }

    pub(crate) fn now(&self) -> Time {
        self.process.clock.now()
    }
}

/// The fields that a status names, each once.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

pub(crate) fn npi(value: &str) -> types::Identifier {
    let system = "http://hl7.org/fhir/sid/us-npi".to_owned();
    types::Identifier { system, value: value.to_owned() }
}

pub(crate) fn coded(code: &str, display: &str) -> types::Concept {
    let coding = types::Coding {
        system: "https://example.org/codes".to_owned(),
        code: code.to_owned(),
        display: display.to_owned(),
    };
    types::Concept { codings: vec![coding], text: String::new() }
}
