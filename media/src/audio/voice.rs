//! One peer's sound: jitter buffer, decoder and meter.

use std::collections::VecDeque;
use std::time::Instant;

use opus::{Channels, Decoder};

use super::jitter::{Jitter, Piece};
use super::meter::{BLOCK, Meter};
use super::mix::squeeze;
use super::{AudioInputStats, AudioPacket, SAMPLE_RATE};

/// The longest Opus packet: 120 ms (RFC 6716 §2.1.4).
const MAX_SAMPLES: usize = SAMPLE_RATE as usize * 120 / 1000;
/// Larger packets are refused; Opus itself never makes them (RFC 6716 §3.4: 1275 bytes a frame,
/// and a packet of ours or a browser's holds at most three of 20 ms).
const MAX_PACKET_BYTES: usize = 4000;

/// A peer's way from packets to samples.
#[derive(Debug)]
pub(super) struct Voice {
    jitter: Jitter,
    decoder: Decoder,
    /// Decoded and not yet mixed.
    ready: VecDeque<f32>,
    pub meter: Meter,
    /// Samples in the newest packet: what a lost one is taken to have held.
    packet_samples: usize,
    decoded: u64,
    rubbish: u64,
}

impl Voice {
    pub fn new() -> Result<Self, opus::Error> {
        Ok(Self {
            jitter: Jitter::default(),
            // Stereo comes out mixed down.
            decoder: Decoder::new(SAMPLE_RATE, Channels::Mono)?,
            ready: VecDeque::with_capacity(2 * MAX_SAMPLES),
            meter: Meter::default(),
            packet_samples: SAMPLE_RATE as usize / 50,
            decoded: 0,
            rubbish: 0,
        })
    }

    /// Takes a packet from the network.
    pub fn push(&mut self, packet: AudioPacket, now: Instant) {
        let samples = match packet.data.len() {
            1..=MAX_PACKET_BYTES => self.decoder.get_nb_samples(&packet.data).unwrap_or(0),
            _ => 0,
        };
        if (1..=MAX_SAMPLES).contains(&samples) {
            self.jitter.push(packet, samples, now);
        } else {
            self.rubbish += 1;
        }
    }

    /// Adds the next block of sound to `mix`.
    pub fn mix(&mut self, mix: &mut [f32; BLOCK], now: Instant) {
        while self.ready.len() < BLOCK {
            self.decode(now);
        }
        let mut block = [0.0; BLOCK];
        for (sample, ready) in block.iter_mut().zip(self.ready.drain(..BLOCK)) {
            *sample = ready;
        }
        self.meter.write(&block);
        mix.iter_mut().zip(block).for_each(|(mix, sample)| *mix += sample);
    }

    pub fn stats(&self) -> AudioInputStats {
        let counts = self.jitter.counts();
        AudioInputStats {
            received: counts.received + self.rubbish,
            decoded: self.decoded,
            concealed: counts.concealed,
            discarded: counts.discarded + self.rubbish,
            target_ms: self.jitter.target().as_millis() as u32,
        }
    }

    fn decode(&mut self, now: Instant) {
        let lost = self.packet_samples;
        match self.jitter.pop(now) {
            Piece::Packet(data) => self.decode_one(&data, MAX_SAMPLES, false),
            Piece::Recover(after) => self.decode_one(&after, lost, true),
            Piece::Conceal => self.decode_one(&[], lost, false),
            Piece::Silence => self.ready.extend([0.0; BLOCK]),
            Piece::Squeeze(one, two) => {
                let before = self.ready.len();
                self.decode_one(&one, MAX_SAMPLES, false);
                self.decode_one(&two, MAX_SAMPLES, false);
                let mut both: Vec<f32> = self.ready.drain(before..).collect();
                squeeze(&mut both);
                self.ready.extend(both);
            }
        }
    }

    /// Decodes one packet (or its redundancy, or nothing) to at most `samples` samples.
    fn decode_one(&mut self, data: &[u8], samples: usize, redundancy: bool) {
        let mut pcm = [0.0; MAX_SAMPLES];
        let lost = self.packet_samples;
        let decoded = match self.decoder.decode_float(data, &mut pcm[..samples], redundancy) {
            Ok(decoded) => decoded,
            Err(error) => {
                tracing::debug!(%error, "a sound packet could not be decoded");
                self.rubbish += 1;
                self.decoder.decode_float(&[], &mut pcm[..lost], false).unwrap_or(lost)
            }
        };
        if !data.is_empty() && !redundancy {
            self.decoded += 1;
            self.packet_samples = decoded.max(SAMPLE_RATE as usize / 400);
        }
        self.ready.extend(&pcm[..decoded]);
    }
}
