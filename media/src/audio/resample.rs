//! Changing the sample rate, by FFmpeg's swresample.

use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::software::resampling::Context;
use ffmpeg_next::{ChannelLayout, Error, frame};

/// One channel of float samples.
const MONO: Sample = Sample::F32(Type::Planar);

/// Converts a mono stream from one rate to another; copies when they are equal.
pub(super) struct Resampler {
    context: Option<Context>,
    from: u32,
    to: u32,
}

impl Resampler {
    /// A resampler from `from` to `to` hertz.
    pub fn new(from: u32, to: u32) -> Result<Self, Error> {
        let mono = ChannelLayout::MONO;
        let context = match from == to {
            true => None,
            false => Some(Context::get(MONO, mono, from, MONO, mono, to)?),
        };
        Ok(Self { context, from, to })
    }

    /// Appends the converted `input` to `output`. A few samples stay behind for the next call.
    pub fn run(&mut self, input: &[f32], output: &mut Vec<f32>) {
        let Some(context) = &mut self.context else { return output.extend_from_slice(input) };
        if input.is_empty() {
            return;
        }
        let mut from = frame::Audio::new(MONO, input.len(), ChannelLayout::MONO);
        from.set_rate(self.from);
        from.plane_mut::<f32>(0).copy_from_slice(input);
        // Room for what this input makes and for what stayed behind.
        let room = input.len() as u64 * u64::from(self.to) / u64::from(self.from) + 256;
        let mut to = frame::Audio::new(MONO, room as usize, ChannelLayout::MONO);
        match context.run(&from, &mut to) {
            Ok(_) => output.extend_from_slice(to.plane::<f32>(0)),
            Err(error) => tracing::warn!(%error, "sound could not be resampled"),
        }
    }
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resampler({} → {})", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;
    use crate::audio::meter::pitch_hz;

    #[test]
    fn the_pitch_stays_at_every_rate() {
        for rate in [8_000, 16_000, 44_100, 48_000, 96_000] {
            let input: Vec<f32> =
                (0..rate).map(|t| (t as f32 * 440.0 / rate as f32 * TAU).sin()).collect();
            let mut resampler = Resampler::new(rate, 48_000).unwrap();
            let mut output = Vec::new();
            for chunk in input.chunks(rate as usize / 100) {
                resampler.run(chunk, &mut output);
            }
            assert!((47_000..=48_000).contains(&output.len()), "{rate}: {}", output.len());
            let pitch = pitch_hz(&output[20_000..24_800]).unwrap();
            assert!((pitch - 440.0).abs() < 2.0, "{rate}: {pitch} Hz");
            let peak = output[1000..].iter().fold(0.0f32, |peak, s| peak.max(s.abs()));
            assert!((peak - 1.0).abs() < 0.02, "{rate}: {peak}");
        }
    }
}
