//! Starts the window, or the same call without one.

use std::io::{self, Write as _};
use std::process::ExitCode;

use app::cli::{self, Arguments};
use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging();
    run(arguments).unwrap_or_else(|error| {
        // A closed standard error can't be told about.
        let _ = writeln!(io::stderr(), "private-meet: {error:#}");
        let wrong_usage = error.is::<cli::CliError>();
        ExitCode::from(if wrong_usage { cli::EXIT_USAGE } else { cli::EXIT_FAILED })
    })
}

fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (headless, downloads) = (arguments.headless, arguments.downloads.take());
    let start = arguments.into_start()?;
    if headless {
        let code = app::headless::run(start.into_call()?, downloads)?;
        return Ok(ExitCode::from(code));
    }
    app::run(start)?;
    Ok(ExitCode::SUCCESS)
}

/// Logs go to standard error; `RUST_LOG` says what is logged, warnings by default.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}
