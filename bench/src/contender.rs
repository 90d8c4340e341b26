//! The servers that are measured, each a process of its own, pinned to the server's core.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;

use crate::{cpu, sibling};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// The server of this project.
    Ours,
    /// The stand-in: Go, gorilla/websocket, one goroutine pair a client, JSON encoded for each.
    StandIn,
    /// The same, but a message is encoded once for all its recipients.
    StandInOnce,
    /// The kernel alone: one `send` a recipient.
    Floor,
}

impl Kind {
    /// As it stands in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::StandIn => "S",
            Self::StandInOnce => "S once",
            Self::Floor => "floor",
        }
    }
}

/// Where things run, the same for all of a run.
#[derive(Debug, Clone, clap::Args)]
pub struct Placement {
    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core of the load.
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// The real-time priority of both, so that other programs of a busy machine do not stand
    /// between a message and its measurement (needs root); 0 is none.
    #[arg(long, default_value_t = 10)]
    pub priority: u8,
    /// Measure this server program instead of the one beside this program.
    #[arg(long)]
    pub server: Option<PathBuf>,
}

impl Placement {
    /// Puts this process where the load belongs. To be called before any thread starts: threads
    /// and servers inherit it.
    ///
    /// # Errors
    /// When `taskset` or `chrt` is missing or refused.
    pub fn settle(&self) -> anyhow::Result<()> {
        let own = std::process::id().to_string();
        let (core, priority) = (self.load_core.to_string(), self.priority.to_string());
        run("taskset", &["-cp", &core, &own])?;
        if self.priority > 0 {
            run("chrt", &["--rr", "-p", &priority, &own])?;
        }
        // Sleeps as exact as the timer is (proc(5)); by default they may be 50 µs longer.
        fs::write("/proc/self/timerslack_ns", "1").context("cannot make timers exact")
    }
}

/// Takes the calling thread's real-time priority away again: what it does may take long and must
/// not hold up those who measure.
///
/// # Errors
/// When `chrt` is missing or refused.
pub fn yield_priority() -> anyhow::Result<()> {
    let own = fs::read_link("/proc/thread-self").context("no /proc")?;
    let own = own.file_name().and_then(|id| id.to_str()).context("an unknown form of /proc")?;
    run("chrt", &["--other", "-p", "0", own])
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let done = Command::new(program).args(arguments).output();
    let done = done.with_context(|| format!("cannot run {program} (util-linux)"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{program} was refused: {said}");
    Ok(())
}

/// A server of our own; it ends with this value.
pub struct Contender {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    _state: tempfile::TempDir,
}

impl Contender {
    /// Starts it and waits until it listens. A `quiet` stand-in tells nobody who joins: for
    /// measurements of something else, because a room of thousands would take it minutes.
    ///
    /// # Errors
    /// When it can't be built or started.
    pub fn start(kind: Kind, placement: &Placement, quiet: bool) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let mut command = Command::new("taskset");
        command.args(["-c", &placement.server_core.to_string()]);
        match kind {
            Kind::Ours => {
                let program = match &placement.server {
                    Some(program) => program.clone(),
                    None => sibling("private-meet-server")?,
                };
                command.arg(program).args(["--tls", "off", "--listen", "127.0.0.1:0"]);
                command.arg("--state-dir").arg(state.path()).envs(UNLIMITED);
            }
            Kind::StandIn | Kind::StandInOnce => {
                command.arg(build_stand_in()?).args(["--listen", "127.0.0.1:0"]);
                command.args((kind == Kind::StandInOnce).then_some("--encode-once"));
                command.args(quiet.then_some("--quiet"));
            }
            Kind::Floor => {
                command.arg(std::env::current_exe()?).arg("floor");
            }
        }
        command.env("RUST_LOG", "off").current_dir(state.path());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        let mut process = command.spawn().context("cannot start a server")?;
        let lines = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        for line in lines {
            if let Some(url) = line?.strip_prefix("listening on http://") {
                let address = url.trim_end_matches('/').parse()?;
                return Ok(Self { process, address, _state: state });
            }
        }
        bail!("the {} ended before it listened", kind.name())
    }

    /// The process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// User plus system time since it started.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        cpu::of_process(self.id())
    }

    /// Resident memory in bytes, shared pages divided among their users (PSS).
    ///
    /// # Errors
    /// When it is gone.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.id());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok());
        kib.map(|kib: u64| kib * 1_024).context("an unknown form of smaps_rollup")
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The load of thousands comes from one computer and signs in at once: no limit that counts by
/// address may be in the way. What counts by connection stays as it is.
const UNLIMITED: [(&str, &str); 2] =
    [("HTTP_RATE_LIMIT", "false"), ("MAX_CONNECTIONS_PER_ADDRESS", "0")];

/// Where Debian puts the sources of Go libraries.
const GO_PATH: &str = "/usr/share/gocode";

/// Builds the stand-in beside this program; a second time costs nothing.
fn build_stand_in() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("private-meet-stand-in");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("stand-in");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg("main.go")
        .current_dir(source)
        .envs([("GO111MODULE", "off"), ("GOPATH", GO_PATH)])
        .status()
        .context("cannot run go: install golang-go and golang-github-gorilla-websocket-dev")?;
    ensure!(built.success(), "the stand-in does not compile");
    Ok(program)
}
