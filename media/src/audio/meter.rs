//! How loud and how high: level and pitch of the newest second of sound.

use super::{SAMPLE_RATE, SILENCE_DBFS};

/// Samples in a block; sound comes in whole blocks of 10 ms.
pub(super) const BLOCK: usize = SAMPLE_RATE as usize / 100;
/// Blocks that are remembered: one second.
const BLOCKS: usize = 100;
/// Blocks that a level is measured over: 100 ms.
const WINDOW: usize = 10;
/// Quieter sound has no pitch.
const QUIETEST_DBFS: f32 = -60.0;
/// The pitches that can be found, in hertz.
const PITCHES_HZ: std::ops::RangeInclusive<usize> = 50..=4000;
/// How alike the sound must be to itself one period later, from 0 to 1.
const PERIODIC: f32 = 0.6;

/// Remembers a second of sound.
#[derive(Debug)]
pub(super) struct Meter {
    /// A ring of blocks.
    samples: Vec<f32>,
    /// Mean square of each block.
    energies: [f32; BLOCKS],
    /// The block that is written next.
    next: usize,
}

impl Default for Meter {
    fn default() -> Self {
        Self { samples: vec![0.0; BLOCK * BLOCKS], energies: [0.0; BLOCKS], next: 0 }
    }
}

impl Meter {
    /// Takes the next block.
    pub fn write(&mut self, block: &[f32]) {
        let place = &mut self.samples[self.next * BLOCK..][..BLOCK];
        place.copy_from_slice(block);
        self.energies[self.next] =
            block.iter().map(|sample| sample * sample).sum::<f32>() / BLOCK as f32;
        self.next = (self.next + 1) % BLOCKS;
    }

    /// Level of the newest 100 ms.
    pub fn level_dbfs(&self) -> f32 {
        dbfs(self.energy(BLOCKS - WINDOW))
    }

    /// Level of the loudest 100 ms of the newest second.
    pub fn loudest_dbfs(&self) -> f32 {
        dbfs(self.energy(self.loudest()))
    }

    /// The loudest 100 ms of the newest second, for [`pitch_hz`].
    pub fn loudest_sound(&self) -> Vec<f32> {
        let start = self.loudest();
        (start..start + WINDOW).flat_map(|age| self.block(age).iter().copied()).collect()
    }

    /// The window that begins at block `age`, 0 being the oldest: its mean square.
    fn energy(&self, age: usize) -> f32 {
        let blocks = (age..age + WINDOW).map(|age| self.energies[(self.next + age) % BLOCKS]);
        blocks.sum::<f32>() / WINDOW as f32
    }

    fn loudest(&self) -> usize {
        let windows = 0..=BLOCKS - WINDOW;
        windows.max_by(|a, b| self.energy(*a).total_cmp(&self.energy(*b))).unwrap_or(0)
    }

    fn block(&self, age: usize) -> &[f32] {
        &self.samples[(self.next + age) % BLOCKS * BLOCK..][..BLOCK]
    }
}

/// A mean square as a level. As in AES17 a sine of full scale has 0 dBFS.
fn dbfs(mean_square: f32) -> f32 {
    (10.0 * (2.0 * mean_square).log10()).max(SILENCE_DBFS)
}

/// The pitch of a sound at 48 kHz, 50 to 4000 Hz, by autocorrelation; `None` when it is silent
/// or not periodic. Takes about a millisecond for 100 ms.
pub(super) fn pitch_hz(sound: &[f32]) -> Option<f32> {
    let energy = sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32;
    if dbfs(energy) < QUIETEST_DBFS {
        return None;
    }
    let rate = SAMPLE_RATE as usize;
    let (shortest, longest) = (rate / PITCHES_HZ.end(), rate / PITCHES_HZ.start());
    let alike: Vec<f32> = (0..=longest + 1).map(|lag| likeness(sound, lag, longest + 1)).collect();
    // Everything is alike to itself a moment later: begin behind the first valley.
    let valley = alike.iter().position(|&alike| alike < 0.0)?;
    let is_peak = |lag: &usize| alike[*lag] >= alike[lag - 1] && alike[*lag] >= alike[lag + 1];
    let peaks: Vec<usize> = (valley.max(shortest)..=longest).filter(is_peak).collect();
    let best = peaks.iter().map(|&lag| alike[lag]).fold(0.0, f32::max);
    if best < PERIODIC {
        return None;
    }
    // Twice the period is as good a peak: take the first that is about as good as the best.
    let lag = peaks.into_iter().find(|&lag| alike[lag] >= 0.85 * best)?;
    // The top of the parabola through the peak and its neighbours.
    let (left, middle, right) = (alike[lag - 1], alike[lag], alike[lag + 1]);
    let bend = left - 2.0 * middle + right;
    let shift = if bend < 0.0 { (0.5 * (left - right) / bend).clamp(-1.0, 1.0) } else { 0.0 };
    Some(SAMPLE_RATE as f32 / (lag as f32 + shift))
}

/// How alike a sound is to itself `lag` samples later, from −1 to 1, over all but the last
/// `longest` samples, of which every other will do.
fn likeness(sound: &[f32], lag: usize, longest: usize) -> f32 {
    let Some(len) = sound.len().checked_sub(longest.max(lag)) else { return 0.0 };
    let (mut product, mut energy) = (0.0, f32::MIN_POSITIVE);
    for (a, b) in sound[..len].iter().zip(&sound[lag..]).step_by(2) {
        product += a * b;
        energy += a * a + b * b;
    }
    2.0 * product / energy
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    fn tone(hz: f32, amplitude: f32, samples: usize) -> Vec<f32> {
        let sample = |t: usize| amplitude * (t as f32 * hz / SAMPLE_RATE as f32 * TAU).sin();
        (0..samples).map(sample).collect()
    }

    #[test]
    fn a_sine_of_full_scale_has_0_dbfs() {
        for (amplitude, level) in [(1.0, 0.0), (0.25, -12.04), (0.001, -60.0), (0.0, -120.0)] {
            let mut meter = Meter::default();
            for block in tone(1000.0, amplitude, BLOCK * WINDOW).chunks(BLOCK) {
                meter.write(block);
            }
            assert!((meter.level_dbfs() - level).abs() < 0.1, "{}", meter.level_dbfs());
        }
    }

    #[test]
    fn a_beep_is_remembered_for_a_second() {
        let mut meter = Meter::default();
        let beep = tone(880.0, 0.5, BLOCK * 12);
        beep.chunks(BLOCK).for_each(|block| meter.write(block));
        for _ in 0..80 {
            meter.write(&[0.0; BLOCK]);
        }
        assert_eq!(meter.level_dbfs(), SILENCE_DBFS);
        assert!((meter.loudest_dbfs() + 6.0).abs() < 0.1);
        assert!((pitch_hz(&meter.loudest_sound()).unwrap() - 880.0).abs() < 5.0);
        for _ in 0..20 {
            meter.write(&[0.0; BLOCK]);
        }
        assert_eq!(meter.loudest_dbfs(), SILENCE_DBFS);
    }

    #[test]
    fn pitches_are_found_within_one_percent() {
        for hz in [55.0, 100.0, 200.0, 440.0, 523.25, 999.0, 1234.5, 2500.0, 3700.0] {
            let pure = tone(hz, 0.3, 4800);
            // A voice-like sound: the same pitch with overtones.
            let rich = tone(hz, 0.2, 4800).into_iter().zip(tone(2.0 * hz, 0.2, 4800));
            let rich: Vec<f32> =
                rich.zip(tone(3.0 * hz, 0.1, 4800)).map(|((a, b), c)| a + b + c).collect();
            for sound in [pure, rich] {
                let found = pitch_hz(&sound).unwrap();
                assert!((found / hz - 1.0).abs() < 0.01, "{hz} Hz looks like {found} Hz");
            }
        }
    }

    #[test]
    fn noise_and_silence_have_no_pitch() {
        let mut seed = 1u32;
        let noise: Vec<f32> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .take(4800)
        .collect();
        assert_eq!(pitch_hz(&noise), None);
        assert_eq!(pitch_hz(&[0.0; 4800]), None);
        assert_eq!(pitch_hz(&[0.5; 4800]), None);
    }
}
