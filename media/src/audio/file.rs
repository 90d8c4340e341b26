//! Sound files as microphone and speaker.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ffmpeg_next::format::Sample;
use ffmpeg_next::format::sample::Type;
use ffmpeg_next::software::resampling::Context;
use ffmpeg_next::{ChannelLayout, Error, decoder, frame, media};

use super::engine::{Microphone, Speaker};
use super::fake::SampleClock;
use super::meter::BLOCK;
use super::{PACKET, SAMPLE_RATE};
use crate::looped::LoopedFile;

/// What all sound becomes: one channel of float samples.
const MONO: Sample = Sample::F32(Type::Planar);

/// A sound file, or a film's sound, looped.
pub(super) struct FileMicrophone {
    path: PathBuf,
    clock: SampleClock,
    file: LoopedFile,
    decoder: decoder::Audio,
    resampler: Option<Context>,
    ready: VecDeque<f32>,
    /// Samples since the file began.
    decoded: usize,
}

impl FileMicrophone {
    pub fn open(path: &Path) -> Result<Self, String> {
        let open = || {
            let file = LoopedFile::open(path, media::Type::Audio)?;
            let decoder = file.parameters()?.decoder().audio()?;
            Ok((file, decoder))
        };
        let (file, decoder) = open().map_err(|error: Error| {
            tracing::info!(%error, "a sound file can't be opened");
            format!("The sound file {} can't be played.", path.display())
        })?;
        Ok(Self {
            path: path.to_owned(),
            clock: SampleClock::new(PACKET, Instant::now()),
            file,
            decoder,
            resampler: None,
            ready: VecDeque::new(),
            decoded: 0,
        })
    }

    fn decode_more(&mut self) -> Result<(), Error> {
        match self.file.next()? {
            // A damaged packet is a gap, not the end.
            Some(packet) => {
                let _ = self.decoder.send_packet(&packet);
                self.take_decoded()
            }
            None => {
                let _ = self.decoder.send_eof();
                self.take_decoded()?;
                self.decoder.flush();
                match std::mem::take(&mut self.decoded) {
                    0 => Err(Error::InvalidData), // a whole file without a sample
                    _ => Ok(()),
                }
            }
        }
    }

    fn take_decoded(&mut self) -> Result<(), Error> {
        let mut sound = frame::Audio::empty();
        while self.decoder.receive_frame(&mut sound).is_ok() {
            if sound.channel_layout().is_empty() {
                sound.set_channel_layout(ChannelLayout::default(i32::from(sound.channels())));
            }
            let (format, layout, rate) = (sound.format(), sound.channel_layout(), sound.rate());
            let same = self.resampler.as_ref().is_some_and(|resampler| {
                let from = resampler.input();
                (from.format, from.channel_layout, from.rate) == (format, layout, rate)
            });
            if !same {
                let mono = ChannelLayout::MONO;
                let new = Context::get(format, layout, rate, MONO, mono, SAMPLE_RATE)?;
                self.resampler = Some(new);
            }
            let Some(resampler) = &mut self.resampler else { continue };
            let room = sound.samples() as u64 * u64::from(SAMPLE_RATE) / u64::from(rate.max(1));
            let mut mono = frame::Audio::new(MONO, room as usize + 256, ChannelLayout::MONO);
            resampler.run(&sound, &mut mono)?;
            self.decoded += mono.samples();
            self.ready.extend(mono.plane::<f32>(0));
        }
        Ok(())
    }
}

impl Microphone for FileMicrophone {
    fn read(&mut self, now: Instant, sound: &mut Vec<f32>) -> Result<(), String> {
        let wanted = self.clock.take(now);
        while self.ready.len() < wanted {
            if let Err(error) = self.decode_more() {
                tracing::info!(%error, "a sound file can't be played on");
                return Err(format!("The sound file {} can't be played.", self.path.display()));
            }
        }
        sound.extend(self.ready.drain(..wanted));
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        Some(self.clock.due())
    }
}

/// Bytes before the samples of a WAV file.
const WAV_HEADER: u32 = 44;
/// Samples between two updates of the header: a file is whole to within a second, even when the
/// program is killed.
const HEADER_EVERY: u32 = SAMPLE_RATE;

/// Writes what would be heard to a WAV file: 48 kHz, mono, 16 bit.
pub(super) struct WavSpeaker {
    clock: SampleClock,
    path: PathBuf,
    file: BufWriter<File>,
    samples: u32,
}

impl WavSpeaker {
    pub fn create(path: &Path) -> Result<Self, String> {
        let create = || {
            let mut file = BufWriter::new(File::create(path)?);
            file.write_all(&wav_header(0))?;
            file.flush()?;
            Ok(file)
        };
        let file = create().map_err(|error: io::Error| {
            tracing::info!(%error, "a sound file can't be written");
            format!("The sound file {} can't be written.", path.display())
        })?;
        let clock = SampleClock::new(BLOCK, Instant::now());
        Ok(Self { clock, path: path.to_owned(), file, samples: 0 })
    }

    fn write(&mut self, sound: &[f32]) -> io::Result<()> {
        for sample in sound {
            let sample = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16;
            self.file.write_all(&sample.to_le_bytes())?;
        }
        let before = self.samples;
        self.samples = before.saturating_add(sound.len() as u32);
        if before / HEADER_EVERY != self.samples / HEADER_EVERY {
            self.finish()?;
        }
        Ok(())
    }

    /// Brings the header up to date.
    fn finish(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&wav_header(self.samples))?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.flush()
    }
}

impl Speaker for WavSpeaker {
    fn wants(&mut self, now: Instant) -> Result<usize, String> {
        Ok(self.clock.take(now))
    }

    fn play(&mut self, sound: &[f32]) -> Result<(), String> {
        self.write(sound).map_err(|error| {
            tracing::info!(%error, "a sound file can't be written on");
            format!("The sound file {} can't be written.", self.path.display())
        })
    }

    fn due(&self) -> Option<Instant> {
        Some(self.clock.due())
    }
}

impl Drop for WavSpeaker {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::info!(%error, "a sound file was left without its length");
        }
    }
}

/// The header of a WAV file with this many samples.
fn wav_header(samples: u32) -> Vec<u8> {
    let bytes = samples.saturating_mul(2).min(u32::MAX - WAV_HEADER);
    let mut header = Vec::with_capacity(WAV_HEADER as usize);
    header.extend(b"RIFF");
    header.extend((bytes + WAV_HEADER - 8).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    header.extend(1u16.to_le_bytes()); // PCM
    header.extend(1u16.to_le_bytes()); // mono
    header.extend(SAMPLE_RATE.to_le_bytes());
    header.extend((SAMPLE_RATE * 2).to_le_bytes());
    header.extend(2u16.to_le_bytes());
    header.extend(16u16.to_le_bytes());
    header.extend(b"data");
    header.extend(bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;
    use std::time::Duration;

    use super::*;
    use crate::audio::meter::pitch_hz;

    fn tone(hz: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|t| 0.5 * (t as f32 * hz / SAMPLE_RATE as f32 * TAU).sin()).collect()
    }

    #[test]
    fn what_the_speaker_writes_the_microphone_reads_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tone.wav");
        let mut speaker = WavSpeaker::create(&path).unwrap();
        tone(660.0, 7200).chunks(BLOCK).for_each(|block| speaker.play(block).unwrap());
        drop(speaker);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 44 + 2 * 7200);

        let mut microphone = FileMicrophone::open(&path).unwrap();
        let (start, mut sound) = (Instant::now(), Vec::new());
        for millis in (20..=1000).step_by(20) {
            microphone.read(start + Duration::from_millis(millis), &mut sound).unwrap();
        }
        assert!(sound.len() > 40_000, "{} samples", sound.len());
        assert!((pitch_hz(&sound[1000..5800]).unwrap() - 660.0).abs() < 2.0);
        assert!((pitch_hz(&sound[36_500..41_300]).unwrap() - 660.0).abs() < 2.0, "the third round");
    }

    #[test]
    fn a_file_is_whole_even_without_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long.wav");
        let mut speaker = WavSpeaker::create(&path).unwrap();
        for _ in 0..110 {
            speaker.play(&[0.25; BLOCK]).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        let length = u32::from_le_bytes(bytes[40..44].try_into().unwrap());
        assert_eq!(length, 2 * 100 * BLOCK as u32);
        drop(speaker);
    }

    #[test]
    fn files_that_are_none_are_told_in_plain_words() {
        let dir = tempfile::tempdir().unwrap();
        let (text, missing) = (dir.path().join("text.wav"), dir.path().join("no/such.wav"));
        std::fs::write(&text, "this is no sound at all, however long it may be").unwrap();
        for path in [&text, &missing] {
            let problem = FileMicrophone::open(path).err().unwrap();
            assert!(problem.ends_with("can't be played."), "{problem}");
        }
        assert!(WavSpeaker::create(&missing).err().unwrap().ends_with("can't be written."));
    }
}
