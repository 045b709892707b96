//! What the reading of events withstands. Called by `tests/fuzz`, and here by a few inputs.
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};
use caseward_api::patient::v1::PatientCreated;
use prost::Name;

use crate::{Event, jetstream, trace};

/// A message is an event that is carried on as it came, or none at all. An input is lines of `name: value`, an empty
/// line, and the payload.
pub fn event(input: &[u8]) {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, payload) = end.map_or((input, &[][..]), |at| (&input[..at], &input[at + 2..]));
    let mut headers = HeaderMap::new();
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            headers.append(name, value);
        }
    }
    let message = |headers, payload: &[u8]| Message {
        subject: PatientCreated::full_name().into(),
        reply: None,
        payload: payload.to_vec().into(),
        headers: Some(headers),
        status: None,
        description: None,
        length: 0,
    };
    let Some(event) = jetstream::event(&message(headers, payload)) else { return };
    let mut carried = jetstream::headers(&event);
    carried.insert(async_nats::header::NATS_MESSAGE_ID, event.id.to_string());
    assert_eq!(jetstream::event(&message(carried, payload)).as_ref(), Some(&event));
    // Whenever it says that it happened, that can be shown.
    let _ = event.occurred_at.to_string();
    let _ = trace::consume("fuzz", "fuzz", &event);
    if let Ok(Some(read)) = event.decode::<PatientCreated>() {
        let payload = prost::Message::encode_to_vec(&read).into();
        let again = Event { payload, ..event }.decode::<PatientCreated>().ok().flatten();
        assert_eq!(again, Some(read));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_is_an_event_as_it_was_sent_or_none() {
        caseward_testkit::fuzz::few("event", 2000, super::event);
    }
}
