//! The file of an SQLite database, held against what its path leads to: what is written to one that was deleted or
//! replaced goes well, and is gone with the process.
use std::path::PathBuf;

use anyhow::Context;
use caseward_core::{Error, Result};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

/// The file that was opened, or nothing for a database that is no file of this machine.
#[derive(Clone, Debug)]
pub(crate) struct File(Option<(PathBuf, Identity)>);

/// What tells a file from another at the same path.
type Identity = (u64, u64);

impl File {
    /// A database elsewhere.
    pub(crate) fn elsewhere() -> Self {
        File(None)
    }

    /// The file that `db` has open.
    pub(crate) async fn of(db: &DatabaseConnection) -> anyhow::Result<Self> {
        let ask = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let ask = Statement::from_string(db.get_database_backend(), ask);
        let row = db.query_one_raw(ask).await?.context("the database is not attached")?;
        let path: String = row.try_get_by_index(0)?;
        // One in memory has none.
        let path = Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
        Ok(File(path.and_then(|path| identity(&path).map(|found| (path, found)))))
    }

    /// Refuses what would be read from or written to a file that is there no more.
    pub(crate) fn is_there(&self) -> Result<()> {
        match &self.0 {
            Some((path, opened)) if identity(path).as_ref() != Some(opened) => {
                Err(Error::Unavailable("the file of the database is gone; nothing is kept"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(unix)]
fn identity(path: &std::path::Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Elsewhere a file that is open cannot be deleted.
#[cfg(not(unix))]
fn identity(path: &std::path::Path) -> Option<Identity> {
    path.exists().then_some((0, 0))
}
