//! The same call as in the window, without a window: events are printed, commands are read, one
//! JSON object a line. For bots, tests and measurements; `docs/headless.md` describes it.
//!
//! It ends with `left` and exit code 0 after the command `leave`, at the end of the input, on
//! SIGTERM or SIGINT, and when nobody reads its output any more.

pub mod downloads;
mod lines;
mod measure;
mod peer;
pub mod protocol;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use net::JoinError;

use crate::call::{self, CallConfig};
use crate::cli::{EXIT_FAILED, EXIT_LEFT};

use downloads::Downloads;
use lines::Printer;
use peer::Peer;
use protocol::Event;

/// How long the last lines may take to be read.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Threads of the runtime: the work is network and waiting; codecs have threads of their own.
const RUNTIME_THREADS: usize = 2;

/// Joins and stays until told to leave. Returns the exit code.
///
/// # Errors
/// When the system refuses threads or signals.
pub fn run(config: CallConfig, downloads: Option<PathBuf>) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()?;
    let code = runtime.block_on(stay(config, Downloads::new(downloads)));
    // A device that hangs must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

async fn stay(config: CallConfig, downloads: Downloads) -> io::Result<u8> {
    let printer = Printer::start(io::stdout())?;
    let commands = lines::read_commands(io::stdin())?;
    let mut signals = Signals::new()?;
    let without_passphrase = config.passphrase.is_empty();
    let joined = tokio::select! {
        joined = call::start(config) => Some(joined),
        () = signals.told_to_end() => None,
        () = printer.reader_gone() => None,
    };
    let code = match joined {
        Some(Ok((call, events))) => {
            let peer = Peer::new(call, &printer, downloads, without_passphrase);
            peer.run(events, commands, signals).await
        }
        Some(Err(error)) => {
            let (code, message) = explain(&error);
            // A reader that is gone does not need it.
            let _ = printer.print(Event::error(code, message)).await;
            EXIT_FAILED
        }
        None => EXIT_LEFT,
    };
    // A reader that is gone does not need the last lines.
    let _ = tokio::time::timeout(LAST_LINES, async {
        let _ = printer.print(Event::Left).await;
        printer.finish().await;
    })
    .await;
    Ok(code)
}

/// A stable code and a sentence.
fn explain(error: &JoinError) -> (&'static str, String) {
    let code = match error {
        JoinError::NameTooLong => "name-too-long",
        JoinError::Room(_) => "room",
        JoinError::UnknownCertificate { .. } => "unknown-certificate",
        JoinError::OtherCertificate { .. } => "other-certificate",
        JoinError::Unreachable { .. } => "unreachable",
        JoinError::NotAServer { .. } => "not-a-server",
        JoinError::Refused { .. } => "refused",
        JoinError::Timeout => "timeout",
    };
    let message = match error {
        JoinError::UnknownCertificate { fingerprint } => format!(
            "{error}; if you expect a self-made one, compare its fingerprint and give it: \
             --fingerprint {fingerprint}"
        ),
        JoinError::OtherCertificate { found } => format!("{error}: {found}"),
        error => error.to_string(),
    };
    (code, message)
}

/// What the system says when it is time to go.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn told_to_end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn told_to_end(&mut self) {
        // Without a way to be told, nobody tells.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
