//! References in all their forms, and the keys under which resources are found by them.
use aws_lc_rs::digest::{SHA256, digest};
use caseward_api::types::v1::Identifier;
use serde_json::Value;
use uuid::Uuid;

use crate::node::Node;

/// The system of identifiers that are URIs themselves (FHIR `urn:ietf:rfc:3986`).
pub const URI_SYSTEM: &str = "urn:ietf:rfc:3986";

/// The system of identifiers that we make of a resource's type and id, where these are all it has.
///
/// The value is `Type/id`, or `source/Type/id` where the import was told the name of its source. Ids are unique
/// within one server only, so sources whose ids are plain words or numbers want a name each.
pub const SOURCE_SYSTEM: &str = "https://caseward.dev/fhir/id";

/// The system of identifiers of parts that have no identity of their own in FHIR, such as a member of a care team.
/// The value is the identifier of the whole, `#`, and the place of the part.
pub const PART_SYSTEM: &str = "https://caseward.dev/fhir/part";

/// The system of identifiers that we make of what a resource says, where it has no identity at all. The value is
/// the type and the SHA-256 of the JSON without white space.
pub const CONTENT_SYSTEM: &str = "https://caseward.dev/fhir/content";

/// What a resource can be found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A URI of its own: `urn:uuid:…` or the address on a server.
    Uri(String),
    /// Type and id on whatever server it came from.
    Local(String, String),
    /// A business identifier within a type.
    Business(String, String, String),
}

/// What a reference says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A resource within the same resource.
    Contained(String),
    /// A resource of its own, by the keys it may be found under, the surest first.
    Keys(Vec<Key>),
}

impl Key {
    /// The identifier that a resource with this key carries in our services.
    pub(crate) fn identifier(&self, source: &str) -> Identifier {
        let (system, value) = match self {
            Key::Uri(uri) => (URI_SYSTEM, uri.clone()),
            Key::Local(kind, id) if source.is_empty() => (SOURCE_SYSTEM, format!("{kind}/{id}")),
            Key::Local(kind, id) => (SOURCE_SYSTEM, format!("{source}/{kind}/{id}")),
            Key::Business(_, system, value) => (&**system, value.clone()),
        };
        Identifier { system: system.to_owned(), value }
    }

    /// The key of a type and an id. An id that is a UUID is unique everywhere, whatever the server calls it.
    pub(crate) fn local(resource_type: &str, id: &str) -> Key {
        match uuid(id) {
            Some(uuid) => Key::Uri(uuid),
            None => Key::Local(resource_type.to_owned(), id.to_owned()),
        }
    }

    /// The keys of a URI: itself, and the type and id that the address of a server ends with.
    pub(crate) fn of_uri(uri: &str) -> Vec<Key> {
        if let Some(id) = uri.strip_prefix("urn:uuid:") {
            return vec![Key::Uri(uuid(id).unwrap_or_else(|| uri.to_owned()))];
        }
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return vec![Key::Uri(uri.to_owned())];
        }
        let address = uri.split_once("/_history/").map_or(uri, |(address, _)| address);
        let mut keys = vec![Key::Uri(address.to_owned())];
        let mut parts = address.rsplit('/');
        if let (Some(id), Some(resource_type)) = (parts.next(), parts.next())
            && resource_type.starts_with(|c: char| c.is_ascii_uppercase())
        {
            keys.push(Key::local(resource_type, id));
        }
        keys
    }
}

/// The identifier of a resource that has none: what it says.
pub(crate) fn of_content(resource_type: &str, json: &Value) -> Identifier {
    let hash = digest(&SHA256, json.to_string().as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Identifier { system: CONTENT_SYSTEM.to_owned(), value: format!("{resource_type}/{hash}") }
}

/// `urn:uuid:` and the UUID in lower case, where the id is one in its usual form.
fn uuid(id: &str) -> Option<String> {
    let uuid = Uuid::try_parse(id).ok().filter(|_| id.len() == 36)?;
    Some(format!("urn:uuid:{uuid}"))
}

impl Reference {
    /// The reference at a place, or nothing where it refers to nothing that can be found.
    /// `expected` is the type it should have, for references by identifier alone.
    pub(crate) fn at(node: &Node<'_>, expected: &str) -> Option<Reference> {
        let text = node.text("reference", 2000);
        if text.is_empty() {
            let identifier = node.get("identifier")?;
            let (system, value) = (identifier.text("system", 200), identifier.text("value", 200));
            if system.is_empty() || value.is_empty() {
                return None;
            }
            let kind = Some(node.text("type", 64)).filter(|kind| !kind.is_empty());
            let kind = kind.unwrap_or_else(|| expected.to_owned());
            return Some(Reference::Keys(vec![Key::Business(kind, system, value)]));
        }
        let reference = Reference::parse(&text);
        if reference.is_none() {
            node.warn("is a reference of a form that is not understood; left out");
        }
        reference
    }

    /// Understands the text of a reference.
    pub(crate) fn parse(text: &str) -> Option<Reference> {
        if let Some(id) = text.strip_prefix('#') {
            return Some(Reference::Contained(id.to_owned()));
        }
        if text.starts_with("urn:") || text.contains("://") && !text.contains('?') {
            return Some(Reference::Keys(Key::of_uri(text)));
        }
        if let Some((resource_type, query)) = text.split_once('?') {
            let resource_type = resource_type.rsplit('/').next()?;
            let token = query.split('&').find_map(|part| part.strip_prefix("identifier="))?;
            let token = percent_decoded(token)?;
            let (system, value) = token.split_once('|')?;
            let key = Key::Business(resource_type.into(), system.into(), value.into());
            return Some(Reference::Keys(vec![key]));
        }
        let local = text.split_once("/_history/").map_or(text, |(local, _)| local);
        let (resource_type, id) = local.split_once('/')?;
        let plain = !id.is_empty() && !id.contains('/') && !resource_type.is_empty();
        plain.then(|| Reference::Keys(vec![Key::local(resource_type, id)]))
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        match byte {
            b'%' => bytes.push(u8::try_from(hex(rest.next()?)? * 16 + hex(rest.next()?)?).ok()?),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<Key> {
        match Reference::parse(text) {
            Some(Reference::Keys(keys)) => keys,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_of_reference_is_understood() {
        let uuid = "45f20e2b-0ac6-8e7f-ab90-933566654095";
        let uri = Key::Uri(format!("urn:uuid:{uuid}"));
        assert_eq!(keys(&format!("urn:uuid:{}", uuid.to_uppercase())), std::slice::from_ref(&uri));
        assert_eq!(keys(&format!("Patient/{uuid}")), [uri]);
        assert_eq!(keys("Patient/1/_history/2"), [Key::Local("Patient".into(), "1".into())]);
        let address = "https://x.org/fhir/Patient/1";
        assert_eq!(
            keys(address),
            [Key::Uri(address.into()), Key::Local("Patient".into(), "1".into())]
        );
        let business = Key::Business("Practitioner".into(), "http://npi".into(), "99".into());
        assert_eq!(keys("Practitioner?identifier=http://npi|99"), std::slice::from_ref(&business));
        assert_eq!(keys("Practitioner?identifier=http%3A%2F%2Fnpi%7C99&active=true"), [business]);
        assert_eq!(Reference::parse("#goal"), Some(Reference::Contained("goal".into())));
        for text in ["", "Patient", "Patient/", "a/b/c", "Patient?name=x", "Patient?identifier=%9"]
        {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_plain_id_is_kept_apart_by_its_source() {
        let key = Key::local("Patient", "example");
        assert_eq!(key.identifier("").value, "Patient/example");
        assert_eq!(key.identifier("us-core").value, "us-core/Patient/example");
    }
}
