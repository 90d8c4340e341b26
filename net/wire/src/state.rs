//! Version 2: what a member's microphone, camera and screen do, and which m-line is which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an m-line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrackUse {
    /// The member's voice.
    Microphone,
    /// The member's face.
    Camera,
    /// A shared screen.
    Screen,
    /// Its sound.
    ScreenAudio,
    /// One of the future.
    #[serde(other)]
    Other,
}

/// The payload of `peer.state`, without `to`. What is missing has not changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaState {
    /// Whether the microphone is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microphone: Option<bool>,
    /// Whether the camera is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<bool>,
    /// Whether a screen is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<bool>,
    /// `mid` → what the sender of this message sends on it, in the connection between the two. It
    /// replaces the one before. At most [`crate::limits::PEER_STATE_TRACKS`]; only with `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracks: Option<BTreeMap<String, TrackUse>>,
}

impl MediaState {
    /// Takes over what `newer` says.
    pub fn update(&mut self, newer: Self) {
        self.microphone = newer.microphone.or(self.microphone);
        self.camera = newer.camera.or(self.camera);
        self.screen = newer.screen.or(self.screen);
        if newer.tracks.is_some() {
            self.tracks = newer.tracks;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_stays() {
        let mut state = MediaState { microphone: Some(true), ..MediaState::default() };
        let tracks = Some(BTreeMap::from([("0".to_owned(), TrackUse::Microphone)]));
        state.update(MediaState { tracks: tracks.clone(), ..MediaState::default() });
        state.update(MediaState { microphone: Some(false), ..MediaState::default() });
        assert_eq!((state.microphone, state.camera), (Some(false), None));
        assert_eq!(state.tracks, tracks);
    }
}
