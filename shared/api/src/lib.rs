//! The contracts of Caseward, generated from `/proto`: messages, clients, servers and descriptors. No logic, but how
//! much of a request is read.
mod codec;

/// Every file of `/proto` with its imports, options and comments, as a `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same without comments, which are most of it.
pub const SHAPES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shapes.bin"));

#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_debug_implementations,
    unreachable_pub,
    reason = "generated code is judged by its generator"
)]
mod contracts {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}

/// Has a message print its name alone, so that nobody's health is read in a log, and a value what it is called.
macro_rules! shown {
    (message $message:path, $name:literal) => {
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    };
    (value $value:path) => {
        impl std::fmt::Debug for $value {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str_name())
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/shown.rs"));

/// What the contracts say of one method.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The gRPC path.
    pub path: &'static str,
    /// The full name of the service.
    pub service: &'static str,
    /// The permission a caller must hold.
    pub permission: &'static str,
    /// Whether patient data is read or written.
    pub phi: bool,
    /// Whether the method changes something.
    pub mutates: bool,
    /// Whether the answer is a stream.
    pub streams: bool,
    /// The number of the request's field that makes a repetition one with the first, where it has one.
    pub request_id: Option<u32>,
}

/// Every method of every contract.
pub const METHODS: &[Method] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// A request that changes something, and may be sent again under the same id (AIP-155).
pub trait Mutation: prost::Message {
    /// The id of the request, or nothing.
    fn request_id(&self) -> &str;
}

/// A request that moves one resource to another state (AIP-136).
pub trait Verb: Mutation {
    /// The resource.
    fn name(&self) -> &str;
    /// The version the caller saw.
    fn etag(&self) -> &str;
    /// Why, where the request has room for it.
    fn reason(&self) -> &str;
}

/// A request for one page of a list (AIP-158).
pub trait Paged: prost::Message + Sized {
    /// How many at most; 0 leaves it to the server.
    fn page_size(&self) -> i32;
    /// Where the page before ended.
    fn page_token(&self) -> &str;
    /// The list that is paged: the request without its page.
    fn query(&self) -> Self;
}

include!(concat!(env!("OUT_DIR"), "/requests.rs"));

pub use contracts::{
    caseward::{access, audit, careplan, directory, notification, patient, r#type as types},
    google,
};

#[cfg(test)]
mod tests {
    use super::{
        notification::v1::{Recipient, recipient::Who},
        patient::v1::{Patient, patient::State},
    };

    #[test]
    fn a_message_prints_nothing_that_it_holds() {
        let patient =
            Patient { subject: "ada".into(), time_zone: "UTC".into(), ..Default::default() };
        assert_eq!(format!("{patient:?}"), "Patient { .. }");
        let recipient = Recipient { who: Some(Who::Patient("patients/ada".into())) };
        assert_eq!(
            format!("{recipient:?} {:?}", recipient.who),
            "Recipient { .. } Some(Who { .. })"
        );
        assert_eq!(format!("{:?}", State::Active), "STATE_ACTIVE");
    }
}
