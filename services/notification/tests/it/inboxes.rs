//! Inboxes: whose they are, and streams that lose nothing.
use std::time::Duration;

use caseward_api::notification::v1::{self as pb, message::State, recipient::Who};
use caseward_testkit::databases;
use tonic::{Code, Streaming};

use crate::suite::Suite;

const BOB: &str = "bob/case_manager";

fn bob() -> Who {
    Who::Subject("bob".to_owned())
}

#[tokio::test]
async fn an_inbox_is_its_owners_only() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let sent = suite.told(bob(), &[]).await;
        assert_eq!(sent.state(), State::Delivered);
        let [item] = &suite.inbox(BOB).await[..] else { panic!("one item") };
        assert_eq!((item.sequence, &item.message), (1, &sent.name));
        assert!(item.name.starts_with("inboxes/bob/items/"));

        let peek =
            pb::ListInboxItemsRequest { parent: "inboxes/bob".to_owned(), ..Default::default() };
        let peek = suite.by("sue/supervisor", peek);
        assert_eq!(
            suite.inboxes().list_inbox_items(peek).await.unwrap_err().code(),
            Code::NotFound
        );
        let mark = pb::MarkReadRequest {
            name: item.name.clone(),
            etag: item.etag.clone(),
            ..Default::default()
        };
        let other = suite.inboxes().mark_read(suite.by("sue/supervisor", mark.clone())).await;
        assert_eq!(other.unwrap_err().code(), Code::NotFound);

        let read = suite.inboxes().mark_read(suite.by(BOB, mark)).await.unwrap().into_inner();
        assert!(read.read_time.is_some());
        assert_eq!(suite.get(&sent.name).await.state(), State::Read);
    }
}

#[tokio::test]
async fn supervisors_share_an_inbox_that_nobody_else_sees() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let supervisors = || Who::Role("supervisor".to_owned());
        let sent = suite.told(supervisors(), &[]).await;
        assert_eq!(sent.state(), State::Delivered);
        assert_eq!(sent.recipient.unwrap().who, Some(supervisors()));
        let [item] = &suite.shared().await[..] else { panic!("one item") };
        assert!(item.name.starts_with("inboxes/supervisors/items/"));
        assert!(suite.inbox("sue/supervisor").await.is_empty(), "it is in nobody's own");

        let peek = || pb::ListInboxItemsRequest {
            parent: "inboxes/supervisors".to_owned(),
            ..Default::default()
        };
        let mark = pb::MarkReadRequest {
            name: item.name.clone(),
            etag: item.etag.clone(),
            ..Default::default()
        };
        // Nor does whoever signs in under the name by which it is kept.
        for other in [BOB, "role:supervisor/case_manager"] {
            let peeked = suite.inboxes().list_inbox_items(suite.by(other, peek())).await;
            assert_eq!(peeked.unwrap_err().code(), Code::NotFound, "{other}");
            let marked = suite.inboxes().mark_read(suite.by(other, mark.clone())).await;
            assert_eq!(marked.unwrap_err().code(), Code::NotFound, "{other}");
        }
        let own = pb::ListInboxItemsRequest { parent: "inboxes/me".to_owned(), ..peek() };
        let own = suite.by("role:supervisor/case_manager", own);
        let own = suite.inboxes().list_inbox_items(own).await;
        assert_eq!(own.unwrap_err().code(), Code::NotFound);

        let watch = pb::WatchInboxRequest {
            name: "inboxes/supervisors".to_owned(),
            resume_token: String::new(),
        };
        let watch = suite.by("sue/supervisor", watch);
        let mut watch = suite.inboxes().watch_inbox(watch).await.unwrap().into_inner();
        suite.send_with(supervisors(), &[], |message| message.purpose = purpose()).await;
        suite.settle().await;
        assert_eq!(next(&mut watch).await.sequence, 2);

        let read = suite.by("sue/supervisor", mark);
        assert!(suite.inboxes().mark_read(read).await.unwrap().into_inner().read_time.is_some());
        assert_eq!(suite.get(&sent.name).await.state(), State::Read, "for all of them");

        let message = pb::Message {
            recipient: Some(pb::Recipient { who: Some(Who::Role("patient".to_owned())) }),
            purpose: "hello".to_owned(),
            template: suite.template("check-your-plan").await.name,
            ..Default::default()
        };
        let ask = pb::SendMessageRequest { message: Some(message), ..Default::default() };
        let refused = suite.messages().send_message(suite.by(crate::suite::ANA, ask)).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "no other role has one");
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_it_ended() {
    for database in databases().await {
        let suite = Suite::start(database).await;
        let mut watch = open(&suite, "").await;
        for _ in 0..3 {
            suite.send_with(bob(), &[], |message| message.purpose = purpose()).await;
        }
        suite.settle().await;
        let first = next(&mut watch).await;
        let second = next(&mut watch).await;
        assert_eq!((first.sequence, second.sequence), (1, 2));
        drop(watch);
        suite.send_with(bob(), &[], |message| message.purpose = purpose()).await;
        suite.settle().await;
        let mut watch = open(&suite, &second.resume_token).await;
        assert_eq!(next(&mut watch).await.sequence, 3);
        assert_eq!(next(&mut watch).await.sequence, 4);
        // What arrives while nobody asks is there, too.
        suite.send_with(bob(), &[], |message| message.purpose = purpose()).await;
        assert_eq!(next(&mut watch).await.sequence, 5);
        let ask =
            pb::WatchInboxRequest { name: "inboxes/me".to_owned(), resume_token: "?".to_owned() };
        let error = suite.inboxes().watch_inbox(suite.by(BOB, ask)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
}

/// Each message for a purpose of its own, or the second would be a duplicate of the first.
fn purpose() -> String {
    format!("p-{}", uuid::Uuid::now_v7())
}

async fn open(suite: &Suite, resume_token: &str) -> Streaming<pb::InboxItem> {
    let ask = pb::WatchInboxRequest {
        name: "inboxes/bob".to_owned(),
        resume_token: resume_token.to_owned(),
    };
    suite.inboxes().watch_inbox(suite.by(BOB, ask)).await.unwrap().into_inner()
}

async fn next(watch: &mut Streaming<pb::InboxItem>) -> pb::InboxItem {
    let item = tokio::time::timeout(Duration::from_secs(10), watch.message());
    item.await.unwrap().unwrap().unwrap()
}
