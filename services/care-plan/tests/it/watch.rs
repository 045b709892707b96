//! A stream of what happens to a case tells everything once and in order, to whoever may still hear it.
use std::time::Duration;

use caseward_api::careplan::v1 as pb;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};

use crate::world::{Caller, concept, worlds};

async fn watch(who: &mut Caller, case: &pb::Case, token: &str) -> Streaming<pb::TimelineEntry> {
    let request = pb::WatchCaseRequest { name: case.name.clone(), resume_token: token.to_owned() };
    who.cases.watch_case(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<pb::TimelineEntry>) -> Result<pb::TimelineEntry, Status> {
    let entry = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
    entry.expect("within time").expect("an entry or an error ends a stream")
}

async fn add(mut who: Caller, case: String, person: String) -> pb::Member {
    let member = pb::Member { person, role: concept("Nurse"), ..Default::default() };
    let request = pb::AddMemberRequest { parent: case, member: Some(member), ..Default::default() };
    who.cases.add_member(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_cut_off_and_resumed_loses_nothing_while_many_write() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.case().await;
        let mut stream = watch(&mut ana, &case, "").await;
        let mut writing = JoinSet::new();
        for n in 0..30 {
            writing.spawn(add(ana.clone(), case.name.clone(), format!("nurse-{n}")));
        }
        let mut seen = vec![];
        while seen.len() < 30 {
            let entry = next(&mut stream).await.unwrap();
            seen.push(entry.sequence);
            if seen.len() % 7 == 0 {
                stream = watch(&mut ana, &case, &entry.resume_token).await;
            }
        }
        writing.join_all().await;
        let first = seen[0];
        assert_eq!(seen, (first..first + 30).collect::<Vec<_>>(), "each once and in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_right_to_hear_it() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.case().await;
        let member = add(ana.clone(), case.name.clone(), "ben".to_owned()).await;
        let mut ben = world.caller("ben", "care_team");
        let mut stream = watch(&mut ben, &case, "").await;
        let request =
            pb::EndMemberRequest { name: member.name, etag: member.etag, ..Default::default() };
        ana.cases.end_member(request).await.unwrap();
        let refused = next(&mut stream).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_process_and_says_to_come_back() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let case = ana.case().await;
        let mut stream = watch(&mut ana, &case, "").await;
        world.process.life.stop();
        assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_case_is_refused() {
    for world in worlds().await {
        let mut ana = world.caller("ana", "case_manager");
        let (one, other) = (ana.case().await, ana.case().await);
        let list = pb::ListTimelineRequest { parent: one.name, ..Default::default() };
        let entry = ana.cases.list_timeline(list).await.unwrap().into_inner().timeline.remove(0);
        let request = pb::WatchCaseRequest { name: other.name, resume_token: entry.resume_token };
        let refused = ana.cases.watch_case(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}
