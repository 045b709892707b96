//! Notes: who reads them before and after they are signed, and what of them never changes.
use caseward_api::{
    access::v1::{RelationChanged, relation_changed::Basis},
    careplan::v1::{self as pb, note::Class},
};
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::world::{Caller, World, worlds};

impl Caller {
    pub async fn writes(&mut self, case: &pb::Case, class: Class) -> pb::Note {
        let note =
            pb::Note { class: class.into(), text: "all is well".to_owned(), ..Default::default() };
        let parent = case.name.clone();
        let request = pb::CreateNoteRequest { parent, note: Some(note), ..Default::default() };
        self.notes.create_note(request).await.unwrap().into_inner()
    }

    pub async fn signs(&mut self, note: pb::Note) -> pb::Note {
        let request =
            pb::SignNoteRequest { name: note.name, etag: note.etag, ..Default::default() };
        self.notes.sign_note(request).await.unwrap().into_inner()
    }

    async fn reads(&mut self, note: &pb::Note) -> Result<pb::Note, Code> {
        let request = pb::GetNoteRequest { name: note.name.clone() };
        let read = self.notes.get_note(request).await;
        read.map(tonic::Response::into_inner).map_err(|refused| refused.code())
    }

    async fn adds_to(&mut self, note: &pb::Note) -> Result<pb::Note, Status> {
        let request = pb::AmendNoteRequest {
            name: note.name.clone(),
            etag: note.etag.clone(),
            text: "and the scale is there".to_owned(),
            reason: "forgotten".to_owned(),
            ..Default::default()
        };
        self.notes.amend_note(request).await.map(tonic::Response::into_inner)
    }

    /// How many entries of the history of `case` tell of `note`, of its timeline and its transitions.
    async fn told_of(&mut self, case: &pb::Case, note: &pb::Note) -> [usize; 2] {
        let (parent, page_size) = (case.name.clone(), 1000);
        let list =
            pb::ListTimelineRequest { parent: parent.clone(), page_size, ..Default::default() };
        let timeline = self.cases.list_timeline(list).await.unwrap().into_inner().timeline;
        let list = pb::ListTransitionsRequest { parent, page_size, ..Default::default() };
        let log = self.cases.list_transitions(list).await.unwrap().into_inner().transitions;
        [
            timeline.iter().filter(|entry| entry.resource == note.name).count(),
            log.iter().filter(|change| change.resource == note.name).count(),
        ]
    }
}

/// Somebody with the role of staff who is the patient of `case` and nothing else.
async fn herself(world: &World, case: &pb::Case) -> Caller {
    let source = uuid::Uuid::now_v7().to_string();
    let patient = RelationChanged {
        subject: source.clone(),
        patient: case.patient.clone(),
        basis: Basis::Self_.into(),
        revision: 1,
        source: source.clone(),
        ..Default::default()
    };
    world.tell(patient).await;
    world.caller(&source, "care_team")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_is_not_signed_is_seen_by_its_author_alone_and_stands_in_the_way_all_the_same()
{
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let mut sam = world.caller("sam", "supervisor");
        let case = ana.enrolled().await;
        let note = ana.writes(&case, Class::Progress).await;
        assert_eq!(ana.reads(&note).await.unwrap().text, "all is well");
        assert_eq!(ana.told_of(&case, &note).await, [1, 1]);
        assert_eq!(sam.reads(&note).await, Err(Code::NotFound));
        assert_eq!(sam.told_of(&case, &note).await, [0, 0]);
        let list = pb::ListNotesRequest { parent: case.name.clone(), ..Default::default() };
        assert!(sam.notes.list_notes(list).await.unwrap().into_inner().notes.is_empty());
        let list =
            pb::ListOpenObligationsRequest { parent: case.name.clone(), ..Default::default() };
        let open = sam.cases.list_open_obligations(list.clone()).await.unwrap().into_inner();
        let [open] = &open.open_obligations[..] else { panic!("one: {open:?}") };
        assert_eq!((&open.resource, open.owner.as_str()), (&note.name, "ana"));

        let mut pat = herself(&world, &case).await;
        let open = pat.cases.list_open_obligations(list).await.unwrap().into_inner();
        assert!(open.open_obligations.is_empty(), "what staff have to write is theirs");

        let note = ana.signs(note).await;
        assert_eq!(sam.reads(&note).await.unwrap().text, "all is well");
        assert_eq!(sam.told_of(&case, &note).await, [2, 2]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_for_supervision_the_patient_does_not_see_nor_why_it_was_added_to() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let note = ana.writes(&case, Class::Supervision).await;
        let note = ana.signs(note).await;
        let note = ana.adds_to(&note).await.unwrap();
        let mut pat = herself(&world, &case).await;
        assert_eq!(pat.reads(&note).await, Err(Code::NotFound));
        assert_eq!(pat.told_of(&case, &note).await, [0, 0]);
        let progress = ana.writes(&case, Class::Progress).await;
        let progress = ana.signs(progress).await;
        pat.reads(&progress).await.unwrap();
        let mut sam = world.caller("sam", "supervisor");
        sam.reads(&note).await.unwrap();
        assert_eq!(sam.told_of(&case, &note).await, [3, 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_stays_of_its_kind_and_is_added_to_twenty_times_at_most() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.enrolled().await;
        let note = ana.writes(&case, Class::Progress).await;
        let request = pb::UpdateNoteRequest {
            note: Some(pb::Note { class: Class::Supervision.into(), ..note.clone() }),
            update_mask: Some(FieldMask { paths: vec!["class".to_owned()] }),
            ..Default::default()
        };
        let refused = ana.notes.update_note(request).await.unwrap_err();
        assert_eq!(
            refused.get_details_bad_request().unwrap().field_violations[0].field,
            "note.class"
        );
        let mut note = ana.signs(note).await;
        for _ in 0..20 {
            note = ana.adds_to(&note).await.unwrap();
        }
        let refused = ana.adds_to(&note).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "TOO_MANY_ADDENDA");
    }
}
