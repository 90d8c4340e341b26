//! Chat fan-out through a real server process, at an open-loop pace: a message is due at its time
//! whether or not the earlier ones came back, and its latency counts from when it was due.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wire::{ClientMessage, RoomId, ServerMessage, SignInResponse};

use crate::{cpu, sibling};

/// How long the last messages may take to arrive after the last was sent.
const TAIL: Duration = Duration::from_secs(2);
/// Latencies are recorded up to this; larger ones count as this.
const LATENCY_MAX_US: u64 = 60_000_000;
/// The pace at which one connection stays below the server's rate limit.
const RATE_PER_CONNECTION: f64 = 30.0;

/// The load.
#[derive(Debug, Args)]
pub struct Load {
    /// Rooms, all alike.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Members in each room.
    #[arg(long, default_value_t = 8)]
    members: usize,
    /// Messages a second in each room, spread over its members.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Bytes in each message.
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// How long to send.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// A server process of our own, ended with this value.
struct Server {
    process: Child,
    address: String,
    _state: tempfile::TempDir,
}

impl Server {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let mut process = Command::new(program)
            .args(["--tls", "off", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(state.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let lines = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        for line in lines {
            if let Some(url) = line?.strip_prefix("listening on http://") {
                let address = url.trim_end_matches('/').to_owned();
                return Ok(Self { process, address, _state: state });
            }
        }
        anyhow::bail!("the server ended before it listened")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the receivers saw, all connections together.
struct Seen {
    delivered: AtomicU64,
    latency_us: Mutex<Histogram<u64>>,
}

/// Runs the measurement and writes its figures.
///
/// # Errors
/// When the server can't be started or refuses a connection, or nothing arrives.
pub fn run(load: &Load, mut out: impl Write) -> anyhow::Result<()> {
    ensure!(load.rooms > 0 && load.members > 0 && load.rate > 0.0, "an empty load");
    let pace = load.rate / load.members as f64;
    ensure!(pace <= RATE_PER_CONNECTION, "{pace} messages a second exceed one connection's limit");
    let server = Server::start(&sibling("private-meet-server")?)?;
    let seen = Arc::new(Seen {
        delivered: AtomicU64::new(0),
        latency_us: Mutex::new(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sent, cpu) = runtime.block_on(generate(load, &server, &seen))?;

    let delivered = seen.delivered.load(Ordering::Relaxed);
    let expected = sent * load.members as u64;
    ensure!(delivered > 0, "nothing arrived");
    writeln!(
        out,
        "{} rooms of {}, {} messages/s a room, {} bytes, {} s",
        load.rooms, load.members, load.rate, load.bytes, load.seconds
    )?;
    writeln!(out, "sent {sent}, delivered {delivered} of {expected}")?;
    writeln!(out, "server CPU {:.2} s", cpu.as_secs_f64())?;
    if !cpu.is_zero() {
        writeln!(
            out,
            "delivered per server-CPU-second {:.0}",
            delivered as f64 / cpu.as_secs_f64()
        )?;
    }
    let latency = seen.latency_us.lock().expect("no receiver panicked");
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        let ms = latency.value_at_quantile(quantile) as f64 / 1_000.0;
        writeln!(out, "latency p{} {ms:.2} ms", quantile * 100.0)?;
    }
    Ok(())
}

/// Connects everybody, sends at the pace, waits for the tail; messages sent, server CPU used.
async fn generate(
    load: &Load,
    server: &Server,
    seen: &Arc<Seen>,
) -> anyhow::Result<(u64, Duration)> {
    let token = sign_in(&server.address).await?;
    let url = format!("ws://{}/ws?token={token}", server.address);
    let epoch = Instant::now();
    let mut tasks = JoinSet::new();
    let mut senders = Vec::new();
    for room in 0..load.rooms {
        let room = RoomId::new(&format!("pm_room:bench-{room}"))?;
        for _ in 0..load.members {
            let mut request = url.as_str().into_client_request()?;
            request.headers_mut().insert("origin", format!("http://{}", server.address).parse()?);
            let (socket, _) =
                tokio_tungstenite::connect_async(request).await.context("no connection")?;
            let (mut sink, mut stream) = socket.split();
            sink.send(Message::text(ClientMessage::Join.to_json(&room))).await?;
            let seen = Arc::clone(seen);
            tasks.spawn(async move {
                while let Some(Ok(message)) = stream.next().await {
                    record(&message.into_data(), epoch, &seen);
                }
            });
            senders.push((sink, room.clone()));
        }
    }

    let before = cpu::of_process(server.process.id())?;
    let started = Instant::now();
    let gap = Duration::from_secs_f64(1.0 / (load.rate * load.rooms as f64));
    let total = (load.seconds as f64 / gap.as_secs_f64()) as u64;
    for number in 0..total {
        let due = started + gap.mul_f64(number as f64);
        tokio::time::sleep_until(due.into()).await;
        // Neighbours in time go to different rooms; each room's messages walk over its members.
        let number = number as usize;
        let member = (number / load.rooms) % load.members;
        let index = (number % load.rooms) * load.members + member;
        let (sink, room) = &mut senders[index];
        let mut message = format!("{} ", due.duration_since(epoch).as_micros());
        message.extend(std::iter::repeat_n('x', load.bytes.saturating_sub(message.len())));
        sink.send(Message::text(ClientMessage::Chat { message, id: None }.to_json(room))).await?;
    }
    tokio::time::sleep(TAIL).await;
    let used = cpu::of_process(server.process.id())?.saturating_sub(before);
    tasks.abort_all();
    Ok((total, used))
}

fn record(bytes: &[u8], epoch: Instant, seen: &Seen) {
    let Ok((_, ServerMessage::Chat { message, .. })) = ServerMessage::parse(bytes) else { return };
    let Some(due) = message.split(' ').next().and_then(|due| due.parse().ok()) else { return };
    let latency = epoch.elapsed().saturating_sub(Duration::from_micros(due));
    seen.delivered.fetch_add(1, Ordering::Relaxed);
    let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
    seen.latency_us.lock().expect("no receiver panicked").saturating_record(us);
}

async fn sign_in(address: &str) -> anyhow::Result<String> {
    // The client insists on a provider even where no TLS is spoken; a second install is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let response = reqwest::Client::new()
        .post(format!("http://{address}/auth/sign-in"))
        .json(&wire::SignInRequest { username: Some("bench".to_owned()) })
        .send()
        .await?
        .error_for_status()?;
    Ok(response.json::<SignInResponse>().await?.access_token)
}
