//! What has to happen at some time: pings, ends of silence, ends of sessions without a connection.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use wire::limits::LOST_GRACE;

use super::Relay;
use crate::client::Closing;
use crate::line::Line;
use crate::session::Session;
use crate::wheel::Wheel;

/// How precisely things happen in time.
pub const TICK: Duration = Duration::from_millis(250);
/// How soon a quiet connection is asked whether it has received what was written: what is kept for
/// its resumption can go then.
const LOOK: Duration = Duration::from_secs(8);
/// Steps in which connections are closed that are closed over a while.
const CLOSING_STEP: Duration = Duration::from_millis(20);

/// What is done in one go of all that is due; then the others get their turn. Thousands that were
/// lost at one moment are due at one moment, too.
const LOOKS_IN_A_ROW: usize = 32;

/// The wheel of all connections and of sessions without one.
#[derive(Debug)]
pub(super) struct Clock {
    wheel: Mutex<Wheel<Due>>,
    /// Everybody is sent away, for this reason.
    closing: OnceLock<Closing>,
}

#[derive(Debug)]
enum Due {
    /// A look at a connection.
    Line { line: Weak<Line>, ping_at: Instant, unconfirmed: u64 },
    /// A connection should have said hello.
    Hello(Weak<Line>),
    /// A look at a session that lost its connection then.
    Away { session: Weak<Session>, since: Instant },
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self { wheel: Mutex::new(Wheel::new(TICK, now)), closing: OnceLock::new() }
    }

    fn wheel(&self) -> MutexGuard<'_, Wheel<Due>> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn close_all(&self, closing: Closing, over: Duration) {
        let lines = self.say_closing(closing);
        let steps = (over.as_millis() / CLOSING_STEP.as_millis()).max(1) as usize;
        for (index, some) in lines.chunks(lines.len().div_ceil(steps).max(1)).enumerate() {
            if index > 0 {
                sleep(CLOSING_STEP).await;
            }
            some.iter().for_each(|line| line.end(closing));
        }
    }

    fn say_closing(&self, closing: Closing) -> Vec<Arc<Line>> {
        // The first reason stands for newcomers, as it does for each connection.
        let _ = self.closing.set(closing);
        let wheel = self.wheel();
        let lines = wheel.iter().filter_map(|due| match due {
            Due::Line { line, .. } => line.upgrade(),
            Due::Hello(_) | Due::Away { .. } => None,
        });
        lines.collect()
    }
}

impl Relay {
    /// Looks after a connection from now on; `greeted` when it need not say hello.
    pub fn watch(&self, line: &Arc<Line>, greeted: bool, now: Instant) {
        let (timing, weak) = (self.timing, Arc::downgrade(line));
        let mut wheel = self.clock.wheel();
        if !greeted {
            wheel.insert(now + timing.hello, Due::Hello(weak.clone()));
        }
        let ping_at = now + timing.ping;
        let first = now + LOOK.min(timing.ping).min(timing.silence);
        wheel.insert(first, Due::Line { line: weak, ping_at, unconfirmed: 0 });
        drop(wheel);
        if let Some(closing) = self.clock.closing.get() {
            line.end(*closing);
        }
    }

    /// Looks after a session that has no connection.
    pub(super) fn watch_away(&self, session: &Arc<Session>, since: Instant, now: Instant) {
        if let Some(next) = self.next_look(session, since, now) {
            let due = Due::Away { session: Arc::downgrade(session), since };
            self.clock.wheel().insert(next, due);
        }
    }

    /// Looks after a session that another server took over, when its grace is over.
    pub(super) fn watch_surrendered(&self, session: &Arc<Session>, since: Instant) {
        let due = Due::Away { session: Arc::downgrade(session), since };
        self.clock.wheel().insert(since + LOST_GRACE, due);
    }

    /// Runs what a relay needs beside its connections, until the server stops; then all of them
    /// are asked to end.
    pub(crate) async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut flushers = tokio::task::JoinSet::new();
        for shard in &self.shards {
            flushers.spawn(shard.flusher.clone().run(stopping.clone()));
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while stopping.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = tokio::time::Instant::now().into_std();
            let due = self.clock.wheel().advance(now);
            for (index, due) in due.into_iter().enumerate() {
                if index % LOOKS_IN_A_ROW == LOOKS_IN_A_ROW - 1 {
                    yield_now().await;
                }
                self.look(due, now);
            }
        }
        for line in self.clock.say_closing(Closing::GOING_AWAY) {
            line.end(Closing::GOING_AWAY);
        }
        while flushers.join_next().await.is_some() {}
    }

    /// Does what is due.
    pub fn advance(&self, now: Instant) {
        let due = self.clock.wheel().advance(now);
        due.into_iter().for_each(|due| self.look(due, now));
    }

    fn look(&self, due: Due, now: Instant) {
        match due {
            Due::Line { line, ping_at, unconfirmed } => {
                self.look_at(line, ping_at, unconfirmed, now);
            }
            Due::Hello(line) => {
                if let Some(line) = line.upgrade().filter(|line| !line.is_greeted()) {
                    line.end(Closing::NO_HELLO);
                }
            }
            Due::Away { session, since } => {
                if let Some(session) = session.upgrade() {
                    self.watch_away(&session, since, now);
                }
            }
        }
    }

    fn look_at(&self, weak: Weak<Line>, mut ping_at: Instant, before: u64, now: Instant) {
        let Some(line) = weak.upgrade() else { return };
        if let Some(closing) = self.clock.closing.get() {
            // It may have been out of the wheel when the others were told.
            return line.end(*closing);
        }
        let timing = self.timing;
        let silent_at = line.heard() + timing.silence;
        if now >= silent_at {
            return line.end(Closing::SILENT);
        }
        let mut unconfirmed = line.unconfirmed();
        let is_quiet = unconfirmed != 0 && unconfirmed == before;
        if now >= ping_at || is_quiet {
            ping_at = now + timing.ping;
            unconfirmed = 0;
            line.ping();
        }
        if line.ending().is_none() {
            let mut next = ping_at.min(silent_at);
            if unconfirmed != 0 {
                next = next.min(now + LOOK);
            }
            self.clock.wheel().insert(next, Due::Line { line: weak, ping_at, unconfirmed });
        }
    }
}
