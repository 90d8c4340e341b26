//! One peer: perfect negotiation, with patience for clients that keep silent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wire::{ClientMessage, UserId, limits};

use super::{Described, Link, Op, Output, RECOVERY};
use crate::event::PeerState;

/// How long the higher id waits for the first offer of the lower.
const FIRST_OFFER: Duration = Duration::from_millis(2_500);
/// Pause between an answer and an own offer: an old web client overhears an offer that follows
/// within about 300 ms.
const AFTER_ANSWER: Duration = Duration::from_millis(500);
/// How long an offer may stay unanswered before it is sent again; doubles with each attempt.
const UNANSWERED: Duration = Duration::from_millis(2_500);
/// The longest it grows.
const UNANSWERED_MAX: Duration = Duration::from_secs(20);
/// Pause after something went wrong on our own side, or with what the peer sent.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A connection that is silent for so long gets new paths, by the lower id.
const SILENCE: Duration = Duration::from_secs(3);
/// So much later the higher id takes it into its own hands.
const POLITE_EXTRA: Duration = Duration::from_secs(3);
/// Pause between two searches for new paths.
const BETWEEN_RESTARTS: Duration = Duration::from_secs(6);
/// Searches in a row without success before the connection counts as failed. A later offer of
/// the peer revives it.
const RESTARTS: u32 = 5;
/// Own offers in a row that left something open: then the peer does not want it.
const FRUITLESS: u32 = 4;
/// Offers and answers of the peer that wait for the current step; more are dropped.
const WAITING: usize = 16;
/// Candidates that wait for the peer's first description; more are dropped.
const CANDIDATES: usize = 64;

#[derive(Debug)]
enum Step {
    Offer,
    AcceptOffer(String),
    AcceptAnswer(String),
}

#[derive(Debug)]
enum Remote {
    Offer(String),
    Answer(String),
}

/// Everything about one peer.
#[derive(Debug)]
pub(super) struct Peer {
    generation: u64,
    /// The higher id gives way.
    polite: bool,
    missing_since: Option<Instant>,
    /// It did not leave: its way to the server broke.
    lost: bool,
    /// The step under way.
    running: Option<Step>,
    waiting: VecDeque<Remote>,
    /// Our offer is out, since then.
    offered_at: Option<Instant>,
    /// Its text, to be sent again; `None` once the peer's answer did not fit it.
    offer: Option<String>,
    /// The peer's newest offer that we answered, and the answer: what comes again gets the same.
    answered: Option<(String, String)>,
    /// The peer's newest answer that fitted: its copies fit nothing else.
    accepted: Option<String>,
    /// Own offers in a row without an answer.
    unanswered: u32,
    /// Own offers in a row that were answered and left something open.
    fruitless: u32,
    /// There is something to offer, but not before.
    offer_wanted: Option<Instant>,
    restart_wanted: bool,
    /// A description of the peer was, or is being, applied.
    described: bool,
    candidates: Vec<String>,
    link: Link,
    link_since: Instant,
    ever_connected: bool,
    restarts: u32,
    state: PeerState,
    bad_signals: u64,
}

impl Peer {
    /// Opens the connection.
    pub(super) fn open(
        id: &UserId,
        generation: u64,
        own: &UserId,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Self {
        let polite = own > id;
        let peer = Self {
            generation,
            polite,
            missing_since: None,
            lost: false,
            running: None,
            waiting: VecDeque::new(),
            offered_at: None,
            offer: None,
            answered: None,
            accepted: None,
            unanswered: 0,
            fruitless: 0,
            offer_wanted: Some(if polite { now + FIRST_OFFER } else { now }),
            restart_wanted: false,
            described: false,
            candidates: Vec::new(),
            link: Link::Connecting,
            link_since: now,
            ever_connected: false,
            restarts: 0,
            state: PeerState::Connecting,
            bad_signals: 0,
        };
        out.push(Output::Open { peer: id.clone(), generation, creates_channel: !polite });
        out.push(Output::State { peer: id.clone(), state: PeerState::Connecting });
        peer
    }

    /// Begins anew with a fresh connection.
    pub(super) fn reopen(
        &mut self,
        id: &UserId,
        generation: u64,
        own: &UserId,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Self { bad_signals, missing_since, lost, .. } = *self;
        let new = Self::open(id, generation, own, now, out);
        *self = Self { bad_signals, missing_since, lost, ..new };
    }

    pub(super) fn close(self, id: &UserId, out: &mut Vec<Output>) {
        if self.link != Link::Gone {
            out.push(Output::Close { peer: id.clone(), generation: self.generation });
        }
        out.push(Output::State { peer: id.clone(), state: PeerState::Closed });
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn state(&self) -> PeerState {
        self.state
    }

    pub(super) fn bad_signals(&self) -> u64 {
        self.bad_signals
    }

    pub(super) fn is_gone(&self) -> bool {
        self.link == Link::Gone
    }

    pub(super) fn set_lost(&mut self) {
        self.lost = true;
    }

    pub(super) fn set_present(&mut self, present: bool, now: Instant) {
        self.lost &= !present;
        self.missing_since = if present { None } else { self.missing_since.or(Some(now)) };
    }

    /// From when on it counts as gone from the room, if it is missing. Without a server nobody
    /// knows who is in the room.
    pub(super) fn left_at(
        &self,
        online: bool,
        recovering_until: Option<Instant>,
    ) -> Option<Instant> {
        if !online {
            return None;
        }
        let missing_since = self.missing_since?;
        let left = missing_since + limits::ROSTER_GRACE;
        if self.link != Link::Connected {
            return Some(left);
        }
        // It may just not have found back to the server; its connection knows better.
        let back = self.lost.then_some(missing_since + RECOVERY);
        [back, recovering_until].into_iter().flatten().chain([left]).max()
    }

    /// When something is due without a further input.
    pub(super) fn deadline(
        &self,
        online: bool,
        recovering_until: Option<Instant>,
    ) -> Option<Instant> {
        let left = self.left_at(online, recovering_until);
        if !online || self.running.is_some() || self.is_gone() {
            return left;
        }
        let offer = match self.offered_at {
            Some(_) => self.answer_due(),
            None => self.offer_wanted,
        };
        [left, offer, self.restart_due()].into_iter().flatten().min()
    }

    pub(super) fn wants_offer(&mut self, now: Instant) {
        self.fruitless = 0;
        self.offer_wanted.get_or_insert(now);
    }

    /// The server is back: whatever was under way may have been lost.
    pub(super) fn on_online(&mut self, now: Instant) {
        if self.offered_at.take().is_some() {
            self.unanswered = 0;
            self.offered_at = now.checked_sub(UNANSWERED);
        }
    }

    pub(super) fn on_offer(&mut self, sdp: String) {
        self.queue(Remote::Offer(sdp));
    }

    pub(super) fn on_answer(&mut self, sdp: String) {
        self.queue(Remote::Answer(sdp));
    }

    fn queue(&mut self, remote: Remote) {
        if self.waiting.len() < WAITING {
            self.waiting.push_back(remote);
        } else {
            self.bad_signals += 1;
        }
    }

    pub(super) fn on_candidate(&mut self, id: &UserId, candidate: String, out: &mut Vec<Output>) {
        if self.is_gone() {
            return;
        }
        if self.described {
            self.run_candidate(id, candidate, out);
        } else if self.candidates.len() < CANDIDATES {
            self.candidates.push(candidate);
        } else {
            self.bad_signals += 1;
        }
    }

    fn run_candidate(&self, id: &UserId, candidate: String, out: &mut Vec<Output>) {
        let op = Op::Candidate(candidate);
        out.push(Output::Run { peer: id.clone(), generation: self.generation, op });
    }

    pub(super) fn on_done(
        &mut self,
        id: &UserId,
        result: Result<Described, ()>,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let Some(step) = self.running.take() else { return };
        match (step, result) {
            (Step::Offer, Ok(described)) => {
                self.offered_at = Some(now);
                // The polite side takes this offer back at once; nobody needs to see it.
                let yields = self.polite
                    && self.waiting.iter().any(|remote| matches!(remote, Remote::Offer(_)));
                if !yields {
                    Self::send_offer(id, described.sdp.clone(), out);
                }
                self.offer = Some(described.sdp);
            }
            (Step::AcceptOffer(offer), Ok(described)) => {
                let answer = described.sdp.clone();
                let message = ClientMessage::Answer { sdp: described.sdp, to: id.clone() };
                out.push(Output::Send(message));
                self.answered = Some((offer, answer));
                self.unanswered = 0;
                self.negotiated(described.incomplete, AFTER_ANSWER, now);
            }
            (Step::AcceptAnswer(answer), Ok(described)) => {
                self.accepted = Some(answer);
                self.offered_at = None;
                // The peer answers each copy of an offer; no other offer may be out meanwhile,
                // or those answers would be taken for answers to it.
                let copies = std::mem::take(&mut self.unanswered) > 0;
                let pause = if copies { UNANSWERED } else { AFTER_ANSWER };
                self.fruitless = if described.incomplete { self.fruitless + 1 } else { 0 };
                self.negotiated(described.incomplete, pause, now);
            }
            (Step::Offer, Err(())) => {
                self.offered_at = None;
                self.unanswered += 1;
                self.retry(now);
            }
            (Step::AcceptOffer(_), Err(())) => {
                self.bad_signals += 1;
                self.retry(now);
            }
            (Step::AcceptAnswer(_), Err(())) => {
                self.offer = None;
                self.bad_signals += 1;
                self.unanswered += 1;
                self.retry(now);
            }
        }
    }

    fn negotiated(&mut self, incomplete: bool, pause: Duration, now: Instant) {
        if incomplete && self.fruitless < FRUITLESS {
            self.offer_wanted.get_or_insert(now);
        }
        // Whatever we want next, the peer has a moment to settle.
        self.offer_wanted = self.offer_wanted.map(|wanted| wanted.max(now + pause));
    }

    fn retry(&mut self, now: Instant) {
        let pause = AFTER_FAILURE * 2_u32.saturating_pow(self.unanswered.min(5));
        self.offer_wanted = Some(now + pause);
    }

    pub(super) fn on_link(&mut self, id: &UserId, link: Link, now: Instant, out: &mut Vec<Output>) {
        if self.link != link {
            self.link = link;
            self.link_since = now;
        }
        if link == Link::Connected {
            self.ever_connected = true;
            self.restarts = 0;
        }
        self.report(id, out);
    }

    fn report(&mut self, id: &UserId, out: &mut Vec<Output>) {
        let state = match self.link {
            Link::Connected => PeerState::Connected,
            Link::Gone => PeerState::Failed,
            Link::Failed if self.restarts >= RESTARTS => PeerState::Failed,
            _ if self.ever_connected => PeerState::Reconnecting,
            _ => PeerState::Connecting,
        };
        if self.state != state {
            self.state = state;
            out.push(Output::State { peer: id.clone(), state });
        }
    }

    /// When our offer counts as overheard.
    fn answer_due(&self) -> Option<Instant> {
        let patience = UNANSWERED * 2_u32.saturating_pow(self.unanswered.min(8));
        Some(self.offered_at? + patience.min(UNANSWERED_MAX))
    }

    /// When to look for new paths.
    fn restart_due(&self) -> Option<Instant> {
        let patience = match self.link {
            Link::Disconnected => SILENCE,
            Link::Failed => Duration::ZERO,
            _ => return None,
        };
        if self.restarts >= RESTARTS || self.restart_wanted {
            return None;
        }
        let extra = if self.polite { POLITE_EXTRA } else { Duration::ZERO };
        Some(self.link_since + patience + extra + BETWEEN_RESTARTS * self.restarts)
    }

    /// Begins the next step, if one is due.
    pub(super) fn pump(&mut self, id: &UserId, online: bool, now: Instant, out: &mut Vec<Output>) {
        if self.is_gone() {
            return;
        }
        if online && self.restart_due().is_some_and(|due| now >= due) {
            self.restarts += 1;
            self.restart_wanted = true;
            self.offer_wanted.get_or_insert(now);
            self.report(id, out);
        }
        while self.running.is_none() {
            match self.waiting.pop_front() {
                Some(Remote::Offer(sdp)) => self.accept_offer(id, sdp, out),
                Some(Remote::Answer(sdp)) => self.accept_answer(id, sdp, out),
                None => break,
            }
        }
        if self.running.is_some() || !online {
            return;
        }
        if self.offered_at.is_some() {
            if self.answer_due().is_some_and(|due| now >= due) {
                self.unanswered += 1;
                self.offer_again(id, now, out);
            }
        } else if self.offer_wanted.is_some_and(|wanted| now >= wanted) {
            self.offer(id, false, out);
        }
    }

    fn offer(&mut self, id: &UserId, rollback: bool, out: &mut Vec<Output>) {
        self.offer_wanted = None;
        // An offer that is made again keeps what it was for.
        let restart = std::mem::take(&mut self.restart_wanted);
        self.run(id, Step::Offer, Op::Offer { rollback, restart }, out);
    }

    /// The same text again: the answer to either copy then fits, however late it comes. A new
    /// offer only where the peer's answer did not fit.
    fn offer_again(&mut self, id: &UserId, now: Instant, out: &mut Vec<Output>) {
        match &self.offer {
            Some(sdp) => {
                self.offered_at = Some(now);
                Self::send_offer(id, sdp.clone(), out);
            }
            None => self.offer(id, true, out),
        }
    }

    fn send_offer(id: &UserId, sdp: String, out: &mut Vec<Output>) {
        out.push(Output::Send(ClientMessage::Offer { sdp, to: id.clone() }));
    }

    fn accept_offer(&mut self, id: &UserId, sdp: String, out: &mut Vec<Output>) {
        if let Some((_, answer)) = self.answered.as_ref().filter(|(offer, _)| *offer == sdp) {
            let message = ClientMessage::Answer { sdp: answer.clone(), to: id.clone() };
            return out.push(Output::Send(message));
        }
        let collision = self.offered_at.is_some();
        if collision && !self.polite {
            return; // Ours counts; the peer takes its own back and answers.
        }
        self.offered_at = None;
        self.offer_wanted = None;
        let step = Step::AcceptOffer(sdp.clone());
        self.run(id, step, Op::AcceptOffer { sdp, rollback: collision }, out);
        self.flush_candidates(id, out);
    }

    fn accept_answer(&mut self, id: &UserId, sdp: String, out: &mut Vec<Output>) {
        if self.offered_at.is_none() || self.accepted.as_ref() == Some(&sdp) {
            return; // To an offer that was taken back, or one answer twice.
        }
        self.run(id, Step::AcceptAnswer(sdp.clone()), Op::AcceptAnswer { sdp }, out);
        self.flush_candidates(id, out);
    }

    fn run(&mut self, id: &UserId, step: Step, op: Op, out: &mut Vec<Output>) {
        self.running = Some(step);
        out.push(Output::Run { peer: id.clone(), generation: self.generation, op });
    }

    fn flush_candidates(&mut self, id: &UserId, out: &mut Vec<Output>) {
        self.described = true;
        for candidate in std::mem::take(&mut self.candidates) {
            self.run_candidate(id, candidate, out);
        }
    }
}
