//! The public data sets that imports are tried with.
use std::path::{Path, PathBuf};

/// The file or folder `name` of the data sets, or nothing where they are not on this machine.
pub fn data(name: &str) -> Option<PathBuf> {
    let root = crate::variable("CASEWARD_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(crate::variable("CI").is_none(), "no test data at {}", path.display());
    crate::missing("data", &format!("no test data at {}", path.display()));
    None
}
