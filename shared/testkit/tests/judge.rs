//! What judges a suite sees what it should: the proxy harms as it says, the history knows what was promised.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails it by panicking")]
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use caseward_testkit::{
    History, Outcome, Proxy, Toxic, Way,
    history::{self, Intent},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::Status;

/// Long enough that what comes at all has come.
const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

/// Says back what it hears.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn through() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    (proxy, stream)
}

async fn ask(stream: &mut TcpStream, what: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(what).await?;
    hear(stream, what.len()).await
}

async fn hear(stream: &mut TcpStream, bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut answer = vec![0; bytes];
    timeout(LONG, stream.read_exact(&mut answer)).await.unwrap()?;
    Ok(answer)
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(SOON, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn what_is_late_comes_late() {
    let (proxy, mut stream) = through().await;
    proxy.set(Way::Back, Toxic::Latency(SOON, SOON * 2));
    let began = Instant::now();
    assert_eq!(ask(&mut stream, b"late").await.unwrap(), b"late");
    assert!(began.elapsed() >= SOON);
}

#[tokio::test]
async fn what_stalls_comes_when_healed_and_what_goes_half_open_never_does() {
    let (proxy, mut stream) = through().await;
    proxy.set(Way::There, Toxic::Stall);
    stream.write_all(b"one").await.unwrap();
    assert!(is_silent(&mut stream).await);
    proxy.heal();
    assert_eq!(hear(&mut stream, 3).await.unwrap(), b"one");
    proxy.set(Way::Back, Toxic::HalfOpen);
    stream.write_all(b"two").await.unwrap();
    assert!(is_silent(&mut stream).await);
    proxy.heal();
    assert_eq!(ask(&mut stream, b"three").await.unwrap(), b"three");
}

#[tokio::test]
async fn a_limit_lets_so_many_bytes_pass_and_resets() {
    let (proxy, mut stream) = through().await;
    proxy.set(Way::Back, Toxic::Limit(3));
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(hear(&mut stream, 3).await.unwrap(), b"hel");
    let end = timeout(LONG, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(proxy.limited(), 1);
}

#[tokio::test]
async fn slices_add_up_to_what_was_sent() {
    let (proxy, mut stream) = through().await;
    proxy.set(Way::There, Toxic::Slice(1, Duration::from_millis(1)));
    let text = b"a sentence that comes in many small pieces";
    let began = Instant::now();
    assert_eq!(ask(&mut stream, text).await.unwrap(), text);
    assert!(began.elapsed() >= Duration::from_millis(text.len() as u64 - 1));
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_refusal_what_comes() {
    let (proxy, mut stream) = through().await;
    proxy.cut();
    let end = timeout(LONG, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    proxy.refuse(true);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(ask(&mut refused, b"hello").await.is_err());
    proxy.heal();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    assert_eq!(proxy.connections(), 3);
}

#[test]
fn a_history_keeps_what_was_told_and_counts_what_nobody_knows() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::create(&folder.path().join("history"), 7).unwrap();
    let ok = Outcome::of(&Ok("patients/1"), |name| (*name).to_owned());
    let refused = Outcome::of::<()>(&Err(Status::invalid_argument("wrong")), |()| String::new());
    let unknown = Outcome::of::<()>(&Err(Status::unavailable("gone")), |()| String::new());
    for outcome in [&unknown, &ok, &ok] {
        history.begin("ana", "create", "one").end(outcome);
    }
    history.begin("ana", "create", "two").end(&refused);
    // A client that was killed says no more.
    drop(history.begin("ana", "create", "three"));
    let one = Intent { told: vec!["patients/1".to_owned(); 2], refused: 0, unknown: 1 };
    let two = Intent { refused: 1, ..Default::default() };
    let three = Intent { unknown: 1, ..Default::default() };
    let expected = [("one", one), ("two", two), ("three", three)];
    let expected: BTreeMap<_, _> = expected.map(|(key, intent)| (key.to_owned(), intent)).into();
    assert_eq!(history.intents().unwrap(), expected);
}

#[test]
fn the_judge_sees_each_way_in_which_a_state_can_be_wrong() {
    let told = |told: &[&str]| Intent {
        told: told.iter().map(|told| (*told).to_owned()).collect(),
        ..Default::default()
    };
    let refused = Intent { refused: 1, ..Default::default() };
    let unknown = Intent { unknown: 1, ..Default::default() };
    for (intent, times, wrong) in [
        (told(&["a"]), 1, ""),
        (told(&["a"]), 0, "is lost"),
        (told(&["a"]), 2, "there 2 times"),
        (told(&["a", "b"]), 1, "in different ways"),
        (refused.clone(), 0, ""),
        (refused, 1, "was refused and is there"),
        (unknown.clone(), 0, ""),
        (unknown.clone(), 1, ""),
        (unknown, 2, "there 2 times"),
    ] {
        let intents = [("key".to_owned(), intent)].into();
        let found = [("key".to_owned(), times)].into();
        let all = history::judge(&intents, &found).join("; ");
        assert!(all.contains(wrong) && all.is_empty() == wrong.is_empty(), "{wrong:?}: {all}");
    }
    let strange = history::judge(&BTreeMap::new(), &[("key".to_owned(), 1)].into());
    assert_eq!(strange, ["key is there and nobody asked for it"]);
}
