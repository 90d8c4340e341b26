//! What the call's handle and its task both see: tiles, voices and the audio engine.
//!
//! One lock, held for a few microseconds at most, never across an await and never while a
//! thread is joined: what is removed is returned and dropped by the caller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media::audio::SILENCE_DBFS;
use media::{AudioEngine, AudioInput, VideoDecoder};
use net::{TrackId, UserId};

use super::off_thread::OffThread;
use super::{AudioReceived, TileInfo, VideoReceived};

/// See the module.
#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    user: UserId,
    audio: Option<Arc<OffThread<AudioEngine>>>,
    tiles: Vec<Tile>,
    voices: Vec<Voice>,
}

/// A picture, with what produces it where it is a peer's.
#[derive(Debug)]
pub(super) struct Tile {
    pub(super) info: TileInfo,
    pub(super) decoder: Option<OffThread<VideoDecoder>>,
    pub(super) shown: Arc<AtomicBool>,
}

/// A peer's sound.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) peer: UserId,
    pub(super) track: TrackId,
    pub(super) input: Arc<AudioInput>,
}

impl Shared {
    pub(super) fn new(user: UserId, audio: OffThread<AudioEngine>) -> Self {
        Self(Mutex::new(State {
            user,
            audio: Some(Arc::new(audio)),
            tiles: Vec::new(),
            voices: Vec::new(),
        }))
    }

    pub(super) fn user(&self) -> UserId {
        self.lock().user.clone()
    }

    pub(super) fn set_user(&self, user: UserId) {
        self.lock().user = user;
    }

    pub(super) fn audio(&self) -> Option<Arc<OffThread<AudioEngine>>> {
        self.lock().audio.clone()
    }

    /// Takes everything out, at the end of the call.
    pub(super) fn clear(&self) -> Remains {
        let mut state = self.lock();
        Remains {
            audio: state.audio.take().and_then(Arc::into_inner),
            tiles: std::mem::take(&mut state.tiles),
            voices: std::mem::take(&mut state.voices),
        }
    }

    /// Adds a tile, our own in front; returns the one it replaces.
    pub(super) fn add_tile(&self, tile: Tile) -> Option<Tile> {
        let mut state = self.lock();
        let replaced = state.take_tile(tile.info.peer.as_ref(), &tile.info.track);
        let own = state.tiles.iter().take_while(|known| known.info.peer.is_none()).count();
        let place = if tile.info.peer.is_none() { own } else { state.tiles.len() };
        state.tiles.insert(place, tile);
        replaced
    }

    pub(super) fn remove_tile(&self, peer: Option<&UserId>, track: &TrackId) -> Option<Tile> {
        self.lock().take_tile(peer, track)
    }

    pub(super) fn add_voice(&self, voice: Voice) -> Option<Voice> {
        let mut state = self.lock();
        let replaced = state.take_voice(&voice.peer, &voice.track);
        state.voices.push(voice);
        replaced
    }

    pub(super) fn remove_voice(&self, peer: &UserId, track: &TrackId) -> Option<Voice> {
        self.lock().take_voice(peer, track)
    }

    pub(super) fn tiles(&self) -> Vec<TileInfo> {
        self.lock().tiles.iter().map(|tile| tile.info.clone()).collect()
    }

    pub(super) fn set_shown(&self, peer: &UserId, track: &TrackId, shown: bool) {
        for tile in &self.lock().tiles {
            if tile.info.peer.as_ref() == Some(peer) && tile.info.track == *track {
                tile.shown.store(shown, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn microphone_level(&self) -> f32 {
        self.audio().map_or(SILENCE_DBFS, |audio| audio.levels().microphone_dbfs)
    }

    pub(super) fn peer_level(&self, peer: &UserId) -> f32 {
        let state = self.lock();
        let voices = state.voices.iter().filter(|voice| voice.peer == *peer);
        voices.map(|voice| voice.input.level_dbfs()).fold(SILENCE_DBFS, f32::max)
    }

    pub(super) fn video_received(&self) -> Vec<VideoReceived> {
        let state = self.lock();
        let remote = state.tiles.iter().filter_map(|tile| {
            let (peer, decoder) = (tile.info.peer.clone()?, tile.decoder.as_ref()?);
            Some(VideoReceived { peer, track: tile.info.track.clone(), stats: decoder.stats() })
        });
        remote.collect()
    }

    pub(super) fn audio_received(&self) -> Vec<AudioReceived> {
        let voices: Vec<_> = {
            let state = self.lock();
            let parts =
                |voice: &Voice| (voice.peer.clone(), voice.track.clone(), Arc::clone(&voice.input));
            state.voices.iter().map(parts).collect()
        };
        // Outside the lock: finding a pitch takes a millisecond.
        let measured = voices.into_iter().map(|(peer, track, input)| AudioReceived {
            peer,
            track,
            level_dbfs: input.loudest_dbfs(),
            pitch_hz: input.pitch_hz(),
            stats: input.stats(),
        });
        measured.collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every method leaves the lists consistent, so a panic elsewhere can't spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_tile(&mut self, peer: Option<&UserId>, track: &TrackId) -> Option<Tile> {
        let matches = |tile: &Tile| tile.info.peer.as_ref() == peer && tile.info.track == *track;
        let place = self.tiles.iter().position(matches)?;
        Some(self.tiles.remove(place))
    }

    fn take_voice(&mut self, peer: &UserId, track: &TrackId) -> Option<Voice> {
        let matches = |voice: &Voice| voice.peer == *peer && voice.track == *track;
        let place = self.voices.iter().position(matches)?;
        Some(self.voices.remove(place))
    }
}

/// What is left of a call when it ends.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) audio: Option<OffThread<AudioEngine>>,
    pub(super) tiles: Vec<Tile>,
    pub(super) voices: Vec<Voice>,
}
