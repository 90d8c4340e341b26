//! `private-meet-server`: reads its settings, says where it listens, and serves.

mod args;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use axum::http::Uri;
use clap::ArgMatches;
use server::Server;
use server::config::Log;
use server::config::environment::Environment;
use server::doctor::{self, Verdict};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let flags = args::command().get_matches();
    let done = match flags.subcommand() {
        Some((args::DOCTOR, flags)) => examine(flags).await,
        _ => start(flags).await.map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
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

/// Says what is wrong with these settings here, or with the server at `--url`.
async fn examine(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let config = args::config(flags, &Environment::load(Path::new(".env"))?)?;
    raise_file_limit();
    let url = flags.get_one::<String>("url");
    let url = url.map(|url| url.parse::<Uri>()).transpose();
    let url = url.context("--url must be an address like https://meet.example")?;
    let findings = if flags.get_flag("health") {
        vec![doctor::health(&config).await]
    } else {
        doctor::examine(&config, url.as_ref()).await
    };
    let mut stdout = io::stdout().lock();
    for finding in &findings {
        if flags.get_flag("json") {
            writeln!(stdout, "{}", serde_json::to_string(finding)?)?;
        } else {
            writeln!(stdout, "{finding}")?;
        }
    }
    let is_wrong = findings.iter().any(|finding| finding.verdict == Verdict::Wrong);
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn log_to_stderr(log: &Log) {
    let filter = EnvFilter::new(log.filter.as_deref().unwrap_or("info"));
    // It would log where the broker is, at every try; our own lines say once what matters.
    let filter = filter.add_directive("async_nats=off".parse().expect("a directive"));
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
fn reload_on_hangup(reload: std::sync::Arc<tokio::sync::Notify>) -> io::Result<()> {
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
