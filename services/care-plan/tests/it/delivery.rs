//! Whether a service was really received: the patient is asked as well as the provider.
use caseward_api::{
    access::v1::{
        RelationChanged,
        relation_changed::{Basis, Topic},
    },
    careplan::v1::{
        self as pb, DeliveryConfirmation,
        delivery_confirmation::{Finding, Side},
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::{
    plan::{activate, begun, completed},
    world::{Caller, World, worlds},
};

/// `subject`, related to the patient of `case` by `basis` and no more of the record than `topics`.
async fn related(
    world: &World,
    case: &pb::Case,
    (subject, role): (&str, &str),
    basis: Basis,
    topics: &[Topic],
) -> Caller {
    let granted = RelationChanged {
        subject: subject.to_owned(),
        patient: case.patient.clone(),
        basis: basis.into(),
        revision: 1,
        source: format!("{}/relatedPersons/{}", case.patient, Uuid::now_v7()),
        topics: topics.iter().map(|topic| i32::from(*topic)).collect(),
        ..Default::default()
    };
    world.tell(granted).await;
    world.caller(subject, role)
}

/// What `side` says of the activity as it is now.
async fn says(
    who: &mut Caller,
    activity: &str,
    (side, finding, text): (Side, Finding, &str),
) -> Result<pb::Activity, Status> {
    let get = pb::GetActivityRequest { name: activity.to_owned() };
    let pb::Activity { name, etag, .. } = who.plans.get_activity(get).await?.into_inner();
    let said = DeliveryConfirmation {
        side: side.into(),
        finding: finding.into(),
        text: text.to_owned(),
        ..Default::default()
    };
    let ask =
        pb::ConfirmDeliveryRequest { name, etag, confirmation: Some(said), ..Default::default() };
    who.plans.confirm_delivery(ask).await.map(tonic::Response::into_inner)
}

async fn tasks(who: &mut Caller, case: &pb::Case) -> Vec<pb::Task> {
    let ask = pb::ListTasksRequest { parent: case.name.clone(), ..Default::default() };
    who.tasks.list_tasks(ask).await.unwrap().into_inner().tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_patient_and_provider_differ_whoever_is_accountable_asks_them() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let plan = ana.plan(&case).await;
        ana.goal(&plan, "eat well").await;
        let meals = ana.activity(&plan, "meals on wheels").await;
        activate(&world, &mut ana, plan).await;
        let meals = begun(&mut ana, meals).await;
        let mut pilar = related(&world, &case, ("pilar", "patient"), Basis::Self_, &[]).await;

        let denied = (Side::Patient, Finding::NotDelivered, "nobody came");
        let said = says(&mut pilar, &meals.name, denied).await.unwrap();
        assert!(!said.disputed, "nobody says that it was delivered");
        let [word] = &said.confirmations[..] else { panic!("{:?}", said.confirmations) };
        assert_eq!((word.recorder.as_str(), word.text.as_str()), ("pilar", "nobody came"));
        assert_eq!(word.record_time, Some(world.now().into()));
        assert!(tasks(&mut ana, &case).await.is_empty());

        let done = completed(&mut ana, said).await;
        assert!(done.disputed, "what was denied counts as done");
        let raised = tasks(&mut ana, &case).await;
        let [task] = &raised[..] else { panic!("{raised:?}") };
        assert_eq!((task.owner.as_str(), &task.focus), ("ana", &meals.name));
        let denied = (Side::Patient, Finding::NotDelivered, "still nobody");
        assert!(says(&mut pilar, &meals.name, denied).await.unwrap().disputed);
        assert_eq!(tasks(&mut ana, &case).await.len(), 1, "one dispute is one task");

        let came = (Side::Patient, Finding::Delivered, "");
        assert!(!says(&mut pilar, &meals.name, came).await.unwrap().disputed);
        let denied = (Side::Provider, Finding::NotDelivered, "the driver was ill");
        let said = says(&mut ana, &meals.name, denied).await.unwrap();
        assert!(said.disputed);
        let sides: Vec<Side> = said.confirmations.iter().map(|one| one.side()).collect();
        assert_eq!(sides, [Side::Patient, Side::Provider], "each side has one last word");
        let raised: Vec<String> =
            tasks(&mut ana, &case).await.into_iter().map(|task| task.name).collect();
        assert_eq!(raised.len(), 2);
        let heard = world.heard::<pb::DeliveryMismatch>(&meals.name).await;
        let told: Vec<String> = heard.into_iter().map(|event| event.task).collect();
        assert_eq!(told, raised);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_speaks_for_another_side_or_of_what_they_were_not_granted() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let plan = ana.plan(&case).await;
        ana.goal(&plan, "eat well").await;
        let [meals, later] =
            [ana.activity(&plan, "meals on wheels").await, ana.activity(&plan, "a walk").await];
        activate(&world, &mut ana, plan).await;
        let meals = begun(&mut ana, meals).await.name;
        let mut pilar = related(&world, &case, ("pilar", "patient"), Basis::Self_, &[]).await;
        let carer = ("rosa", "caregiver");
        let mut rosa = related(&world, &case, carer, Basis::Caregiver, &[Topic::Plan]).await;
        let carer = ("luis", "caregiver");
        let mut luis = related(&world, &case, carer, Basis::Caregiver, &[Topic::Notes]).await;
        let mut eve = world.caller("eve", "case_manager");

        let came = (Side::Patient, Finding::Delivered, "");
        says(&mut rosa, &meals, came).await.unwrap();
        for who in [&mut luis, &mut eve] {
            assert_eq!(says(who, &meals, came).await.unwrap_err().code(), Code::NotFound);
        }
        for who in [&mut pilar, &mut rosa] {
            let provided = (Side::Provider, Finding::Delivered, "");
            let refused = says(who, &meals, provided).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
        let silent = (Side::Patient, Finding::NotDelivered, "");
        let refused = says(&mut pilar, &meals, silent).await.unwrap_err();
        let details = refused.get_error_details();
        let fields = &details.bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "confirmation.text");
        let refused = says(&mut pilar, &later.name, came).await.unwrap_err();
        let reason = refused.get_error_details().error_info().unwrap().reason.clone();
        assert_eq!(reason, "NOTHING_TO_DELIVER");
    }
}
