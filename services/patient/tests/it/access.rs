//! Accesses: a patient learns who looked at their record, page by page.
use caseward_api::patient::v1 as pb;
use prost_types::FieldMask;
use tonic::Code;

use crate::world::{code, patient, sees, worlds};

#[tokio::test]
async fn a_patient_sees_who_read_their_record_latest_first() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut sue = world.caller("sue", "supervisor");
        let row = patient(&mut ana).await;
        let subject = pb::UpdatePatientRequest {
            patient: Some(pb::Patient { subject: "pat".to_owned(), ..row.clone() }),
            update_mask: Some(FieldMask { paths: vec!["subject".to_owned()] }),
            ..Default::default()
        };
        sue.update_patient(subject).await.unwrap();
        assert!(sees(&mut ana, &row.name).await);
        assert!(sees(&mut sue, &row.name).await);

        let mut pat = world.caller("pat", "patient");
        let mut request = pb::ListAccessesRequest {
            parent: row.name.clone(),
            page_size: 2,
            ..Default::default()
        };
        let mut all = vec![];
        // The reads of the log are accesses themselves, but come after the first page's.
        for _ in 0..2 {
            let page = pat.list_accesses(request.clone()).await.unwrap().into_inner();
            assert!(page.accesses.len() <= 2);
            all.extend(page.accesses);
            request.page_token = page.next_page_token;
        }
        let seen: Vec<_> = all
            .iter()
            .map(|seen| (&seen.actor[..], seen.method.rsplit('/').next().unwrap()))
            .collect();
        let expected = [
            ("sue", "GetPatient"),
            ("ana", "GetPatient"),
            ("sue", "UpdatePatient"),
            ("ana", "CreatePatient"),
        ];
        assert_eq!(seen, expected);
        assert!(all.iter().all(|seen| seen.outcome == "OK" && seen.access_time.is_some()));
        assert_eq!(all[0].role, "supervisor");

        let only = pb::ListAccessesRequest {
            parent: row.name.clone(),
            actor: "ana".to_owned(),
            ..Default::default()
        };
        let by_ana = pat.list_accesses(only.clone()).await.unwrap().into_inner().accesses;
        assert_eq!(by_ana.len(), 2, "{by_ana:?}");

        let mut bob = world.caller("bob", "case_manager");
        assert_eq!(code(bob.list_accesses(only.clone()).await), Code::NotFound);
        let mut eva = world.caller("eva", "caregiver");
        assert_eq!(code(eva.list_accesses(only.clone()).await), Code::PermissionDenied);
        let mut aud = world.caller("aud", "auditor");
        aud.list_accesses(only).await.unwrap();
    }
}
