//! Values that nothing else looks like, and whether one of them is in a heap of bytes, however it is spelled there.
use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_STANDARD};

/// What every mark begins with. A multiple of three letters, so that each way to cut it into base64 leaves some whole.
const HEAD: &str = "Zqmarkxvj";

/// Letters that tell one mark from the others.
const TAIL: usize = 4;

/// The marks given out, each for one field of one request.
#[derive(Debug, Default)]
pub struct Marks {
    fields: Vec<String>,
    /// Values without letters, by their digits.
    digits: HashMap<String, usize>,
    hashes: HashMap<String, usize>,
}

/// A mark where it should not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub spelling: &'static str,
    /// The field it was given for, where the spelling tells.
    pub field: String,
}

impl Marks {
    /// How many were given out.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// A word for `field`.
    pub fn word(&mut self, field: &str) -> String {
        let mut n = self.fields.len();
        let mut tail = [b'0'; TAIL];
        for letter in tail.iter_mut().rev() {
            *letter = b"0123456789abcdefghijklmnopqrstuvwxyz"[n % 36];
            n /= 36;
        }
        assert_eq!(n, 0, "more marks than {TAIL} letters tell apart");
        let word = format!("{HEAD}{}", String::from_utf8_lossy(&tail));
        self.hashes.insert(hex(digest(&SHA256, word.as_bytes()).as_ref()), self.fields.len());
        self.fields.push(field.to_owned());
        word
    }

    /// A telephone number for `field`.
    pub fn phone(&mut self, field: &str) -> String {
        let number = format!("1555{:07}", 3_141_592 + self.fields.len());
        self.digits.insert(number.clone(), self.fields.len());
        self.fields.push(field.to_owned());
        format!("+{number}")
    }

    /// A day of long ago for `field`: year, month, day.
    pub fn day(&mut self, field: &str) -> (i32, u8, u8) {
        let n = self.fields.len();
        let (year, month, day) = (1851 + (n / 324) as i32 % 49, 1 + n / 27 % 12, 1 + n % 27);
        for digits in [
            format!("{year}{month:02}{day:02}"),
            format!("{month:02}{day:02}{year}"),
            format!("{day:02}{month:02}{year}"),
        ] {
            self.digits.insert(digits, n);
        }
        self.fields.push(field.to_owned());
        (year, month as u8, day as u8)
    }

    /// The marks in `heap`: as they are, in other case, in hex, in base64, backwards, as the SHA-256 of one; numbers
    /// with whatever stands between their digits. URLs and JSON leave a mark as it is.
    pub fn within(&self, heap: &[u8]) -> BTreeSet<Found> {
        let text = String::from_utf8_lossy(heap);
        let small = text.to_ascii_lowercase();
        let (head, mut found) = (HEAD.to_ascii_lowercase(), BTreeSet::new());
        let mut add = |spelling, field: Option<&String>| {
            let field = field.cloned().unwrap_or_default();
            found.insert(Found { spelling, field });
        };
        for (at, _) in small.match_indices(&head) {
            add("plain", self.named(small.get(at + head.len()..).unwrap_or_default().bytes()));
        }
        let back: String = head.chars().rev().collect();
        for (at, _) in small.match_indices(&back) {
            add("backwards", self.named(small[..at].bytes().rev()));
        }
        let coded = hex(HEAD.as_bytes());
        for (at, _) in small.match_indices(&coded) {
            let pairs = small.as_bytes()[at + coded.len()..].chunks_exact(2);
            let bytes = pairs
                .map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
            add("hex", self.named(bytes));
        }
        for cut in 0..3 {
            let whole = (HEAD.len() - cut) / 3 * 3;
            let coded = BASE64_STANDARD.encode(&HEAD.as_bytes()[cut..cut + whole]);
            text.match_indices(&coded).for_each(|_| add("base64", None));
        }
        for run in small.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() == 64) {
            if let Some(n) = self.hashes.get(run) {
                add("SHA-256", self.fields.get(*n));
            }
        }
        let between = |c: char| !c.is_ascii_digit() && !"-/. ()".contains(c);
        for run in text.split(between).filter(|run| run.len() >= 8) {
            let digits: String = run.chars().filter(char::is_ascii_digit).collect();
            if let Some(n) = self.digits.get(&digits) {
                add("digits", self.fields.get(*n));
            }
        }
        found
    }

    /// Which field the mark is of whose tail begins here.
    fn named(&self, tail: impl Iterator<Item = u8>) -> Option<&String> {
        let mut n = 0;
        for letter in tail.take(TAIL) {
            n = n * 36 + char::from(letter).to_digit(36)? as usize;
        }
        self.fields.get(n)
    }
}

/// Every spelling of a word in which it is looked for.
pub fn spellings(word: &str) -> Vec<String> {
    let coded = (0..3).map(|cut| BASE64_STANDARD.encode(format!("{}{word}", &"###"[..cut])));
    let plain = [
        word.to_owned(),
        word.to_ascii_lowercase(),
        word.to_ascii_uppercase(),
        word.chars().rev().collect(),
        hex(word.as_bytes()),
        hex(word.as_bytes()).to_ascii_uppercase(),
        hex(digest(&SHA256, word.as_bytes()).as_ref()),
        format!("%22{word}%22"),
    ];
    plain.into_iter().chain(coded).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_in_every_spelling_and_in_no_other_text() {
        let mut marks = Marks::default();
        (0..50).for_each(|_| drop(marks.word("one.field")));
        let word = marks.word("another.field");
        for spelling in spellings(&word) {
            let found = marks.within(format!("before {spelling} after").as_bytes());
            assert_eq!(found.len(), 1, "{spelling}");
            let found = found.first().unwrap();
            assert!(found.spelling == "base64" || found.field == "another.field", "{found:?}");
        }
        let (year, month, day) = marks.day("a.day");
        let phone = marks.phone("a.phone");
        for text in [
            format!("born {year}-{month:02}-{day:02}T00:00:00Z"),
            format!("{month:02}/{day:02}/{year}"),
            format!("call {} {}", &phone[..5], &phone[5..]),
        ] {
            assert_eq!(marks.within(text.as_bytes()).len(), 1, "{text}");
        }
        assert!(marks.within(b"2026-01-05T08:00:00Z 15550000000 Zqmark").is_empty());
    }
}
