//! Who is told: asked of the patient service when a message is about to be sent, and forgotten after.
use caseward_api::{
    patient::v1::{
        self as pb, CaregiverScope, Consent, ListConsentsRequest, ListRelatedPersonsRequest,
        caregiver_scope::Topic, consent, patient_service_client::PatientServiceClient,
    },
    types::v1::{ContactPoint, contact_point},
};
use caseward_core::{
    Ctx, Result, Time,
    consent::{holds, is_granted, is_in_force, lets_take_part, speaks},
};
use caseward_server::{OwnPeer, Transport};
use tonic::Code;

use crate::{channel::Channel, inbox::SUPERVISORS, message::Recipient};

/// The patient service.
#[derive(Clone, Debug)]
pub(crate) struct Patients(pub(crate) OwnPeer);

/// What one attempt has to know about whom it reaches.
#[derive(Default)]
pub(crate) struct Person {
    /// Whether the record is one to write to.
    pub(crate) exists: bool,
    pub(crate) deceased: bool,
    pub(crate) languages: Vec<String>,
    pub(crate) email: Option<String>,
    /// With which they sign in.
    pub(crate) subject: Option<String>,
    pub(crate) zone: String,
    pub(crate) quiet: Option<(String, String)>,
    pub(crate) opted_out: Vec<i32>,
    /// Staff are told because it is their work; nobody else without a consent or a scope.
    pub(crate) consents: Option<Vec<Consent>>,
    /// Of a caregiver.
    pub(crate) scope: Option<CaregiverScope>,
    /// Whether they were named without the patient they are or are close to. Whoever named them need not know of them,
    /// and so not why they hear nothing.
    pub(crate) unknown: bool,
}
caseward_core::confidential!(Person);

/// How many merges of records are followed.
const MERGES: usize = 4;

impl Patients {
    /// What is known of `recipient`.
    pub(crate) async fn person(&self, ctx: &Ctx, recipient: &Recipient) -> Result<Person> {
        match recipient {
            Recipient::Subject(subject) => Ok(Person::staff(subject)),
            Recipient::Supervisors => Ok(Person::staff(SUPERVISORS)),
            Recipient::Patient(name) => self.patient(ctx, name).await,
            Recipient::RelatedPerson(name) => self.related(ctx, name).await,
        }
    }

    /// The names of those close to `patient` who are to be told of `topic`.
    pub(crate) async fn caregivers(
        &self,
        ctx: &Ctx,
        patient: &str,
        topic: Topic,
    ) -> Result<Vec<String>> {
        let found = related(&mut self.client(ctx)?, patient).await?;
        let told = found.into_iter().filter(|person| {
            person.scope.as_ref().is_some_and(|scope| {
                !scope.channels.is_empty()
                    && is_granted(scope, ctx.now())
                    && scope.topics.contains(&topic.into())
            })
        });
        Ok(told.map(|person| person.name).collect())
    }

    /// Whether a consent on record lets `patient` take part in case management now.
    pub(crate) async fn take_part(&self, ctx: &Ctx, patient: &str) -> Result<bool> {
        let found = consents(&mut self.client(ctx)?, patient, consent::Type::Participation).await?;
        Ok(found.iter().any(|one| lets_take_part(one, ctx.now())))
    }

    /// Who signs in as `subject`, where that is `patient` or somebody close to them.
    pub(crate) async fn known_as(
        &self,
        ctx: &Ctx,
        patient: &str,
        subject: &str,
    ) -> Result<Option<Recipient>> {
        let mut client = self.client(ctx)?;
        let Some(patient) = self.record(&mut client, patient).await? else { return Ok(None) };
        if patient.subject == subject {
            return Ok(Some(Recipient::Patient(patient.name)));
        }
        let mut related = related(&mut client, &patient.name).await?.into_iter();
        let found = related.find(|person| person.subject == subject);
        Ok(found.map(|person| Recipient::RelatedPerson(person.name)))
    }

    async fn patient(&self, ctx: &Ctx, name: &str) -> Result<Person> {
        let mut client = self.client(ctx)?;
        let Some(patient) = self.record(&mut client, name).await? else {
            return Ok(Person::default());
        };
        let name = patient.name.clone();
        let ask = pb::GetPreferenceRequest { name: format!("{name}/preference") };
        let preference = known(client.get_preference(ask).await)?.unwrap_or_default();
        let spoken = patient.communications.iter().map(|spoken| spoken.language.clone());
        let quiet = (!preference.quiet_start.is_empty())
            .then_some((preference.quiet_start, preference.quiet_end));
        Ok(Person {
            exists: true,
            deceased: is_deceased(&patient),
            languages: Some(preference.language)
                .filter(|l| !l.is_empty())
                .into_iter()
                .chain(spoken)
                .collect(),
            email: email(&patient.telecoms),
            subject: Some(patient.subject).filter(|subject| !subject.is_empty()),
            zone: first([preference.time_zone, patient.time_zone]),
            quiet,
            opted_out: preference.opted_out_channels,
            consents: Some(agreed(&mut client, &name, ctx.now()).await?),
            ..Person::default()
        })
    }

    async fn related(&self, ctx: &Ctx, name: &str) -> Result<Person> {
        let mut client = self.client(ctx)?;
        let ask = pb::GetRelatedPersonRequest { name: name.to_owned() };
        let Some(person) = known(client.get_related_person(ask).await)? else {
            return Ok(Person::default());
        };
        let patient = name.split("/relatedPersons/").next().unwrap_or_default();
        let Some(patient) = self.record(&mut client, patient).await? else {
            return Ok(Person::default());
        };
        let close = holds(&person.period, ctx.now());
        // What a caregiver said no to; a yes of theirs is not needed beside the scope.
        let said = consents(&mut client, &patient.name, consent::Type::Messaging).await?;
        let refused = said.into_iter().filter(|consent| {
            consent.grantor == name && consent.decision == i32::from(consent::Decision::Deny)
        });
        let scope = person.scope.filter(|scope| close && is_granted(scope, ctx.now()));
        Ok(Person {
            exists: true,
            deceased: is_deceased(&patient),
            languages: person.communications.into_iter().map(|spoken| spoken.language).collect(),
            email: email(&person.telecoms),
            subject: Some(person.subject).filter(|subject| !subject.is_empty()),
            zone: first([person.time_zone, patient.time_zone]),
            quiet: None,
            opted_out: vec![],
            consents: Some(refused.collect()),
            scope: Some(scope.unwrap_or_default()),
            unknown: false,
        })
    }

    /// The record of a patient, or the one into which it was merged.
    async fn record(
        &self,
        client: &mut PatientServiceClient<Transport>,
        name: &str,
    ) -> Result<Option<pb::Patient>> {
        let mut name = name.to_owned();
        for _ in 0..MERGES {
            let Some(patient) = known(client.get_patient(pb::GetPatientRequest { name }).await)?
            else {
                return Ok(None);
            };
            match pb::patient::State::try_from(patient.state) {
                Ok(pb::patient::State::Merged) => name = patient.merged_into,
                Ok(pb::patient::State::EnteredInError) => return Ok(None),
                _ => return Ok(Some(patient)),
            }
        }
        Ok(None)
    }

    fn client(&self, ctx: &Ctx) -> Result<PatientServiceClient<Transport>> {
        Ok(PatientServiceClient::new(self.0.in_task(ctx)?))
    }
}

impl Person {
    /// Whoever is told because it is their work.
    fn staff(subject: &str) -> Self {
        Person { exists: true, subject: Some(subject.to_owned()), ..Person::default() }
    }

    /// Whether what they, or those who speak for them, agreed to allows `channel`.
    pub(crate) fn consents_to(&self, channel: Channel, now: Time) -> bool {
        let Some(consents) = &self.consents else { return true };
        let about = |decision: consent::Decision| {
            consents.iter().any(|one| {
                let permit = one.decision != i32::from(consent::Decision::Deny);
                permit == (decision == consent::Decision::Permit)
                    && is_in_force(one, now)
                    && (one.channels.is_empty() || channel.is_in(&one.channels))
            })
        };
        let permitted =
            channel.is_secured() || self.scope.is_some() || about(consent::Decision::Permit);
        permitted && !about(consent::Decision::Deny)
    }

    /// Whether a caregiver may be told of `topic` over `channel`; true for all others.
    pub(crate) fn in_scope(&self, topic: Topic, channel: Channel) -> bool {
        self.scope.as_ref().is_none_or(|scope| {
            scope.topics.contains(&topic.into()) && channel.is_in(&scope.channels)
        })
    }
}

async fn related(
    client: &mut PatientServiceClient<Transport>,
    patient: &str,
) -> Result<Vec<pb::RelatedPerson>> {
    let ask = ListRelatedPersonsRequest {
        parent: patient.to_owned(),
        page_size: 1000,
        ..Default::default()
    };
    let found = known(client.list_related_persons(ask).await)?;
    Ok(found.map(|reply| reply.related_persons).unwrap_or_default())
}

/// What `patient`, and those who may speak for them, said of messages. What others close to them said is about
/// messages to themselves.
async fn agreed(
    client: &mut PatientServiceClient<Transport>,
    patient: &str,
    now: Time,
) -> Result<Vec<Consent>> {
    let said = consents(client, patient, consent::Type::Messaging).await?;
    let is_own = |one: &Consent| one.grantor.is_empty() || one.grantor == patient;
    if said.iter().all(is_own) {
        return Ok(said);
    }
    let mut speakers = related(client, patient).await?;
    speakers.retain(|person| speaks(person, now));
    let counts =
        |one: &Consent| is_own(one) || speakers.iter().any(|person| person.name == one.grantor);
    Ok(said.into_iter().filter(counts).collect())
}

async fn consents(
    client: &mut PatientServiceClient<Transport>,
    patient: &str,
    about: consent::Type,
) -> Result<Vec<Consent>> {
    let ask = ListConsentsRequest {
        parent: patient.to_owned(),
        page_size: 1000,
        r#type: about.into(),
        states: vec![consent::State::Active.into()],
        ..Default::default()
    };
    Ok(known(client.list_consents(ask).await)?.map(|reply| reply.consents).unwrap_or_default())
}

/// What a peer knows; nothing where it knows of no such thing.
fn known<T>(reply: Result<tonic::Response<T>, tonic::Status>) -> Result<Option<T>> {
    match reply {
        Ok(reply) => Ok(Some(reply.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

fn is_deceased(patient: &pb::Patient) -> bool {
    patient.deceased || patient.deceased_time.is_some()
}

fn email(telecoms: &[ContactPoint]) -> Option<String> {
    let usable = telecoms.iter().filter(|at| {
        at.system == i32::from(contact_point::System::Email)
            && at.r#use != i32::from(contact_point::Use::Old)
    });
    // Of one rank, and where there is none, the first.
    let preferred = usable.min_by_key(|at| if at.rank == 0 { i32::MAX } else { at.rank });
    preferred.map(|at| at.value.clone())
}

fn first(zones: [String; 2]) -> String {
    zones.into_iter().find(|zone| !zone.is_empty()).unwrap_or_default()
}
