//! What one client may do: every message is checked here before anybody else sees it. No socket
//! and no clock, so that every rule is tested by a call.

mod hello;
mod payload;

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;
use wire::{
    Envelope, InvalidId, LeftReason, MessageType, Outgoing, Refusal, RoomId, UserId, close, limits,
};

use crate::auth::User;
use crate::frame::{Class, Frame};
use crate::limits::{Bucket, Rate, Shared};
use crate::line::{End, Line, Timing};
use crate::relay::Relay;
use crate::rooms::{Said, Unheard, Version};
use crate::session::Session;

pub use hello::Desk;

use hello::{Greeting, Waiting};

/// Why the server ends a connection: the code and the reason of the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// RFC 6455 §7.4, or one of ours.
    pub code: u16,
    /// A sentence for people; with 1013, how many seconds to wait at its end.
    pub reason: &'static str,
}

impl Closing {
    /// The server stops.
    pub const GOING_AWAY: Self = Self { code: close::GOING_AWAY, reason: "the server is stopping" };
    /// The server comes back soon.
    pub const RESTART: Self = Self { code: close::RESTART, reason: "the server restarts" };
    /// A message above the limit.
    pub const TOO_BIG: Self =
        Self { code: close::TOO_BIG, reason: "a message has more than 65536 bytes" };
    /// Not UTF-8, or not a JSON object.
    pub const NOT_JSON: Self =
        Self { code: close::BAD_DATA, reason: "a message is not a JSON object" };
    /// Not WebSocket as RFC 6455 has it.
    pub const BROKEN: Self =
        Self { code: close::PROTOCOL_ERROR, reason: "a frame breaks the WebSocket protocol" };
    /// The last counted refusal.
    pub const REFUSED_TOO_OFTEN: Self =
        Self { code: close::POLICY, reason: "too many messages were refused" };
    /// Nothing came for too long.
    pub const SILENT: Self = Self { code: close::POLICY, reason: "no sign of life for 60 seconds" };
    /// Nobody knows who it is.
    pub const NO_HELLO: Self =
        Self { code: close::POLICY, reason: "no session.hello with a token came in time" };
    /// A hello that can't be read.
    pub const BAD_HELLO: Self =
        Self { code: close::POLICY, reason: "the session.hello is not valid" };
    /// The outbox is full, or nothing could be written for too long.
    pub const TOO_SLOW: Self = Self {
        code: close::TRY_LATER,
        reason: "too slow: messages come faster than you read; retry-after=5",
    };
    /// The session goes on elsewhere.
    pub const MOVED: Self =
        Self { code: close::MOVED, reason: "this session moved to another connection" };
    /// The token is no longer good, or never was.
    pub const EXPIRED: Self = Self { code: close::SIGN_IN, reason: "the token is not valid" };
}

/// One connection's standing: its session, its rate, its refusals. Dropping it without
/// [`Client::end`] counts as the loss of its connection.
#[derive(Debug)]
pub struct Client {
    session: Arc<Session>,
    relay: Arc<Relay>,
    line: Arc<Line>,
    bucket: Bucket,
    user_bucket: Option<Arc<Shared>>,
    address_bucket: Option<Arc<Shared>>,
    /// Of `peer.auth`; made with the first one.
    auth_bucket: Option<Box<Bucket>>,
    /// What a hello needs; gone with the first message.
    greeting: Option<Box<Greeting>>,
    /// The answer of another server to a hello.
    waiting: Option<Box<Waiting>>,
    refusals: u32,
}

impl Drop for Client {
    fn drop(&mut self) {
        // Nothing happens where it has ended already.
        self.relay.lose(&self.session, &self.line, self.relay.now());
    }
}

impl Client {
    /// A newcomer, in no room yet; without a `user` it must say hello first. It writes to `line`.
    #[must_use]
    pub fn new(
        user: Option<User>,
        (relay, line): (Arc<Relay>, Arc<Line>),
        (desk, host): (Arc<dyn Desk>, Option<&str>),
        address: Option<IpAddr>,
        now: Instant,
    ) -> Self {
        if user.is_some() {
            line.greet();
        }
        let user_bucket = user.as_ref().map(|user| relay.buckets.of_user(&user.id, now));
        let greeting = Greeting::new(desk, host, user.is_some());
        let user = user.map_or_else(hello::nobody, Arc::new);
        let session = relay.begin_v1(user);
        session.outbox.attach(line.clone(), None);
        let address_bucket = address.and_then(|address| relay.buckets.of_address(address, now));
        Self {
            session,
            relay,
            line,
            bucket: Bucket::full(now),
            user_bucket,
            address_bucket,
            auth_bucket: None,
            greeting: Some(Box::new(greeting)),
            waiting: None,
            refusals: 0,
        }
    }

    /// The session that the connection serves now.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// How long the server waits for what.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.relay.timing
    }

    /// Whether another server has to answer before anything more may be read.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for that answer.
    pub fn poll_waiting(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(()) };
        waiting.poll(cx).map(|handover| self.answered(handover, now))
    }

    /// Acts on one message, text or binary.
    ///
    /// # Errors
    /// [`Closing`] when the connection must end now.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Closing> {
        if self.may_speak(now)? { self.read(bytes, now) } else { Ok(()) }
    }

    /// Counts a ping, so that nobody keeps the server busy with them. Whether to answer it.
    ///
    /// # Errors
    /// [`Closing`] when the connection must end now.
    pub fn receive_ping(&mut self, now: Instant) -> Result<bool, Closing> {
        self.may_speak(now)
    }

    /// The connection has ended at `now`. Whether the last words go through the session's outbox; where
    /// the session lives on, they don't.
    pub fn end(&mut self, end: End, now: Instant) -> bool {
        let (relay, session) = (&self.relay, &self.session);
        if !session.outbox.is_at(&self.line) {
            return false;
        }
        let reason = match end {
            End::Goodbye(None | Some(1000 | 1001)) => LeftReason::Left,
            End::Close(Closing::TOO_SLOW) => LeftReason::Slow,
            // Its client may be back by another way.
            End::Close(Closing::SILENT) | End::Gone | End::Goodbye(_)
                if session.version == Version::V2 =>
            {
                relay.lose(session, &self.line, now);
                return false;
            }
            End::Goodbye(_) => LeftReason::Left,
            End::Gone | End::Close(_) => LeftReason::Lost,
        };
        relay.finish(session, reason);
        true
    }

    /// Takes a token; where there is none, the client has been told.
    fn may_speak(&mut self, now: Instant) -> Result<bool, Closing> {
        if self.bucket.take(Rate::SOCKET, now).is_err() {
            return self.refuse(None, Refusal::RateLimited, None).map(|()| false);
        }
        let mut shared = [&self.user_bucket, &self.address_bucket].into_iter().flatten();
        // Those who share an address with a flood are refused, but not closed for it.
        let all_have = shared.all(|bucket| bucket.take(now));
        if !all_have {
            self.relay.metrics.relay.refused.inc();
            self.tell_refusal("", Refusal::RateLimited, None);
        }
        Ok(all_have)
    }

    fn read(&mut self, bytes: &[u8], now: Instant) -> Result<(), Closing> {
        let Ok(envelope) = Envelope::parse(bytes) else {
            let is_object = serde_json::from_slice::<Map<String, Value>>(bytes).is_ok();
            if is_object {
                self.stay_old()?;
                return self.refuse(None, Refusal::InvalidType, None);
            }
            return Err(Closing::NOT_JSON);
        };
        let kind = MessageType::from_name(&envelope.kind);
        if let Some(kind) = kind {
            self.relay.metrics.relay.received.add(kind);
        }
        if kind == Some(MessageType::Hello)
            && let Some(greeting) = self.greeting.take()
        {
            if bytes.len() > limits::HELLO_BYTES {
                return Err(Closing::TOO_BIG);
            }
            return self.hello(*greeting, envelope.data_json(), now);
        }
        self.stay_old()?;
        let room = RoomId::new(&envelope.room);
        let mut id = None;
        let done = match kind {
            Some(kind) => self.act(kind, &envelope, room.as_ref(), &mut id, now),
            None => Err(Refusal::InvalidType),
        };
        match done {
            Ok(()) => Ok(()),
            Err(refusal) => self.refuse(room.as_ref().ok(), refusal, id),
        }
    }

    /// The first message was no hello: this is a client of version 1.
    fn stay_old(&mut self) -> Result<(), Closing> {
        self.greeting = None;
        if self.line.is_greeted() { Ok(()) } else { Err(Closing::NO_HELLO) }
    }

    fn act(
        &mut self,
        kind: MessageType,
        envelope: &Envelope<'_>,
        room: Result<&RoomId, &InvalidId>,
        id: &mut Option<Uuid>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let is_v2 = self.session.version == Version::V2;
        let is_known = is_from_clients(kind) && (is_v2 || !kind.is_v2());
        let room = match room {
            Ok(room) => room,
            Err(InvalidId::TooLong(_)) => return Err(Refusal::RoomTooLong),
            Err(InvalidId::Empty) if kind == MessageType::GenerateRoomId => {
                self.generate_room_id("");
                return Ok(());
            }
            Err(InvalidId::Empty) if is_known => return Err(Refusal::RoomRequired),
            Err(InvalidId::Empty) => return Err(Refusal::InvalidType),
        };
        match kind {
            _ if !is_known => return Err(Refusal::InvalidType),
            MessageType::Join => return self.relay.join(&self.session, room),
            MessageType::Leave => {
                self.relay.leave(&self.session, room);
                return Ok(());
            }
            MessageType::GenerateRoomId => {
                self.generate_room_id(room.as_str());
                return Ok(());
            }
            _ => {}
        }
        let not_allowed = not_allowed(kind);
        let data = envelope.data_json();
        if kind == MessageType::Chat && is_v2 {
            *id = payload::chat_id(data)?;
        }
        if !self.session.is_in(room) {
            return Err(not_allowed);
        }
        let to = payload::check(kind, data)?;
        if kind == MessageType::PeerAuth {
            let bucket = self.auth_bucket.get_or_insert_with(|| Box::new(Bucket::full(now)));
            bucket.take(Rate::PEER_AUTH, now).map_err(|_| Refusal::RateLimited)?;
        }
        let session = &self.session;
        let said = Said { kind, from: &session.user.id, to: to.as_ref(), data, id: *id, seq: None };
        let heard = self.relay.say(session, room, said).map_err(|unheard| match unheard {
            Unheard::NotAMember => not_allowed,
            Unheard::Busy => Refusal::Busy,
        });
        self.relay.metrics.relay.latency.observe(now.elapsed());
        heard.map(|_| ())
    }

    fn generate_room_id(&self, room: &str) {
        #[derive(Serialize)]
        struct Generated {
            #[serde(rename = "roomID")]
            room_id: String,
        }
        let data = Generated { room_id: Uuid::new_v4().to_string() };
        self.answer(MessageType::GenerateRoomId, room, data);
    }

    /// Tells the client what was refused, and counts it where it counts.
    fn refuse(
        &mut self,
        room: Option<&RoomId>,
        refusal: Refusal,
        id: Option<Uuid>,
    ) -> Result<(), Closing> {
        self.relay.metrics.relay.refused.inc();
        self.tell_refusal(room.map_or("", RoomId::as_str), refusal, id);
        if refusal.is_counted() {
            self.refusals += 1;
            if self.refusals >= limits::REFUSALS_BEFORE_CLOSE {
                return Err(Closing::REFUSED_TOO_OFTEN);
            }
        }
        Ok(())
    }

    fn tell_refusal(&self, room: &str, refusal: Refusal, id: Option<Uuid>) {
        #[derive(Serialize)]
        struct Refused {
            error: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<String>,
        }
        let refused = Refused { error: refusal.text(), id: id.map(|id| id.to_string()) };
        self.answer(MessageType::Error, room, refused);
    }

    fn answer(&self, kind: MessageType, room: &str, data: impl Serialize) {
        let answer = Outgoing { kind: kind.name(), room, data, from: Some(UserId::SYSTEM) };
        self.session.outbox.push_own(Frame::text(Class::Kept, &answer.to_json()));
    }
}

fn is_from_clients(kind: MessageType) -> bool {
    use MessageType::{ChatAck, Error, Hello, RoomJoined, RoomLeft, RoomUsers, Welcome};
    // A hello is the first message or none.
    !matches!(kind, RoomUsers | Error | Hello | Welcome | RoomJoined | RoomLeft | ChatAck)
}

/// What one hears who speaks in a room without being in it.
fn not_allowed(kind: MessageType) -> Refusal {
    match kind {
        MessageType::Chat => Refusal::ChatNotAllowed,
        MessageType::Typing => Refusal::TypingNotAllowed,
        MessageType::PeerAuth => Refusal::PeerAuthNotAllowed,
        MessageType::PeerState => Refusal::PeerStateNotAllowed,
        _ => Refusal::SignalNotAllowed,
    }
}

#[cfg(test)]
mod tests;
