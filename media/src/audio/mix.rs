//! Adding voices without clipping.

use super::SAMPLE_RATE;

/// The loudest sample that leaves the mixer.
const CEILING: f32 = 0.97;
/// How long the limiter takes to let go, in seconds.
const RELEASE_SECONDS: f32 = 0.2;

/// Keeps the sum of all voices below full scale: turns down at once and up again slowly.
#[derive(Debug)]
pub(super) struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    /// Limits a block in place.
    pub fn run(&mut self, block: &mut [f32]) {
        // A device may deliver anything; one NaN would silence the mixer for ever.
        block.iter_mut().filter(|sample| !sample.is_finite()).for_each(|sample| *sample = 0.0);
        let release = 1.0 / (RELEASE_SECONDS * SAMPLE_RATE as f32);
        // The block is at hand as a whole: the gain it needs is reached before its peak.
        let peak = block.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        let needed = if peak > CEILING { CEILING / peak } else { 1.0 };
        let start = self.gain;
        if needed < start {
            let attack = (block.len() / 8).max(1);
            for (index, sample) in block.iter_mut().enumerate() {
                let way = (index as f32 / attack as f32).min(1.0);
                let gain = start + (needed - start) * way;
                *sample = (*sample * gain).clamp(-CEILING, CEILING);
            }
            self.gain = needed;
        } else {
            for sample in block {
                self.gain = (self.gain + release).min(needed);
                *sample = (*sample * self.gain).clamp(-CEILING, CEILING);
            }
        }
    }
}

/// Squeezes two successive pieces of sound into about the time of one: leaves out a stretch after
/// which the sound goes on as it was, and fades across the seam.
pub(super) fn squeeze(sound: &mut Vec<f32>) {
    /// Samples across the seam: 5 ms.
    const FADE: usize = SAMPLE_RATE as usize / 200;
    let (longest, shortest) = (sound.len() / 2, sound.len() / 4);
    if longest < FADE || longest + FADE > sound.len() {
        return;
    }
    let likeness = |lag: usize| -> f32 {
        let pairs = sound[..FADE].iter().zip(&sound[lag..lag + FADE]);
        let (product, energy) =
            pairs.fold((0.0, 1e-9), |(p, e), (a, b)| (p + a * b, e + a * a + b * b));
        product / energy
    };
    let best = (shortest..=longest).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)));
    let lag = best.unwrap_or(longest);
    for index in 0..FADE {
        let way = index as f32 / FADE as f32;
        sound[lag + index] = sound[index] * (1.0 - way) + sound[lag + index] * way;
    }
    sound.drain(..lag);
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;
    use crate::audio::meter::pitch_hz;

    fn tone(hz: f32, amplitude: f32, samples: usize) -> Vec<f32> {
        let sample = |t: usize| amplitude * (t as f32 * hz / SAMPLE_RATE as f32 * TAU).sin();
        (0..samples).map(sample).collect()
    }

    #[test]
    fn quiet_sound_passes_untouched() {
        let (mut limiter, sound) = (Limiter::default(), tone(440.0, 0.9, 4800));
        let mut limited = sound.clone();
        limited.chunks_mut(480).for_each(|block| limiter.run(block));
        assert_eq!(limited, sound);
    }

    #[test]
    fn loud_sound_is_turned_down_not_clipped() {
        let mut limiter = Limiter::default();
        let mut sound = tone(440.0, 4.0, 48_000);
        sound.chunks_mut(480).for_each(|block| limiter.run(block));
        assert!(sound.iter().all(|sample| sample.abs() <= CEILING));
        // Clipping would square the sine off: its mean would be nearer to its peak.
        let steady = &sound[4800..];
        let mean_square = steady.iter().map(|s| s * s).sum::<f32>() / steady.len() as f32;
        assert!((mean_square.sqrt() / CEILING - 0.707).abs() < 0.02);
    }

    #[test]
    fn the_limiter_lets_go_again() {
        let mut limiter = Limiter::default();
        limiter.run(&mut [3.0; 480]);
        let mut quiet = [0.1; 480];
        for _ in 0..25 {
            quiet = [0.1; 480];
            limiter.run(&mut quiet);
        }
        assert!((quiet[479] - 0.1).abs() < 1e-6);
    }

    #[test]
    fn rubbish_does_not_come_through() {
        let mut block = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30, -1e30, 0.0];
        Limiter::default().run(&mut block);
        assert!(block.iter().all(|sample| sample.abs() <= CEILING));
    }

    #[test]
    fn squeezing_keeps_the_pitch_and_halves_the_time() {
        for hz in [100.0, 440.0, 1000.0] {
            let mut sound = tone(hz, 0.5, 1920);
            squeeze(&mut sound);
            assert!((960..=1440).contains(&sound.len()), "{}", sound.len());
            let mut longer = tone(hz, 0.5, 9600);
            squeeze(&mut longer);
            assert!((pitch_hz(&longer[..4800]).unwrap() / hz - 1.0).abs() < 0.02);
            let jump = sound.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!(jump < 0.5 * hz / SAMPLE_RATE as f32 * TAU * 1.5 + 0.01, "clicks by {jump}");
        }
        let mut short = vec![0.5; 100];
        squeeze(&mut short);
        assert_eq!(short.len(), 100);
    }
}
