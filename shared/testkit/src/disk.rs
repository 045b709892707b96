//! A disk whose power can be cut: what was written to it and not flushed is gone.
use std::{io, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::program;

/// A file system of a test's own, in a file behind a loop device. What a process writes stays in the memory of the
/// kernel until it is flushed, or for some seconds; a copy of the file holds what the device was given. Dropping it
/// removes it.
///
/// The device itself loses nothing that it was given, and writes in the order in which it was asked: a disk with a
/// cache of its own may do worse.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// A disk of at most 2 GiB; nothing where this machine does not let us mount one, which takes root and Linux's
    /// loop devices.
    pub fn new() -> Option<Disk> {
        let folder = tempfile::Builder::new().prefix("caseward-disk-").tempdir().ok()?;
        program::remove_at_exit(folder.path().to_owned());
        let disk = Disk { folder };
        // PostgreSQL, which refuses to be root, has to get there.
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(disk.folder.path(), all).ok()?;
        std::fs::create_dir(disk.path()).ok()?;
        std::fs::File::create(disk.file()).and_then(|file| file.set_len(2 << 30)).ok()?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.file())).ok()?;
        disk.mount().ok()?;
        Some(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Cuts its power and gives it back. Whoever writes to it has to have ended, and those who only have it open see
    /// the old one.
    pub fn cut(&self) {
        let cut = || -> io::Result<()> {
            let kept = self.folder.path().join("kept");
            run(Command::new("cp").arg(self.file()).arg(&kept))?;
            // What is flushed from now on is flushed to the old file.
            run(Command::new("umount").arg("-l").arg(self.path()))?;
            std::fs::rename(&kept, self.file())?;
            self.mount()
        };
        cut().expect("the disk can be taken away and put back");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("device")
    }

    fn mount(&self) -> io::Result<()> {
        // The file system's own flushes are put off beyond the end of any test.
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop,commit=3600"]);
        run(mount.arg(self.file()).arg(self.path()))
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{command:?}: {said}")))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is about to end may still hold a file.
        let _ = run(Command::new("umount").arg("-l").arg(self.path()));
    }
}
