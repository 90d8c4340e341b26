//! What may stand in for a camera, a microphone or a speaker, and how it is written down.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The pitch of the synthetic microphone when none is given, in hertz.
pub const DEFAULT_TONE_HZ: f32 = 440.0;
/// The pitches that `tone:FREQ` accepts, in hertz: what Opus at 48 kHz carries well and what
/// [`AudioEngine::levels`](crate::AudioEngine::levels) can measure.
pub const TONE_RANGE_HZ: std::ops::RangeInclusive<f32> = 50.0..=4000.0;

/// Why a source or sink could not be read from text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// Nothing was written.
    #[error("a source name is empty")]
    Empty,
    /// `file:` without a path.
    #[error("file: needs a path behind it")]
    NoPath,
    /// `tone:` with something that is not a pitch within [`TONE_RANGE_HZ`].
    #[error("tone: needs a pitch from 50 to 4000 Hz, not {0:?}")]
    Pitch(String),
}

/// Where pictures come from: `pattern`, `none`, `default`, `file:PATH` or a camera's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum VideoSource {
    /// The synthetic camera of [`pattern`](crate::pattern).
    Pattern,
    /// No camera.
    None,
    /// The system's first camera.
    #[default]
    Default,
    /// A video file, looped and paced by its timestamps.
    File(PathBuf),
    /// A camera by (part of) its name, or by its index.
    Named(String),
}

/// Where sound comes from: `tone`, `tone:HZ`, `none`, `default`, `file:PATH` or a microphone's
/// name.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum SoundSource {
    /// A sine of this pitch in hertz, at −12 dBFS.
    Tone(f32),
    /// Silence.
    None,
    /// The system's default microphone.
    #[default]
    Default,
    /// A sound file, looped.
    File(PathBuf),
    /// A microphone by (part of) its name.
    Named(String),
}

/// Where sound goes: `none`, `default`, `file:PATH` or a speaker's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum SoundSink {
    /// Nowhere. Peers are decoded and measured all the same.
    None,
    /// The system's default speaker.
    #[default]
    Default,
    /// A WAV file (48 kHz, mono, 16 bit), replaced if it exists.
    File(PathBuf),
    /// A speaker by (part of) its name.
    Named(String),
}

fn path(text: &str) -> Option<Result<PathBuf, SourceError>> {
    let path = text.strip_prefix("file:")?;
    Some(if path.is_empty() { Err(SourceError::NoPath) } else { Ok(PathBuf::from(path)) })
}

impl FromStr for VideoSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        Ok(match text.trim() {
            "" => return Err(SourceError::Empty),
            "pattern" => Self::Pattern,
            "none" => Self::None,
            "default" => Self::Default,
            name => match path(name) {
                Some(path) => Self::File(path?),
                None => Self::Named(name.to_owned()),
            },
        })
    }
}

impl FromStr for SoundSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        Ok(match text.trim() {
            "" => return Err(SourceError::Empty),
            "tone" => Self::Tone(DEFAULT_TONE_HZ),
            "none" => Self::None,
            "default" => Self::Default,
            name => match (path(name), name.strip_prefix("tone:")) {
                (Some(path), _) => Self::File(path?),
                (None, Some(pitch)) => match pitch.parse::<f32>() {
                    Ok(hz) if TONE_RANGE_HZ.contains(&hz) => Self::Tone(hz),
                    _ => return Err(SourceError::Pitch(pitch.to_owned())),
                },
                (None, None) => Self::Named(name.to_owned()),
            },
        })
    }
}

impl FromStr for SoundSink {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        Ok(match text.trim() {
            "" => return Err(SourceError::Empty),
            "none" => Self::None,
            "default" => Self::Default,
            name => match path(name) {
                Some(path) => Self::File(path?),
                None => Self::Named(name.to_owned()),
            },
        })
    }
}

impl fmt::Display for VideoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern => f.write_str("pattern"),
            Self::None => f.write_str("none"),
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for SoundSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tone(hz) if *hz == DEFAULT_TONE_HZ => f.write_str("tone"),
            Self::Tone(hz) => write!(f, "tone:{hz}"),
            Self::None => f.write_str("none"),
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for SoundSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Named(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(text: &str, source: &T)
    where
        T: FromStr<Err = SourceError> + fmt::Display + PartialEq + fmt::Debug,
    {
        assert_eq!(text.parse::<T>().as_ref(), Ok(source));
        assert_eq!(source.to_string(), text);
    }

    #[test]
    fn every_source_is_read_back_as_it_was_written() {
        check("pattern", &VideoSource::Pattern);
        check("none", &VideoSource::None);
        check("default", &VideoSource::Default);
        check("file:/a b/c.mp4", &VideoSource::File("/a b/c.mp4".into()));
        check("HD Webcam", &VideoSource::Named("HD Webcam".into()));
        check("tone", &SoundSource::Tone(440.0));
        check("tone:1000", &SoundSource::Tone(1000.0));
        check("none", &SoundSource::None);
        check("default", &SoundSource::Default);
        check("file:x.wav", &SoundSource::File("x.wav".into()));
        check("USB Mic", &SoundSource::Named("USB Mic".into()));
        check("none", &SoundSink::None);
        check("default", &SoundSink::Default);
        check("file:x.wav", &SoundSink::File("x.wav".into()));
        check("tone", &SoundSink::Named("tone".into()));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        assert_eq!(" ".parse::<VideoSource>(), Err(SourceError::Empty));
        assert_eq!("file:".parse::<SoundSink>(), Err(SourceError::NoPath));
        for pitch in ["", "loud", "NaN", "inf", "-440", "20000"] {
            let refused = format!("tone:{pitch}").parse::<SoundSource>();
            assert_eq!(refused, Err(SourceError::Pitch(pitch.into())));
        }
    }
}
