//! The jitter buffer: packets in, as the network delivers them; pieces out, as the mixer needs
//! them. Sans-IO: time is an argument.
//!
//! It aims to hold as much sound as the network's recent jitter was, never less than a packet.
//! When it runs dry it stretches time (the decoder conceals), when it holds too much for a while
//! it squeezes two packets into one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{AudioPacket, SAMPLE_RATE};

/// The least and the most sound the buffer aims to hold.
const TARGET: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_millis(400);
/// The most sound it ever holds; when there is more, the oldest is lost.
const CAPACITY: Duration = Duration::from_secs(1);
/// Dry for so many pieces, it falls silent and fills up again before it goes on.
const MAX_DRY: u32 = 5;
/// A longer run of lost packets is skipped rather than concealed one by one.
const MAX_GAP: u64 = 10;
/// A sequence number so far from the last belongs to a sender that started anew.
const MAX_JUMP: u64 = 500;
/// So many late packets in a row mean the same.
const MAX_LATE: u32 = 50;
/// More than the target by this much ...
const SURPLUS: Duration = Duration::from_millis(30);
/// ... for this long is squeezed.
const SURPLUS_TIME: Duration = Duration::from_millis(400);
/// How long a quickest packet is remembered as the measure of the others' delay.
const BASE_WINDOW: Duration = Duration::from_secs(5);
/// The part of its distance that the remembered jitter shrinks with every packet: halved in
/// about seven seconds.
const JITTER_DECAY: f64 = 0.002;

/// What the mixer is to decode next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// This packet.
    Packet(Bytes),
    /// A lost packet, from the redundancy within the packet after it.
    Recover(Bytes),
    /// A lost or late packet, from nothing.
    Conceal,
    /// Two packets, squeezed into the time of one.
    Squeeze(Bytes, Bytes),
    /// Nothing: nobody speaks, or the buffer fills.
    Silence,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub received: u64,
    pub concealed: u64,
    pub discarded: u64,
}

/// One peer's jitter buffer.
#[derive(Debug, Default)]
pub(super) struct Jitter {
    packets: BTreeMap<u64, Queued>,
    /// Unwrapped number of the newest packet seen.
    newest: Option<u64>,
    /// Unwrapped number of the packet due next; `None` while it fills.
    next: Option<u64>,
    /// Pieces concealed since it ran dry.
    dry: u32,
    /// Packets too late in a row.
    late: u32,
    /// A packet came too late: time is to be stretched if there is less sound than there should.
    short: bool,
    surplus_since: Option<Instant>,
    delays: Delays,
    counts: Counts,
}

#[derive(Debug)]
struct Queued {
    data: Bytes,
    duration: Duration,
    arrived: Instant,
}

impl Jitter {
    /// Takes a packet from the network that holds `samples` samples at 48 kHz.
    pub fn push(&mut self, packet: AudioPacket, samples: usize, now: Instant) {
        self.counts.received += 1;
        let number = self.unwrap(packet.sequence);
        let duration = Duration::from_secs(1) * samples as u32 / SAMPLE_RATE;
        if self.next.is_some_and(|next| number < next) {
            self.late += 1;
            self.short = true;
            self.counts.discarded += 1;
            // Late is late, but how late tells how long to wait in the future.
            self.delays.add(packet.rtp_time, duration, now);
            if self.late > MAX_LATE {
                self.restart();
            }
            return;
        }
        self.late = 0;
        self.delays.add(packet.rtp_time, duration, now);
        let queued = Queued { data: packet.data, duration, arrived: now };
        if self.packets.insert(number, queued).is_some() {
            self.counts.discarded += 1;
        }
        while self.held() > CAPACITY {
            self.packets.pop_first();
            self.counts.discarded += 1;
            self.next = self.next.and(self.first());
        }
    }

    /// What to decode next. Called whenever the mixer has used up the piece before.
    pub fn pop(&mut self, now: Instant) -> Piece {
        let Some(mut next) = self.next.or_else(|| self.filled(now)) else { return Piece::Silence };
        let Some(first) = self.first() else {
            self.dry += 1;
            self.next = (self.dry <= MAX_DRY).then_some(next);
            if self.next.is_none() {
                return Piece::Silence;
            }
            self.counts.concealed += 1;
            return Piece::Conceal;
        };
        if std::mem::take(&mut self.short) && self.held() < self.target() {
            self.counts.concealed += 1;
            return Piece::Conceal;
        }
        // What was concealed while dry may have been these very packets.
        let owed = u64::from(std::mem::take(&mut self.dry));
        next = (next + owed).min(first.max(next));
        if first - next > MAX_GAP {
            next = first;
        }
        self.next = Some(next + 1);
        let Some(packet) = self.packets.remove(&next) else {
            self.counts.concealed += 1;
            return match self.packets.get(&(next + 1)) {
                Some(after) => Piece::Recover(after.data.clone()),
                None => Piece::Conceal,
            };
        };
        if self.has_surplus(now)
            && let Some(second) = self.packets.remove(&(next + 1))
        {
            self.next = Some(next + 2);
            self.surplus_since = Some(now);
            return Piece::Squeeze(packet.data, second.data);
        }
        Piece::Packet(packet.data)
    }

    /// How much sound it aims to hold.
    pub fn target(&self) -> Duration {
        self.delays.jitter().clamp(*TARGET.start(), *TARGET.end())
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How much sound it holds.
    fn held(&self) -> Duration {
        self.packets.values().map(|packet| packet.duration).sum()
    }

    fn first(&self) -> Option<u64> {
        self.packets.first_key_value().map(|(number, _)| *number)
    }

    /// The packet to begin with, once there is enough sound or the first has waited long enough.
    fn filled(&self, now: Instant) -> Option<u64> {
        let (number, first) = self.packets.first_key_value()?;
        let waited = now.saturating_duration_since(first.arrived) + first.duration;
        (self.held().max(waited) >= self.target()).then_some(*number)
    }

    fn has_surplus(&mut self, now: Instant) -> bool {
        if self.held() <= self.target() + SURPLUS {
            self.surplus_since = None;
            return false;
        }
        let since = *self.surplus_since.get_or_insert(now);
        now.saturating_duration_since(since) >= SURPLUS_TIME
    }

    /// A number that does not wrap.
    fn unwrap(&mut self, sequence: u16) -> u64 {
        const START: u64 = 1 << 32; // far from zero: the first packet may not be the lowest
        let Some(newest) = self.newest else {
            self.newest = Some(START + u64::from(sequence));
            return START + u64::from(sequence);
        };
        let step = i64::from(sequence.wrapping_sub(newest as u16) as i16);
        let number = newest.saturating_add_signed(step);
        if step.unsigned_abs() > MAX_JUMP {
            self.restart();
        }
        self.newest =
            Some(if step.unsigned_abs() > MAX_JUMP { number } else { number.max(newest) });
        number
    }

    /// Forgets everything but the counts: the sender started anew.
    fn restart(&mut self) {
        self.counts.discarded += self.packets.len() as u64;
        *self = Self { newest: self.newest, counts: self.counts, ..Self::default() };
    }
}

/// How much the packets' delays differ.
#[derive(Debug, Default)]
struct Delays {
    /// Arrival and RTP time of the packet that the others are compared with, unwrapped.
    reference: Option<(Instant, i64)>,
    newest_rtp: u32,
    /// Least delay, in seconds, in this window and in the one before.
    least: [f64; 2],
    window_started: Option<Instant>,
    /// Remembered jitter in seconds.
    peak: f64,
    packet: Duration,
}

impl Delays {
    fn add(&mut self, rtp_time: u32, duration: Duration, now: Instant) {
        self.packet = duration;
        let Some((start, elapsed)) = &mut self.reference else {
            self.reference = Some((now, 0));
            self.newest_rtp = rtp_time;
            self.window_started = Some(now);
            return;
        };
        let step = i64::from(rtp_time.wrapping_sub(self.newest_rtp) as i32);
        let sent = *elapsed + step;
        if step > 0 {
            (*elapsed, self.newest_rtp) = (sent, rtp_time);
        }
        let delay = now.saturating_duration_since(*start).as_secs_f64()
            - sent as f64 / f64::from(SAMPLE_RATE);
        if delay.abs() > 10.0 {
            *self = Self { packet: duration, ..Self::default() }; // another clock altogether
            return;
        }
        if self
            .window_started
            .is_some_and(|started| now.saturating_duration_since(started) > BASE_WINDOW)
        {
            self.least = [delay, self.least[0]];
            self.window_started = Some(now);
        }
        self.least[0] = self.least[0].min(delay);
        let jitter = delay - self.least[0].min(self.least[1]);
        self.peak = if jitter > self.peak {
            jitter
        } else {
            self.peak - (self.peak - jitter) * JITTER_DECAY
        };
    }

    /// What a buffer must hold so that packets are there when they are due.
    fn jitter(&self) -> Duration {
        self.packet + Duration::from_secs_f64(self.peak.clamp(0.0, 10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    /// A sender, a network and a mixer in virtual time.
    struct World {
        jitter: Jitter,
        now: Instant,
        start: Instant,
        in_flight: BTreeMap<(Instant, u16), AudioPacket>,
        sent: u16,
        pieces: Vec<Piece>,
    }

    fn number(piece: &Piece) -> Option<u16> {
        match piece {
            Piece::Packet(data) => Some(u16::from_be_bytes([data[0], data[1]])),
            _ => None,
        }
    }

    impl World {
        fn new() -> Self {
            let now = Instant::now();
            let in_flight = BTreeMap::new();
            World {
                jitter: Jitter::default(),
                now,
                start: now,
                in_flight,
                sent: 65_500,
                pieces: vec![],
            }
        }

        fn packet(sequence: u16, index: u32) -> AudioPacket {
            let data = Bytes::copy_from_slice(&sequence.to_be_bytes());
            AudioPacket { data, rtp_time: index.wrapping_mul(960), sequence }
        }

        /// Sends one packet every 20 ms for a while; `delay` says how long it travels in ms,
        /// `None` loses it. The mixer takes a piece every 20 ms, 7 ms after the sender.
        fn run(&mut self, packets: u32, delay: impl Fn(u32) -> Option<u64>) -> Vec<Piece> {
            self.pieces.clear();
            for index in 0..packets {
                let ticks = (self.now - self.start).as_millis() as u32 / 20;
                if let Some(delay) = delay(index) {
                    let arrival = self.now + Duration::from_millis(delay);
                    let packet = Self::packet(self.sent, ticks);
                    self.in_flight.insert((arrival, self.sent), packet);
                }
                self.sent = self.sent.wrapping_add(1);
                let pop_at = self.now + Duration::from_millis(7);
                self.deliver(pop_at);
                let piece = self.jitter.pop(pop_at);
                self.pieces.push(piece);
                self.now += TICK;
                self.deliver(self.now);
            }
            std::mem::take(&mut self.pieces)
        }

        fn deliver(&mut self, until: Instant) {
            while let Some(entry) = self.in_flight.first_entry() {
                let arrival = entry.key().0;
                if arrival > until {
                    break;
                }
                self.jitter.push(entry.remove(), 960, arrival);
            }
        }
    }

    fn count(pieces: &[Piece], wanted: impl Fn(&Piece) -> bool) -> usize {
        pieces.iter().filter(|piece| wanted(piece)).count()
    }

    #[test]
    fn a_clean_network_costs_one_packet_of_delay_and_nothing_else() {
        let mut world = World::new();
        let pieces = world.run(200, |_| Some(3));
        let played: Vec<u16> = pieces.iter().filter_map(number).collect();
        assert!(pieces.len() - played.len() <= 2, "{pieces:?}");
        assert!(played.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
        assert_eq!(world.jitter.target(), TICK);
        assert_eq!(world.jitter.counts().concealed, 0);
    }

    #[test]
    fn reordered_packets_are_played_in_order() {
        let mut world = World::new();
        // Every tenth packet overtakes the one before it.
        let pieces = world.run(300, |index| Some(if index % 10 == 5 { 45 } else { 2 }));
        let played: Vec<u16> = pieces[100..].iter().filter_map(number).collect();
        assert!(played.windows(2).all(|pair| pair[0].wrapping_sub(pair[1]) > 1000));
        assert_eq!(count(&pieces[100..], |piece| matches!(piece, Piece::Recover(_))), 0);
    }

    #[test]
    fn a_lost_packet_is_recovered_from_the_next_or_concealed() {
        let mut world = World::new();
        world.run(50, |index| {
            Some([2, 42, 22][if index % 25 > 22 { index as usize % 25 - 22 } else { 0 }])
        });
        let before = world.jitter.counts().concealed;
        let pieces = world.run(100, |index| (index % 20 != 10).then_some(2));
        let recovered = count(&pieces, |piece| matches!(piece, Piece::Recover(_)));
        assert_eq!(world.jitter.counts().concealed - before, 5);
        assert_eq!(recovered, 5, "with jitter before, the next packet is there in time");
    }

    #[test]
    fn jitter_makes_it_wait_longer_and_calm_shorter_again() {
        let mut world = World::new();
        let rough = |index: u32| Some(u64::from(index * 7919 % 90));
        world.run(300, rough);
        let target = world.jitter.target();
        assert!((90..=115).contains(&target.as_millis()), "{target:?}");
        let pieces = world.run(300, rough);
        let concealed = count(&pieces, |piece| matches!(piece, Piece::Conceal | Piece::Recover(_)));
        assert!(concealed <= 3, "{concealed} concealed although it had time to learn");
        world.run(3000, |_| Some(5));
        assert!(world.jitter.target() < Duration::from_millis(30));
        let held = world.jitter.held();
        assert!(held <= Duration::from_millis(60), "still holds {held:?}");
    }

    #[test]
    fn a_burst_after_a_stall_is_squeezed_without_loss() {
        let mut world = World::new();
        world.run(100, |_| Some(2));
        // 300 ms of nothing, then all at once.
        let pieces =
            world.run(115, |index| Some(if index < 15 { 300 - u64::from(index) * 20 } else { 2 }));
        assert!(count(&pieces, |piece| *piece == Piece::Silence) > 0, "it gave up for a while");
        let pieces = world.run(3000, |_| Some(2));
        assert!(count(&pieces, |piece| matches!(piece, Piece::Squeeze(..))) > 0);
        assert_eq!(count(&pieces, |piece| matches!(piece, Piece::Conceal | Piece::Recover(_))), 0);
    }

    #[test]
    fn the_end_of_the_stream_fades_into_silence() {
        let mut world = World::new();
        world.run(50, |_| Some(2));
        let pieces = world.run(50, |_| None);
        assert!(count(&pieces, |piece| *piece == Piece::Conceal) <= MAX_DRY as usize);
        assert!(pieces[10..].iter().all(|piece| *piece == Piece::Silence));
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let mut world = World::new();
        for sequence in 0..1000 {
            world.jitter.push(World::packet(sequence, sequence.into()), 960, world.now);
            assert!(world.jitter.held() <= CAPACITY);
        }
        let counts = world.jitter.counts();
        assert_eq!((counts.received, counts.discarded), (1000, 950));
    }

    #[test]
    fn a_sender_that_starts_anew_is_followed() {
        let mut world = World::new();
        world.run(100, |_| Some(2));
        world.sent = world.sent.wrapping_add(20_000);
        let pieces = world.run(100, |_| Some(2));
        assert!(pieces[20..].iter().all(|piece| number(piece).is_some()), "{pieces:?}");
        // A little back, so that every packet looks late.
        world.sent = world.sent.wrapping_sub(400);
        let pieces = world.run(200, |_| Some(2));
        assert!(pieces[80..].iter().all(|piece| number(piece).is_some()), "{pieces:?}");
    }

    #[test]
    fn rubbish_times_and_numbers_do_no_harm() {
        let (mut jitter, start) = (Jitter::default(), Instant::now());
        let mut seed = 1u64;
        for step in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let now = start + Duration::from_millis(seed >> 60) * step;
            let (sequence, rtp_time) = ((seed >> 16) as u16, (seed >> 24) as u32);
            let packet = AudioPacket { data: Bytes::from_static(b"xx"), rtp_time, sequence };
            jitter.push(packet, (seed >> 33) as usize % 5760, now);
            jitter.pop(now);
            assert!(TARGET.contains(&jitter.target()));
        }
    }
}
