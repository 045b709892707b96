//! How long a caller waits: read strictly, bounded, carried on.
use std::time::{Duration, Instant};

use caseward_core::{Error, Result};
use http::{HeaderMap, HeaderValue};

/// Where the caller says nothing.
pub(crate) const DEFAULT: Duration = Duration::from_secs(5);

/// The longest a unary call may take.
const CAP: Duration = Duration::from_secs(30);

/// The longest a stream may stay open; its reader resumes from its last token.
const STREAM: Duration = Duration::from_secs(30 * 60);

/// What is kept back for the way home when a deadline is carried to a peer.
const MARGIN: Duration = Duration::from_millis(5);

/// Where gRPC says it.
pub const HEADER: &str = "grpc-timeout";

/// When the caller of these headers stops waiting.
pub fn of(headers: &HeaderMap, streams: bool) -> Result<Instant> {
    let mut values = headers.get_all(HEADER).iter();
    let (default, cap) = if streams { (STREAM, STREAM) } else { (DEFAULT, CAP) };
    let wanted = match (values.next(), values.next()) {
        (None, _) => default,
        (Some(value), None) => parse(value).ok_or_else(malformed)?,
        (Some(_), Some(_)) => return Err(malformed()),
    };
    Ok(Instant::now() + wanted.min(cap))
}

/// Tells a peer how long is left.
pub fn carry(headers: &mut HeaderMap, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
    let millis = left.as_millis().min(99_999_999);
    if let Ok(value) = HeaderValue::try_from(format!("{millis}m")) {
        headers.insert(HEADER, value);
    }
}

/// Takes what was spent from the time that the headers grant; false where none is left.
pub(crate) fn spend(headers: &mut HeaderMap, spent: Duration) -> bool {
    let Some(granted) = headers.get(HEADER).and_then(parse) else { return true };
    let left = granted.saturating_sub(spent);
    carry(headers, Instant::now() + left);
    left > MARGIN
}

/// One to eight digits and a unit, as the gRPC protocol has it.
pub fn parse(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

fn malformed() -> Error {
    Error::invalid("grpc-timeout", "wants one to eight digits and one of H M S m u n, once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_protocols_own_spelling_is_a_deadline() {
        let parse = |text: &'static str| parse(&HeaderValue::from_static(text));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "m", "-1S", "1.5S", "123456789S", "5s", "5 S", "S5"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn two_deadlines_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_static("1S"));
        headers.append(HEADER, HeaderValue::from_static("2S"));
        assert!(of(&headers, false).is_err());
    }
}
