//! Whether a message may be sent now, and over which channel: asked each time one is about to be.
use caseward_api::{notification::v1::message::Suppression, patient::v1::caregiver_scope::Topic};
use caseward_core::{Result, Time};
use caseward_store::Scope;
use time::Duration;

use crate::{
    channel::Channel,
    message::{self, Model, Recipient},
    quiet::Hours,
    recipient::Person,
    settings::Settings,
    shipped,
    template::{self, FALLBACK, Variant},
};

/// What becomes of a message.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    /// It must not be sent.
    Suppress(Suppression),
    /// Nobody is to be disturbed before this time.
    Hold(Time),
    /// A channel that failed is tried again at this time.
    Wait(Time),
    /// No channel is left that did not fail.
    Fail,
    /// To be said like this.
    Tell(&'a Variant),
}

pub(crate) async fn judge<'a>(
    scope: &Scope,
    settings: &Settings,
    has_mail: bool,
    row: &Model,
    template: &'a template::Model,
    person: &Person,
) -> Result<Verdict<'a>> {
    let now = scope.ctx.now();
    if !person.exists {
        return Ok(Verdict::Suppress(Suppression::NoAddress));
    }
    if person.deceased {
        return Ok(Verdict::Suppress(Suppression::Deceased));
    }
    if message::is_duplicate(scope, row).await? {
        return Ok(Verdict::Suppress(Suppression::Duplicate));
    }
    let mut failed = false;
    let mut refused = Suppression::NoAddress;
    for channel in ladder(row)? {
        if row.is_spent(channel) {
            failed = true;
            continue;
        }
        // Whether they want to hear is said before whether they heard enough.
        let allowed = match allowed(has_mail, row, template, person, channel, now) {
            Ok(_) if channel.disturbs() && is_over(scope, settings, row).await? => {
                Err(Suppression::CapReached)
            }
            allowed => allowed,
        };
        match allowed {
            // What is more telling than a missing address is said.
            Err(why) if refused == Suppression::NoAddress => refused = why,
            Err(_) => {}
            Ok(variant) => {
                let last = row.attempts.0.last().filter(|last| last.channel == channel);
                if let Some(next) = last.and_then(|last| last.next).filter(|next| *next > now) {
                    return Ok(Verdict::Wait(next));
                }
                return Ok(match quiet(settings, person, channel, now) {
                    // Of what is lost nothing more is sent that could disturb.
                    Some(until) if !row.is_lost() => Verdict::Hold(until),
                    _ => Verdict::Tell(variant),
                });
            }
        }
    }
    Ok(if failed { Verdict::Fail } else { Verdict::Suppress(refused) })
}

/// Whether somebody, or death, ended what allowed it: no time to come makes it right again.
pub(crate) fn is_withdrawn(why: Suppression) -> bool {
    match why {
        Suppression::OptedOut
        | Suppression::NoConsent
        | Suppression::OutOfScope
        | Suppression::Deceased => true,
        Suppression::Unspecified
        | Suppression::Duplicate
        | Suppression::CapReached
        | Suppression::PhiNotAllowed
        | Suppression::NoAddress
        | Suppression::TemplateNotApproved => false,
    }
}

/// The channels in the order they are tried.
fn ladder(row: &Model) -> Result<Vec<Channel>> {
    if !row.channels.0.is_empty() {
        return Ok(row.channels.0.clone());
    }
    Ok(match row.to()? {
        Recipient::Subject(_) | Recipient::Supervisors => vec![Channel::Inbox],
        Recipient::Patient(_) | Recipient::RelatedPerson(_) => vec![Channel::Email, Channel::Inbox],
    })
}

/// The text that `channel` may carry to `person`, or why there is none.
fn allowed<'a>(
    has_mail: bool,
    row: &Model,
    template: &'a template::Model,
    person: &Person,
    channel: Channel,
    now: Time,
) -> Result<&'a Variant, Suppression> {
    if channel.is_in(&person.opted_out) {
        return Err(Suppression::OptedOut);
    }
    if !person.consents_to(channel, now) {
        return Err(Suppression::NoConsent);
    }
    if !person.in_scope(topic(&row.template_key), channel) {
        return Err(Suppression::OutOfScope);
    }
    let has_address = match channel {
        Channel::Inbox => person.subject.is_some(),
        Channel::Email => has_mail && person.email.is_some(),
        Channel::Sms => false,
    };
    if !has_address {
        return Err(Suppression::NoAddress);
    }
    let languages = person.languages.iter().map(String::as_str).chain([FALLBACK]);
    let variant = best(template, channel, languages).ok_or(Suppression::NoAddress)?;
    if template.may_carry(variant) { Ok(variant) } else { Err(Suppression::PhiNotAllowed) }
}

/// The text in the first language that there is one in, English last.
fn best<'a, 'l>(
    template: &'a template::Model,
    channel: Channel,
    languages: impl Iterator<Item = &'l str>,
) -> Option<&'a Variant> {
    let mut fallback = None;
    for language in languages {
        let found = template.variant(channel, language)?;
        let is_theirs = found.language.split('-').next().is_some_and(|base| {
            language.split('-').next().is_some_and(|wanted| wanted.eq_ignore_ascii_case(base))
        });
        if is_theirs {
            return Some(found);
        }
        fallback.get_or_insert(found);
    }
    fallback
}

/// Which part of the record a caregiver must be allowed to hear of.
pub(crate) fn topic(template_key: &str) -> Topic {
    match template_key {
        shipped::PLAN_ACTIVATED | shipped::CHECK_PLAN => Topic::Plan,
        _ => Topic::Messages,
    }
}

async fn is_over(scope: &Scope, settings: &Settings, row: &Model) -> Result<bool> {
    let now = scope.ctx.now();
    let day = message::disturbed(scope, &row.recipient, now - Duration::days(1)).await?;
    let week = message::disturbed(scope, &row.recipient, now - Duration::days(7)).await?;
    Ok(day >= settings.per_day || week >= settings.per_week)
}

fn quiet(settings: &Settings, person: &Person, channel: Channel, now: Time) -> Option<Time> {
    if !channel.disturbs() {
        return None;
    }
    let (start, end) =
        person.quiet.as_ref().map_or(
            (settings.quiet_start.as_str(), settings.quiet_end.as_str()),
            |(start, end)| (start.as_str(), end.as_str()),
        );
    let theirs = Hours::parse(&person.zone, start, end);
    theirs.or_else(|| Hours::parse(&settings.time_zone, start, end))?.until(now)
}
