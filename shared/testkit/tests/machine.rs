//! The databases and buses that tests stand on do what tests expect of them.
use std::{process::Command, time::Duration};

use caseward_testkit::{Program, databases, nats};
use sea_orm::{ConnectionTrait, Database};

#[tokio::test]
async fn every_database_is_empty_and_ones_own() {
    let (ours, theirs) = (databases().await, databases().await);
    for database in ours.iter().chain(&theirs) {
        let url = match database.is_sqlite() {
            true => format!("{}?mode=rwc", database.url),
            false => database.url.clone(),
        };
        let db = Database::connect(url).await.unwrap();
        db.execute_unprepared("CREATE TABLE t (id BIGINT PRIMARY KEY)").await.unwrap();
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_bus_keeps_its_streams_when_it_is_killed_and_loses_them_with_its_disk() {
    let Some(mut nats) = nats().await else { return };
    if !nats.is_own() {
        return;
    }
    let stream = async |url: &str| {
        let client = async_nats::connect(url).await.unwrap();
        let mut streams = async_nats::jetstream::new(client);
        streams.set_timeout(Duration::from_secs(5));
        streams
    };
    stream(&nats.url).await.create_stream("KEPT").await.unwrap();
    nats.stop().await;
    nats.start().await;
    stream(&nats.url).await.get_stream("KEPT").await.unwrap();
    nats.lose().await;
    nats.start().await;
    assert!(stream(&nats.url).await.get_stream("KEPT").await.is_err());
}

#[tokio::test]
async fn a_program_is_stopped_and_its_words_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo here; exec sleep 60"]);
    let program = Program::start("sleeper", command, folder.path()).unwrap();
    program.prints("here", Duration::from_secs(5)).await;
    assert!(program.is_running());
    program.signal("TERM");
    assert!(!program.exited(Duration::from_secs(5)).await.success());
    assert!(!program.is_running());
    let log = std::fs::read_to_string(folder.path().join("sleeper.log")).unwrap();
    assert_eq!(log, "here\n");
}
