//! What the server counts, and how Prometheus reads it.
//!
//! Counting is for the hot path: one relaxed atomic addition, no lock, no allocation, no look-up.
//! **Invariant:** no label ever holds anything that came from outside; every label is one word of
//! a fixed list, so that neither names nor addresses show and the number of series is bounded.

mod counted;
mod process;

use std::time::SystemTime;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use wire::MessageType;

pub use counted::{Counted, Held, Label, Latency, held};
pub(crate) use process::{files_allowed, resident_bytes};

/// The media type of [`Metrics::render`] (OpenMetrics 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In front of every name.
const PREFIX: &str = "private_meet";

/// Makes an enum whose variants are the values of one label.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident($label:literal) {
        $($(#[$of:meta])* $variant:ident = $text:literal,)+
    })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl Label for $name {
            const KEY: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn index(self) -> usize {
                self as usize
            }
            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    )+};
}

labels! {
    /// Why somebody was turned away before there was a WebSocket.
    Refused("reason") {
        /// The system has no more file descriptors for us.
        Files = "files",
        /// Memory runs short.
        Memory = "memory",
        /// The server holds as many connections as it may.
        Full = "full",
        /// One address holds as many connections as it may.
        Address = "address",
        /// Too many requests from one address: 429.
        Rate = "rate",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The handshake or the request's head took too long.
        Timeout = "timeout",
        /// No token, or one that opens nothing.
        Token = "token",
        /// The page's origin is not allowed.
        Origin = "origin",
        /// Not an upgrade to a WebSocket.
        Upgrade = "upgrade",
        /// A sign-in that could not be read.
        SignIn = "sign_in",
    }

    /// Why a WebSocket ended.
    Closed("reason") {
        /// The client said goodbye, or its connection broke.
        Gone = "gone",
        /// The server stops or restarts: 1001 or 1012.
        Stopping = "stopping",
        /// A message above the limit: 1009.
        TooBig = "too_big",
        /// Neither UTF-8 nor a JSON object: 1007.
        NotJson = "not_json",
        /// Not WebSocket as RFC 6455 has it: 1002.
        Broken = "broken",
        /// Too many messages were refused, or another rule was broken: 1008.
        Policy = "policy",
        /// No sign of life: 1008.
        Silent = "silent",
        /// The client reads too slowly: 1013.
        TooSlow = "too_slow",
        /// Too many connections or sessions: 1013.
        TooMany = "too_many",
        /// The session moved to another connection: 4001.
        Moved = "moved",
        /// The token is no longer good: 4002.
        Expired = "expired",
    }

    /// Why a frame did not reach a recipient.
    Dropped("reason") {
        /// A typing indicator, for want of room in the outbox.
        Typing = "typing",
        /// A snapshot, overtaken by a newer one.
        Roster = "roster",
        /// A state that a newer one replaces.
        State = "state",
        /// The recipient's outbox was full, and the recipient was closed.
        Slow = "slow",
        /// A message that was delivered before, by its id.
        Duplicate = "duplicate",
        /// What a session missed while it was away did not fit into its memory.
        Missed = "missed",
        /// The way between servers was full.
        Backplane = "backplane",
    }

    /// Why the relay for media refused something.
    TurnRefused("reason") {
        /// No credentials, expired ones, or wrong ones.
        Credentials = "credentials",
        /// The user or the server has as many allocations as allowed.
        Quota = "quota",
        /// An address that may not be relayed to.
        Address = "address",
        /// A user sends more than allowed.
        Rate = "rate",
        /// Not STUN or TURN.
        Malformed = "malformed",
        /// No port, file or memory is left.
        Shortage = "shortage",
    }

    /// Which way relayed media went.
    Direction("direction") {
        /// From the client that holds the allocation.
        FromClient = "from_client",
        /// To that client.
        ToClient = "to_client",
    }

    /// What became of an attempt.
    Outcome("outcome") {
        /// It worked.
        Done = "done",
        /// It did not.
        Failed = "failed",
    }
}

impl Label for MessageType {
    const KEY: &'static str = "type";
    const ALL: &'static [Self] = Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        self.name()
    }
}

/// All counters of one server. Rooms share it behind an `Arc` and count without asking.
#[derive(Debug)]
pub struct Metrics {
    /// When this server started, for `process_start_time`.
    started: SystemTime,
    /// People at the door and inside.
    pub door: DoorMetrics,
    /// Rooms and what is said in them.
    pub relay: RelayMetrics,
    /// The relay for media.
    pub turn: TurnMetrics,
    /// The way to the other servers.
    pub backplane: BackplaneMetrics,
}

/// People at the door and inside.
#[derive(Debug, Default)]
pub struct DoorMetrics {
    /// TCP connections, WebSockets among them.
    pub tcp_open: Gauge,
    /// WebSockets that are open now.
    pub open: Gauge,
    /// WebSockets that were ever opened.
    pub opened: Counter,
    /// WebSockets that ended, by reason.
    pub closed: Counted<Closed>,
    /// Newcomers turned away, by reason.
    pub refused: Counted<Refused>,
    /// People who signed in.
    pub sign_ins: Counter,
    /// Certificates read again because their files changed.
    pub certificate_loads: Counted<Outcome>,
    /// When the certificate ends, in Unix seconds; 0 without one.
    pub certificate_ends: Gauge,
}

/// Rooms and what is said in them.
#[derive(Debug, Default)]
pub struct RelayMetrics {
    /// Rooms with somebody in them.
    pub rooms: Gauge,
    /// Places in rooms that are taken; a connection may sit in several. Set when somebody asks.
    pub seats: Gauge,
    /// Messages that clients sent, by type.
    pub received: Counted<MessageType>,
    /// Messages that were refused with a `general.error`.
    pub refused: Counter,
    /// Frames put into outboxes.
    pub delivered: Counter,
    /// Bytes of those frames, without WebSocket headers.
    pub delivered_bytes: Counter,
    /// Frames that did not arrive, by reason.
    pub dropped: Counted<Dropped>,
    /// Bytes in the outboxes of those who sit in rooms: what waits, and for clients that can come
    /// back what was sent and not confirmed. Set when somebody asks.
    pub outbox_bytes: Gauge,
    /// From the arrival of a message to the moment when its frames lie in all outboxes.
    pub latency: Latency,
    /// Sessions whose connection is gone and that may still be resumed.
    pub sessions_away: Gauge,
    /// Sessions that came back, and those that tried in vain.
    pub resumed: Counted<Outcome>,
}

/// The relay for media.
#[derive(Debug, Default)]
pub struct TurnMetrics {
    /// Allocations that exist now.
    pub allocations: Gauge,
    /// Allocations that were ever made.
    pub allocated: Counter,
    /// What was refused, by reason.
    pub refused: Counted<TurnRefused>,
    /// Packets relayed, by direction.
    pub packets: Counted<Direction>,
    /// Bytes relayed, by direction.
    pub bytes: Counted<Direction>,
    /// Answers to STUN binding requests.
    pub bindings: Counter,
}

/// The way to the other servers.
#[derive(Debug, Default)]
pub struct BackplaneMetrics {
    /// 1 while it works, 0 while it is cut; 1 without one.
    pub connected: Gauge,
    /// Servers in sight, this one included.
    pub nodes: Gauge,
    /// Messages sent to other servers.
    pub sent: Counter,
    /// Messages from other servers.
    pub received: Counter,
    /// Times that it was connected again.
    pub reconnects: Counter,
    /// Messages that could not be sent because the broker was busy or away; said again later.
    pub lost: Counter,
    /// Packets that were not of this cluster, or not understood.
    pub refused: Counter,
    /// Chat messages that some server did not confirm in time; their senders were not told that
    /// they arrived.
    pub unconfirmed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(SystemTime::now())
    }
}

impl Metrics {
    /// All at zero, for a server that starts at `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        let backplane = BackplaneMetrics::default();
        // A server alone is in touch with all there are.
        backplane.connected.set(1);
        backplane.nodes.set(1);
        Self {
            started: now,
            door: DoorMetrics::default(),
            relay: RelayMetrics::default(),
            turn: TurnMetrics::default(),
            backplane,
        }
    }

    /// Everything in the text form that Prometheus reads, of type [`CONTENT_TYPE`].
    ///
    /// # Panics
    /// Never: writing into a string can't fail.
    #[must_use]
    pub fn render(&self) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which server this is", version);
        self.door.register(&mut registry);
        self.relay.register(&mut registry);
        self.turn.register(&mut registry);
        self.backplane.register(&mut registry);
        let mut text = String::with_capacity(16 * 1024);
        text::encode_registry(&mut text, &registry).expect("a string takes any text");
        // The process's own go without our prefix, under the names that dashboards know.
        let mut own = Registry::default();
        own.register_collector(Box::new(process::Process { started: self.started }));
        text::encode(&mut text, &own).expect("a string takes any text");
        text
    }
}

impl DoorMetrics {
    fn register(&self, to: &mut Registry) {
        to.register("tcp_connections", "TCP connections that are open", self.tcp_open.clone());
        to.register("connections", "WebSockets that are open", self.open.clone());
        to.register("connections_opened", "WebSockets ever opened", self.opened.clone());
        to.register("connections_closed", "WebSockets that ended", self.closed.clone());
        to.register("refused", "Newcomers turned away at the door", self.refused.clone());
        to.register("sign_ins", "Tokens given out", self.sign_ins.clone());
        let loads = self.certificate_loads.clone();
        to.register("certificate_loads", "Certificates read because files changed", loads);
        let ends = self.certificate_ends.clone();
        to.register("certificate_end_seconds", "When the certificate ends, Unix time", ends);
    }
}

impl RelayMetrics {
    fn register(&self, to: &mut Registry) {
        to.register("rooms", "Rooms with somebody in them", self.rooms.clone());
        to.register("seats", "Places taken in rooms", self.seats.clone());
        to.register("messages", "Messages that clients sent", self.received.clone());
        to.register("messages_refused", "Messages refused with an error", self.refused.clone());
        to.register("frames_delivered", "Frames put into outboxes", self.delivered.clone());
        let bytes = self.delivered_bytes.clone();
        to.register("frames_delivered_bytes", "Bytes of frames put into outboxes", bytes);
        to.register("frames_dropped", "Frames that did not arrive", self.dropped.clone());
        to.register("outbox_bytes", "Bytes kept in outboxes", self.outbox_bytes.clone());
        let latency = self.latency.clone();
        to.register("relay_seconds", "From a message's arrival to all outboxes", latency);
        to.register("sessions_away", "Sessions that may be resumed", self.sessions_away.clone());
        to.register("sessions_resumed", "Tries to resume a session", self.resumed.clone());
    }
}

impl TurnMetrics {
    fn register(&self, to: &mut Registry) {
        to.register("turn_allocations", "Allocations that exist", self.allocations.clone());
        to.register("turn_allocated", "Allocations ever made", self.allocated.clone());
        to.register("turn_refused", "Requests and packets refused", self.refused.clone());
        to.register("turn_packets", "Packets relayed", self.packets.clone());
        to.register("turn_bytes", "Bytes relayed", self.bytes.clone());
        to.register("stun_bindings", "STUN binding requests answered", self.bindings.clone());
    }
}

impl BackplaneMetrics {
    fn register(&self, to: &mut Registry) {
        to.register("backplane_connected", "Whether servers can talk", self.connected.clone());
        to.register("backplane_nodes", "Servers in sight", self.nodes.clone());
        to.register("backplane_sent", "Messages to other servers", self.sent.clone());
        to.register("backplane_received", "Messages from other servers", self.received.clone());
        to.register("backplane_reconnects", "Times connected again", self.reconnects.clone());
        to.register("backplane_lost", "Messages that did not get out", self.lost.clone());
        to.register("backplane_refused", "Packets not of this cluster", self.refused.clone());
        to.register("backplane_unconfirmed", "Chat not confirmed", self.unconfirmed.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }

    #[test]
    fn what_was_counted_is_rendered_under_stable_names() {
        let metrics = Metrics::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        metrics.door.refused.add(Refused::Origin);
        metrics.door.refused.add_many(Refused::Files, 3);
        metrics.relay.received.add(MessageType::Chat);
        metrics.relay.outbox_bytes.inc_by(7);
        metrics.relay.latency.observe(Duration::from_micros(80));
        metrics.relay.latency.observe(Duration::from_secs(7));
        metrics.turn.bytes.add_many(Direction::ToClient, 1_200);
        let text = metrics.render();
        has(&text, r#"private_meet_refused_total{reason="origin"} 1"#);
        has(&text, r#"private_meet_refused_total{reason="files"} 3"#);
        has(&text, r#"private_meet_refused_total{reason="tls"} 0"#);
        has(&text, r#"private_meet_messages_total{type="chat.message"} 1"#);
        has(&text, "private_meet_outbox_bytes 7");
        has(&text, r#"private_meet_relay_seconds_bucket{le="0.0001"} 1"#);
        has(&text, r#"private_meet_relay_seconds_bucket{le="+Inf"} 2"#);
        has(&text, "private_meet_relay_seconds_count 2");
        has(&text, r#"private_meet_turn_bytes_total{direction="to_client"} 1200"#);
        has(&text, "process_start_time_seconds 1800000000.0");
        assert_eq!(text.lines().last(), Some("# EOF"));
        assert_eq!(text.matches("# EOF").count(), 1);
    }

    #[test]
    fn a_held_gauge_falls_again_whatever_happens() {
        let metrics = Metrics::default();
        let guard = held(&metrics.door.open);
        assert_eq!(metrics.door.open.get(), 1);
        drop(guard);
        assert_eq!(metrics.door.open.get(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_tells_its_files_memory_and_time() {
        let text = Metrics::default().render();
        for name in ["process_open_fds ", "process_max_fds ", "process_resident_memory_bytes "] {
            let line = text.lines().find(|line| line.starts_with(name)).expect(name);
            let value: f64 = line[name.len()..].parse().expect("a number");
            assert!(value > 0.0, "{line}");
        }
        assert!(text.contains("process_cpu_seconds_total "), "{text}");
    }
}
