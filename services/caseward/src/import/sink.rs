//! The services as what takes an import: batch by batch, each repeated where a service is away for a moment.
use std::time::Duration;

use anyhow::bail;
use caseward_api::{
    careplan::v1::{
        CaseBundle, CaseBundleOutcome, IngestCasesRequest, IngestProblemsRequest,
        IngestQuestionnairesRequest, ListQuestionnairesRequest,
        assessment_service_client::AssessmentServiceClient,
        ingest_service_client::IngestServiceClient,
    },
    directory::v1::{
        IngestHealthcareServicesRequest, IngestInsurancePlansRequest, IngestLocationsRequest,
        IngestOrganizationsRequest, IngestPractitionerRolesRequest, IngestPractitionersRequest,
        ListHealthcareServicesRequest, ListInsurancePlansRequest, ListLocationsRequest,
        ListOrganizationsRequest, ListPractitionerRolesRequest, ListPractitionersRequest,
        directory_service_client::DirectoryServiceClient,
    },
    patient::v1::{
        IngestConsentsRequest, IngestCoveragesRequest, IngestPatientsRequest,
        IngestRelatedPersonsRequest, ListPatientsRequest,
        patient_service_client::PatientServiceClient,
    },
    types::v1::{Identifier, IngestOutcome, Violation, ingest_outcome::Action},
};
use caseward_fhir::{Batch, Sink};
use caseward_server::Transport;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{bearer::Bearer, progress::Progress};

/// How often a call is made before the import gives up.
const ATTEMPTS: u32 = 6;

/// The services, called as whoever `bearer` says.
pub(super) struct Services {
    patients: PatientServiceClient<Transport>,
    directory: DirectoryServiceClient<Transport>,
    care: IngestServiceClient<Transport>,
    assessments: AssessmentServiceClient<Transport>,
    bearer: Bearer,
    progress: Progress,
}

impl Services {
    /// Calls the services found by `peer` under the names of their sections.
    pub(super) fn new(
        peer: impl Fn(&'static str) -> Transport,
        bearer: Bearer,
        progress: Progress,
    ) -> Self {
        let care = peer(caseward_care_plan::NAME);
        Services {
            patients: PatientServiceClient::new(peer(caseward_patient::NAME)),
            directory: DirectoryServiceClient::new(peer(caseward_directory::NAME)),
            care: IngestServiceClient::new(care.clone()),
            assessments: AssessmentServiceClient::new(care),
            bearer,
            progress,
        }
    }
}

/// Loads members by one RPC of one client.
macro_rules! ingest {
    ($self:ident, $client:ident.$rpc:ident($Request:ident { $field:ident: $members:expr }), $refused:expr) => {
        load($members, $refused, |members, request_id| {
            let mut client = $self.$client.clone();
            let request = $self.bearer.sign($Request { $field: members, request_id });
            async move { Ok(client.$rpc(request?).await?.into_inner().outcomes) }
        })
        .await
    };
}

/// Asks one RPC for the one resource with an identifier.
macro_rules! find {
    ($self:ident, $client:ident.$rpc:ident($Request:ident), $field:ident, $identifier:expr) => {{
        let listed = repeat(|| {
            let mut client = $self.$client.clone();
            let identifier = $identifier;
            let request =
                $self.bearer.sign($Request { identifier, page_size: 1, ..Default::default() });
            async move { Ok(client.$rpc(request?).await?.into_inner().$field) }
        })
        .await;
        match listed {
            Ok(listed) => Ok(listed.into_iter().next().map(|one| one.name)),
            // An identifier that the service would not keep names nothing that it keeps.
            Err(status) if status.code() == Code::InvalidArgument => Ok(None),
            Err(status) => Err(ended(&status)),
        }
    }};
}

impl Sink for Services {
    type Error = anyhow::Error;

    async fn ingest(&mut self, batch: Batch) -> anyhow::Result<Vec<IngestOutcome>> {
        match batch {
            Batch::Organizations(all) => ingest!(
                self,
                directory.ingest_organizations(IngestOrganizationsRequest { organizations: all }),
                refused
            ),
            Batch::Locations(all) => ingest!(
                self,
                directory.ingest_locations(IngestLocationsRequest { locations: all }),
                refused
            ),
            Batch::Practitioners(all) => ingest!(
                self,
                directory.ingest_practitioners(IngestPractitionersRequest { practitioners: all }),
                refused
            ),
            Batch::HealthcareServices(all) => ingest!(
                self,
                directory.ingest_healthcare_services(IngestHealthcareServicesRequest {
                    healthcare_services: all
                }),
                refused
            ),
            Batch::PractitionerRoles(all) => ingest!(
                self,
                directory.ingest_practitioner_roles(IngestPractitionerRolesRequest {
                    practitioner_roles: all
                }),
                refused
            ),
            Batch::InsurancePlans(all) => ingest!(
                self,
                directory
                    .ingest_insurance_plans(IngestInsurancePlansRequest { insurance_plans: all }),
                refused
            ),
            Batch::Patients(all) => ingest!(
                self,
                patients.ingest_patients(IngestPatientsRequest { patients: all }),
                refused
            ),
            Batch::RelatedPersons(all) => ingest!(
                self,
                patients
                    .ingest_related_persons(IngestRelatedPersonsRequest { related_persons: all }),
                refused
            ),
            Batch::Coverages(all) => ingest!(
                self,
                patients.ingest_coverages(IngestCoveragesRequest { coverages: all }),
                refused
            ),
            Batch::Consents(all) => ingest!(
                self,
                patients.ingest_consents(IngestConsentsRequest { consents: all }),
                refused
            ),
            Batch::Questionnaires(all) => ingest!(
                self,
                care.ingest_questionnaires(IngestQuestionnairesRequest { questionnaires: all }),
                refused
            ),
            Batch::Problems(all) => ingest!(
                self,
                care.ingest_problems(IngestProblemsRequest { problems: all }),
                refused
            ),
        }
    }

    async fn ingest_cases(
        &mut self,
        bundles: Vec<CaseBundle>,
    ) -> anyhow::Result<Vec<CaseBundleOutcome>> {
        ingest!(
            self,
            care.ingest_cases(IngestCasesRequest { bundles: bundles }),
            |status: &Status| CaseBundleOutcome {
                case: Some(refused(status)),
                ..CaseBundleOutcome::default()
            }
        )
    }

    async fn find(
        &mut self,
        resource_type: &str,
        identifier: &Identifier,
    ) -> anyhow::Result<Option<String>> {
        let token = || format!("{}|{}", identifier.system, identifier.value);
        match resource_type {
            "Patient" => {
                find!(self, patients.list_patients(ListPatientsRequest), patients, token())
            }
            "Organization" => find!(
                self,
                directory.list_organizations(ListOrganizationsRequest),
                organizations,
                token()
            ),
            "Location" => {
                find!(self, directory.list_locations(ListLocationsRequest), locations, token())
            }
            "Practitioner" => find!(
                self,
                directory.list_practitioners(ListPractitionersRequest),
                practitioners,
                token()
            ),
            "PractitionerRole" => find!(
                self,
                directory.list_practitioner_roles(ListPractitionerRolesRequest),
                practitioner_roles,
                token()
            ),
            "HealthcareService" => find!(
                self,
                directory.list_healthcare_services(ListHealthcareServicesRequest),
                healthcare_services,
                token()
            ),
            "InsurancePlan" => find!(
                self,
                directory.list_insurance_plans(ListInsurancePlansRequest),
                insurance_plans,
                token()
            ),
            "Questionnaire" => find!(
                self,
                assessments.list_questionnaires(ListQuestionnairesRequest),
                questionnaires,
                token()
            ),
            // What belongs to a patient or a case is not found without it.
            _ => Ok(None),
        }
    }

    fn progress(&mut self, done: usize, of: usize) {
        self.progress.show(done, of);
    }
}

/// Loads members, and answers one outcome for each, in order. A batch that is refused as a whole is halved until
/// the members that are to blame stand alone.
async fn load<T, O, F>(
    members: Vec<T>,
    refused: impl Fn(&Status) -> O,
    send: impl Fn(Vec<T>, String) -> F,
) -> anyhow::Result<Vec<O>>
where
    T: Clone,
    F: Future<Output = Result<Vec<O>, Status>> + Send,
{
    let mut outcomes = vec![];
    let mut waiting = vec![members];
    while let Some(mut members) = waiting.pop() {
        if members.is_empty() {
            continue;
        }
        let request_id = Uuid::now_v7().to_string();
        match repeat(|| send(members.clone(), request_id.clone())).await {
            Ok(all) if all.len() == members.len() => outcomes.extend(all),
            Ok(_) => bail!("a service answered for fewer or more entries than it was sent"),
            Err(status) if !blames_input(status.code()) => return Err(ended(&status)),
            Err(status) if members.len() == 1 => outcomes.push(refused(&status)),
            Err(_) => {
                let second = members.split_off(members.len() / 2);
                waiting.extend([second, members]);
            }
        }
    }
    Ok(outcomes)
}

/// Calls until the service is there. The request id makes a second call harmless.
async fn repeat<R, F>(call: impl Fn() -> F) -> Result<R, Status>
where
    F: Future<Output = Result<R, Status>> + Send,
{
    let mut attempt = 0;
    loop {
        attempt += 1;
        match call().await {
            Err(status) if status.code() == Code::Unavailable && attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            }
            answer => return answer,
        }
    }
}

/// Whether it is what was sent that is wrong, and not the service or the right to call it.
fn blames_input(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
    )
}

/// The outcome of a member that the service would not take at all.
fn refused(status: &Status) -> IngestOutcome {
    let violation = Violation { field: String::new(), description: status.message().to_owned() };
    IngestOutcome {
        action: Action::Failed as i32,
        violations: vec![violation],
        ..IngestOutcome::default()
    }
}

fn ended(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("a service refused ({:?}): {}", status.code(), status.message())
}
