//! An open-loop load of chat: a message is due at its time whether or not the earlier ones came
//! back, and its latency counts from when it was due (no coordinated omission).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

use crate::client::{Client, address_of, sign_in};
use crate::contender::{Contender, Kind};
use crate::frames::{Stamped, stamp_of};

/// Latencies are recorded up to this; larger ones count as this.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// Connections that are being opened at once.
const OPENING: usize = 32;
/// The last messages may take so long to arrive.
const TAIL: Duration = Duration::from_secs(3);
/// A sender sleeps until so long before its next message is due, and then waits awake: sleep is
/// not more exact than that.
const AWAKE: Duration = Duration::from_micros(15);
/// Messages a second at which one connection stays below the server's rate limit.
const RATE_PER_CONNECTION: f64 = 30.0;

/// Rooms in which people talk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Rooms, all alike.
    pub rooms: usize,
    /// Members of each.
    pub members: usize,
    /// Messages a second in each room, spread over its members.
    pub rate: f64,
    /// Messages of one room that are due at the same moment.
    pub burst: usize,
    /// Bytes in the text of each.
    pub bytes: usize,
    /// How long people talk.
    pub duration: Duration,
}

impl Shape {
    fn connections(&self) -> usize {
        self.rooms * self.members
    }

    /// Messages in all.
    fn messages(&self) -> usize {
        let bursts = self.rate * self.duration.as_secs_f64() / self.burst as f64;
        (bursts.round().max(1.0) as usize) * self.burst * self.rooms
    }

    /// When the `number`th message is due after the start, and who sends it. Rooms take turns;
    /// within a room its members do.
    fn plan(&self, number: usize) -> (Duration, usize) {
        let burst = number / self.burst;
        let (room, round) = (burst % self.rooms, burst / self.rooms);
        let gap = self.burst as f64 / (self.rate * self.rooms as f64);
        let member = (round * self.burst + number % self.burst) % self.members;
        (Duration::from_secs_f64(gap * burst as f64), room * self.members + member)
    }
}

/// How guests come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Where.
    pub to: SocketAddr,
    /// Whether they have to sign in.
    pub signs_in: bool,
    /// Whether they speak version 2 of the protocol.
    pub v2: bool,
}

impl Door {
    /// The door of a server.
    #[must_use]
    pub fn of(kind: Kind, contender: &Contender, v2: bool) -> Self {
        Self { to: contender.address, signs_in: kind == Kind::Ours, v2 }
    }

    /// Tokens for `count` guests; empty ones where nobody asks for them.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn tokens(self, count: usize) -> anyhow::Result<Rc<[String]>> {
        if self.signs_in {
            sign_in(self.to, count).await
        } else {
            Ok(vec![String::new(); count].into())
        }
    }

    /// Brings the `number`th guest into `room`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enter(self, number: usize, token: &str, room: &str) -> anyhow::Result<Client> {
        let mut client = Client::connect(self.to, address_of(number), token).await?;
        if self.v2 {
            client.hello().await?;
        }
        client.join(room).await?;
        Ok(client)
    }

    /// Brings guests `from … from + tokens.len()` in, `members` to a room; each is handed to
    /// `keep` as soon as it is there.
    ///
    /// # Errors
    /// When the server refuses one.
    pub async fn fill(
        self,
        from: usize,
        tokens: &[String],
        members: usize,
        mut keep: impl FnMut(Client),
    ) -> anyhow::Result<()> {
        let entering = tokens.iter().enumerate().map(|(number, token)| {
            let number = from + number;
            async move { self.enter(number, token, &room_of(number, members)).await }
        });
        let mut entering = stream::iter(entering).buffered(OPENING);
        while let Some(client) = entering.try_next().await? {
            keep(client);
        }
        Ok(())
    }
}

/// The room of the `number`th guest.
#[must_use]
pub fn room_of(number: usize, members: usize) -> String {
    format!("pm_room:bench-{}", number / members)
}

/// What the receivers saw, all connections together.
#[derive(Debug)]
pub struct Seen {
    epoch: Instant,
    /// Stamped messages.
    pub delivered: Cell<u64>,
    /// Connections that ended.
    pub ended: Cell<u64>,
    latency_ns: RefCell<Histogram<u64>>,
}

impl Seen {
    /// Nothing yet; stamps count from `epoch`.
    #[must_use]
    pub fn since(epoch: Instant) -> Self {
        Self {
            epoch,
            delivered: Cell::new(0),
            ended: Cell::new(0),
            latency_ns: RefCell::new(histogram()),
        }
    }

    /// Reads what `client` gets until its connection ends.
    pub async fn listen(self: Rc<Self>, mut client: Client) {
        loop {
            // One look at the clock for all that one read brought.
            let mut now = None;
            let open = client.read(|frame| {
                if let Some(stamp) = stamp_of(frame.payload) {
                    let now = *now.get_or_insert_with(|| self.epoch.elapsed().as_nanos() as u64);
                    self.delivered.set(self.delivered.get() + 1);
                    self.latency_ns.borrow_mut().saturating_record(now.saturating_sub(stamp));
                }
            });
            if !open.await.unwrap_or(false) {
                self.ended.set(self.ended.get() + 1);
                return;
            }
        }
    }
}

/// An empty histogram of nanoseconds.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, LATENCY_MAX_NS, 3).expect("valid bounds")
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that should have arrived.
    pub expected: u64,
    /// Those that did.
    pub delivered: u64,
    /// Connections that the server ended.
    pub ended: u64,
    /// User plus system time of the server, from before the first message to after the last.
    pub cpu: Duration,
    /// From when a message was due to when it was read, in nanoseconds.
    pub latency_ns: Histogram<u64>,
    /// From when a message was due to when it was sent: the generator's own part in the latency.
    pub late_ns: Histogram<u64>,
}

/// Brings everybody in, lets them talk, and waits for the last message. `beside` runs at the
/// same time, from the first message on.
///
/// # Errors
/// When the server refuses a guest, or nothing arrives.
pub fn run(
    door: Door,
    server: &Contender,
    shape: Shape,
    beside: impl Future<Output = ()> + 'static,
) -> anyhow::Result<Outcome> {
    let pace = shape.rate / shape.members as f64;
    ensure!(pace <= RATE_PER_CONNECTION, "{pace} messages a second exceed one connection's limit");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let seen = Rc::new(Seen::since(Instant::now()));
        let mut senders = Vec::with_capacity(shape.connections());
        let tokens = door.tokens(shape.connections()).await?;
        door.fill(0, &tokens, shape.members, |client| {
            let room = room_of(senders.len(), shape.members);
            let message = Stamped::chat(&room, shape.bytes);
            senders.push(Sender { stream: client.stream.clone(), message });
            spawn_local(seen.clone().listen(client));
        })
        .await?;

        let before = server.cpu()?;
        let beside = spawn_local(beside);
        let epoch = seen.epoch;
        let (done, sent) = tokio::sync::oneshot::channel();
        let talking = thread::Builder::new().name("bench-send".to_owned()).spawn(move || {
            let late_ns = talk(&mut senders, shape, epoch);
            // The receiver waits for it unless it failed itself.
            let _ = done.send(());
            (late_ns, senders)
        })?;
        sent.await.context("the sender panicked")?;
        let (late_ns, senders) = talking.join().ok().context("the sender panicked")?;
        let expected = (shape.messages() * shape.members) as u64;
        let deadline = Instant::now() + TAIL;
        while seen.delivered.get() < expected && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cpu = server.cpu()?.saturating_sub(before);
        beside.await.context("what ran beside panicked")?;
        drop(senders);
        let (delivered, ended) = (seen.delivered.get(), seen.ended.get());
        ensure!(delivered > 0, "nothing arrived");
        let latency_ns = seen.latency_ns.borrow().clone();
        Ok(Outcome { expected, delivered, ended, cpu, latency_ns, late_ns })
    })
}

/// One connection as the sender has it.
struct Sender {
    stream: Arc<TcpStream>,
    message: Stamped,
}

/// Sends everything when it is due; how late each message went, in nanoseconds.
fn talk(senders: &mut [Sender], shape: Shape, epoch: Instant) -> Histogram<u64> {
    let start = Instant::now();
    let mut late_ns = histogram();
    for number in 0..shape.messages() {
        let (after, who) = shape.plan(number);
        let due = start + after;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match left.checked_sub(AWAKE) {
                Some(left) if !left.is_zero() => thread::sleep(left),
                _ => std::hint::spin_loop(),
            }
        }
        let sender = &mut senders[who];
        let frame = sender.message.stamp(due.duration_since(epoch).as_nanos() as u64);
        // A frame that does not fit as a whole never arrives: the figures show it as lost.
        let _ = SockRef::from(&sender.stream).send(frame);
        late_ns.saturating_record(due.elapsed().as_nanos() as u64);
    }
    late_ns
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn messages_are_spread_over_time_rooms_and_members() {
        let duration = Duration::from_secs(2);
        let shape = Shape { rooms: 3, members: 4, rate: 20.0, burst: 5, bytes: 300, duration };
        assert_eq!((shape.connections(), shape.messages()), (12, 120));
        let mut by_sender = HashMap::new();
        let mut last = Duration::ZERO;
        for number in 0..shape.messages() {
            let (due, sender) = shape.plan(number);
            assert!(due >= last && due < duration, "{number}");
            *by_sender.entry(sender).or_insert(0) += 1;
            last = due;
        }
        assert_eq!(by_sender.len(), 12);
        assert!(by_sender.values().all(|count| *count == 10), "{by_sender:?}");
        // One burst comes from one room at one moment.
        assert!((0..5).all(|n| shape.plan(n).0.is_zero() && shape.plan(n).1 < 4));
        assert!(shape.plan(5).1 >= 4);
    }
}
