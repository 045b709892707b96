//! The way of one message from its time to a channel, whatever dies on the way.
//!
//! A message is sent outside any transaction: claimed in one, sent, recorded in another. A claim that nobody
//! recorded was left by a process that died; whether the channel took the message is unknown, so it is sent
//! once more, under the same Message-ID, and never a third time.
//!
//! All of that happens in the recipient's turn (`hold.rs`): what is judged next knows what was sent before it.
use std::{sync::Arc, time::Duration};

use caseward_api::notification::v1::{delivery_attempt::Outcome, message::Suppression};
use caseward_core::{Ctx, Error, Record, Result, Time};
use caseward_events::Handler;
use caseward_server::telemetry;
use caseward_store::{Basis, Resource, Scope, Store, Tx, relation, timer};
use sea_orm::entity::prelude::*;
use tokio::sync::Notify;
use tracing::{Instrument, Span, info, warn};

use crate::{
    channel::Channel,
    hold::Hold,
    inbox,
    judge::{self, Verdict},
    mail::{self, Letter, Mailer},
    message::{self, Attempt, Column, Entity, Model, PatientName, Recipient, State},
    recipient::{Patients, Person},
    settings::Settings,
    template,
};

/// What sends messages.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) store: Store,
    pub(crate) patients: Patients,
    pub(crate) mailer: Option<Mailer>,
    pub(crate) settings: Arc<Settings>,
    /// Wakes those who watch an inbox in this process.
    pub(crate) arrived: Arc<Notify>,
}

/// Whether a message is done with for now.
#[derive(PartialEq)]
enum Step {
    Rest,
    Again,
}

/// A message goes through a handful of steps at most before it rests.
const STEPS: usize = 8;

/// What is left to write down how an attempt ended.
const RECORD: Duration = Duration::from_secs(2);

/// What is ready to be said.
#[derive(Clone)]
struct Said {
    channel: Channel,
    language: String,
    subject: String,
    body: String,
    phi_class: i32,
}

impl Delivery {
    /// Looks at a message when its time has come.
    ///
    /// All is done while no transaction waits, and each step commits by itself, so the timer has nothing left to
    /// do but go away; where a step moved it, it stays.
    pub(crate) fn handler(self: Arc<Self>) -> Handler {
        Handler::asking(
            message::DUE,
            move |ctx, timer| {
                let delivery = self.clone();
                async move { delivery.deliver(&ctx, timer.subject).await }
            },
            |_, (), _| async { Ok(()) },
        )
    }

    async fn deliver(&self, ctx: &Ctx, id: Uuid) -> Result<()> {
        let scope = self.store.read(ctx);
        let row = Entity::of(ctx).filter(Column::Id.eq(id)).one(&scope.db).await?;
        let Some(row) = row else { return Ok(()) };
        // The trace goes on where the call left it that caused the message, however long ago that was.
        let span = telemetry::resumed(&row.trace)
            .map_or_else(Span::none, |at| at.consumer("deliver message"));
        async {
            let record = Record::open(message::DUE).traced(telemetry::traceparent());
            let ctx = Ctx { record: Arc::new(record), ..ctx.clone() };
            Hold::take(&self.store, &row).await?.during(self.steps(&ctx, id)).await
        }
        .instrument(span)
        .await
    }

    async fn steps(&self, ctx: &Ctx, id: Uuid) -> Result<()> {
        for _ in 0..STEPS {
            match self.step(ctx, id).await {
                Ok(Step::Rest) => return Ok(()),
                // Somebody changed it in between: look again.
                Ok(Step::Again) | Err(Error::Stale(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unavailable("a message does not come to rest; try again"))
    }

    async fn step(&self, ctx: &Ctx, id: Uuid) -> Result<Step> {
        let scope = self.store.read(ctx);
        let row = Entity::of(ctx).filter(Column::Id.eq(id)).one(&scope.db).await?;
        let Some(mut row) = row.filter(|row| row.state.is_waiting()) else { return Ok(Step::Rest) };
        if !row.withdrawn.is_empty() {
            let withdrawn = row.withdrawn.clone();
            let end = move |tx: &Tx, row: &mut Model| row.enter(tx, State::Cancelled, &withdrawn);
            return self.change(ctx, row, end).await;
        }
        if row.expires_at <= ctx.now() {
            return self.change(ctx, row, |tx, row| row.enter(tx, State::Expired, "")).await;
        }
        // Looked at before its time, because what allowed it may have ended: nothing else is decided yet.
        let early = (row.due_at > ctx.now()).then_some(row.due_at);
        let named = template::get(&scope, row.template).await?;
        let template = match named.state {
            template::State::Approved => Some(named),
            _ => template::in_use(&scope, &row.template_key).await?,
        };
        let Some(template) = template else {
            if let Some(due) = early {
                return self.wait(ctx, row, due).await;
            }
            return self.suppress(ctx, row, Suppression::TemplateNotApproved).await;
        };
        row.template = template.id;
        let person = self.person(&scope, &row).await?;
        let verdict =
            judge::judge(&scope, &self.settings, self.mailer.is_some(), &row, &template, &person)
                .await?;
        if let Some(due) = early
            && !matches!(verdict, Verdict::Suppress(why) if judge::is_withdrawn(why))
        {
            return self.wait(ctx, row, due).await;
        }
        match verdict {
            Verdict::Suppress(_) if person.unknown => {
                self.suppress(ctx, row, Suppression::NoAddress).await
            }
            Verdict::Suppress(why) => self.suppress(ctx, row, why).await,
            Verdict::Hold(until) => self.hold(ctx, row, until).await,
            Verdict::Wait(until) => self.wait(ctx, row, until).await,
            Verdict::Fail => {
                let done =
                    self.change(ctx, row, |tx, row| row.enter(tx, State::HardFailed, "")).await;
                warn!(message = %id, "a message reached nobody; a person has to make contact");
                done
            }
            Verdict::Tell(variant) => {
                let (subject, body) =
                    template.render(variant, &row.variables.0, &self.settings.portal)?;
                let said = Said {
                    channel: variant.channel,
                    language: variant.language.clone(),
                    phi_class: template.phi_of(variant),
                    subject,
                    body,
                };
                match (said.channel, person.subject, person.email, &self.mailer) {
                    (Channel::Inbox, Some(owner), _, _) => self.put(ctx, row, said, owner).await,
                    (Channel::Email, _, Some(to), Some(mailer)) => {
                        self.mail(ctx, mailer, row, said, &to).await
                    }
                    _ => Err(Error::internal("a channel without an address was chosen")),
                }
            }
        }
    }

    /// What is known of the recipient. Whom an event tells by how they sign in, it tells because it is their work; whom
    /// a caller names like that may be a patient, or close to one, and is judged by their own record then.
    async fn person(&self, scope: &Scope, row: &Model) -> Result<Person> {
        let (ctx, to) = (&scope.ctx, row.to()?);
        if let Recipient::Subject(subject) = &to
            && row.event_key.is_none()
        {
            let about = row.patient.map(|patient| patient.uuid());
            if let Some(patient) = about {
                let name = PatientName::from(patient).to_string();
                if let Some(them) = self.patients.known_as(ctx, &name, subject).await? {
                    return self.patients.person(ctx, &them).await;
                }
                let held = relation::between(scope, subject, patient).await?;
                if held.iter().any(|one| one.basis == Basis::Team) {
                    return self.patients.person(ctx, &to).await;
                }
            }
            for patient in relation::cared_for(scope, subject).await? {
                let name = PatientName::from(patient).to_string();
                if let Some(them) = self.patients.known_as(ctx, &name, subject).await? {
                    let person = self.patients.person(ctx, &them).await?;
                    return Ok(Person { unknown: true, ..person });
                }
            }
        }
        self.patients.person(ctx, &to).await
    }

    /// Changes a waiting message in one transaction, and tells of it.
    async fn change<F>(&self, ctx: &Ctx, row: Model, with: F) -> Result<Step>
    where
        F: Fn(&Tx, &mut Model) -> Result<()> + Clone + Send + Sync + 'static,
    {
        let change = move |tx: Tx| {
            let (mut row, with) = (row.clone(), with.clone());
            async move {
                with(&tx, &mut row)?;
                let row = caseward_store::update::<Entity>(&tx, row).await?;
                message::emit(&tx, &row);
                Ok(())
            }
        };
        self.store.task(ctx, change).await?;
        Ok(Step::Rest)
    }

    async fn suppress(&self, ctx: &Ctx, row: Model, why: Suppression) -> Result<Step> {
        self.change(ctx, row, move |tx, row| {
            checked(tx, row)?;
            row.suppression = why.into();
            row.enter(tx, State::Suppressed, why.as_str_name())
        })
        .await
    }

    /// Puts a message off until somebody may be disturbed.
    async fn hold(&self, ctx: &Ctx, row: Model, until: Time) -> Result<Step> {
        let again = until.min(row.expires_at);
        let hold = move |tx: Tx| {
            let mut row = row.clone();
            async move {
                checked(&tx, &mut row)?;
                row.due_at = until;
                // Nobody works on what a process left that died, so until then it can be cancelled like any other.
                row.interrupted |= row.claimed_at.take().is_some();
                if row.state != State::Scheduled {
                    row.enter(&tx, State::Scheduled, "QUIET_HOURS")?;
                }
                let row = caseward_store::update::<Entity>(&tx, row).await?;
                message::emit(&tx, &row);
                timer::set(&tx, message::DUE, row.id.uuid(), again).await
            }
        };
        self.store.task(ctx, hold).await?;
        Ok(Step::Rest)
    }

    /// Comes back when the next attempt may be made.
    async fn wait(&self, ctx: &Ctx, row: Model, until: Time) -> Result<Step> {
        let (id, again) = (row.id.uuid(), until.min(row.expires_at));
        let wait = move |tx: Tx| async move { timer::set(&tx, message::DUE, id, again).await };
        self.store.task(ctx, wait).await?;
        Ok(Step::Rest)
    }

    /// The inbox is ours, so sending is part of the transaction.
    async fn put(&self, ctx: &Ctx, row: Model, said: Said, owner: String) -> Result<Step> {
        let put = move |tx: Tx| {
            let (mut row, said, owner) = (row.clone(), said.clone(), owner.clone());
            async move {
                queued(&tx, &mut row)?;
                accepted(&mut row, said, tx.ctx.now());
                row.enter(&tx, State::Sent, "")?;
                let mut row = caseward_store::update::<Entity>(&tx, row).await?;
                message::emit(&tx, &row);
                inbox::put(&tx, &owner, &row).await?;
                row.enter(&tx, State::Delivered, "")?;
                let row = caseward_store::update::<Entity>(&tx, row).await?;
                message::emit(&tx, &row);
                Ok(())
            }
        };
        self.store.task(ctx, put).await?;
        self.arrived.notify_waiters();
        Ok(Step::Rest)
    }

    async fn mail(
        &self,
        ctx: &Ctx,
        mailer: &Mailer,
        row: Model,
        said: Said,
        to: &str,
    ) -> Result<Step> {
        // Whoever waited long for their turn would be stopped half way, and leave what a process leaves that died.
        if ctx.left() < mailer.at_most() + RECORD {
            return Err(Error::Unavailable("too little time is left to send a message; try again"));
        }
        let id = row.id.uuid();
        if row.claimed_at.is_some() {
            warn!(message = %id, again = !row.interrupted, "a process died while it sent a message");
        }
        let outcome = if row.is_lost() {
            Outcome::Unreachable
        } else {
            self.claim(ctx, &row).await?;
            // An address the mail system cannot write down is no address.
            match to.parse() {
                Err(_) => Outcome::BadAddress,
                Ok(address) => {
                    let to = lettre::message::Mailbox::new(None, address);
                    let (subject, body) = (said.subject.clone(), said.body.clone());
                    mailer.send(Letter { id, to, subject, body }).await
                }
            }
        };
        info!(message = %id, outcome = outcome.as_str_name(), "an email was tried");
        self.record(ctx, id, said, outcome, row.is_lost()).await
    }

    async fn claim(&self, ctx: &Ctx, row: &Model) -> Result<()> {
        let row = row.clone();
        let claim = move |tx: Tx| {
            let mut row = row.clone();
            async move {
                queued(&tx, &mut row)?;
                row.interrupted |= row.claimed_at.is_some();
                row.claimed_at = Some(tx.ctx.now());
                caseward_store::update::<Entity>(&tx, row).await?;
                Ok(())
            }
        };
        self.store.task(ctx, claim).await
    }

    /// Writes down how an attempt ended. Nobody else touches a claimed message, but to withdraw it.
    async fn record(
        &self,
        ctx: &Ctx,
        id: Uuid,
        said: Said,
        outcome: Outcome,
        give_up: bool,
    ) -> Result<Step> {
        let most = self.settings.attempts;
        let random = Uuid::now_v7().as_bytes()[15];
        let record = move |tx: Tx| {
            let said = said.clone();
            async move {
                let select = Entity::of(&tx.ctx).filter(Column::Id.eq(id));
                let Some(mut row) = select.one(&tx.db).await? else { return Ok(()) };
                row.claimed_at = None;
                let give_up = give_up || !row.withdrawn.is_empty();
                if outcome == Outcome::Accepted {
                    accepted(&mut row, said, tx.ctx.now());
                    row.enter(&tx, State::Sent, "")?;
                } else {
                    let (at, channel) = (tx.ctx.now(), said.channel);
                    let tries = row.tries(channel) + 1;
                    let retryable = mail::is_retryable(outcome) && tries < most && !give_up;
                    let next = retryable.then(|| at + mail::wait(outcome, tries, random));
                    let next = next.filter(|next| *next < row.expires_at);
                    row.attempted(Attempt {
                        at,
                        channel,
                        outcome: outcome.into(),
                        retryable,
                        next,
                    });
                    row.enter(&tx, State::SoftFailed, outcome.as_str_name())?;
                    if let Some(next) = next {
                        timer::set(&tx, message::DUE, id, next).await?;
                    }
                }
                let row = caseward_store::update::<Entity>(&tx, row).await?;
                message::emit(&tx, &row);
                Ok(())
            }
        };
        // An attempt that is not recorded looks like one whose process died, and would be made again.
        while let Err(error) = self.store.task(ctx, record.clone()).await {
            if !matches!(error, Error::Stale(_)) {
                return Err(error);
            }
        }
        // Where no further attempt is planned, another channel or the end is next.
        Ok(if outcome == Outcome::Accepted { Step::Rest } else { Step::Again })
    }
}

fn checked(tx: &Tx, row: &mut Model) -> Result<()> {
    if row.state == State::Drafted {
        row.enter(tx, State::Checked, "")?;
    }
    Ok(())
}

fn queued(tx: &Tx, row: &mut Model) -> Result<()> {
    checked(tx, row)?;
    if row.state != State::Queued {
        row.enter(tx, State::Queued, "")?;
    }
    Ok(())
}

fn accepted(row: &mut Model, said: Said, at: Time) {
    let Said { channel, language, subject, body, phi_class } = said;
    let outcome = Outcome::Accepted.into();
    row.attempted(Attempt { at, channel, outcome, retryable: false, next: None });
    row.channel = Some(caseward_api::notification::v1::Channel::from(channel).into());
    row.sent_at = Some(at);
    row.language = language;
    row.phi_class = phi_class;
    row.subject = subject;
    row.body = body;
}
