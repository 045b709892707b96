//! Where postal codes are, for records that do not say where they are: from a gazetteer that the operator names.
use std::{collections::BTreeMap, fs::File, io::Read, path::Path, sync::OnceLock};

use anyhow::Context;
use flate2::read::GzDecoder;

use crate::{parts::Position, term};

/// The middles of the areas by code. One gazetteer serves every directory of a process; the first that is read stands.
static MIDDLES: OnceLock<BTreeMap<u32, Position>> = OnceLock::new();

/// Reads a gazetteer: lines of code, latitude, longitude, such as the ZIP Code Tabulation Areas of the U.S. Census
/// Bureau; gzip where the name says so. Lines of another form, such as a header, are passed over.
pub fn read(gazetteer: &Path) -> anyhow::Result<()> {
    let file = File::open(gazetteer).context("opening directory.postal_codes")?;
    let mut lines = String::new();
    match gazetteer.extension() {
        Some(ending) if ending == "gz" => GzDecoder::new(file).read_to_string(&mut lines),
        _ => (&file).read_to_string(&mut lines),
    }
    .context("reading directory.postal_codes")?;
    let middles: BTreeMap<u32, Position> = lines.lines().filter_map(middle_of_line).collect();
    anyhow::ensure!(
        !middles.is_empty(),
        "directory.postal_codes holds no line of code, latitude, longitude"
    );
    let _ = MIDDLES.set(middles);
    Ok(())
}

/// The middle of a postal code of 5 or 9 digits, with or without a dash; only the first five count.
///
/// A code of post boxes is no area. It is where the code next to it is, of those that share its first three digits:
/// they are sorted at one place, and a city's codes follow each other.
pub fn middle(postal_code: &str) -> Option<Position> {
    let digits = term::digits(postal_code);
    let code = digits.get(..5).filter(|_| matches!(digits.len(), 5 | 9))?;
    let code: u32 = code.parse().ok()?;
    let first = code / 100 * 100;
    let middles = MIDDLES.get()?;
    let below = middles.range(first..=code).next_back();
    let above = middles.range(code..first + 100).next();
    let next = below.into_iter().chain(above).min_by_key(|(near, _)| near.abs_diff(code));
    next.map(|(_, middle)| *middle)
}

fn middle_of_line(line: &str) -> Option<(u32, Position)> {
    let (code, position) = line.split_once(',')?;
    let (latitude, longitude) = position.split_once(',')?;
    let (latitude, longitude) = (latitude.parse().ok()?, longitude.parse().ok()?);
    Some((code.parse().ok()?, Position { latitude, longitude }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_known_by_its_code_however_it_is_written() {
        let file = std::env::temp_dir().join(format!("caseward-postal-{}.csv", std::process::id()));
        std::fs::write(
            &file,
            "zip,latitude,longitude\n06473,41.3817,-72.8588\n02108,42.3576,-71.0651\n",
        )
        .unwrap();
        read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let quay = middle("06473").unwrap();
        assert_eq!(middle("06473-2129"), Some(quay));
        assert_eq!(middle("064732129"), Some(quay));
        assert_eq!(middle("02101"), middle("02108"), "post boxes in Boston");
        for unknown in ["", "0647", "00000", "K1A 0B1", "064732"] {
            assert_eq!(middle(unknown), None);
        }
    }
}
