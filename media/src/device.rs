//! What this computer has: cameras, microphones, speakers and screens, by name.

use crate::audio::device::{Kind, list};
use crate::video;

/// A device that can be chosen by its `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What the system calls it; choosing [`Named`](crate::VideoSource::Named) with this text
    /// opens it.
    pub name: String,
    /// Whether the system prefers it.
    pub is_default: bool,
}

/// The cameras that can be opened, in the system's order. Takes up to a second: not for the
/// window's thread.
pub fn cameras() -> Vec<Device> {
    video::device::list()
}

/// The microphones. Takes up to a second: not for the window's thread.
pub fn microphones() -> Vec<Device> {
    list(Kind::Microphone)
}

/// The speakers. Takes up to a second: not for the window's thread.
pub fn speakers() -> Vec<Device> {
    list(Kind::Speaker)
}

/// The screens that can be shared. Takes up to a second: not for the window's thread.
pub fn screens() -> Vec<Device> {
    video::screen::list()
}
