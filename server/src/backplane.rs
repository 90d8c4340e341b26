//! More than one server: what happens in a room on this one reaches the members on others.
//!
//! One server alone has none of this. With `--nats`, servers meet at a broker (core NATS) that
//! passes their packets on and understands nothing of them:
//!
//! ```text
//! rooms ──news──► Uplink (bounded) ──► task: Cluster (a value, no I/O) ──► Link ──► broker
//!   ▲                                     │
//!   └──────────── Local ◄─────────────────┘   what members, messages and sessions of others do here
//! ```
//!
//! **Invariant:** nothing here makes a room wait. The rooms put news into a bounded queue; what the
//! others say is told to the rooms by one task.

pub mod bytes;
pub mod cluster;
pub mod config;
pub mod packet;
pub mod seal;
pub mod stream;

mod hook;
mod link;
mod room;
#[cfg(test)]
mod simulation;
mod uplink;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{LeftReason, UserId};

pub use config::ClusterConfig;
pub use packet::Words;

pub use crate::rooms::NodeId;

use crate::auth::User;
use crate::metrics::Metrics;
use crate::relay::Relay;
use cluster::{Cluster, Input, Output, TICK};
use hook::{Hook, OwnRooms};
use link::{Incoming, Link, Raw};
use uplink::{Item, Uplink};

/// Packets that are taken in before anything is sent.
const BURST: usize = 256;
/// How long a session of another server is waited for.
const CLAIM: Duration = Duration::from_secs(1);
/// When the question is asked again meanwhile.
const CLAIM_AGAIN: Duration = Duration::from_millis(300);
/// Sessions that are waited for at once; further clients begin anew.
const CLAIMS: usize = 1_024;

/// What the rooms of this server do when others say something. Called by one task, never under a
/// lock; must not block for long.
pub trait Local: Debug + Send + Sync {
    /// `users` are in the room on `node`, and nobody else there.
    fn members(&self, room: &str, node: NodeId, users: Vec<Arc<User>>);
    /// One more is in the room on `node`.
    fn joined(&self, room: &str, node: NodeId, user: Arc<User>);
    /// One less.
    fn left(&self, room: &str, node: NodeId, user: &UserId, why: LeftReason);
    /// `node` is gone, with all its members.
    fn gone(&self, node: NodeId);
    /// Somebody elsewhere said something to members here.
    fn said(&self, room: &str, words: &Words);
    /// A message has reached all servers that must have it.
    fn confirmed(&self, room: &str, user: &UserId, id: Uuid);
    /// Gives a session up, as bytes that the other server's rooms understand.
    fn surrender(&self, token: &str, received: Option<u64>) -> Option<Vec<u8>>;
}

/// The queue is full, and nobody elsewhere will hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// The way to the other servers, as the rooms see it. Nothing here waits for them.
#[derive(Debug)]
pub struct Backplane {
    uplink: Uplink,
    claims: Mutex<HashMap<u64, oneshot::Sender<Option<Vec<u8>>>>>,
    next_claim: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Backplane {
    /// A way that leads nowhere until [`Backplane::run`] runs.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            uplink: Uplink::default(),
            claims: Mutex::default(),
            next_claim: AtomicU64::new(1),
            metrics,
        }
    }

    /// Tells the others what happens in the rooms of `relay`. Before it serves, and once.
    pub(crate) fn attach(self: &Arc<Self>, relay: &Relay) {
        relay.attach_backplane(Arc::new(Hook(self.clone())));
    }

    /// Joins the rooms of `relay` to those of the other servers, until `stop`.
    pub(crate) async fn join(
        self: Arc<Self>,
        config: ClusterConfig,
        relay: Arc<Relay>,
        stop: CancellationToken,
    ) {
        let node = relay.node();
        self.run(config, node, Arc::new(OwnRooms(relay)), stop).await;
    }

    /// A user took the first seat in a room here.
    pub fn joined(&self, room: &Arc<str>, user: &Arc<User>) {
        self.push_always(Item::Joined(room.clone(), user.clone()));
    }

    /// A user gave up the last seat in a room here.
    pub fn left(&self, room: &Arc<str>, user: &UserId, why: LeftReason) {
        self.push_always(Item::Left(room.clone(), user.clone(), why));
    }

    /// Somebody here says something. If it has an id, [`Local::confirmed`] follows.
    ///
    /// # Errors
    /// [`Busy`] when too much waits already.
    pub fn said(&self, room: &Arc<str>, words: Words) -> Result<(), Busy> {
        self.uplink.push(Item::Said(room.clone(), words)).map_err(|_| {
            self.metrics.relay.dropped.add(crate::metrics::Dropped::Backplane);
            Busy
        })
    }

    /// Asks `node` for the session of that token, which is over there then. `None` when there is
    /// none, or no answer within a second.
    pub async fn claim(&self, node: NodeId, token: &str, received: Option<u64>) -> Option<Vec<u8>> {
        let deadline = Instant::now() + CLAIM;
        while Instant::now() < deadline {
            let (tell, told) = oneshot::channel();
            let nonce = self.next_claim.fetch_add(1, Ordering::Relaxed);
            {
                let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
                claims.retain(|_, tell| !tell.is_closed());
                if claims.len() >= CLAIMS {
                    return None;
                }
                claims.insert(nonce, tell);
            }
            let token = token.to_owned();
            self.push_always(Item::Claim { node, nonce, token, received });
            if let Ok(Ok(answer)) = timeout(CLAIM_AGAIN, told).await {
                return answer;
            }
        }
        None
    }

    fn push_always(&self, item: Item) {
        // Only messages can be refused.
        let _ = self.uplink.push(item);
    }

    fn answer(&self, nonce: u64, session: Option<Vec<u8>>) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tell) = claims.remove(&nonce) {
            // Whoever asked may have given up.
            let _ = tell.send(session);
        }
    }

    /// Talks with the other servers until `stop`, and says goodbye.
    pub async fn run(
        self: Arc<Self>,
        config: ClusterConfig,
        me: NodeId,
        local: Arc<dyn Local>,
        stop: CancellationToken,
    ) {
        let mut seed = [0; 8];
        if getrandom::fill(&mut seed).is_err() {
            tracing::error!("there is no randomness, so this server stays alone");
            return;
        }
        let cluster = Cluster::new(me, u64::from_be_bytes(seed));
        let link = Link::new(config, me, self.metrics.clone());
        let mut task = Task { backplane: self, cluster, link, local, out: Vec::new() };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                items = task.backplane.uplink.take() => {
                    for item in items {
                        task.item(item);
                    }
                }
                raw = task.link.next() => task.incoming(raw).await,
                _ = tick.tick() => {
                    task.link.subscribe_all().await;
                    task.handle(Input::Tick);
                }
                () = stop.cancelled() => break,
            }
            task.act().await;
        }
        task.handle(Input::Stop);
        task.act().await;
        task.link.finish().await;
    }
}

/// The one task that talks with the other servers.
struct Task {
    backplane: Arc<Backplane>,
    cluster: Cluster,
    link: Link,
    local: Arc<dyn Local>,
    out: Vec<Output>,
}

impl Task {
    fn handle(&mut self, input: Input) {
        self.cluster.handle(input, Instant::now().into_std(), &mut self.out);
    }

    fn item(&mut self, item: Item) {
        let input = match item {
            Item::Joined(room, user) => {
                let key = self.link.room(&room);
                Input::Joined(room, key, user)
            }
            Item::Left(room, user, why) => Input::Left(self.link.room(&room), user, why),
            Item::Said(room, words) => Input::Said(self.link.room(&room), words),
            Item::Claim { node, nonce, token, received } => {
                Input::Claim(node, nonce, token, received)
            }
        };
        self.handle(input);
    }

    async fn incoming(&mut self, first: Raw) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(raw) = next.take() {
            match self.link.take(raw).await {
                Incoming::Packet(from, number, packet) => {
                    self.handle(Input::Packet(from, number, packet));
                }
                Incoming::Connected => self.handle(Input::Connected),
                Incoming::Disconnected | Incoming::Nothing => {}
            }
            taken += 1;
            if taken < BURST {
                next = self.link.next_now();
            }
        }
    }

    /// Does what the cluster wants done, until it wants nothing more.
    async fn act(&mut self) {
        self.cluster.flush(&mut self.out);
        while !self.out.is_empty() {
            for output in std::mem::take(&mut self.out) {
                self.output(output).await;
            }
        }
    }

    async fn output(&mut self, output: Output) {
        match output {
            Output::Publish(topic, packet) => self.link.publish(topic, &packet).await,
            Output::Subscribe(room) => self.link.subscribe(room).await,
            Output::Unsubscribe(room) => self.link.unsubscribe(room),
            Output::Members { room, node, users } => self.local.members(&room, node, users),
            Output::Joined { room, node, user } => self.local.joined(&room, node, user),
            Output::Left { room, node, user, why } => self.local.left(&room, node, &user, why),
            Output::Said { room, words } => self.local.said(&room, &words),
            Output::Confirmed { room, ticket } => {
                self.local.confirmed(&room, &ticket.user, ticket.id);
            }
            Output::GaveUp(count) => {
                self.backplane.metrics.backplane.unconfirmed.inc_by(count as u64);
            }
            Output::Met(_) => {
                self.count_nodes();
                tracing::info!("another server is there");
            }
            Output::Gone(node) => {
                self.count_nodes();
                tracing::info!("another server is gone");
                self.local.gone(node);
            }
            Output::Surrender(node, nonce, token, received) => {
                let session = self.local.surrender(&token, received);
                let session = session.filter(|session| session.len() <= packet::SESSION_BYTES);
                self.handle(Input::Session(node, nonce, session));
            }
            Output::Session(nonce, session) => self.backplane.answer(nonce, session),
            // Collected into packets before they come here.
            Output::Ask(..) => {}
        }
    }

    fn count_nodes(&self) {
        let nodes = self.cluster.nodes().count() + 1;
        self.backplane.metrics.backplane.nodes.set(nodes as i64);
    }
}
