//! Email: one attempt over SMTP, and what its failure means.
use std::time::Duration;

use anyhow::{Context, ensure};
use caseward_api::notification::v1::delivery_attempt::Outcome;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        Error as SmtpError,
        authentication::Credentials,
        client::{Certificate, Tls as ClientTls, TlsParameters},
    },
};
use tracing::{Instrument, Span, field::Empty, info_span};
use uuid::Uuid;

use crate::settings::{Smtp, Tls};

/// One letter.
pub(crate) struct Letter {
    pub(crate) id: Uuid,
    pub(crate) to: Mailbox,
    pub(crate) subject: String,
    pub(crate) body: String,
}
caseward_core::confidential!(Letter);

/// The mail server.
#[derive(Clone, Debug)]
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    at_most: Duration,
    host: String,
    port: u16,
}

impl Mailer {
    /// The server of the settings; none where no host is set.
    pub(crate) fn new(settings: &Smtp) -> anyhow::Result<Option<Mailer>> {
        if settings.host.is_empty() {
            return Ok(None);
        }
        ensure!(
            (1..=20).contains(&settings.timeout_seconds),
            "notification.smtp.timeout_seconds wants 1 to 20"
        );
        let is_here = ["localhost", "127.0.0.1", "::1"].contains(&settings.host.as_str());
        ensure!(
            settings.tls != Tls::None || is_here,
            "notification.smtp: mail leaves this machine over TLS only; set tls"
        );
        let from = settings.from.parse().context("notification.smtp.from is not a mailbox")?;
        let at_most = Duration::from_secs(settings.timeout_seconds);
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .timeout(Some(at_most))
            .tls(match settings.tls {
                Tls::None => ClientTls::None,
                Tls::Starttls => ClientTls::Required(tls(settings)?),
                Tls::Tls => ClientTls::Wrapper(tls(settings)?),
            });
        if !settings.username.is_empty() {
            ensure!(
                settings.tls != Tls::None,
                "notification.smtp: a password is sent over TLS only; set tls"
            );
            let (user, password) = (settings.username.clone(), settings.password.clone());
            transport = transport.credentials(Credentials::new(user, password));
        }
        let (transport, host, port) = (transport.build(), settings.host.clone(), settings.port);
        Ok(Some(Mailer { transport, from, at_most, host, port }))
    }

    /// How long sending may take.
    pub(crate) fn at_most(&self) -> Duration {
        self.at_most
    }

    /// Sends `letter`. Its Message-ID is the same on every attempt, so that one sent twice shows.
    pub(crate) async fn send(&self, letter: Letter) -> Outcome {
        let span = self.span(letter.id);
        let outcome = self.hand_over(letter).instrument(span.clone()).await;
        if outcome != Outcome::Accepted {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", outcome.as_str_name());
        }
        outcome
    }

    /// The span of one attempt. Neither to whom it goes nor what it says is part of it.
    fn span(&self, message: Uuid) -> Span {
        info_span!(
            "mail",
            otel.name = "send email",
            otel.kind = "client",
            otel.status_code = Empty,
            "error.type" = Empty,
            "network.protocol.name" = "smtp",
            "server.address" = self.host,
            "server.port" = self.port,
            "messaging.message.id" = %message,
        )
    }

    async fn hand_over(&self, letter: Letter) -> Outcome {
        let domain = self.from.email.domain();
        let message = Message::builder()
            .message_id(Some(format!("<{}@{domain}>", letter.id)))
            .from(self.from.clone())
            .to(letter.to)
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.body);
        let Ok(message) = message else { return Outcome::Blocked };
        // Two timeouts: the driver's is per command.
        match tokio::time::timeout(self.at_most, self.transport.send(message)).await {
            Ok(Ok(_)) => Outcome::Accepted,
            Ok(Err(error)) => outcome(&error),
            Err(_late) => Outcome::Unreachable,
        }
    }
}

fn tls(settings: &Smtp) -> anyhow::Result<TlsParameters> {
    let mut tls = TlsParameters::builder(settings.host.clone());
    if !settings.authorities.as_os_str().is_empty() {
        let pem = std::fs::read(&settings.authorities)
            .context("reading notification.smtp.authorities")?;
        tls = tls.add_root_certificate(
            Certificate::from_pem(&pem).context("in notification.smtp.authorities")?,
        );
    }
    Ok(tls.build()?)
}

/// What the server meant. The words of its answer may hold the address, so they are looked at here and go nowhere.
fn outcome(error: &SmtpError) -> Outcome {
    let Some(code) = error.status() else { return Outcome::Unreachable };
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    classify(code.into(), &said)
}

/// The basic code (RFC 5321) says whether, the enhanced one (RFC 3463) says why.
fn classify(code: u16, said: &str) -> Outcome {
    let reason = said.split_whitespace().find_map(|word| {
        let (class, rest) = word.trim_matches(|c: char| !c.is_ascii_digit()).split_once('.')?;
        ["4", "5"].contains(&class).then_some(rest)
    });
    match (code, reason) {
        // Whether we may use the server at all is ours to mend, and no fault of the address.
        (530 | 534 | 535 | 538, _) => Outcome::Unreachable,
        (_, Some("2.2")) | (452 | 552, None) => Outcome::MailboxFull,
        (400..500, Some("7.1" | "7.0" | "3.2" | "4.5")) | (421, None) => Outcome::Throttled,
        (400..500, _) => Outcome::Temporary,
        (550 | 551 | 553, None) => Outcome::BadAddress,
        (500.., Some(reason)) if reason.starts_with("1.") => Outcome::BadAddress,
        _ => Outcome::Blocked,
    }
}

/// Whether another attempt may succeed. A full mailbox that the server calls final stays full for us.
pub(crate) fn is_retryable(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Temporary | Outcome::MailboxFull | Outcome::Throttled | Outcome::Unreachable => {
            true
        }
        Outcome::Unspecified
        | Outcome::Accepted
        | Outcome::BadAddress
        | Outcome::Blocked
        | Outcome::Bounced => false,
    }
}

/// How long to wait after the `failed`th failure in a row: doubled each time up to an hour, longer where the
/// server asked for it, and spread by `random` so that those who failed together do not come back together.
pub(crate) fn wait(outcome: Outcome, failed: usize, random: u8) -> time::Duration {
    let first = match outcome {
        Outcome::MailboxFull => time::Duration::minutes(30),
        Outcome::Throttled => time::Duration::minutes(5),
        _ => time::Duration::minutes(1),
    };
    let whole = (first * (1_i32 << failed.saturating_sub(1).min(10))).min(time::Duration::hours(1));
    whole * 3 / 4 + whole / 2 * i32::from(random) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_classified_by_both_of_its_codes() {
        for (code, said, outcome) in [
            (421, "closing", Outcome::Throttled),
            (450, "4.2.1 busy", Outcome::Temporary),
            (451, "4.7.1 slow down", Outcome::Throttled),
            (452, "4.2.2 over quota", Outcome::MailboxFull),
            (550, "no such user", Outcome::BadAddress),
            (550, "(5.1.1 unknown)", Outcome::BadAddress),
            (552, "5.2.2 full", Outcome::MailboxFull),
            (550, "5.7.1 policy", Outcome::Blocked),
            (554, "no", Outcome::Blocked),
            (535, "5.7.8 who are you", Outcome::Unreachable),
        ] {
            assert_eq!(classify(code, said), outcome, "{code} {said}");
        }
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        let minute = time::Duration::minutes(1);
        assert_eq!(wait(Outcome::Temporary, 1, 0), minute * 3 / 4);
        assert!(wait(Outcome::Temporary, 4, 0) >= minute * 6);
        assert!(wait(Outcome::Throttled, 99, 255) <= time::Duration::minutes(76));
    }
}
