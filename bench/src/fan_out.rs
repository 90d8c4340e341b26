//! Metrics 1 and 2: messages delivered per server-CPU-second in rooms of several sizes, and how
//! long a message takes at that load.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::contender::{Contender, Kind, Placement};
use crate::load::{self, Door, Outcome, Shape};
use crate::report::Report;

/// The load.
#[derive(Debug, Args)]
pub struct FanOut {
    /// Members of a room, several with commas.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 100, 2_000])]
    members: Vec<usize>,
    /// Deliveries a second in all rooms together; well below what the stand-in can do.
    #[arg(long, default_value_t = 12_000.0)]
    deliveries: f64,
    /// Messages of one room that are due at the same moment, several with commas: 1 is a paced
    /// load, more are bursts.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 20])]
    burst: Vec<usize>,
    /// Bytes in the text of a message.
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often everything is repeated, all contenders in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Who is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Ours, Kind::StandIn, Kind::StandInOnce, Kind::Floor])]
    contenders: Vec<Kind>,
    /// Speak version 1 of the protocol, whose rosters grow with the square of a room.
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
pub fn run(load: &FanOut, mut out: impl Write) -> anyhow::Result<()> {
    load.placement.settle()?;
    let mut report = Report::default();
    for round in 1..=load.rounds {
        for &members in &load.members {
            for &burst in &load.burst {
                let shape = load.shape(members, burst);
                let style =
                    if burst == 1 { "paced".to_owned() } else { format!("bursts of {burst}") };
                let scenario = format!("rooms of {members} {style}");
                for &kind in &load.contenders {
                    let server = Contender::start(kind, &load.placement, true)?;
                    let door = Door::of(kind, &server, !load.v1);
                    let outcome = load::run(door, &server, shape, async {})?;
                    note(&mut report, &scenario, round, kind, &outcome);
                }
            }
        }
    }
    if let Some(path) = &load.csv {
        report.save(path)?;
    }
    write!(out, "{}", report.table())?;
    Ok(())
}

impl FanOut {
    /// As many rooms as the load needs when each member says something twice a second, but no
    /// more members than ten thousand.
    fn shape(&self, members: usize, burst: usize) -> Shape {
        let deliveries_a_room = (members * members * 2) as f64;
        let rooms = (self.deliveries / deliveries_a_room).ceil() as usize;
        let rooms = rooms.clamp(1, (2_000 / members).max(1));
        let rate = self.deliveries / (rooms * members) as f64;
        let duration = Duration::from_secs(self.seconds);
        Shape { rooms, members, rate, burst, bytes: self.bytes, duration }
    }
}

/// Notes the figures of one measurement.
pub fn note(report: &mut Report, scenario: &str, round: usize, kind: Kind, outcome: &Outcome) {
    let mut note = |figure, value| report.note(scenario, round, kind.name(), figure, value);
    let cpu = outcome.cpu.as_secs_f64();
    note("delivered/CPU-s", outcome.delivered as f64 / cpu);
    note("server CPU s", cpu);
    for (figure, quantile) in [("p50 ms", 0.5), ("p99 ms", 0.99), ("p99.9 ms", 0.999)] {
        note(figure, outcome.latency_ns.value_at_quantile(quantile) as f64 / 1e6);
    }
    note("sent late p99 ms", outcome.late_ns.value_at_quantile(0.99) as f64 / 1e6);
    note("lost", outcome.expected.saturating_sub(outcome.delivered) as f64);
    note("ended", outcome.ended as f64);
}
