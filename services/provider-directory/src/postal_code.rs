//! Where the postal codes of the United States are, for records that do not say where they are.
use std::{collections::BTreeMap, io::Read, sync::LazyLock};

use flate2::read::GzDecoder;

use crate::{parts::Position, term};

/// The middles of the ZIP Code Tabulation Areas, U.S. Census Bureau, 2021 Gazetteer (public domain), to four places:
/// code, latitude, longitude.
const AREAS: &[u8] = include_bytes!("../data/us-postal-codes-2021.csv.gz");

static MIDDLES: LazyLock<BTreeMap<u32, Position>> = LazyLock::new(|| {
    let mut lines = String::new();
    if let Err(error) = GzDecoder::new(AREAS).read_to_string(&mut lines) {
        // The file is part of the program; a test reads it.
        tracing::error!(%error, "the postal codes cannot be read");
    }
    lines.lines().filter_map(middle_of_line).collect()
});

/// The middle of a postal code of 5 or 9 digits, with or without a dash; only the first five count.
///
/// A code of post boxes is no area. It is where the code next to it is, of those that share its first three digits:
/// they are sorted at one place, and a city's codes follow each other.
pub fn middle(postal_code: &str) -> Option<Position> {
    let digits = term::digits(postal_code);
    let code = digits.get(..5).filter(|_| matches!(digits.len(), 5 | 9))?;
    let code: u32 = code.parse().ok()?;
    let first = code / 100 * 100;
    let below = MIDDLES.range(first..=code).next_back();
    let above = MIDDLES.range(code..first + 100).next();
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
    fn every_area_is_known_by_its_code_however_it_is_written() {
        assert_eq!(MIDDLES.len(), 33_791);
        let quay = middle("06473").unwrap();
        assert!((quay.latitude - 41.38).abs() < 0.1 && (quay.longitude + 72.86).abs() < 0.1);
        assert_eq!(middle("06473-2129"), Some(quay));
        assert_eq!(middle("064732129"), Some(quay));
        assert_eq!(middle("02101"), middle("02108"), "post boxes in Boston");
        for unknown in ["", "0647", "00000", "K1A 0B1", "064732"] {
            assert_eq!(middle(unknown), None);
        }
    }
}
