//! Fuzz targets at the figure of a pull request: the seeds of `tests/fuzz`, bent by chance.
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

/// How often a test tries that can try more: `times`, or what `CASEWARD_TEST_INPUTS` says.
pub fn inputs(times: usize) -> usize {
    crate::variable("CASEWARD_TEST_INPUTS").and_then(|n| n.parse().ok()).unwrap_or(times)
}

/// Tries `target` with its seeds as they are, then with `times` inputs made from them. A panic names the input, so that
/// `cargo fuzz run` can have it as a file.
///
/// Seeds are in `tests/fuzz/seeds/{name}`, words worth putting into inputs in `tests/fuzz/seeds/{name}.dict`.
///
/// `CASEWARD_TEST_INPUTS` says how many instead of `times`.
pub fn few(name: &str, times: usize, target: impl Fn(&[u8])) {
    let times = inputs(times);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds");
    let seeds = seeds(&folder.join(name));
    let words = words(&folder.join(format!("{name}.dict")));
    let seed = crate::seed();
    let mut chances = fastrand::Rng::with_seed(seed);
    let attempt = |input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            eprintln!("{name}, seed {seed}: b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    };
    seeds.iter().for_each(|seed| attempt(seed));
    for _ in 0..times {
        attempt(&bent(&seeds, &words, &mut chances));
    }
}

fn seeds(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|_| panic!("{} has no seeds", folder.display()))
        .filter_map(|file| Some(file.ok()?.path()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no seeds", folder.display());
    files.iter().map(|file| fs::read(file).expect("a seed that can be read")).collect()
}

/// The words of a dictionary as libFuzzer reads it: one a line in quotes, without the escapes that ours do without.
fn words(file: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let quoted = |line: &str| {
        let inner = line.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some(inner.replace("\\\"", "\"").replace("\\\\", "\\").into_bytes())
    };
    text.lines().filter_map(quoted).collect()
}

fn bent(seeds: &[Vec<u8>], words: &[Vec<u8>], chances: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = chances.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..chances.usize(1..=6) {
        let at = chances.usize(0..=input.len());
        let end = (at + chances.usize(0..=8)).min(input.len());
        match chances.u8(0..8) {
            0 if !words.is_empty() => {
                let word = chances.choice(words).cloned().unwrap_or_default();
                input.splice(at..end, word);
            }
            1 => input.truncate(at.max(1)),
            2 => {
                let other = chances.choice(seeds).cloned().unwrap_or_default();
                let from = chances.usize(0..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            3 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part.repeat(chances.usize(1..=20)));
            }
            4 => drop(input.drain(at..end)),
            5 => input.insert(at, chances.u8(..)),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << chances.u8(0..8);
                }
            }
        }
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control: what takes every input but those with a certain word is found within the figure of the tests.
    #[test]
    fn a_target_that_panics_on_few_inputs_is_found() {
        let fragile = |input: &[u8]| assert!(!input.windows(3).any(|part| part == b"\"9\""));
        assert!(catch_unwind(|| few("etag", 500, fragile)).is_err());
        few("etag", 500, |_| {});
    }
}
