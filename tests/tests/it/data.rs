//! The promises about data hold at the tier of a pull request.
use caseward_stories::holds;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_write_from_one_reading_one_wins() {
    holds("P5.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    holds("P1.a").await;
}
