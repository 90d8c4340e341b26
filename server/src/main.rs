//! `private-meet-server`: reads its settings, says where it listens, and serves.

mod args;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use server::Server;
use server::config::environment::Environment;
use tracing_subscriber::EnvFilter;

use args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    match start(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If even standard error is closed, there is nobody left to tell.
            let _ = writeln!(io::stderr(), "private-meet-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: Args) -> anyhow::Result<()> {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(level).with_writer(io::stderr).init();

    let environment = Environment::load(Path::new(".env"))?;
    for name in environment.ignored() {
        tracing::debug!("{name} is set; this server does not need it");
    }
    let shutdown = shutdown()?;
    let server = Server::bind(args.config(&environment)?).await?;
    announce(&server)?;
    server.run(shutdown).await;
    Ok(())
}

/// Tells whoever started us where we are; scripts read the first two lines.
fn announce(server: &Server) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {}", server.url())?;
    if let Some(fingerprint) = server.fingerprint() {
        writeln!(stdout, "certificate fingerprint {fingerprint}")?;
    }
    if let Some(url) = server.url_for_others() {
        writeln!(stdout, "for other devices in this network: {url}")?;
    }
    stdout.flush()
}

/// Ends when the system or the user asks us to stop. From here on neither just kills us.
#[cfg(unix)]
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
