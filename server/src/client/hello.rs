//! How a session of version 2 begins, or goes on: `session.hello` and its answer.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

use wire::{
    Hello, IceServers, MessageType, Outgoing, RoomId, SessionLimits, UserId, Welcome, session,
};

use super::{Client, Closing};
use crate::auth::User;
use crate::frame::{Class, Frame};
use crate::relay::Handover;
use crate::session::Token;

/// What a welcome needs of the rest of the server.
pub trait Desk: fmt::Debug + Send + Sync {
    /// Whose token that is, if it is good.
    fn check(&self, token: &str) -> Option<User>;

    /// STUN and TURN servers for a user, who knows this server by the name `host`.
    fn ice_servers(&self, user: &UserId, host: Option<&str>) -> IceServers;

    /// What this server accepts.
    fn limits(&self) -> SessionLimits;
}

/// What a hello needs, until it comes.
#[derive(Debug)]
pub(super) struct Greeting {
    desk: Arc<dyn Desk>,
    host: Option<Box<str>>,
    /// The address of the connection carried a token.
    signed_in: bool,
}

impl Greeting {
    pub(super) fn new(desk: Arc<dyn Desk>, host: Option<&str>, signed_in: bool) -> Self {
        Self { desk, host: host.map(Box::from), signed_in }
    }

    fn welcome(&self, user: &User, token: &Token, rooms: Option<&[Arc<str>]>) -> Frame {
        let ice = self.desk.ice_servers(&user.id, self.host.as_deref());
        let names = rooms.unwrap_or_default().iter();
        let welcome = Welcome {
            v: session::VERSION,
            user_id: user.id.clone(),
            resume: token.text(),
            limits: self.desk.limits(),
            ice_servers: ice.ice_servers,
            ice_ttl: ice.ttl,
            resumed: rooms.is_some(),
            rooms: names.filter_map(|room| RoomId::new(room).ok()).collect(),
        };
        let kind = MessageType::Welcome.name();
        let outgoing = Outgoing { kind, room: "", data: welcome, from: Some(UserId::SYSTEM) };
        Frame::text(Class::Control, &outgoing.to_json())
    }
}

/// A hello whose session is with another server.
pub(super) struct Waiting {
    fetch: Pin<Box<dyn Future<Output = Option<Handover>> + Send>>,
    greeting: Greeting,
    /// Who it is in any case.
    user: Option<User>,
}

impl Waiting {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Handover>> {
        self.fetch.as_mut().poll(cx)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

/// Who a client is before it said so. Nobody of that name is ever in a room.
pub(super) fn nobody() -> Arc<User> {
    static NOBODY: LazyLock<Arc<User>> = LazyLock::new(|| {
        let id = UserId::new("nobody").expect("a short id is valid");
        Arc::new(User { id, name: String::new() })
    });
    NOBODY.clone()
}

impl Client {
    pub(super) fn hello(
        &mut self,
        greeting: Greeting,
        data: &str,
        now: Instant,
    ) -> Result<(), Closing> {
        let hello: Hello = serde_json::from_str(data).map_err(|_| Closing::BAD_HELLO)?;
        if hello.v < session::VERSION {
            return Err(Closing::BAD_HELLO);
        }
        let said = hello.token.as_deref();
        let user = if greeting.signed_in {
            let user = &self.session.user;
            Some(User { id: user.id.clone(), name: user.name.clone() })
        } else {
            said.and_then(|token| greeting.desk.check(token))
        };
        // What can't be resumed, and who can't be known.
        let closing = if said.is_some() { Closing::EXPIRED } else { Closing::NO_HELLO };
        let Some(token) = hello.resume.as_deref() else {
            return self.begin(&greeting, user.ok_or(closing)?, now);
        };
        let Some(token) = Token::parse(token) else {
            self.relay.count_resumption(false);
            return self.begin(&greeting, user.ok_or(Closing::EXPIRED)?, now);
        };
        if token.node() != self.relay.node()
            && let Some(backplane) = self.relay.backplane()
        {
            let fetch = backplane.fetch_session(token.node(), &token.text(), hello.received);
            self.waiting = Some(Box::new(Waiting { fetch, greeting, user }));
            return Ok(());
        }
        let id = user.as_ref().map(|user| &user.id);
        let resumed =
            self.relay.resume(&token, id, hello.received, &self.line, |user, token, rooms| {
                greeting.welcome(user, token, Some(rooms))
            });
        self.relay.count_resumption(resumed.is_some());
        match resumed {
            Some(session) => {
                self.take_over(session, now);
                Ok(())
            }
            None => self.begin(&greeting, user.ok_or(Closing::EXPIRED)?, now),
        }
    }

    /// Another server has answered.
    pub(super) fn answered(&mut self, handover: Option<Handover>, now: Instant) {
        let Some(waiting) = self.waiting.take() else { return };
        let Waiting { greeting, user, .. } = *waiting;
        let fits =
            |handover: &Handover| user.as_ref().is_none_or(|user| user.id == handover.user_id);
        let handover = handover.filter(fits);
        self.relay.count_resumption(handover.is_some());
        if let Some(handover) = handover {
            let session = self.relay.adopt(handover, &self.line, |user, token, rooms| {
                greeting.welcome(user, token, Some(rooms))
            });
            return self.take_over(session, now);
        }
        let begun = match user {
            Some(user) => self.begin(&greeting, user, now),
            None => Err(Closing::EXPIRED),
        };
        if let Err(closing) = begun {
            self.line.end(closing);
        }
    }

    fn begin(&mut self, greeting: &Greeting, user: User, now: Instant) -> Result<(), Closing> {
        let user = Arc::new(user);
        let session = self
            .relay
            .begin_v2(user.clone(), &self.line, |token, _| greeting.welcome(&user, token, None));
        self.take_over(session, now);
        Ok(())
    }

    /// Serves `session` from now on; the one of before was in no room.
    fn take_over(&mut self, session: Arc<crate::session::Session>, now: Instant) {
        self.line.greet();
        self.session.outbox.detach(&self.line);
        self.user_bucket = Some(self.relay.buckets.of_user(&session.user.id, now));
        self.session = session;
    }
}
