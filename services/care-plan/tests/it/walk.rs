//! Cases led through their states, one verb at a time.
use caseward_api::careplan::v1::{
    self as pb, case::CloseReason, case::State, evaluation::Decision,
};
use time::Duration;
use tonic::Status;

use crate::world::{Caller, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    StartOutreach,
    Enrol,
    Decline,
    GiveUp,
    Waitlist,
    Return,
    Activate,
    Pause,
    Resume,
    ProposeClosure,
    ReturnClosure,
    Close,
    Reopen,
    EnterInError,
}

pub const VERBS: [Verb; 14] = [
    Verb::StartOutreach,
    Verb::Enrol,
    Verb::Decline,
    Verb::GiveUp,
    Verb::Waitlist,
    Verb::Return,
    Verb::Activate,
    Verb::Pause,
    Verb::Resume,
    Verb::ProposeClosure,
    Verb::ReturnClosure,
    Verb::Close,
    Verb::Reopen,
    Verb::EnterInError,
];

/// A request of any verb has these; the rest of each is filled where it must be.
macro_rules! ask {
    ($caller:ident.$rpc:ident, $request:ident, $case:ident $(, $field:ident: $value:expr)*) => {
        $caller.cases.$rpc(pb::$request {
            name: $case.name.clone(),
            etag: $case.etag.clone(),
            $($field: $value,)*
            ..Default::default()
        }).await
    };
}

impl Caller {
    /// Does `verb` to `case` with everything that it needs.
    pub async fn does(
        &mut self,
        world: &World,
        verb: Verb,
        case: &pb::Case,
    ) -> Result<pb::Case, Status> {
        let me = self;
        let why = || "as it must be".to_owned();
        let reply = match verb {
            Verb::StartOutreach => ask!(me.start_outreach, StartOutreachRequest, case),
            Verb::Enrol => {
                ask!(me.enrol_case, EnrolCaseRequest, case, consent_statement: "said yes".to_owned())
            }
            Verb::Decline => ask!(me.decline_case, DeclineCaseRequest, case, reason: why()),
            Verb::GiveUp => ask!(me.mark_unable_to_reach, MarkUnableToReachRequest, case),
            Verb::Waitlist => ask!(me.waitlist_case, WaitlistCaseRequest, case, reason: why()),
            Verb::Return => ask!(me.return_from_waitlist, ReturnFromWaitlistRequest, case),
            Verb::Activate => ask!(me.activate_case, ActivateCaseRequest, case),
            Verb::Pause => {
                let back = Some((world.now() + Duration::days(30)).into());
                ask!(me.pause_case, PauseCaseRequest, case, reason: why(), expected_return_time: back)
            }
            Verb::Resume => ask!(me.resume_case, ResumeCaseRequest, case),
            Verb::ProposeClosure => {
                let reason = CloseReason::GoalsMet.into();
                ask!(me.propose_closure, ProposeClosureRequest, case, close_reason: reason)
            }
            Verb::ReturnClosure => {
                ask!(me.return_closure, ReturnClosureRequest, case, reason: why())
            }
            Verb::Close => ask!(me.close_case, CloseCaseRequest, case, waiver: why()),
            Verb::Reopen => ask!(me.reopen_case, ReopenCaseRequest, case, reason: why()),
            Verb::EnterInError => {
                let request = pb::MarkCaseEnteredInErrorRequest {
                    name: case.name.clone(),
                    etag: case.etag.clone(),
                    reason: why(),
                    ..Default::default()
                };
                me.cases.mark_case_entered_in_error(request).await
            }
        };
        reply.map(tonic::Response::into_inner)
    }

    /// Three attempts that reach nobody.
    pub async fn attempts(&mut self, mut case: pb::Case) -> pb::Case {
        for _ in 0..3 {
            let attempt = pb::ContactAttempt {
                mode: pb::ContactMode::Phone.into(),
                outcome: pb::contact_attempt::Outcome::NoAnswer.into(),
                ..Default::default()
            };
            let request = pb::RecordContactAttemptRequest {
                name: case.name,
                etag: case.etag,
                attempt: Some(attempt),
                ..Default::default()
            };
            case = self.cases.record_contact_attempt(request).await.unwrap().into_inner();
        }
        case
    }

    pub async fn evaluates(&mut self, case: &pb::Case) {
        let evaluation = pb::Evaluation {
            summary: "goes well".to_owned(),
            decision: Decision::Close.into(),
            ..Default::default()
        };
        let request = pb::CreateEvaluationRequest {
            parent: case.name.clone(),
            evaluation: Some(evaluation),
            ..Default::default()
        };
        self.notes.create_evaluation(request).await.unwrap();
    }

    /// A new case, led to `state`. Only a supervisor may go every way.
    pub async fn case_in(&mut self, world: &World, state: State) -> pb::Case {
        use Verb::{
            Close, Decline, Enrol, EnterInError, GiveUp, Pause, ProposeClosure, ReturnClosure,
            StartOutreach, Waitlist,
        };
        let way: &[Verb] = match state {
            State::Unspecified => panic!("no case is there"),
            State::Identified => &[],
            State::Outreach => &[StartOutreach],
            State::Assessing => &[StartOutreach, Enrol],
            State::Closing => &[StartOutreach, Enrol, ProposeClosure],
            State::Active => &[StartOutreach, Enrol, ProposeClosure, ReturnClosure],
            State::Paused => &[StartOutreach, Enrol, ProposeClosure, ReturnClosure, Pause],
            State::Closed => &[StartOutreach, Enrol, ProposeClosure, Close],
            State::Waitlisted => &[StartOutreach, Waitlist],
            State::Declined => &[StartOutreach, Decline],
            State::UnableToReach => &[StartOutreach, GiveUp],
            State::EnteredInError => &[EnterInError],
        };
        let mut case = self.case().await;
        for verb in way {
            match verb {
                GiveUp => case = self.attempts(case).await,
                ProposeClosure => self.evaluates(&case).await,
                _ => {}
            }
            case = self.does(world, *verb, &case).await.unwrap();
        }
        assert_eq!(case.state(), state);
        case
    }
}
