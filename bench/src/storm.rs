//! Metric 2 in bad weather: how long messages take while thousands of connections are lost at
//! once and come back.

use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use crate::contender::{Contender, Kind, Placement, yield_priority};
use crate::fan_out::note;
use crate::load::{self, Door, Seen, Shape, histogram, room_of};
use crate::report::Report;

/// Numbers of those who are lost begin here, so that their rooms are not those of the talkers.
const FIRST_LOST: usize = 8_000;
/// How long people talk on when everybody should be back.
const AFTERMATH: Duration = Duration::from_millis(1_500);

/// The load.
#[derive(Debug, Args)]
pub struct Storm {
    /// Connections that are lost at once and come back.
    #[arg(long, default_value_t = 5_000)]
    lost: usize,
    /// The time over which they come back, in milliseconds: evenly, as clients with random
    /// pauses do.
    #[arg(long, default_value_t = 4_000)]
    spread_ms: u64,
    /// Members of every room.
    #[arg(long, default_value_t = 8)]
    members: usize,
    /// Rooms that talk meanwhile.
    #[arg(long, default_value_t = 16)]
    rooms: usize,
    /// Messages a second in each of these.
    #[arg(long, default_value_t = 40.0)]
    rate: f64,
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
pub fn run(storm: &Storm, mut out: impl Write) -> anyhow::Result<()> {
    storm.placement.settle()?;
    let mut report = Report::default();
    let scenario = format!("{} reconnect within {} ms", storm.lost, storm.spread_ms);
    for round in 1..=storm.rounds {
        for &kind in &storm.contenders {
            let server = Contender::start(kind, &storm.placement, false)?;
            let door = Door::of(kind, &server, !storm.v1);
            let (ready, is_ready) = sync_channel(1);
            let (go, gone) = oneshot::channel();
            let (lost, members) = (storm.lost, storm.members);
            let spread = Duration::from_millis(storm.spread_ms);
            let weather =
                thread::Builder::new().name("bench-storm".to_owned()).spawn(move || {
                    brew(door, lost, members, spread, gone, || {
                        // Whoever waits for it ends when this thread does.
                        let _ = ready.send(());
                    })
                })?;
            is_ready.recv().context("the storm did not gather")?;
            let shape = Shape {
                rooms: storm.rooms,
                members,
                rate: storm.rate,
                burst: 1,
                bytes: 300,
                duration: spread + AFTERMATH,
            };
            let outcome = load::run(door, &server, shape, async {
                // The storm is over early only when it failed, and then it says why itself.
                let _ = go.send(());
            })?;
            let back = weather.join().ok().context("the storm panicked")??;
            note(&mut report, &scenario, round, kind, &outcome);
            for (figure, quantile) in [("back p50 ms", 0.5), ("back p99 ms", 0.99)] {
                let value = back.value_at_quantile(quantile) as f64 / 1e6;
                report.note(&scenario, round, kind.name(), figure, value);
            }
        }
    }
    if let Some(path) = &storm.csv {
        report.save(path)?;
    }
    write!(out, "{}", report.table())?;
    Ok(())
}

/// Connects `lost` guests, drops all of them when told and brings them back within `spread`.
/// How long each took from when it was due until it had its room again, in nanoseconds.
fn brew(
    door: Door,
    lost: usize,
    members: usize,
    spread: Duration,
    gone: oneshot::Receiver<()>,
    ready: impl FnOnce(),
) -> anyhow::Result<Histogram<u64>> {
    yield_priority()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let seen = Rc::new(Seen::since(Instant::now()));
        let tokens = door.tokens(lost).await?;
        let mut listeners = Vec::with_capacity(lost);
        let first = FIRST_LOST.next_multiple_of(members);
        door.fill(first, &tokens, members, |client| {
            listeners.push(spawn_local(seen.clone().listen(client)));
        })
        .await?;
        ready();
        gone.await.context("nobody told the storm to begin")?;
        // Aborted tasks drop their sockets.
        for listener in listeners {
            listener.abort();
        }
        let start = Instant::now();
        let returns = tokens.iter().enumerate().map(|(number, token)| {
            // Neighbours in a room come back at different times.
            let place = number * 7_919 % lost;
            let due = start + spread.mul_f64(place as f64 / lost as f64);
            let (seen, token) = (seen.clone(), token.clone());
            spawn_local(async move {
                tokio::time::sleep_until(due.into()).await;
                let room = room_of(first + number, members);
                let client = door.enter(first + number, &token, &room).await?;
                let took = due.elapsed().as_nanos() as u64;
                spawn_local(seen.listen(client));
                anyhow::Ok(took)
            })
        });
        let mut back = histogram();
        for took in join_all(returns).await {
            back.saturating_record(took.context("a client panicked")??);
        }
        Ok(back)
    })
}
