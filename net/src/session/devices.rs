//! What the members say about their microphones, cameras and screens.

use std::collections::{BTreeMap, BTreeSet};

use wire::{MediaState, TrackUse, UserId};

use crate::event::Event;
use crate::media::Source;
use crate::peer::Lines;

/// Members whose devices are remembered; there is nothing to show for further ones.
const MEMBERS: usize = 2_000;

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Devices(BTreeMap<UserId, MediaState>);

impl Devices {
    /// A member says something; what the user should see of it.
    pub(super) fn learn(&mut self, peer: UserId, news: MediaState) -> Option<Event> {
        if self.0.len() >= MEMBERS && !self.0.contains_key(&peer) {
            return None;
        }
        let state = self.0.entry(peer.clone()).or_default();
        let before = state.clone();
        state.update(news);
        let MediaState { microphone, camera, screen, .. } = *state;
        (*state != before).then_some(Event::Devices { peer, microphone, camera, screen })
    }

    /// Only these are in the room.
    pub(super) fn keep(&mut self, members: &BTreeSet<UserId>) {
        self.0.retain(|member, _| members.contains(member));
    }
}

/// Our m-lines, as we tell them.
pub(super) fn to_wire(lines: Lines) -> BTreeMap<String, TrackUse> {
    let convert = |source| match source {
        Source::Microphone => TrackUse::Microphone,
        Source::Camera => TrackUse::Camera,
        Source::Screen => TrackUse::Screen,
        Source::ScreenAudio => TrackUse::ScreenAudio,
    };
    lines.into_iter().map(|(mid, source)| (mid, convert(source))).collect()
}

/// A peer's m-lines, as far as we know what they carry.
pub(super) fn from_wire(lines: BTreeMap<String, TrackUse>) -> Lines {
    let convert = |used| match used {
        TrackUse::Microphone => Some(Source::Microphone),
        TrackUse::Camera => Some(Source::Camera),
        TrackUse::Screen => Some(Source::Screen),
        TrackUse::ScreenAudio => Some(Source::ScreenAudio),
        TrackUse::Other => None,
    };
    lines.into_iter().filter_map(|(mid, used)| Some((mid, convert(used)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once() {
        let (mut devices, peer) = (Devices::default(), UserId::new("b").unwrap());
        let muted = MediaState { microphone: Some(false), ..MediaState::default() };
        let camera = MediaState { camera: Some(true), ..MediaState::default() };
        assert!(devices.learn(peer.clone(), muted.clone()).is_some());
        assert!(devices.learn(peer.clone(), muted).is_none());
        let Some(Event::Devices { microphone, camera, screen, .. }) = devices.learn(peer, camera)
        else {
            panic!("the camera is on");
        };
        assert_eq!((microphone, camera, screen), (Some(false), Some(true), None));
        devices.keep(&BTreeSet::new());
        assert!(devices.0.is_empty());
    }
}
