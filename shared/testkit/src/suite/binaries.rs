//! The binaries that a suite is made of, as fresh as the test that asks for them.
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::{process::Command, sync::OnceCell};

/// The folder of the binaries. They are built once per test process, which is nothing to do where they are fresh;
/// `CASEWARD_TEST_BINARIES` names a folder to take them from as they are.
pub(super) async fn folder() -> anyhow::Result<&'static Path> {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    FOLDER.get_or_try_init(build).await.map(PathBuf::as_path)
}

async fn build() -> anyhow::Result<PathBuf> {
    if let Some(folder) = crate::variable("CASEWARD_TEST_BINARIES") {
        return Ok(folder.into());
    }
    // A test runs from `target/{profile}/deps`, a program from the folder above.
    let program = std::env::current_exe()?;
    let mut folders = program.ancestors().skip(1).skip_while(|folder| folder.ends_with("deps"));
    let folder = folders.next().context("a test runs from the target folder")?;
    let target = folder.parent().context("a test runs from the target folder")?;
    let cargo = crate::variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins", "--quiet", "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let built = command.status().await.context("running cargo")?;
    ensure!(built.success(), "the binaries of the suite do not build");
    Ok(folder.to_owned())
}
