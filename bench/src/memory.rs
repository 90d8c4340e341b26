//! Metrics 3 and 4: what an idle joined connection takes, as a slope, so that what the program
//! takes without any does not count.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::task::{LocalSet, spawn_local};

use crate::contender::{Contender, Kind, Placement};
use crate::load::{Door, Seen};
use crate::report::Report;

/// What the kernel keeps for a socket in an epoll set.
const CACHES: [&str; 6] =
    ["TCP", "sock_inode_cache", "filp", "eventpoll_epi", "eventpoll_pwq", "request_sock_TCP"];
/// Of `dentry` there is one for each socket, too, but the cache is too busy to count.
const DENTRY: &str = "dentry";

/// The load.
#[derive(Debug, Args)]
pub struct Memory {
    /// Connections at the beginning of the slope.
    #[arg(long, default_value_t = 1_000)]
    from: usize,
    /// Connections at its end.
    #[arg(long, default_value_t = 19_000)]
    to: usize,
    /// Members of a room.
    #[arg(long, default_value_t = 8)]
    members: usize,
    /// How long a server may take to put away what joining left behind, in milliseconds. Above
    /// the time between two pings, what is kept until a pong confirms it is gone, too.
    #[arg(long, default_value_t = 2_000)]
    settle_ms: u64,
    /// How often everything is repeated, all contenders in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Who is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Ours, Kind::StandIn])]
    contenders: Vec<Kind>,
    /// Speak version 1 of the protocol.
    #[arg(long)]
    v1: bool,
    /// Where the raw figures go.
    #[arg(long)]
    csv: Option<PathBuf>,
    #[command(flatten)]
    placement: Placement,
}

/// Runs the measurement and writes its table.
///
/// # Errors
/// When a server can't be started or refuses a guest.
pub fn run(memory: &Memory, mut out: impl Write) -> anyhow::Result<()> {
    ensure!(memory.from < memory.to, "the slope has no length");
    memory.placement.settle()?;
    let mut report = Report::default();
    let scenario = format!("idle in rooms of {}", memory.members);
    for round in 1..=memory.rounds {
        for &kind in &memory.contenders {
            let server = Contender::start(kind, &memory.placement, false)?;
            let door = Door::of(kind, &server, !memory.v1);
            let [low, high] = weigh(memory, door, &server)?;
            let length = (memory.to - memory.from) as f64;
            let slope = |of: fn(&Weight) -> f64| (of(&high) - of(&low)) / length / 1_024.0;
            let (process, kernel) = (slope(|w| w.process), slope(|w| w.kernel));
            let mut note =
                |figure, value| report.note(&scenario, round, kind.name(), figure, value);
            note("process KiB/connection", process);
            note("kernel KiB/connection", kernel);
            note("connections in 1 GiB", 1_024.0 * 1_024.0 / (process + kernel));
            note("process MiB at the end", high.process / 1_048_576.0);
        }
    }
    if let Some(path) = &memory.csv {
        report.save(path)?;
    }
    write!(out, "{}", report.table())?;
    Ok(())
}

/// Bytes at one moment.
struct Weight {
    process: f64,
    /// One end's share.
    kernel: f64,
}

fn weigh(memory: &Memory, door: Door, server: &Contender) -> anyhow::Result<[Weight; 2]> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let seen = Rc::new(Seen::since(Instant::now()));
        let tokens = door.tokens(memory.to).await?;
        let now =
            || anyhow::Ok(Weight { process: server.memory()? as f64, kernel: kernel_share()? });
        let keep = |client| drop(spawn_local(seen.clone().listen(client)));
        door.fill(0, &tokens[..memory.from], memory.members, keep).await?;
        tokio::time::sleep(Duration::from_millis(memory.settle_ms)).await;
        let low = now()?;
        door.fill(memory.from, &tokens[memory.from..], memory.members, keep).await?;
        tokio::time::sleep(Duration::from_millis(memory.settle_ms)).await;
        let high = now()?;
        ensure!(seen.ended.get() == 0, "{} connections were ended", seen.ended.get());
        Ok([low, high])
    })
}

/// What the kernel keeps for sockets, in bytes; half of it, because the other end of every
/// connection is on this computer, too, and in an epoll set as well.
fn kernel_share() -> anyhow::Result<f64> {
    let slabs = fs::read_to_string("/proc/slabinfo").context("cannot read slabs: be root")?;
    let caches = parse_slabs(&slabs);
    let sizes = |name| caches.get(name).copied().unwrap_or_default();
    let (sockets, _) = sizes("TCP");
    let counted: f64 = CACHES.iter().map(|name| sizes(name)).map(|(n, bytes)| n * bytes).sum();
    let dentries = sockets * sizes(DENTRY).1;
    let sockstat = fs::read_to_string("/proc/net/sockstat").context("cannot read sockstat")?;
    let buffers = parse_buffer_pages(&sockstat).context("an unknown form of sockstat")? * 4_096.0;
    Ok((counted + dentries + buffers) / 2.0)
}

/// Objects in use and their size in bytes, by cache (slabinfo(5)).
fn parse_slabs(text: &str) -> BTreeMap<&str, (f64, f64)> {
    let line = |line: &'_ str| -> Option<(f64, f64)> {
        let mut fields = line.split_whitespace().skip(1);
        let active = fields.next()?.parse().ok()?;
        let _all: f64 = fields.next()?.parse().ok()?;
        Some((active, fields.next()?.parse().ok()?))
    };
    let named =
        text.lines().filter_map(|text| Some((text.split_whitespace().next()?, line(text)?)));
    named.collect()
}

/// Pages of socket buffers, all TCP sockets together.
fn parse_buffer_pages(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    let (_, pages) = line.split_once("mem ")?;
    pages.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let slabs = "slabinfo - version: 2.1\n# name <active_objs> …\n\
            TCP 78 130 2368 13 8 : tunables 0 0 0 : slabdata 10 10 0\n";
        assert_eq!(parse_slabs(slabs)["TCP"], (78.0, 2_368.0));
        let sockstat =
            "sockets: used 19\nTCP: inuse 1 orphan 0 tw 6 alloc 1 mem 85\nUDP: inuse 0\n";
        assert_eq!(parse_buffer_pages(sockstat), Some(85.0));
    }
}
