//! FHIR R4 JSON and the NPPES file, read into the contracts.
mod document;
mod finding;
mod moment;
mod node;
mod read;

pub use finding::{Failure, Place, Warning};
pub use read::{Entry, MAX_FILE_BYTES, Reading};
