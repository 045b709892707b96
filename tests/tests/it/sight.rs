//! Who may see what, at the tier of a pull request.
use caseward_stories::holds;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_on_every_port_refuses_whoever_has_no_right_and_tells_nothing() {
    holds("P8.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_may_what_was_reviewed_and_no_more() {
    holds("P8.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_answers_to_its_exact_path_only() {
    holds("P8.c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_of_a_caller_says_who_calls() {
    holds("P8.d").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_shows_what_a_naive_reader_would_show() {
    holds("P9.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_does_not_see_changes_no_answer() {
    holds("P9.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_tells_nothing_that_is_not_shown() {
    holds("P9.d").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_token_goes_on_with_its_own_list_for_its_own_caller_only() {
    holds("P9.e").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_a_callers_to_set_is_not_set_by_naming_it() {
    holds("P9.f").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_let_go_is_refused_everywhere_within_five_seconds() {
    holds("P11.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_told_is_on_record_when_anything_is_killed() {
    holds("P12.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_log_takes_nothing_nothing_is_told() {
    holds("P12.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_send_is_in_the_tables_made_for_it_and_nowhere_else() {
    holds("P13.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_token_is_refused_alike_at_every_service() {
    holds("P16.a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_keys_do_not_have_the_provider_asked_each_time() {
    holds("P16.b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_rotate_fail_no_call_and_are_forgotten() {
    holds("P16.c").await;
}
