//! FHIR R4 JSON and the NPPES file, read into the contracts.
//!
//! [`Reading`] reads files and folders; [`import`] sends what was read to a [`Sink`], which calls the services, and
//! fills a [`Report`]. [`import_nppes`] does so for the rows of an NPPES file. Plan-Net needs nothing of its own.
//!
//! A resource is known to the services by its business identifiers and by the address it had where it came from: its
//! full URL or its id where that is a UUID ([`URI_SYSTEM`]), else its type and id ([`SOURCE_SYSTEM`]), so that a
//! second import finds it. What has none of these is known by what it says ([`CONTENT_SYSTEM`]). Plain ids such as `example` are unique within one server only: sources that may use the
//! same ones are told apart by the `source` that [`import`] takes.
mod care_plan;
mod care_team;
mod case;
mod catalog;
mod condition;
mod consent;
mod coverage;
mod datatype;
mod document;
mod finding;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod goal;
mod import;
mod link;
mod moment;
mod node;
mod nppes;
mod organization;
mod patient;
mod plan_net;
mod practitioner;
mod questionnaire;
mod read;
mod reference;
mod report;

pub use finding::{Failure, Place, Warning};
pub use import::{Batch, Sink, import};
pub use nppes::{NPI_SYSTEM, import_nppes};
pub use read::{Entry, MAX_FILE_BYTES, Reading, unpacked};
pub use reference::{CONTENT_SYSTEM, PART_SYSTEM, SOURCE_SYSTEM, URI_SYSTEM};
pub use report::{Counts, Report};
