//! Devices, capture, codecs, the audio engine and latest-frame slots.
//!
//! **The law of this crate: pictures and sound never travel in messages.** A picture lives in a
//! [`Slot`], where the newest wins; sound lives in bounded rings and jitter buffers, where the
//! oldest is dropped. A missing device is never an error of the call: it is a plain sentence
//! ([`Camera::problem`], [`AudioEngine::problems`]) and a placeholder or silence in its place.
//!
//! The crate knows no sockets, no peers, no window and no async runtime (`tokio::sync` only). Its
//! threads are named `pm-camera`, `pm-encode`, `pm-decode-<name>` and `pm-audio`; the handle that
//! started a thread stops and joins it when dropped.

pub mod audio;
pub mod device;
pub mod frame;
mod looped;
pub mod pattern;
pub mod slot;
pub mod source;
pub mod video;
mod worker;

pub use audio::{
    AudioConfig, AudioEngine, AudioInput, AudioInputStats, AudioPacket, EncodedAudio, Levels,
    PeerLevel, Processing,
};
pub use frame::{Frame, Plane, PngError, RgbaScaler, write_png};
pub use slot::Slot;
pub use source::{SoundSink, SoundSource, SourceError, VideoSource};
pub use video::VideoCodec;
pub use video::camera::{Camera, CameraError, PictureFormat};
pub use video::decode::{DecodeError, DecoderStats, VideoDecoder, VideoPacket};
pub use video::encode::{EncodeError, EncodedVideo, EncoderConfig, EncoderStats, VideoEncoder};
pub use video::screen::{Screen, ScreenTarget};
