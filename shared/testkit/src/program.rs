//! Programs that a test starts, watches, stops and kills; none of them outlives the test process.
use std::{
    fmt,
    io::{self, BufRead, BufReader, PipeReader, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::watch;

/// The first of the ports that programs listen on, and how many these are.
const FIRST_PORT: u16 = 12_000;
const PORTS: u32 = 20_000;

/// The ticks of `/proc/…/stat` per second on every Linux there is.
const TICKS: u32 = 100;

/// One running program. Dropping it kills it.
pub struct Program {
    name: String,
    id: u32,
    output: watch::Receiver<String>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Program {
    /// Starts `command`. What it prints goes to `{folder}/{name}.log` too, where a human can follow it.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> io::Result<Program> {
        let (reader, writer) = io::pipe()?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join(name.to_owned() + ".log"))?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let mut child = command.spawn()?;
        // The command holds the writing ends; while it lives, the reader would wait for more.
        drop(command);
        let id = child.id();
        warden(&format!("watch {id}"));
        let (said, output) = watch::channel(String::new());
        std::thread::spawn(move || copy(reader, log, &said));
        let (gone, exit) = watch::channel(None);
        std::thread::spawn(move || {
            let status = child.wait();
            warden(&format!("forget {id}"));
            gone.send_replace(status.ok());
        });
        Ok(Program { name: name.to_owned(), id, output, exit })
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal, such as `TERM`, `KILL`, `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        if self.is_running() {
            let id = self.id.to_string();
            // It may end before the signal arrives; that is no error of the test.
            let _ = Command::new("kill").args(["-s", signal, &id]).stderr(Stdio::null()).status();
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        // A thread that is gone without a word could not wait, so there is nothing left to signal.
        self.exit.borrow().is_none() && self.exit.has_changed().is_ok()
    }

    /// What it holds of the machine's memory, in bytes; on Linux, and while it runs.
    pub fn memory(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    /// The most that it ever held, in bytes; on Linux, and while it runs.
    pub fn peak(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, line: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let line = status.lines().find_map(|all| all.strip_prefix(line))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// How long a core worked for it; on Linux, and while it runs.
    pub fn worked(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id)).ok()?;
        // The name, in brackets, may hold anything; user and system time are the 12th and 13th field behind it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: u64 =
            fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        Some(Duration::from_secs(ticks) / TICKS)
    }

    /// Waits for its end, which a test does not expect to take longer than `within`.
    pub async fn exited(&self, within: Duration) -> ExitStatus {
        let mut exit = self.exit.clone();
        let ended = tokio::time::timeout(within, exit.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(status)) => status.expect("the wait was for a status"),
            _ => panic!("{} still runs after {within:?}\n{}", self.name, self.output()),
        }
    }

    /// Waits until it has printed `text`.
    pub async fn prints(&self, text: &str, within: Duration) {
        let mut output = self.output.clone();
        let said = tokio::time::timeout(within, output.wait_for(|all| all.contains(text))).await;
        if !matches!(said, Ok(Ok(_))) {
            panic!("{} did not print {text:?}\n{}", self.name, self.output());
        }
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        self.output.borrow().clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal("KILL");
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(40).collect();
            eprintln!("--- the last lines of {}", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("id", &self.id).finish()
    }
}

fn copy(reader: PipeReader, mut log: std::fs::File, said: &watch::Sender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = vec![];
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A full disk costs the file, not the test.
        let _ = log.write_all(&line);
        said.send_modify(|all| all.push_str(&String::from_utf8_lossy(&line)));
        line.clear();
    }
}

/// Has `folder` removed when the test process is gone, however it ends.
pub(crate) fn remove_at_exit(folder: PathBuf) {
    warden(&format!("remove {}", folder.display()));
}

/// The program `name` on `PATH`, or in `also`, that `fits`.
pub(crate) fn find(
    name: &str,
    also: impl IntoIterator<Item = PathBuf>,
    fits: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let path = crate::variable("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(also).collect();
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file() && fits(file))
}

/// A port that nothing listens on, another each time. It is none of those that a system gives to connections (from
/// 32768 on Linux, from 49152 elsewhere): by the time a program listens, or listens again, one of them would have it.
pub(crate) fn free_port() -> io::Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Test processes that run beside each other begin at different ones.
    let first = std::process::id().wrapping_mul(97);
    let free = (0..PORTS).find_map(|_| {
        let nth = first.wrapping_add(GIVEN.fetch_add(1, Relaxed)) % PORTS;
        let port = FIRST_PORT + nth as u16;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    });
    free.ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

/// Reads what to do from a pipe, and does it when the pipe closes: that is when this process ended, be it
/// by a signal that leaves no time for anything.
const WARDEN: &str = r#"
pids=" "
folders=""
while read -r word what; do
  case $word in
    watch) pids="$pids$what " ;;
    forget) pids="${pids%% $what *} ${pids#* $what }" ;;
    remove) folders="$folders $what" ;;
  esac
done
for pid in $pids; do kill -s CONT $pid; kill -s QUIT $pid; done
sleep 1
for pid in $pids; do kill -s KILL $pid; done
rm -rf $folders
"#;

fn warden(order: &str) {
    static WARDEN_INPUT: OnceLock<Arc<Mutex<ChildStdin>>> = OnceLock::new();
    let input = WARDEN_INPUT.get_or_init(|| {
        #[expect(clippy::zombie_processes, reason = "it outlives this process, which is its use")]
        let mut child = Command::new("sh")
            .args(["-c", WARDEN])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Arc::new(Mutex::new(child.stdin.take().expect("its input is piped")))
    });
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    // Without its warden a program may outlive the tests, which is no reason to fail one.
    let _ = writeln!(input, "{order}");
}
