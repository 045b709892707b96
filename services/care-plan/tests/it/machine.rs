//! Every verb from every state: what the model lists happens, anything else is refused with what is allowed.
use caseward_api::careplan::v1::case::State;
use tonic::Code;

use crate::{
    walk::{VERBS, Verb},
    world::worlds,
};

/// The steps of the model. Activation is left out: it asks for an assessment, and has a test of its own.
const STEPS: [(State, Verb, State); 19] = [
    (State::Identified, Verb::StartOutreach, State::Outreach),
    (State::Outreach, Verb::Enrol, State::Assessing),
    (State::Outreach, Verb::Decline, State::Declined),
    (State::Outreach, Verb::GiveUp, State::UnableToReach),
    (State::Outreach, Verb::Waitlist, State::Waitlisted),
    (State::Assessing, Verb::Waitlist, State::Waitlisted),
    (State::Waitlisted, Verb::Return, State::Outreach),
    (State::Assessing, Verb::ProposeClosure, State::Closing),
    (State::Active, Verb::Pause, State::Paused),
    (State::Active, Verb::ProposeClosure, State::Closing),
    (State::Paused, Verb::Resume, State::Active),
    (State::Paused, Verb::ProposeClosure, State::Closing),
    (State::Closing, Verb::ReturnClosure, State::Active),
    (State::Closing, Verb::Close, State::Closed),
    (State::Closed, Verb::Reopen, State::Outreach),
    (State::Declined, Verb::Reopen, State::Outreach),
    (State::UnableToReach, Verb::Reopen, State::Outreach),
    (State::Identified, Verb::EnterInError, State::EnteredInError),
    (State::Paused, Verb::EnterInError, State::EnteredInError),
];

/// The next states that a refusal names, from each state.
const ALLOWED: [(State, &str); 11] = [
    (State::Identified, "OUTREACH, ENTERED_IN_ERROR"),
    (State::Outreach, "ASSESSING, DECLINED, UNABLE_TO_REACH, WAITLISTED, ENTERED_IN_ERROR"),
    (State::Assessing, "WAITLISTED, ACTIVE, CLOSING, ENTERED_IN_ERROR"),
    (State::Active, "PAUSED, CLOSING, ENTERED_IN_ERROR"),
    (State::Paused, "ACTIVE, CLOSING, ENTERED_IN_ERROR"),
    (State::Closing, "ACTIVE, CLOSED, ENTERED_IN_ERROR"),
    (State::Closed, "OUTREACH, ENTERED_IN_ERROR"),
    (State::Waitlisted, "OUTREACH, ASSESSING, ENTERED_IN_ERROR"),
    (State::Declined, "OUTREACH, ENTERED_IN_ERROR"),
    (State::UnableToReach, "OUTREACH, ENTERED_IN_ERROR"),
    (State::EnteredInError, ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_the_model_is_taken() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        for (from, verb, to) in STEPS {
            let mut case = sam.case_in(&world, from).await;
            if verb == Verb::GiveUp {
                case = sam.attempts(case).await;
            }
            if verb == Verb::ProposeClosure {
                sam.evaluates(&case).await;
            }
            let moved = sam.does(&world, verb, &case).await;
            let moved = moved.unwrap_or_else(|refused| panic!("{verb:?} from {from:?}: {refused}"));
            assert_eq!(moved.state(), to, "{verb:?} from {from:?}");
            assert_ne!(moved.etag, case.etag);
            let open =
                matches!(to, State::Assessing | State::Active | State::Paused | State::Closing);
            assert_eq!(!moved.accountable.is_empty(), open, "{verb:?} from {from:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_step_is_refused_and_names_what_is_allowed() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        for (from, allowed) in ALLOWED {
            let case = sam.case_in(&world, from).await;
            for verb in VERBS {
                let listed = STEPS.iter().any(|step| (step.0, step.1) == (from, verb))
                    || (from, verb) == (State::Assessing, Verb::Activate)
                    || (verb == Verb::EnterInError && from != State::EnteredInError);
                if listed {
                    continue;
                }
                let refused = sam.does(&world, verb, &case).await.unwrap_err();
                assert_eq!(refused.code(), Code::FailedPrecondition, "{verb:?} from {from:?}");
                let named = format!("from there it can become: {allowed}");
                assert!(
                    refused.message().ends_with(&named),
                    "{verb:?} from {from:?}: {}",
                    refused.message()
                );
            }
            assert_eq!(sam.read(&case).await, case, "a refused step changes nothing");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_without_an_assessment_is_not_activated() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        let case = sam.case_in(&world, State::Assessing).await;
        let refused = sam.does(&world, Verb::Activate, &case).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("assessment"), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_case_returns_to_where_it_came_from() {
    for world in worlds().await {
        let mut sam = world.caller("sam", "supervisor");
        for from in [State::Outreach, State::Assessing] {
            let case = sam.case_in(&world, from).await;
            let waiting = sam.does(&world, Verb::Waitlist, &case).await.unwrap();
            assert_eq!(waiting.accountable, "");
            let back = sam.does(&world, Verb::Return, &waiting).await.unwrap();
            assert_eq!(back.state(), from);
        }
    }
}
