//! What we read from a session description ourselves, beside the library: which m-line carries
//! what, under which payload type. Lenient: what it does not understand it skips.

use crate::media::{Codec, Source};

/// m-lines in one description; more are cut off. A call has at most a handful.
const MEDIA_LINES: usize = 64;
/// Payload types of one m-line; browsers offer about 40.
const PAYLOAD_TYPES: usize = 128;

/// One m-line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) mid: String,
    pub(super) video: bool,
    pub(super) audio: bool,
    pub(super) sends: bool,
    pub(super) receives: bool,
    /// Of `a=msid`; empty where there is none, or `-`.
    pub(super) stream: String,
    pub(super) track: String,
    pub(super) codecs: Vec<(u8, Codec)>,
    /// Payload types of retransmissions, and what they repeat.
    repairs: Vec<(u8, u8)>,
}

/// A description, as far as we care.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) media: Vec<Media>,
    /// Of the first m-line that has one, like the next.
    pub(super) ufrag: String,
    /// Of the certificate that the other side will show.
    pub(super) fingerprint: String,
    pub(super) has_data: bool,
}

impl Description {
    pub(super) fn parse(sdp: &str) -> Self {
        let mut description = Self::default();
        let mut current: Option<Section> = None;
        for line in sdp.lines() {
            if description.transport(line) {
                continue;
            }
            if let Some(value) = line.strip_prefix("m=") {
                description.push(current.take());
                if description.media.len() >= MEDIA_LINES {
                    return description;
                }
                current = Some(Section::new(value));
            } else if let Some(section) = &mut current {
                section.attribute(line.trim_end());
            }
        }
        description.push(current);
        description
    }

    /// Everything is bundled: what stands first holds for all.
    fn transport(&mut self, line: &str) -> bool {
        let (place, value) = if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
            (&mut self.ufrag, value.trim().to_owned())
        } else if let Some(value) = line.strip_prefix("a=fingerprint:") {
            (&mut self.fingerprint, value.trim().to_ascii_lowercase())
        } else {
            return false;
        };
        if place.is_empty() {
            *place = value;
        }
        true
    }

    fn push(&mut self, section: Option<Section>) {
        let Some(section) = section else { return };
        if section.data {
            self.has_data |= !section.rejected;
        }
        let mut media = section.media;
        if section.rejected {
            (media.sends, media.receives) = (false, false);
        }
        self.media.push(media);
    }

    /// The m-line with this id.
    pub(super) fn by_mid(&self, mid: &str) -> Option<&Media> {
        self.media.iter().find(|media| media.mid == mid)
    }

    /// The m-line that sends this track.
    pub(super) fn sending(&self, track: &str) -> Option<&Media> {
        self.media.iter().find(|media| media.sends && media.track == track)
    }

    /// What an m-line shows, told by its stream: that of the first microphone is the camera's,
    /// any other a screen's.
    pub(super) fn source_of(&self, media: &Media) -> Source {
        let first_audio = self.media.iter().find(|media| media.audio && media.sends);
        let first_video = self.media.iter().find(|media| media.video && media.sends);
        let camera_stream = first_audio.or(first_video).map_or("", |media| &media.stream);
        let same_stream = media.stream == camera_stream;
        if media.video {
            let only = self.media.iter().filter(|media| media.video && media.sends).count() <= 1;
            let nameless = media.stream.is_empty() || camera_stream.is_empty();
            let first = first_video.is_some_and(|first| first.mid == media.mid);
            // An old client without streams, or with one picture: the first is the camera.
            if same_stream || (nameless && (first || only)) {
                Source::Camera
            } else {
                Source::Screen
            }
        } else {
            let first = first_audio.is_some_and(|first| first.mid == media.mid);
            if first || same_stream { Source::Microphone } else { Source::ScreenAudio }
        }
    }
}

struct Section {
    media: Media,
    data: bool,
    rejected: bool,
    /// Payload type and format parameters, until the codecs are known.
    h264: Vec<u8>,
}

impl Section {
    fn new(value: &str) -> Self {
        let mut words = value.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let media = Media {
            video: kind == "video",
            audio: kind == "audio",
            // Without a direction it is both (RFC 8866 §6.7).
            sends: true,
            receives: true,
            ..Media::default()
        };
        let rejected = words.next() == Some("0");
        Self { media, data: kind == "application", rejected, h264: Vec::new() }
    }

    fn attribute(&mut self, line: &str) {
        let Some(line) = line.strip_prefix("a=") else { return };
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "mid" => value.clone_into(&mut self.media.mid),
            "sendrecv" => {}
            "sendonly" => self.media.receives = false,
            "recvonly" => self.media.sends = false,
            "inactive" => (self.media.sends, self.media.receives) = (false, false),
            "msid" => {
                let (stream, track) = value.split_once(' ').unwrap_or((value, ""));
                let stream = if stream == "-" { "" } else { stream };
                stream.clone_into(&mut self.media.stream);
                track.trim().clone_into(&mut self.media.track);
            }
            "rtpmap" => self.codec(value),
            "fmtp" => self.parameters(value),
            _ => {}
        }
    }

    fn codec(&mut self, value: &str) {
        let Some((number, name)) = value.split_once(' ') else { return };
        let Ok(number) = number.parse::<u8>() else { return };
        let name = name.split('/').next().unwrap_or_default();
        let codec = match (name.to_ascii_uppercase().as_str(), self.media.video) {
            ("VP8", true) => Codec::Vp8,
            ("H264", true) => {
                self.h264.push(number);
                return;
            }
            ("OPUS", false) => Codec::Opus,
            _ => return,
        };
        self.add(number, codec);
    }

    fn parameters(&mut self, value: &str) {
        let Some((number, parameters)) = value.split_once(' ') else { return };
        let Ok(number) = number.parse::<u8>() else { return };
        let repaired = parameters.trim().strip_prefix("apt=").and_then(|apt| apt.parse().ok());
        if let Some(repaired) = repaired
            && self.media.repairs.len() < PAYLOAD_TYPES
        {
            self.media.repairs.push((number, repaired));
        }
        if self.h264.contains(&number) && parameters.contains("packetization-mode=1") {
            self.add(number, Codec::H264);
        }
    }

    fn add(&mut self, number: u8, codec: Codec) {
        if self.media.codecs.len() < PAYLOAD_TYPES {
            self.media.codecs.push((number, codec));
        }
    }
}

impl Media {
    /// The payload type to send this codec with.
    pub(super) fn payload_type(&self, codec: Codec) -> Option<u8> {
        self.codecs.iter().find(|(_, known)| *known == codec).map(|(number, _)| *number)
    }

    /// The payload type of another one's retransmissions.
    pub(super) fn retransmission_of(&self, payload_type: u8) -> Option<u8> {
        let repairs = |(_, repaired): &&(u8, u8)| *repaired == payload_type;
        self.repairs.iter().find(repairs).map(|(number, _)| *number)
    }
}

/// Takes the candidates out of a description: each is added alone, so that one that makes no
/// sense spoils nothing. Returns the description without them, and the candidates.
pub(super) fn without_candidates(sdp: &str) -> (String, Vec<String>) {
    let mut rest = String::with_capacity(sdp.len());
    let mut candidates = Vec::new();
    for line in sdp.lines() {
        if let Some(candidate) = line.strip_prefix("a=candidate:") {
            candidates.push(format!("candidate:{}", candidate.trim_end()));
        } else if line.trim_end() != "a=end-of-candidates" {
            rest.push_str(line.trim_end_matches('\r'));
            rest.push_str("\r\n");
        }
    }
    (rest, candidates)
}

/// Puts VP8 in front of the other codecs of each picture: what stands first in an answer is what
/// the offerer sends.
pub(super) fn prefer_vp8(sdp: &str) -> String {
    let description = Description::parse(sdp);
    let mut media = description.media.iter();
    let mut result = String::with_capacity(sdp.len());
    for line in sdp.split_inclusive('\n') {
        let vp8 = line
            .starts_with("m=")
            .then(|| media.next())
            .flatten()
            .filter(|media| media.video)
            .and_then(|media| media.payload_type(Codec::Vp8));
        match vp8.and_then(|vp8| moved_to_front(line, vp8)) {
            Some(line) => result.push_str(&line),
            None => result.push_str(line),
        }
    }
    result
}

/// `m=video 9 UDP/TLS/RTP/SAVPF 102 96` with 96 first.
fn moved_to_front(line: &str, number: u8) -> Option<String> {
    let number = number.to_string();
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let (head, formats) = words.split_at_checked(3)?;
    let rest = formats.iter().filter(|format| **format != number);
    let words: Vec<&str> =
        head.iter().copied().chain([number.as_str()]).chain(rest.copied()).collect();
    Some(format!("{}\r\n", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=ice-ufrag:abcd\r\na=mid:0\r\na=sendrecv\r\n\
        a=msid:C a1\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102 103 96 97\r\na=mid:1\r\na=sendrecv\r\na=msid:C v1\r\n\
        a=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1\r\n\
        a=rtpmap:103 H264/90000\r\na=fmtp:103 packetization-mode=0\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=end-of-candidates\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:3\r\na=sendonly\r\na=msid:S v2\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:4\r\na=sendonly\r\na=msid:S a2\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:5\r\na=msid:S v3\r\n";

    #[test]
    fn an_offer_is_understood() {
        let offer = Description::parse(OFFER);
        assert_eq!((offer.media.len(), offer.ufrag.as_str(), offer.has_data), (6, "abcd", true));
        let camera = offer.by_mid("1").unwrap();
        assert_eq!(camera.codecs, [(102, Codec::H264), (96, Codec::Vp8)]);
        assert_eq!(camera.payload_type(Codec::Vp8), Some(96));
        assert_eq!((camera.retransmission_of(96), camera.retransmission_of(102)), (Some(97), None));
        assert_eq!(offer.sending("v2").unwrap().mid, "3");
        assert!(offer.sending("v3").is_none(), "a rejected line sends nothing");
        let sources: Vec<Source> =
            ["0", "1", "3", "4"].map(|mid| offer.source_of(offer.by_mid(mid).unwrap())).into();
        assert_eq!(
            sources,
            [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio]
        );
    }

    #[test]
    fn without_sound_or_streams_the_first_picture_is_the_camera() {
        let lines = "m=video 9 x 96\r\na=mid:0\r\na=msid:- t\r\nm=video 9 x 96\r\na=mid:1\r\na=msid:Q u\r\n";
        let offer = Description::parse(lines);
        let sources: Vec<Source> = offer.media.iter().map(|media| offer.source_of(media)).collect();
        assert_eq!(sources, [Source::Camera, Source::Screen]);
    }

    #[test]
    fn candidates_are_taken_out() {
        let (rest, candidates) = without_candidates(OFFER);
        assert_eq!(candidates, ["candidate:1 1 udp 1 10.0.0.1 9 typ host"]);
        assert!(!rest.contains("candidate"));
        assert_eq!(Description::parse(&rest), Description::parse(OFFER));
    }

    #[test]
    fn the_first_fingerprint_counts() {
        let sdp = "a=fingerprint:sha-256 AB:CD\r\nm=audio 9 x\r\na=fingerprint:sha-256 EF\r\n";
        assert_eq!(Description::parse(sdp).fingerprint, "sha-256 ab:cd");
    }

    #[test]
    fn vp8_comes_first() {
        let preferred = prefer_vp8(OFFER);
        assert!(preferred.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 102 103 97\r\n"));
        assert_eq!(preferred.len(), OFFER.len());
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(lines in prop::collection::vec("(m=|a=)?(video|audio|application|mid|msid|rtpmap|fmtp|ice-ufrag|sendonly)?[: ]?\\PC{0,20}\r?\n?", 0..30)) {
            let sdp = lines.concat();
            let description = Description::parse(&sdp);
            for media in &description.media {
                description.source_of(media);
            }
            without_candidates(&sdp);
            prefer_vp8(&sdp);
        }
    }
}
