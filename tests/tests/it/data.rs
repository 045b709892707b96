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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_leave_at_any_moment_leave_nothing_half_done() {
    holds("P2.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_whose_deadline_passes_at_any_moment_leave_nothing_half_done() {
    holds("P2.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_id_acts_once_however_many_send_it_and_wherever() {
    holds("P4.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_used_otherwise_is_refused_or_independent() {
    holds("P4.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_was_lost_is_answered_when_it_is_sent_again() {
    holds("P4.c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_and_all_that_tells_of_it_are_there_together_or_not_at_all() {
    holds("P6").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_turns_pages_while_others_write_sees_each_record_once() {
    holds("P5.c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_have_one_effect_in_order_whatever_is_killed_on_their_way() {
    holds("P7.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_again_under_whatever_id_has_one_effect() {
    holds("P7.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_poisoned_event_only_its_own_resource_waits() {
    holds("P7.d").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_transaction_commits_late_is_not_passed_over() {
    holds("P7.e").await;
}
