//! Measures Private Meet; never shipped.
//!
//! The law of this crate: a figure is printed with everything needed to get it again, and nothing
//! is printed that was not measured in this run.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod client;
mod codec;
mod contender;
mod cpu;
mod fan_out;
mod flood;
mod floor;
mod frames;
mod layers;
mod load;
mod memory;
mod report;
mod storm;

/// Load generators and call measurements.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// Chat fan-out: messages delivered per server-CPU-second and their latency, beside the
    /// stand-in and the kernel's floor.
    FanOut(fan_out::FanOut),
    /// Latency while thousands of connections are lost and come back.
    Storm(storm::Storm),
    /// Memory per idle joined connection, of the process and of the kernel.
    Memory(memory::Memory),
    /// What a crowd of bad clients costs the good ones.
    Flood(flood::Flood),
    /// The crowd alone, against any server of your own.
    BadClients(flood::BadClients),
    /// What reading a message costs in three WebSocket layers, without any system call.
    Layers(layers::Layers),
    /// What one synthetic camera, one encoder and one decoder cost, by thread.
    Codec(codec::Picture),
    /// The kernel's floor as a server; the measurements start it themselves.
    #[command(hide = true)]
    Floor,
}

/// The program `name` of the same build as this one.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.with_file_name(name);
    anyhow::ensure!(program.exists(), "{} is missing: build with --workspace", program.display());
    Ok(program)
}

fn main() -> anyhow::Result<()> {
    let out = std::io::stdout();
    match Arguments::parse().measure {
        Measure::FanOut(load) => fan_out::run(&load, out),
        Measure::Storm(storm) => storm::run(&storm, out),
        Measure::Memory(memory) => memory::run(&memory, out),
        Measure::Flood(flood) => flood::run(&flood, out),
        Measure::BadClients(bad) => flood::attack(&bad),
        Measure::Layers(layers) => layers::run(&layers, out),
        Measure::Codec(picture) => codec::run(&picture, out),
        Measure::Floor => floor::run(out),
    }
}
