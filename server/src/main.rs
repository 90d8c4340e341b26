//! `private-meet-server`: reads its settings, says where it listens, and serves.

mod args;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;
use server::Server;
use server::config::Log;
use server::config::environment::Environment;
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    match start(args::command().get_matches()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If even standard error is closed, there is nobody left to tell.
            let _ = writeln!(io::stderr(), "private-meet-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(flags: ArgMatches) -> anyhow::Result<()> {
    let environment = Environment::load(Path::new(".env"))?;
    let config = args::config(&flags, &environment)?;
    log_to_stderr(&config.log);
    for name in environment.ignored() {
        tracing::debug!("{name} is set; this server does not need it");
    }
    raise_file_limit();
    let shutdown = shutdown()?;
    let server = Server::bind(config).await?;
    announce(&server)?;
    #[cfg(unix)]
    reload_on_hangup(server.reload())?;
    server.run(shutdown).await;
    Ok(())
}

fn log_to_stderr(log: &Log) {
    let filter = EnvFilter::new(log.filter.as_deref().unwrap_or("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if log.json { lines.json().init() } else { lines.init() }
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
    if let Some(address) = server.metrics_address() {
        writeln!(stdout, "metrics on http://{address}/metrics")?;
    }
    stdout.flush()
}

/// Looks for a new certificate when the operator says so (SIGHUP).
#[cfg(unix)]
fn reload_on_hangup(reload: Arc<Notify>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reload.notify_one();
        }
    });
    Ok(())
}

/// As many files as the system lets us have: each connection is one.
fn raise_file_limit() {
    #[cfg(unix)]
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!("{files} files may be open"),
        Err(error) => tracing::warn!("cannot raise the limit of open files: {error}"),
    }
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
