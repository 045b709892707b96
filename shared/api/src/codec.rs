//! How messages are read: a request that would take many times its bytes is refused before it does.
use prost::{
    Message, Name,
    bytes::Buf,
    encoding::{WireType, decode_key, decode_varint},
};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a request may take once it is read. Two bytes can be an empty part of some hundred, so a message of 4 MiB could
/// take half a gigabyte.
const MOST: usize = 32 << 20;

/// A message of fewer bytes is not weighed: it could not take [`MOST`].
const SMALL: usize = 64 << 10;

/// What a text takes beside its bytes.
const TEXT: usize = size_of::<String>();

/// How deep prost reads.
const DEPTH: usize = 100;

/// A kind of message that a request is or holds.
struct Kind {
    name: &'static str,
    size: usize,
    /// The numbers of the fields that hold messages, each with the place of its kind in [`KINDS`].
    inner: &'static [(u32, usize)],
}

/// Every kind, by name.
static KINDS: &[Kind] = include!(concat!(env!("OUT_DIR"), "/kinds.rs"));

/// prost's own codec, which weighs requests before it reads them.
pub(crate) struct Weighing<T, U>(ProstCodec<T, U>);

impl<T, U> Default for Weighing<T, U> {
    fn default() -> Self {
        Weighing(ProstCodec::default())
    }
}

impl<T, U> Codec for Weighing<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Reader<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Reader(self.0.decoder())
    }
}

pub(crate) struct Reader<U>(ProstDecoder<U>);

impl<U: Message + Name + Default> Decoder for Reader<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // All of the message is in one piece.
        if buf.remaining() > SMALL && too_heavy(&U::full_name(), buf.chunk()) {
            return Err(Status::resource_exhausted(
                "the message has too many parts: read, it would take more than 32 MiB",
            ));
        }
        self.0.decode(buf)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Whether `message`, of the kind of this name, would take more than [`MOST`]. An answer that no request holds, such as a
/// page, is of no kind here: who asks a peer takes what it says.
fn too_heavy(name: &str, message: &[u8]) -> bool {
    let kind = KINDS.binary_search_by_key(&name, |kind| kind.name).ok();
    kind.is_some_and(|kind| weigh(&KINDS[kind], message, MOST, DEPTH).is_none())
}

/// What is left of `most` when `message` was read. What is malformed weighs what comes before: reading it ends there.
fn weigh(kind: &Kind, mut message: &[u8], mut most: usize, depth: usize) -> Option<usize> {
    while let Ok((number, wire)) = decode_key(&mut message) {
        let length = match wire {
            WireType::Varint if decode_varint(&mut message).is_ok() => continue,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => match decode_varint(&mut message) {
                Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
                Err(_) => break,
            },
            // Groups hold nothing that a contract of ours knows.
            WireType::StartGroup | WireType::EndGroup => continue,
            WireType::Varint => break,
        };
        let Some((field, rest)) = message.split_at_checked(length) else { break };
        message = rest;
        if wire != WireType::LengthDelimited {
            continue;
        }
        let inner = kind.inner.binary_search_by_key(&number, |(number, _)| *number).ok();
        most = match inner.map(|inner| &KINDS[kind.inner[inner].1]) {
            Some(_) if depth == 0 => break,
            Some(inner) => weigh(inner, field, most.checked_sub(inner.size)?, depth - 1)?,
            None => most.checked_sub(TEXT + field.len())?,
        };
    }
    Some(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        patient::v1::{CreatePatientRequest, Patient},
        types::v1::HumanName,
    };

    fn named(names: usize, given: usize) -> CreatePatientRequest {
        let given = vec![String::new(); given];
        let names = vec![HumanName { given, ..Default::default() }; names];
        let patient = Patient { names, ..Default::default() };
        CreatePatientRequest { patient: Some(patient), ..Default::default() }
    }

    fn is_too_heavy(request: &CreatePatientRequest) -> bool {
        too_heavy(&CreatePatientRequest::full_name(), &request.encode_to_vec())
    }

    #[test]
    fn what_would_take_too_much_is_not_read() {
        let fit = MOST / size_of::<HumanName>() - 10;
        assert!(!is_too_heavy(&named(fit, 0)));
        assert!(is_too_heavy(&named(fit + 10, 0)), "empty parts");
        assert!(!is_too_heavy(&named(1, MOST / TEXT - 100)));
        assert!(is_too_heavy(&named(1, MOST / TEXT)), "empty texts");
    }

    #[test]
    fn a_kind_is_known_by_its_name_and_what_it_takes() {
        assert!(KINDS.is_sorted_by_key(|kind| kind.name));
        let kind = |name: &str| KINDS.iter().find(|kind| kind.name == name).unwrap();
        assert_eq!(kind("caseward.patient.v1.Patient").size, size_of::<Patient>());
        assert!(KINDS.iter().all(|kind| kind.inner.is_sorted()));
        let largest = KINDS.iter().map(|kind| kind.size).max().unwrap();
        assert!(
            SMALL / 2 * largest <= MOST,
            "what is not weighed could take {}",
            SMALL / 2 * largest
        );
    }

    #[test]
    fn what_is_malformed_is_left_to_the_reader() {
        for bytes in [&b"\x0a\xff"[..], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xff"] {
            assert!(!too_heavy(&CreatePatientRequest::full_name(), bytes));
        }
        let deep = [[0x0a, 0x7f].repeat(1_000), [0x0a, 0x00].repeat(1_000)].concat();
        assert!(!too_heavy(&CreatePatientRequest::full_name(), &deep));
    }
}
