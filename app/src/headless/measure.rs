//! The once-a-second lines about what is received.

use std::collections::HashMap;
use std::time::Instant;

use net::{TrackId, UserId};
use serde_json::json;

use super::protocol::Event;
use crate::call::{AudioReceived, Call, VideoReceived};

/// Remembers the counts of the last time, to tell frames a second.
#[derive(Debug, Default)]
pub(super) struct Measure {
    before: HashMap<(UserId, TrackId), (u64, Instant)>,
}

impl Measure {
    /// One line for each received track.
    pub(super) fn lines(
        &mut self,
        video: Vec<VideoReceived>,
        audio: Vec<AudioReceived>,
        now: Instant,
    ) -> Vec<Event> {
        let mut counts = HashMap::new();
        let mut lines = Vec::with_capacity(video.len() + audio.len());
        for VideoReceived { peer, track, stats } in video {
            let key = (peer.clone(), track.clone());
            // A track that began anew counts from the beginning.
            let before = self.before.get(&key).filter(|(frames, _)| *frames <= stats.frames);
            let fps = before.map_or(0.0, |(frames, at)| {
                let seconds = now.duration_since(*at).as_secs_f64();
                if seconds > 0.0 { (stats.frames - frames) as f64 / seconds } else { 0.0 }
            });
            counts.insert(key, (stats.frames, now));
            lines.push(Event::Video {
                from: peer,
                track,
                width: stats.width,
                height: stats.height,
                frames: stats.frames,
                fps: tenths(fps),
                counter: stats.counter,
            });
        }
        self.before = counts;
        for AudioReceived { peer, track, level_dbfs, pitch_hz, .. } in audio {
            lines.push(Event::Audio {
                from: peer,
                track,
                level_dbfs: tenths(f64::from(level_dbfs)),
                pitch_hz: pitch_hz.map(|hz| tenths(f64::from(hz))),
            });
        }
        lines
    }
}

/// The session's counters and, below `received`, those of the decoders.
pub(super) fn stats(session: &net::Stats, call: &Call) -> Event {
    let mut counters = match serde_json::to_value(session) {
        Ok(serde_json::Value::Object(counters)) => counters,
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    let video = call.video_received().into_iter().map(|video| {
        json!({
            "from": video.peer,
            "track": video.track,
            "frames": video.stats.frames,
            "dropped": video.stats.dropped,
        })
    });
    let audio = call.audio_received().into_iter().map(|audio| {
        json!({
            "from": audio.peer,
            "track": audio.track,
            "received": audio.stats.received,
            "decoded": audio.stats.decoded,
            "concealed": audio.stats.concealed,
            "discarded": audio.stats.discarded,
            "target_ms": audio.stats.target_ms,
        })
    });
    let received =
        json!({ "video": video.collect::<Vec<_>>(), "audio": audio.collect::<Vec<_>>() });
    counters.insert("received".to_owned(), received);
    Event::Stats { counters }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use media::DecoderStats;

    use super::*;

    fn video(frames: u64) -> Vec<VideoReceived> {
        let stats = DecoderStats { frames, width: 1280, height: 720, ..DecoderStats::default() };
        vec![VideoReceived {
            peer: UserId::new("ana").unwrap(),
            track: TrackId::new("camera"),
            stats,
        }]
    }

    fn fps(lines: &[Event]) -> f64 {
        match lines {
            [Event::Video { fps, .. }] => *fps,
            lines => panic!("{lines:?}"),
        }
    }

    #[test]
    fn frames_a_second_are_counted_between_two_lines_and_begin_anew_with_the_track() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut measure = Measure::default();
        assert_eq!(fps(&measure.lines(video(7), vec![], at(0))), 0.0);
        assert_eq!(fps(&measure.lines(video(37), vec![], at(1_000))), 30.0);
        assert_eq!(fps(&measure.lines(video(62), vec![], at(2_000))), 25.0);
        assert_eq!(fps(&measure.lines(video(3), vec![], at(3_000))), 0.0);
        assert!(measure.lines(vec![], vec![], at(4_000)).is_empty());
        assert_eq!(fps(&measure.lines(video(99), vec![], at(5_000))), 0.0);
    }
}
