//! Measures Private Meet; never shipped.
//!
//! The law of this crate: a figure is printed with everything needed to get it again, and nothing
//! is printed that was not measured in this run.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod codec;
mod cpu;
mod relay;

/// Load generators and call measurements.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// Chat fan-out through a real server process: messages delivered per server-CPU-second, and
    /// latency at an open-loop pace.
    Relay(relay::Load),
    /// What one synthetic camera, one encoder and one decoder cost, by thread.
    Codec(codec::Picture),
}

/// The program `name` of the same build as this one.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.with_file_name(name);
    anyhow::ensure!(program.exists(), "{} is missing: build with --workspace", program.display());
    Ok(program)
}

fn main() -> anyhow::Result<()> {
    let out = std::io::stdout().lock();
    match Arguments::parse().measure {
        Measure::Relay(load) => relay::run(&load, out),
        Measure::Codec(picture) => codec::run(&picture, out),
    }
}
