//! Sound without devices, always built: tone, silence, null speaker.

use std::f32::consts::TAU;
use std::time::{Duration, Instant};

use super::engine::{Microphone, Speaker};
use super::{PACKET, SAMPLE_RATE};

/// How loud the tone is: −12 dBFS.
const TONE_AMPLITUDE: f32 = 0.251_188_6;
/// A clock that is further behind than this (the computer slept) starts anew.
const MAX_BEHIND: Duration = Duration::from_millis(200);

/// Counts out samples by the computer's clock, for want of a device's.
#[derive(Debug)]
pub(super) struct SampleClock {
    started: Instant,
    samples: u64,
    /// Samples that are given out at once.
    step: usize,
}

impl SampleClock {
    /// A clock that gives out `step` samples at once, the first of them `step` samples from now.
    pub fn new(step: usize, now: Instant) -> Self {
        Self { started: now, samples: 0, step }
    }

    /// How many samples have come due since the last call: a multiple of the step.
    pub fn take(&mut self, now: Instant) -> usize {
        if now.saturating_duration_since(self.due()) > MAX_BEHIND {
            *self = Self::new(self.step, now - duration(self.step as u64));
        }
        let mut due = 0;
        while self.due() <= now {
            self.samples += self.step as u64;
            due += self.step;
        }
        due
    }

    /// When the next samples come due.
    pub fn due(&self) -> Instant {
        self.started + duration(self.samples + self.step as u64)
    }
}

fn duration(samples: u64) -> Duration {
    Duration::from_nanos(samples * 1_000_000_000 / u64::from(SAMPLE_RATE))
}

/// A sine.
#[derive(Debug)]
pub(super) struct Tone {
    clock: SampleClock,
    /// Where in its period the sine is, from 0 to 1.
    phase: f32,
    step: f32,
}

impl Tone {
    pub fn new(hz: f32) -> Self {
        let clock = SampleClock::new(PACKET, Instant::now());
        Self { clock, phase: 0.0, step: hz / SAMPLE_RATE as f32 }
    }
}

impl Microphone for Tone {
    fn read(&mut self, now: Instant, sound: &mut Vec<f32>) -> Result<(), String> {
        for _ in 0..self.clock.take(now) {
            sound.push(TONE_AMPLITUDE * (self.phase * TAU).sin());
            self.phase = (self.phase + self.step).fract();
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        Some(self.clock.due())
    }
}

/// Listens at the pace of a speaker and forgets.
#[derive(Debug)]
pub(super) struct NullSpeaker(SampleClock);

impl NullSpeaker {
    pub fn new() -> Self {
        Self(SampleClock::new(super::meter::BLOCK, Instant::now()))
    }
}

impl Speaker for NullSpeaker {
    fn wants(&mut self, now: Instant) -> Result<usize, String> {
        Ok(self.0.take(now))
    }

    fn play(&mut self, _: &[f32]) -> Result<(), String> {
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        Some(self.0.due())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::meter::pitch_hz;

    #[test]
    fn the_clock_neither_loses_nor_gains() {
        let start = Instant::now();
        let mut clock = SampleClock::new(480, start);
        assert_eq!(clock.take(start), 0);
        let mut total = 0;
        for millis in 1..=60_000 {
            total += clock.take(start + Duration::from_millis(millis));
        }
        assert_eq!(total, 60 * SAMPLE_RATE as usize);
    }

    #[test]
    fn the_clock_does_not_catch_up_after_a_sleep() {
        let start = Instant::now();
        let mut clock = SampleClock::new(480, start);
        assert_eq!(clock.take(start + Duration::from_secs(3600)), 480);
        assert_eq!(clock.take(start + Duration::from_secs(3600)), 0);
    }

    #[test]
    fn the_tone_has_its_pitch_and_level() {
        let mut tone = Tone::new(1000.0);
        let mut sound = Vec::new();
        tone.read(Instant::now() + Duration::from_millis(120), &mut sound).unwrap();
        assert!(sound.len() >= 4800);
        assert!((pitch_hz(&sound[..4800]).unwrap() - 1000.0).abs() < 1.0);
        let peak = sound.iter().fold(0.0f32, |peak, sample| peak.max(*sample));
        assert!((20.0 * peak.log10() + 12.0).abs() < 0.1);
    }
}
