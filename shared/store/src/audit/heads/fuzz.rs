//! A file of heads that somebody had their hands in.
use std::{fs, path::PathBuf, sync::LazyLock};

use super::*;

/// A file as it was written, the keys that count, and what each part of it from the beginning says.
struct Written {
    path: PathBuf,
    text: Vec<u8>,
    keys: Keys,
    says: Vec<Heads>,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("caseward-fuzz-heads-{}", std::process::id()));
    let (path, key) = (folder.join("heads.jsonl"), folder.join("audit.key"));
    let _ = fs::remove_dir_all(&folder);
    let log = HeadLog::open(&path, &key).expect("a new file of heads");
    let keys = Keys::read(&key.with_extension("pub")).expect("its public key");
    let (mut previous, mut says) = (vec![], vec![Heads::default()]);
    for number in 1..=4 {
        let head = |n: u128| Head {
            chain: Uuid::from_u128(n),
            seq: number as i64 * 3,
            hash: vec![number as u8; 32],
        };
        let statement = Statement {
            service: "patient".to_owned(),
            at: Time::from_micros(1_767_600_000_000_000 + number as i64).to_string(),
            exporter: Uuid::from_u128(9),
            number,
            previous,
            all: number == 1,
            own: vec![head(1)],
            found: if number == 1 { vec![head(2)] } else { vec![] },
        };
        previous = log.append(statement).expect("a statement is written");
        let read = Heads::read(std::slice::from_ref(&path), &keys).expect("and read");
        says.push(read["patient"].clone());
    }
    let text = fs::read(&path).expect("the file that was written");
    Written { path: folder.join("bent.jsonl"), text, keys, says }
});

/// Nothing is believed but what was signed. Where fewer statements are left than there were and nothing seems wrong,
/// the last ones were cut off: what is left is the beginning.
///
/// An input is a number of edits, a byte, then the edits, each a place and a byte, then a line to add.
pub fn heads(input: &[u8]) {
    let Written { path, text, keys, says } = &*WRITTEN;
    let mut text = text.clone();
    let (count, rest) = input.split_first().unwrap_or((&0, &[]));
    let edits = rest.len().min(usize::from(*count % 8) * 3) / 3 * 3;
    let (edits, line) = rest.split_at(edits);
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % text.len();
        text[at] = edit[2];
    }
    text.extend(line);
    fs::write(path, text).expect("a file beside the one that was written");
    let read = Heads::read(std::slice::from_ref(path), keys).expect("a file that is there");
    let whole = &says[says.len() - 1];
    for (service, heads) in read {
        if service != "patient" {
            assert!(
                heads.statements == 0 && heads.chains.is_empty(),
                "a forged service is believed"
            );
        }
        for (chain, said) in &heads.chains {
            for (seq, hash) in said {
                let known = whole.chains.get(chain).and_then(|said| said.get(seq));
                assert_eq!(known, Some(hash), "a forged head is believed");
            }
        }
        if heads.faults.is_empty() {
            let left = &says[usize::try_from(heads.statements).expect("as many as were written")];
            assert_eq!(heads.chains, left.chains, "a statement is missing, and nothing is wrong");
        }
    }
}
