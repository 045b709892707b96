//! The doubles of what Caseward talks to behave as the real ones do.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]
use std::time::Duration;

use caseward_core::Clock;
use caseward_server::token::{Auth, Verifier};
use caseward_testkit::{Answer, Collector, Provider, Smtp};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use uuid::Uuid;

/// Says each line, and answers with the last line that came back to it.
async fn talk(smtp: &Smtp, lines: &[&str]) -> Vec<String> {
    let mut stream = BufReader::new(TcpStream::connect(smtp.address()).await.unwrap());
    let mut said = vec![];
    for line in [""].iter().chain(lines) {
        if !line.is_empty() {
            stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        }
        loop {
            let mut answer = String::new();
            stream.read_line(&mut answer).await.unwrap();
            if answer.get(3..4) != Some("-") {
                said.push(answer.trim_end().to_owned());
                break;
            }
        }
    }
    said
}

const MAIL: [&str; 5] = [
    "EHLO test",
    "MAIL FROM:<a@example.org>",
    "RCPT TO:<b@example.org>",
    "DATA",
    "Subject: one\r\n two\r\n\r\nhello\r\n..dot\r\n.",
];

#[tokio::test]
async fn a_mail_is_kept_as_it_was_meant() {
    let smtp = Smtp::start().await;
    talk(&smtp, &MAIL).await;
    let mails = smtp.wait_for(1, Duration::from_secs(5)).await;
    assert_eq!(
        (mails[0].from.as_str(), &mails[0].to[..]),
        ("a@example.org", &["b@example.org".to_owned()][..])
    );
    assert_eq!(mails[0].header("subject").as_deref(), Some("one two"));
    assert_eq!(mails[0].body(), "hello\n.dot\n");
}

#[tokio::test]
async fn a_mail_is_refused_where_the_server_was_told_to() {
    let smtp = Smtp::start().await;
    smtp.answer(Answer::RefuseRecipient("550 5.1.1 no such user".to_owned()));
    assert!(talk(&smtp, &MAIL[..3]).await[3].starts_with("550"));
    smtp.answer(Answer::RefuseText("451 4.3.0 try later".to_owned()));
    assert!(talk(&smtp, &MAIL).await[5].starts_with("451"));
    smtp.answer(Answer::LoseAnswer);
    assert_eq!(talk(&smtp, &MAIL).await[5], "");
    assert_eq!(smtp.mails().len(), 1);
}

#[tokio::test]
async fn a_server_with_tls_takes_nothing_in_the_clear() {
    let smtp = Smtp::start_tls().await;
    assert!(smtp.certificate().unwrap().starts_with("-----BEGIN CERTIFICATE"));
    assert!(talk(&smtp, &MAIL[..2]).await[2].starts_with("530"));
}

#[tokio::test]
async fn a_collector_keeps_what_it_is_sent() {
    let collector = Collector::start().await;
    let mut client = TraceServiceClient::connect(collector.endpoint()).await.unwrap();
    let span = Span { name: "marker".to_owned(), ..Span::default() };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let of = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    client.export(ExportTraceServiceRequest { resource_spans: vec![of] }).await.unwrap();
    let received = collector.wait_for(|all| !all.spans.is_empty(), Duration::from_secs(5)).await;
    assert_eq!(received.spans[0].1.name, "marker");
    assert!(received.holds("marker") && !received.holds("nothing"));
}

#[tokio::test]
async fn a_token_of_a_provider_is_believed_until_its_key_is_gone() {
    let (provider, data) = (Provider::start().await, tempfile::tempdir().unwrap());
    let auth = Auth { issuer: provider.issuer(), ..Auth::default() };
    let verifier = || Verifier::open(&auth, data.path()).unwrap();
    let now = Clock::System.now();
    let token = provider.token(Uuid::from_u128(1), "ana", &["case_manager"]);
    let claims = verifier().verify(&token, now).await.unwrap();
    assert_eq!((claims.subject.as_str(), claims.organization), ("ana", Uuid::from_u128(1)));
    assert_eq!(provider.asked(), 1);
    let mut bent = provider.claims(Uuid::from_u128(1), "ana", &[]);
    bent["aud"] = "another".into();
    assert!(verifier().verify(&provider.sign(&bent), now).await.is_err());
    provider.rotate();
    assert!(verifier().verify(&token, now).await.is_ok());
    provider.retire();
    assert!(verifier().verify(&token, now).await.is_err());
    provider.set_away(true);
    let fresh = provider.token(Uuid::from_u128(1), "ana", &[]);
    assert!(verifier().verify(&fresh, now).await.is_err());
}
