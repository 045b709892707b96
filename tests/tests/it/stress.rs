//! The promises about stress, at the tier of a pull request.
use caseward_stories::holds;
use caseward_testkit::{Database, nats};

/// Whether this machine can run a cluster; where it cannot, that is said, or fails where it must.
async fn has_cluster() -> bool {
    Database::postgres().await.is_some() && nats().await.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_kept_though_what_is_behind_is_frozen() {
    if has_cluster().await {
        holds("P19.a").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_is_spelled_as_the_protocol_has_it_or_refused() {
    holds("P19.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_or_gives_nothing_is_not_waited_for() {
    holds("P19.c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_too_many_calls_some_are_turned_away_and_the_others_served() {
    holds("P20.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_and_calls_again_at_once_takes_nothing_from_those_who_wait() {
    holds("P20.f").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_in_trouble_is_asked_no_more_often_than_callers_ask() {
    holds("P20.c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_need_a_part_goes_on_without_it() {
    if has_cluster().await {
        holds("P21.a").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_by_one_and_no_call_fails() {
    if has_cluster().await {
        holds("P22.a").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_ends_in_time_however_rude_its_clients_are() {
    holds("P22.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_told_to_end_while_it_starts_ends_and_starts_clean() {
    holds("P22.c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_are_ended_or_borne_and_nobody_else_notices() {
    holds("P23.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_do_nothing_keep_nobody_out() {
    holds("P23.c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_out_of_bounds_is_its_senders_fault_and_costs_nothing() {
    holds("P23.d").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_loses_nothing() {
    holds("P24.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_handles_who_is_connected_goes_on() {
    holds("P24.b").await;
}
