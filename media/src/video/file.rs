//! A video file as camera: looped, paced by its own times.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ffmpeg_next::frame::Video as AvFrame;
use ffmpeg_next::{Error, decoder, media};

use crate::Frame;
use crate::looped::LoopedFile;
use crate::video::camera::{PictureFormat, Pictures, Problem};
use crate::video::convert::Converter;
use crate::video::{MAX_SIDE, fit};
use crate::worker::Stop;

/// A picture that is further from its time than this (the computer slept, or the file's times
/// jump) begins a new timeline.
const MAX_OFF: Duration = Duration::from_secs(2);

/// The pictures of a file.
pub(crate) struct FileCamera {
    path: PathBuf,
    format: PictureFormat,
    file: LoopedFile,
    decoder: decoder::Video,
    converter: Converter,
    /// Decoded and not yet shown.
    ready: VecDeque<AvFrame>,
    /// Pictures since the file began.
    decoded: u64,
    timeline: Timeline,
}

impl FileCamera {
    pub fn open(path: &Path, format: PictureFormat) -> Result<Self, Problem> {
        let open = || {
            let file = LoopedFile::open(path, media::Type::Video)?;
            let mut context = file.parameters()?;
            context.set_threading(ffmpeg_next::threading::Config::count(1));
            let decoder = context.decoder().video()?;
            Ok((file, decoder))
        };
        let (file, decoder) = open().map_err(|error| problem(path, error))?;
        let rate = decoder.frame_rate().map_or(0.0, f64::from);
        let fps = if (1.0..=240.0).contains(&rate) { rate } else { 25.0 };
        Ok(Self {
            path: path.to_owned(),
            format,
            file,
            decoder,
            converter: Converter::default(),
            ready: VecDeque::new(),
            decoded: 0,
            timeline: Timeline::new(Duration::from_secs_f64(1.0 / fps)),
        })
    }

    /// Decodes until there is a picture.
    fn decoded(&mut self) -> Result<AvFrame, Error> {
        loop {
            if let Some(picture) = self.ready.pop_front() {
                return Ok(picture);
            }
            match self.file.next()? {
                Some(packet) => {
                    // A damaged packet is a gap, not the end.
                    let _ = self.decoder.send_packet(&packet);
                    self.take_decoded();
                }
                None => {
                    let _ = self.decoder.send_eof();
                    self.take_decoded();
                    self.decoder.flush();
                    if std::mem::take(&mut self.decoded) == 0 {
                        return Err(Error::InvalidData); // a whole file without a picture
                    }
                }
            }
        }
    }

    fn take_decoded(&mut self) {
        let mut picture = AvFrame::empty();
        while self.decoder.receive_frame(&mut picture).is_ok() {
            self.decoded += 1;
            self.ready.push_back(std::mem::replace(&mut picture, AvFrame::empty()));
        }
    }
}

impl Pictures for FileCamera {
    fn next(&mut self, stop: &Stop) -> Result<Option<Frame>, Problem> {
        let picture = self.decoded().map_err(|error| problem(&self.path, error))?;
        let seconds = |time: i64| {
            let base = self.file.time_base();
            time as f64 * f64::from(base.numerator()) / f64::from(base.denominator().max(1))
        };
        let time = picture.timestamp().map(seconds);
        let due = self.timeline.due(time, Instant::now());
        let shortest = Duration::from_secs(1) / self.format.fps * 3 / 4;
        if self.timeline.shown.is_some_and(|shown| due.saturating_duration_since(shown) < shortest)
        {
            return Ok(None); // the file has more pictures a second than were asked for
        }
        if !stop.sleep_until(due) {
            return Ok(None);
        }
        self.timeline.shown = Some(due);
        let (width, height) = (picture.width(), picture.height());
        if !(1..=4 * MAX_SIDE).contains(&width) || !(1..=4 * MAX_SIDE).contains(&height) {
            return Err(problem(&self.path, Error::InvalidData));
        }
        let (width, height) = fit(width, height, self.format.width, self.format.height);
        let frame = self.converter.decoded(&picture, width, height, Instant::now());
        frame.map(Some).ok_or_else(|| problem(&self.path, Error::InvalidData))
    }
}

fn problem(path: &Path, error: Error) -> Problem {
    tracing::debug!(%error, "a video file can't be played");
    Problem(format!("The video file {} can't be played.", path.display()))
}

/// When the pictures of a looped file are due.
#[derive(Debug)]
struct Timeline {
    /// A picture's time in the file, in seconds, and when it was due.
    last: Option<(f64, Instant)>,
    /// From one picture to the next where the file does not say.
    interval: Duration,
    /// When the newest picture that was shown was due.
    shown: Option<Instant>,
}

impl Timeline {
    fn new(interval: Duration) -> Self {
        Self { last: None, interval, shown: None }
    }

    /// When a picture with this time in the file, in seconds, is due.
    fn due(&mut self, time: Option<f64>, now: Instant) -> Instant {
        let due = match (self.last, time) {
            (None, _) => now,
            (Some((before, due)), Some(time)) if time > before => {
                due + Duration::try_from_secs_f64(time - before).unwrap_or(self.interval)
            }
            // The file began again, or has no times.
            (Some((_, due)), _) => due + self.interval,
        };
        let off = due.max(now) - due.min(now);
        let due = if off > MAX_OFF { now } else { due };
        let before = self.last.map_or(0.0, |(before, _)| before);
        self.last = Some((time.unwrap_or(before), due));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(40);

    #[test]
    fn pictures_are_due_at_their_times_and_the_loop_has_no_seam() {
        let now = Instant::now();
        let mut timeline = Timeline::new(TICK);
        let dues: Vec<Duration> =
            [0.0, 0.04, 0.12, 0.0, 0.04].map(|time| timeline.due(Some(time), now) - now).into();
        let millis: Vec<u128> = dues.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [0, 40, 120, 160, 200]);
    }

    #[test]
    fn pictures_without_times_come_at_the_frame_rate() {
        let now = Instant::now();
        let mut timeline = Timeline::new(TICK);
        assert_eq!(timeline.due(None, now), now);
        assert_eq!(timeline.due(None, now), now + TICK);
        assert_eq!(timeline.due(None, now), now + 2 * TICK);
    }

    #[test]
    fn a_jump_in_the_file_is_no_pause() {
        let now = Instant::now();
        let mut timeline = Timeline::new(TICK);
        timeline.due(Some(0.0), now);
        assert_eq!(timeline.due(Some(1e9), now), now);
        assert_eq!(timeline.due(Some(f64::NAN), now), now + TICK);
        let later = now + Duration::from_secs(3600);
        assert_eq!(timeline.due(Some(1e9 + 0.04), later), later, "the computer slept");
    }
}
