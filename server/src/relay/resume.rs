//! Sessions of version 2 that lose their connection, come back, move, or end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wire::limits::{LOST_GRACE, RESUME_WITHIN};
use wire::{LeftReason, RoomId, UserId};

use super::Relay;
use crate::auth::User;
use crate::client::Closing;
use crate::frame::{Class, Frame};
use crate::line::Line;
use crate::metrics::Outcome;
use crate::rooms::Version;
use crate::session::{Life, Session, Standing, Token};

/// All sessions that can be resumed, by the half of their token that finds them.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: Mutex<HashMap<[u8; 16], Arc<Session>>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Arc<Session>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, token: &Token) -> Option<Arc<Session>> {
        let session = self.lock().get(&token.key()).cloned()?;
        session.token.as_ref().is_some_and(|own| own.proves(token)).then_some(session)
    }
}

/// A session on its way to another server.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handover {
    /// Whose it is.
    pub user_id: UserId,
    /// The display name.
    pub username: String,
    /// The rooms it is in.
    pub rooms: Vec<RoomId>,
    /// What the client has not received, as JSON texts.
    pub missed: Vec<String>,
    /// How many messages it has received before those.
    pub seen: u64,
}

impl std::fmt::Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handover").field("missed", &self.missed.len()).finish_non_exhaustive()
    }
}

impl Relay {
    /// A session of version 2 that begins with `line`, and with what `welcome` makes of its
    /// token.
    pub(crate) fn begin_v2(
        &self,
        user: Arc<User>,
        line: &Arc<Line>,
        welcome: impl FnOnce(&Token, &[Arc<str>]) -> Frame,
    ) -> Arc<Session> {
        let token = Token::random(self.node);
        let key = token.key();
        let welcome = welcome(&token, &[]);
        let session = Session::new(self.new_seat(), user, Version::V2, Some(token));
        session.outbox.attach(line.clone(), Some(welcome));
        self.sessions.lock().insert(key, session.clone());
        session
    }

    /// Goes on with a session over `line`: its client has had `received` messages, and is to be
    /// `user` where that is known. `None` where there is no such session, or too much is gone.
    pub(crate) fn resume(
        &self,
        token: &Token,
        user: Option<&UserId>,
        received: Option<u64>,
        line: &Arc<Line>,
        welcome: impl FnOnce(&User, &Token, &[Arc<str>]) -> Frame,
    ) -> Option<Arc<Session>> {
        let session = self.sessions.find(token)?;
        if user.is_some_and(|user| *user != session.user.id) {
            return None;
        }
        let mut standing = session.standing();
        if standing.life == Life::Ended {
            return None;
        }
        let welcome = welcome(&session.user, token, &standing.rooms);
        let Ok(old) = session.outbox.resume(line.clone(), welcome, received) else {
            // It will not be possible later, either.
            self.finish_standing(&session, &mut standing, LeftReason::Lost);
            return None;
        };
        if let Some(old) = old {
            old.end(Closing::MOVED);
        }
        if let Life::Away { hidden, .. } = standing.life {
            self.metrics.relay.sessions_away.dec();
            standing.life = Life::Here;
            if hidden {
                for room in &standing.rooms {
                    self.in_room(room, |rooms, post| rooms.show(room, session.seat, post));
                }
            }
        }
        drop(standing);
        Some(session)
    }

    /// Counts a try to come back.
    pub(crate) fn count_resumption(&self, worked: bool) {
        let outcome = if worked { Outcome::Done } else { Outcome::Failed };
        self.metrics.relay.resumed.add(outcome);
    }

    /// The connection of a session is lost. Whether it was its own; if not, the session has moved
    /// and nothing happens.
    pub(crate) fn lose(&self, session: &Arc<Session>, line: &Arc<Line>, now: Instant) -> bool {
        let mut standing = session.standing();
        if !session.outbox.detach(line) {
            return false;
        }
        if standing.life == Life::Here {
            if session.version == Version::V1 || session.outbox.is_closed() {
                self.finish_standing(session, &mut standing, LeftReason::Lost);
                return true;
            }
            standing.life = Life::Away { since: now, hidden: false };
            self.metrics.relay.sessions_away.inc();
            drop(standing);
            self.watch_away(session, now, now);
        }
        true
    }

    /// Does what is due for a session that lost its connection at `since`, and says when to look
    /// again.
    pub(super) fn next_look(
        &self,
        session: &Arc<Session>,
        since: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let mut standing = session.standing();
        let Life::Away { since: lost_at, hidden } = standing.life else { return None };
        if lost_at != since {
            return None;
        }
        let (hide_at, end_at) = (since + LOST_GRACE, since + RESUME_WITHIN);
        if now >= end_at || session.outbox.is_closed() {
            self.finish_standing(session, &mut standing, LeftReason::Lost);
            return None;
        }
        if now < hide_at {
            return Some(hide_at);
        }
        if !hidden {
            standing.life = Life::Away { since, hidden: true };
            for room in &standing.rooms {
                self.in_room(room, |rooms, post| rooms.hide(room, session.seat, post));
            }
        }
        // What overflows meanwhile ends it before its time.
        Some(end_at.min(now + LOST_GRACE))
    }

    pub(super) fn finish_standing(
        &self,
        session: &Session,
        standing: &mut Standing,
        reason: LeftReason,
    ) {
        if matches!(standing.life, Life::Away { .. }) {
            self.metrics.relay.sessions_away.dec();
        }
        standing.life = Life::Ended;
        for room in std::mem::take(&mut standing.rooms) {
            self.in_room(&room, |rooms, post| rooms.leave(&room, session.seat, reason, post));
            self.metrics.relay.seats.dec();
        }
        if let Some(token) = &session.token {
            self.sessions.lock().remove(&token.key());
        }
    }

    /// Gives a session up to another server, which its client has come to. Its seats stay shown
    /// for a moment, so that nobody hears of the move.
    pub fn surrender(&self, token: &str, received: Option<u64>) -> Option<Handover> {
        let session = self.sessions.find(&Token::parse(token)?)?;
        let mut standing = session.standing();
        if standing.life == Life::Ended {
            return None;
        }
        let rooms = standing.rooms.iter().filter_map(|room| RoomId::new(room).ok()).collect();
        let (missed, seen) = session.outbox.surrender(received).ok()?;
        if let Some(line) = session.outbox.line() {
            line.end(Closing::MOVED);
            session.outbox.detach(&line);
        }
        let now = tokio::time::Instant::now().into_std();
        if standing.life == Life::Here {
            self.metrics.relay.sessions_away.inc();
        }
        // Its closed outbox ends it at the next look, after the grace.
        standing.life = Life::Away { since: now, hidden: false };
        drop(standing);
        self.watch_surrendered(&session, now);
        Some(Handover {
            user_id: session.user.id.clone(),
            username: session.user.name.clone(),
            rooms,
            missed: missed.iter().map(|frame| frame.json().to_owned()).collect(),
            seen,
        })
    }

    /// Goes on with a session of another server: a new one here, in the same rooms.
    pub(crate) fn adopt(
        &self,
        handover: Handover,
        line: &Arc<Line>,
        welcome: impl FnOnce(&User, &Token, &[Arc<str>]) -> Frame,
    ) -> Arc<Session> {
        let user = Arc::new(User { id: handover.user_id, name: handover.username });
        let token = Token::random(self.node);
        let key = token.key();
        let names: Vec<Arc<str>> =
            handover.rooms.iter().map(|room| Arc::from(room.as_str())).collect();
        let welcome = welcome(&user, &token, &names);
        let session = Session::new(self.new_seat(), user, Version::V2, Some(token));
        session.outbox.adopt(handover.seen);
        session.outbox.attach(line.clone(), Some(welcome));
        for missed in handover.missed {
            session.outbox.push_own(Frame::text(Class::Kept, &missed));
        }
        self.sessions.lock().insert(key, session.clone());
        for room in &handover.rooms {
            // Taking the seat sends a snapshot, which replaces what the client knew.
            let _ = self.join(&session, room);
        }
        session
    }
}
