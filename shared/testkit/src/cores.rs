//! The cores of the machine, parted between what is measured and what measures.
use std::{io, path::Path, process::Command};

/// Keeps this program, with every thread it has, on some cores. Dropping it lets it run where it ran before.
#[derive(Debug)]
pub struct OnCores {
    before: String,
}

impl OnCores {
    /// Moves this program to `cores`, such as `1` or `1-3`. Takes `taskset`, of util-linux.
    pub fn only(cores: &str) -> io::Result<OnCores> {
        let own = std::process::id().to_string();
        let told = taskset(&["-pc", &own])?;
        let before = told.rsplit(' ').next().unwrap_or_default().trim().to_owned();
        taskset(&["-a", "-pc", cores, &own])?;
        Ok(OnCores { before })
    }
}

impl Drop for OnCores {
    fn drop(&mut self) {
        // Where it cannot be moved back, it goes on where it is.
        let _ = taskset(&["-a", "-pc", &self.before, &std::process::id().to_string()]);
    }
}

/// A command that runs `program` on one core, whatever it starts there included.
pub(crate) fn on_core(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

fn taskset(arguments: &[&str]) -> io::Result<String> {
    let output = Command::new("taskset").args(arguments).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap().to_owned()
    }

    #[test]
    fn a_program_stays_on_its_core_until_it_is_let_go() {
        let before = allowed();
        let here = OnCores::only("0").unwrap();
        assert!(allowed().ends_with("\t0"), "{}", allowed());
        drop(here);
        assert_eq!(allowed(), before);
    }
}
