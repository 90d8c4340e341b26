//! The connection to the broker: core NATS, no JetStream. It connects again by itself; while the
//! broker is away, what would be sent is dropped, and the cluster says it again afterwards.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Message};
use futures_util::stream::{SelectAll, Stream};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::NodeId;
use super::config::ClusterConfig;
use super::packet::{BadPacket, Packet, RoomKey};
use super::seal::{Keys, NodeKey, Topic, sender};
use crate::metrics::Metrics;

/// Events of the connection that may wait; they are few, and further ones are lost.
const EVENTS: usize = 64;
/// Packets on their way to the broker; whoever sends waits for a place, briefly.
const OUTGOING: usize = 8 * 1024;
/// Packets of one subject that may wait to be read; further ones are lost and asked for again.
const INCOMING: usize = 16 * 1024;
/// How long a place is waited for before a packet counts as lost.
const CLOGGED: Duration = Duration::from_millis(200);
/// Keys of servers that are kept; others are derived again when needed.
const KEYS: usize = 256;
/// How often the broker must show that it lives; after three of these it counts as gone.
const PING: Duration = Duration::from_secs(1);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Between two attempts to connect, at most; a partition must be over five seconds after its end.
const RECONNECT: Duration = Duration::from_millis(1_000);
/// After a broker has refused us for good, as with a wrong password.
const REFUSED: Duration = Duration::from_secs(5);

type Subscription = Pin<Box<dyn Stream<Item = Message> + Send>>;

/// What comes from the connection.
#[derive(Debug)]
pub(super) enum Incoming {
    Packet(NodeId, u64, Packet),
    Connected,
    Disconnected,
    /// Something that is not ours, or nothing worth telling.
    Nothing,
}

/// What happened, before anybody has looked at it.
#[derive(Debug)]
pub(super) enum Raw {
    Due,
    Event(Option<Event>),
    Message(Message),
}

pub(super) struct Link {
    config: ClusterConfig,
    keys: Keys,
    me: NodeId,
    key: NodeKey,
    /// Of the last packet; each has its own.
    number: u64,
    metrics: Arc<Metrics>,
    client: Option<Client>,
    connected: bool,
    events: mpsc::Receiver<Event>,
    /// When to try again after the client gave up.
    retry: Option<Instant>,
    incoming: SelectAll<Subscription>,
    /// What ends a subscription, for each topic that is wanted; `None` where there is none yet.
    wanted: HashMap<Topic, Option<oneshot::Sender<()>>>,
    others: HashMap<NodeId, NodeKey>,
    told_version: bool,
    told_away: bool,
}

impl Link {
    pub(super) fn new(config: ClusterConfig, me: NodeId, metrics: Arc<Metrics>) -> Self {
        let keys = Keys::new(&config.secret);
        let key = keys.of_node(me);
        let (_, events) = mpsc::channel(1);
        Self {
            config,
            keys,
            me,
            key,
            number: 0,
            metrics,
            client: None,
            connected: false,
            events,
            retry: Some(Instant::now()),
            incoming: SelectAll::new(),
            wanted: HashMap::from([(Topic::All, None), (Topic::Node(me), None)]),
            others: HashMap::new(),
            told_version: false,
            told_away: false,
        }
    }

    pub(super) fn room(&self, room: &str) -> RoomKey {
        self.keys.room(room)
    }

    /// Waits for the next thing that happens. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Raw {
        tokio::select! {
            () = due(self.retry), if self.retry.is_some() => Raw::Due,
            event = self.events.recv(), if self.retry.is_none() => Raw::Event(event),
            Some(message) = self.incoming.next(), if !self.incoming.is_empty() => {
                Raw::Message(message)
            }
        }
    }

    /// The next packet, if one is there already.
    pub(super) fn next_now(&mut self) -> Option<Raw> {
        self.incoming.next().now_or_never().flatten().map(Raw::Message)
    }

    /// What it means.
    pub(super) async fn take(&mut self, raw: Raw) -> Incoming {
        match raw {
            Raw::Due => {
                self.connect().await;
                Incoming::Nothing
            }
            Raw::Event(event) => self.event(event).await,
            Raw::Message(message) => self.open(&message),
        }
    }

    async fn connect(&mut self) {
        let (tell, events) = mpsc::channel(EVENTS);
        match self.config.connect(tell).await {
            Ok(client) => {
                (self.client, self.events, self.retry) = (Some(client), events, None);
            }
            Err(error) => {
                self.say_away(&error.to_string());
                self.retry = Some(Instant::now() + REFUSED);
            }
        }
    }

    async fn event(&mut self, event: Option<Event>) -> Incoming {
        match event {
            Some(Event::Connected) => {
                if self.told_away {
                    self.metrics.backplane.reconnects.inc();
                }
                self.told_away = false;
                self.connected = true;
                self.metrics.backplane.connected.set(1);
                tracing::info!("connected with the broker between the servers");
                self.subscribe_all().await;
                Incoming::Connected
            }
            Some(Event::Disconnected) => {
                self.say_away("the connection was lost");
                Incoming::Disconnected
            }
            Some(Event::ServerError(error)) => {
                tracing::debug!("the broker says: {error}");
                Incoming::Nothing
            }
            Some(_) => Incoming::Nothing,
            None => {
                // The client has ended, because the broker does not want us.
                self.say_away("the broker refuses this server");
                self.client = None;
                self.incoming = SelectAll::new();
                self.wanted.values_mut().for_each(|ends| *ends = None);
                self.retry = Some(Instant::now() + REFUSED);
                Incoming::Disconnected
            }
        }
    }

    /// Says it once, however often it is tried again.
    fn say_away(&mut self, why: &str) {
        self.connected = false;
        self.metrics.backplane.connected.set(0);
        if !self.told_away {
            self.told_away = true;
            tracing::warn!("no way to the other servers ({why}); rooms go on without them");
        }
    }

    pub(super) async fn subscribe(&mut self, room: RoomKey) {
        let topic = Topic::Room(room);
        self.wanted.entry(topic).or_insert(None);
        if self.connected {
            self.subscribe_to(topic).await;
        }
    }

    pub(super) fn unsubscribe(&mut self, room: RoomKey) {
        // Dropping what ends the stream ends it, and that the subscription.
        self.wanted.remove(&Topic::Room(room));
    }

    /// Makes up for subscriptions that could not be made.
    pub(super) async fn subscribe_all(&mut self) {
        let missing = self.wanted.iter().filter(|(_, ends)| ends.is_none());
        let missing: Vec<_> = missing.map(|(topic, _)| *topic).collect();
        for topic in missing {
            if !self.connected {
                break;
            }
            self.subscribe_to(topic).await;
        }
    }

    async fn subscribe_to(&mut self, topic: Topic) {
        let (Some(client), Some(ends)) = (&self.client, self.wanted.get_mut(&topic)) else {
            return;
        };
        if ends.is_some() {
            return;
        }
        let subject = self.keys.subject(topic);
        if let Ok(Ok(subscription)) = timeout(CLOGGED, client.subscribe(subject)).await {
            let (end, ended) = oneshot::channel();
            *ends = Some(end);
            self.incoming.push(Box::pin(subscription.take_until(ended)));
        }
    }

    /// Sends, or counts as lost.
    pub(super) async fn publish(&mut self, topic: Topic, packet: &Packet) {
        self.number += 1;
        let Some(client) = self.client.as_ref().filter(|_| self.connected) else {
            self.metrics.backplane.lost.inc();
            return;
        };
        let subject = self.keys.subject(topic);
        let bytes = self.key.seal(self.number, &subject, &packet.to_bytes());
        let sent = timeout(CLOGGED, client.publish(subject, bytes.into())).await;
        match sent {
            Ok(Ok(())) => self.metrics.backplane.sent.inc(),
            _ => self.metrics.backplane.lost.inc(),
        };
    }

    /// Until everything that was sent is out, but not for long.
    pub(super) async fn finish(&mut self) {
        if let Some(client) = self.client.as_ref().filter(|_| self.connected) {
            // There is nobody to tell if it fails: the others will miss our beats.
            let _ = timeout(CLOGGED, client.flush()).await;
        }
    }

    fn open(&mut self, message: &Message) -> Incoming {
        let Some((from, _)) = sender(&message.payload) else { return self.refuse() };
        if from == self.me {
            return Incoming::Nothing;
        }
        let subject = message.subject.as_str();
        let opened = match self.others.get(&from) {
            Some(key) => key.open(subject, &message.payload),
            None => {
                let key = self.keys.of_node(from);
                let opened = key.open(subject, &message.payload);
                if opened.is_ok() {
                    if self.others.len() >= KEYS {
                        self.others.clear();
                    }
                    self.others.insert(from, key);
                }
                opened
            }
        };
        let Ok((number, bytes)) = opened else { return self.refuse() };
        match Packet::from_bytes(&bytes) {
            Ok(packet) => {
                self.metrics.backplane.received.inc();
                Incoming::Packet(from, number, packet)
            }
            Err(error) => {
                if matches!(error, BadPacket::Version(_)) && !self.told_version {
                    self.told_version = true;
                    tracing::warn!("another server of the cluster is not understood: {error}");
                }
                self.refuse()
            }
        }
    }

    fn refuse(&self) -> Incoming {
        self.metrics.backplane.refused.inc();
        Incoming::Nothing
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl ClusterConfig {
    async fn connect(&self, tell: mpsc::Sender<Event>) -> Result<Client, async_nats::ConnectError> {
        let mut options = ConnectOptions::new()
            .name("private-meet-server")
            .no_echo()
            .retry_on_initial_connect()
            .connection_timeout(CONNECT)
            .ping_interval(PING)
            .client_capacity(OUTGOING)
            .subscription_capacity(INCOMING)
            .max_reconnects(None)
            .ignore_discovered_servers()
            .reconnect_delay_callback(back_off)
            .event_callback(move |event| {
                // Nobody may keep the connection waiting; the state is read elsewhere, too.
                let _ = tell.try_send(event);
                std::future::ready(())
            });
        if let Some(roots) = &self.ca {
            options = options.add_root_certificates(roots.clone());
        }
        let named = self.servers.iter().find_map(|server| Some((server, server.username()?)));
        options = match named {
            Some((server, user)) => match server.password() {
                Some(password) => options.user_and_password(user.to_owned(), password.to_owned()),
                None => options.token(user.to_owned()),
            },
            None => options,
        };
        options.connect(self.servers.as_slice()).await
    }
}

/// Grows to [`RECONNECT`]; a little chance keeps servers from coming back all at once.
fn back_off(attempts: usize) -> Duration {
    let doubled = Duration::from_millis(25 << attempts.min(6));
    let mut chance = [0; 1];
    // Without randomness they come at once, which brokers bear.
    let _ = getrandom::fill(&mut chance);
    let part = f64::from(chance[0]) / 255.0;
    doubled.min(RECONNECT).mul_f64(0.75 + 0.25 * part)
}
