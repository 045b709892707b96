//! What the edge of a process withstands. Called by `tests/fuzz`, and here by a few inputs.
use std::{fs, path::PathBuf, sync::LazyLock, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

pub use crate::token::fuzz::{key_set, token};
use crate::{deadline, settings::Layers, telemetry, token::bearer};

/// Headers mean what they say or are refused. An input is lines of `name: value`.
pub fn metadata(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(colon) = line.windows(2).position(|two| two == b": ") else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 2..]))
        {
            headers.append(name, value);
        }
    }
    let given: Vec<_> = headers.get_all(deadline::HEADER).iter().cloned().collect();
    for value in &given {
        let spelled = spelled(value.as_bytes());
        assert_eq!(deadline::parse(value), spelled, "a deadline has one spelling");
    }
    for streams in [false, true] {
        let good = given.is_empty() || given.len() == 1 && spelled(given[0].as_bytes()).is_some();
        match deadline::of(&headers, streams) {
            Ok(until) => {
                assert!(good);
                let mut onward = HeaderMap::new();
                deadline::carry(&mut onward, until);
                let left = onward.get(deadline::HEADER).and_then(deadline::parse);
                let most = Duration::from_secs(if streams { 30 * 60 } else { 30 });
                assert!(left.is_some_and(|left| left <= most), "a deadline is carried on, bounded");
            }
            Err(_) => assert!(!good),
        }
    }
    if let Ok(token) = bearer(&headers) {
        let only = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let only: Vec<_> = only.collect();
        assert_eq!(only, [format!("Bearer {token}").as_bytes()], "one header names one token");
    }
    let _ = telemetry::sampled(&headers);
}

/// The grammar of the gRPC protocol, said a second time.
fn spelled(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let nanos: u128 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    if digits.is_empty() || digits.len() > 8 || digits.iter().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    let number = digits.iter().fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    let whole = number * nanos;
    Some(Duration::new((whole / 1_000_000_000) as u64, (whole % 1_000_000_000) as u32))
}

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("caseward-fuzz-settings-{}.toml", std::process::id()))
});

/// A file of settings is read or refused, whatever is in it, and what is shown of it hides what is secret.
pub fn settings(input: &[u8]) {
    fs::write(&*FILE, input).expect("a file of settings");
    let Ok(layers) = Layers::load(Some(&FILE), &[]) else { return };
    let common = layers.common();
    if let Ok(common) = &common {
        let _ = (common.clock(), common.telemetry(), common.check(([10, 0, 0, 1], 443).into()));
        for name in ["patient", "care_plan", "directory", "notification"] {
            let _ = common.peer(name);
        }
    }
    let shown = layers.effective().expect("settings that were read can be shown");
    hidden(&shown);
    let again = layers.with("log.level", "error").and_then(|layers| layers.common());
    assert!(again.is_ok() || common.is_err(), "a flag that is right spoils nothing");
}

fn hidden(shown: &serde_json::Value) {
    for (key, value) in shown.as_object().into_iter().flatten() {
        if key.contains("password") || key.contains("secret") {
            let text = value.as_str().unwrap_or("********");
            assert!(text.is_empty() || text == "********", "a secret is shown");
        }
        hidden(value);
    }
}

#[cfg(test)]
mod tests {
    use caseward_testkit::fuzz::few;

    #[test]
    fn headers_mean_what_they_say_or_are_refused() {
        few("metadata", 2000, super::metadata);
    }

    #[test]
    fn no_text_is_a_token_but_the_one_that_was_signed() {
        few("token", 2000, super::token);
    }

    #[test]
    fn a_document_of_keys_vouches_for_no_token_of_another_key() {
        few("key_set", 2000, super::key_set);
    }

    #[test]
    fn a_file_of_settings_is_read_or_refused() {
        few("settings", 100, super::settings);
    }
}
