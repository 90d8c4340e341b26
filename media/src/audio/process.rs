//! What is done to our own sound before it is encoded: the echo of the others taken out, noise
//! lowered, the voice brought to an even level, rumble cut. The algorithms are WebRTC's (AEC3,
//! NS, AGC2), in their Rust port.

use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate,
    NoiseSuppression, NoiseSuppressionLevel, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::SAMPLE_RATE;
use super::meter::BLOCK;

/// Which steps are on. Each can be switched while talking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processing {
    /// Takes out what the microphone hears of the speaker. Works best without other programs
    /// that play sound.
    pub echo_cancellation: bool,
    /// Lowers steady noise by about 18 dB.
    pub noise_suppression: bool,
    /// Brings the voice to an even level.
    pub automatic_gain: bool,
    /// Cuts rumble below about 100 Hz; always on with the echo canceller, which needs it.
    pub high_pass: bool,
}

impl Processing {
    /// Every step: right for a microphone in a room.
    pub const ALL: Self = Self {
        echo_cancellation: true,
        noise_suppression: true,
        automatic_gain: true,
        high_pass: true,
    };
    /// The sound as it comes.
    pub const NONE: Self = Self {
        echo_cancellation: false,
        noise_suppression: false,
        automatic_gain: false,
        high_pass: false,
    };

    pub(super) fn to_bits(self) -> u8 {
        let steps =
            [self.echo_cancellation, self.noise_suppression, self.automatic_gain, self.high_pass];
        steps.iter().rev().fold(0, |bits, step| bits << 1 | u8::from(*step))
    }

    pub(super) fn from_bits(bits: u8) -> Self {
        let step = |index: u8| bits >> index & 1 == 1;
        Self {
            echo_cancellation: step(0),
            noise_suppression: step(1),
            automatic_gain: step(2),
            high_pass: step(3),
        }
    }

    fn config(self) -> Config {
        Config {
            pipeline: Pipeline {
                maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
                ..Pipeline::default()
            },
            high_pass_filter: self.high_pass.then(HighPassFilter::default),
            echo_canceller: self.echo_cancellation.then(EchoCanceller::default),
            noise_suppression: self.noise_suppression.then(|| NoiseSuppression {
                level: NoiseSuppressionLevel::High,
                ..NoiseSuppression::default()
            }),
            gain_controller2: self.automatic_gain.then(|| GainController2 {
                adaptive_digital: Some(AdaptiveDigital::default()),
                ..GainController2::default()
            }),
            ..Config::default()
        }
    }
}

/// Does it, 10 ms at a time. Lives on the audio thread.
#[derive(Default)]
pub(super) struct Processor {
    /// What is on, and what does it; `None` while everything is off.
    running: Option<(Processing, AudioProcessing)>,
}

impl Processor {
    /// Switches steps on and off; those that stay on keep what they have learnt.
    pub fn configure(&mut self, wanted: Processing) {
        match &mut self.running {
            _ if wanted == Processing::NONE => self.running = None,
            Some((current, _)) if *current == wanted => {}
            Some((current, processing)) => {
                *current = wanted;
                processing.apply_config(wanted.config());
            }
            None => {
                let mono = StreamConfig::new(SAMPLE_RATE, 1);
                let processing = AudioProcessing::builder()
                    .config(wanted.config())
                    .capture_config(mono)
                    .render_config(mono)
                    .build();
                self.running = Some((wanted, processing));
            }
        }
    }

    /// What the speaker is about to play.
    pub fn hear(&mut self, block: &[f32; BLOCK]) {
        let Some((processing, apm)) = &mut self.running else { return };
        if processing.echo_cancellation {
            let (block, mut unused) = (sound(block), [0.0; BLOCK]);
            if let Err(error) = apm.process_render_f32(&[&block], &mut [&mut unused]) {
                tracing::warn!(%error, "the echo canceller did not take what is played");
            }
        }
    }

    /// Cleans [`BLOCK`] samples of our own sound.
    pub fn clean(&mut self, block: &mut [f32]) {
        let Some((_, apm)) = &mut self.running else { return };
        let mut cleaned = [0.0; BLOCK];
        match apm.process_capture_f32(&[&sound(block)], &mut [&mut cleaned]) {
            Ok(()) => block.copy_from_slice(&cleaned),
            Err(error) => tracing::warn!(%error, "our sound was not processed"),
        }
    }
}

/// A block of [`BLOCK`] samples as sound may be: a single one that is no number would stay in the
/// filters for ever.
fn sound(block: &[f32]) -> [f32; BLOCK] {
    std::array::from_fn(|at| match block.get(at) {
        Some(sample) if sample.is_finite() => sample.clamp(-1.0, 1.0),
        _ => 0.0,
    })
}

#[cfg(test)]
mod tests;
