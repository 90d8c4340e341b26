//! What bad clients cost the good ones: the latency of a few well-behaved rooms, alone and beside
//! a crowd that breaks every rule.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::io::AsyncWriteExt;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::client::{Client, address_of, sign_in, tcp, upgrade_request};
use crate::contender::{Contender, Kind, Placement};
use crate::fan_out::note;
use crate::frames::masked;
use crate::load::{self, Door, Shape};
use crate::report::Report;

/// Addresses of bad clients begin here.
const FIRST_BAD: usize = 400_000;
/// The pause of a bad client that was thrown out, before it comes again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the crowd is at work before the good ones are measured.
const GATHER: Duration = Duration::from_secs(2);
/// The room in which talkers shout and slow readers sleep.
const BAD_ROOM: &str = "pm_room:bad";

/// The load.
#[derive(Debug, Args)]
pub struct Flood {
    /// Bad clients, of every kind as many.
    #[arg(long, default_value_t = 200)]
    bad: usize,
    /// Rooms of well-behaved people.
    #[arg(long, default_value_t = 8)]
    rooms: usize,
    /// Members of each.
    #[arg(long, default_value_t = 8)]
    members: usize,
    /// Messages a second in each room.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// How often everything is repeated, without and with the crowd in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Who is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Ours])]
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
pub fn run(flood: &Flood, mut out: impl Write) -> anyhow::Result<()> {
    flood.placement.settle()?;
    let mut report = Report::default();
    let shape = Shape {
        rooms: flood.rooms,
        members: flood.members,
        rate: flood.rate,
        burst: 1,
        bytes: 300,
        duration: Duration::from_secs(flood.seconds),
    };
    let with = format!("{} bad clients", flood.bad);
    for round in 1..=flood.rounds {
        for &kind in &flood.contenders {
            for scenario in ["alone", &with] {
                let server = Contender::start(kind, &flood.placement, false)?;
                let door = Door::of(kind, &server, !flood.v1);
                let crowd = match scenario {
                    "alone" => None,
                    _ => Some(Crowd::gather(door, flood.bad)?),
                };
                let outcome = load::run(door, &server, shape, async {})?;
                drop(crowd);
                note(&mut report, scenario, round, kind, &outcome);
            }
        }
    }
    if let Some(path) = &flood.csv {
        report.save(path)?;
    }
    write!(out, "{}", report.table())?;
    for kind in &flood.contenders {
        for figure in ["p50 ms", "p99 ms", "p99.9 ms"] {
            if let Some(ratio) = report.across(figure, kind.name(), &with, "alone") {
                writeln!(
                    out,
                    "{}: {figure} with the crowd ÷ alone: {:.2} ({:.2} … {:.2})",
                    kind.name(),
                    ratio.median,
                    ratio.min,
                    ratio.max
                )?;
            }
        }
    }
    Ok(())
}

/// The crowd is a process of its own with a low priority, so that it does not slow the measuring
/// down by itself. It ends with this value.
struct Crowd(Child);

impl Crowd {
    fn gather(door: Door, bad: usize) -> anyhow::Result<Self> {
        let child = Command::new("chrt")
            .args(["--other", "0", "nice", "-n", "10"])
            .arg(std::env::current_exe()?)
            .args(["bad-clients", "--to", &door.to.to_string(), "--count", &bad.to_string()])
            .args(door.signs_in.then_some("--sign-in"))
            .stdin(Stdio::null())
            .spawn()?;
        std::thread::sleep(GATHER);
        Ok(Self(child))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A crowd that attacks a server until it is killed.
#[derive(Debug, Args)]
pub struct BadClients {
    /// The server.
    #[arg(long)]
    to: SocketAddr,
    /// How many, of every kind as many.
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Sign in first.
    #[arg(long)]
    sign_in: bool,
}

/// What a bad client does, again and again.
#[derive(Debug, Clone, Copy)]
enum Vice {
    /// Chats as fast as the socket takes it.
    Shout,
    /// Sends the head of a request byte by byte and never ends it.
    Dawdle,
    /// Sends what is no WebSocket at all.
    Babble,
    /// Joins a loud room and reads nothing.
    Sleep,
    /// Announces frames without end and sends what it can of them.
    Bloat,
}

const VICES: [Vice; 5] = [Vice::Shout, Vice::Dawdle, Vice::Babble, Vice::Sleep, Vice::Bloat];

/// Attacks until it is killed.
///
/// # Errors
/// When nobody can sign in.
pub fn attack(bad: &BadClients) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let to = bad.to;
    LocalSet::new().block_on(&runtime, async {
        let tokens: Rc<[String]> = match bad.sign_in {
            true => sign_in(to, bad.count).await?,
            false => vec![String::new(); bad.count].into(),
        };
        for number in 0..bad.count {
            let (tokens, vice) = (tokens.clone(), VICES[number % VICES.len()]);
            spawn_local(async move {
                loop {
                    // Being thrown out is what it expects.
                    let _ = vice.indulge(to, FIRST_BAD + number, &tokens[number]).await;
                    sleep(PAUSE).await;
                }
            });
        }
        std::future::pending().await
    })
}

impl Vice {
    async fn indulge(self, to: SocketAddr, number: usize, token: &str) -> anyhow::Result<()> {
        let from = address_of(number);
        match self {
            Self::Shout => {
                let mut client = Client::connect(to, from, token).await?;
                client.join(BAD_ROOM).await?;
                let text = "!".repeat(4_000);
                let shout = format!(
                    r#"{{"type":"chat.message","room":"{BAD_ROOM}","data":{{"message":"{text}"}}}}"#
                );
                let shout = masked(1, shout.as_bytes());
                let until = Instant::now() + Duration::from_secs(20);
                while Instant::now() < until {
                    client.send(&shout).await?;
                    // Reads now and then, so that it is not closed as slow.
                    if let Ok(open) = timeout(Duration::from_millis(1), client.read(|_| {})).await
                        && !open?
                    {
                        break;
                    }
                }
            }
            Self::Dawdle => {
                let mut stream = tcp(to, from).await?;
                for byte in upgrade_request(to, token).bytes().filter(|byte| *byte != b'\r') {
                    stream.write_all(&[byte]).await?;
                    sleep(Duration::from_millis(300)).await;
                }
            }
            Self::Babble => {
                let client = Client::connect(to, from, token).await?;
                let junk: Vec<u8> = (0..4_096_u32).map(|n| ((n * n) >> 3) as u8).collect();
                loop {
                    client.send(&junk).await?;
                }
            }
            Self::Sleep => {
                let mut client = Client::connect(to, from, token).await?;
                client.join(BAD_ROOM).await?;
                sleep(Duration::from_secs(30)).await;
            }
            Self::Bloat => {
                let client = Client::connect(to, from, token).await?;
                let mut head = vec![0x82, 0x80 | 127];
                head.extend((1_u64 << 40).to_be_bytes());
                head.extend([1, 2, 3, 4]);
                client.send(&head).await?;
                loop {
                    client.send(&[7; 65_536]).await?;
                }
            }
        }
        Ok(())
    }
}
