//! The promises about data hold at the tier of a pull request.
use caseward_stories::holds;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_write_from_one_reading_one_wins() {
    holds("P5.a").await;
}
