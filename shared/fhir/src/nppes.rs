//! The NPPES file of CMS: everybody in the United States who has an NPI, read by the names of its columns.
//!
//! The file has had 329 columns, then 330, and longer values since its second version; names of columns stayed, so
//! order and number mean nothing here. It is read row by row: the full one has gigabytes.
mod row;

use std::{io::Read, sync::Arc};

use csv::ByteRecord;
use row::{Columns, Provider, Row};

use crate::{
    Batch, Failure, Place, Report, Sink,
    node::{Note, Notes},
    report::{End, Site},
};

/// The system of National Provider Identifiers.
pub const NPI_SYSTEM: &str = "http://hl7.org/fhir/sid/us-npi";

/// How many rows are sent at once.
const ROWS: usize = 200;

/// Imports an NPPES file into the directory. `file` is what reports call it.
pub async fn import_nppes<S: Sink + Send>(
    file: &str,
    reader: impl Read + Send,
    sink: &mut S,
    report: &mut Report,
) -> Result<(), S::Error> {
    let file: Arc<str> = file.into();
    let mut csv = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
    let columns = match csv
        .byte_headers()
        .map_err(|_| "is not a CSV file".to_owned())
        .and_then(Columns::of)
    {
        Ok(columns) => columns,
        Err(reason) => {
            report.failures.push(Failure::of_file(&file, reason));
            return Ok(());
        }
    };
    let mut organizations = Waiting::new("Organization");
    let mut practitioners = Waiting::new("Practitioner");
    let mut record = ByteRecord::new();
    let mut done = 0;
    loop {
        let read = csv.read_byte_record(&mut record);
        let line = record.position().map_or(0, |at| at.line());
        let place = Place::line(usize::try_from(line).unwrap_or(usize::MAX));
        let site = Site { file: file.clone(), entry: place.to_string() };
        match read {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                let reason =
                    if error.is_io_error() { "cannot be read to its end" } else { "is not CSV" };
                let notes = Notes::default();
                notes
                    .failures
                    .borrow_mut()
                    .push(Note { path: String::new(), reason: reason.to_owned() });
                report.note(&site, notes);
                // What cannot be read any more would fail in the same way for ever.
                break;
            }
        }
        let row = Row { columns: &columns, record: &record, notes: Notes::default() };
        let provider = row.provider();
        let clean = row.notes.is_clean();
        report.note(&site, row.notes);
        match provider {
            Some(Provider::Organization(one)) if clean => organizations.rows.push((site, *one)),
            Some(Provider::Practitioner(one)) if clean => practitioners.rows.push((site, *one)),
            Some(Provider::Organization(_)) => report.count("Organization", End::Failed, 1),
            Some(Provider::Practitioner(_)) => report.count("Practitioner", End::Failed, 1),
            // A row that only says that an NPI is no longer used has no type.
            None => report.count("Provider", if clean { End::Ignored } else { End::Failed }, 1),
        }
        organizations.send(ROWS, Batch::Organizations, sink, report).await?;
        practitioners.send(ROWS, Batch::Practitioners, sink, report).await?;
        done += 1;
        // How many there are is not known before the end.
        sink.progress(done, 0);
    }
    organizations.send(1, Batch::Organizations, sink, report).await?;
    practitioners.send(1, Batch::Practitioners, sink, report).await
}

/// Rows that are read and not yet sent.
struct Waiting<P> {
    resource_type: &'static str,
    rows: Vec<(Site, P)>,
}

impl<P> Waiting<P> {
    fn new(resource_type: &'static str) -> Self {
        Waiting { resource_type, rows: vec![] }
    }

    /// Sends the rows, if there are enough.
    async fn send<S: Sink>(
        &mut self,
        enough: usize,
        batch: impl Fn(Vec<P>) -> Batch,
        sink: &mut S,
        report: &mut Report,
    ) -> Result<(), S::Error> {
        if self.rows.len() < enough {
            return Ok(());
        }
        let (sites, members): (Vec<Site>, Vec<P>) =
            std::mem::take(&mut self.rows).into_iter().unzip();
        let outcomes = sink.ingest(batch(members)).await?;
        for (n, site) in sites.iter().enumerate() {
            let end = outcomes.get(n).map_or(End::Failed, End::from);
            let outcome = outcomes.get(n).cloned().unwrap_or_default();
            if end == End::Failed {
                report.refused(site, self.resource_type, &outcome.violations);
            }
            report.left_out(site, self.resource_type, &outcome.left_out);
            report.count(self.resource_type, end, 1);
        }
        Ok(())
    }
}
