//! Two connections of the real library in one process, driven by hand.

use bytes::Bytes;
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp::Packet;
use rtc::rtp::header::Header;
use rtc::rtp_transceiver::PayloadType;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::*;
use crate::media::{EncodedFrame, MediaOut, RemoteTrack};

/// No step takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// One side.
struct Side {
    handle: PeerHandle,
    told: mpsc::Receiver<FromPeer>,
    media: MediaOut,
    /// Candidates that the other side did not get yet.
    candidates: Vec<String>,
    links: Vec<Link>,
    tracks: Vec<RemoteTrack>,
    ended: Vec<TrackId>,
    /// Offers that were taken for those of another connection.
    foreign: usize,
    /// What we say that our m-lines carry.
    lines: Lines,
}

impl Side {
    fn open(name: &str, creates_channel: bool, shows: &[Source]) -> Self {
        let (wishes, _) = mpsc::channel(16);
        let router = Arc::new(Router::new(wishes));
        shows.iter().for_each(|source| router.publish(*source, true));
        let (out, told) = mpsc::channel(64);
        let handle = open(PeerConfig {
            peer: user(if name == "a" { "b" } else { "a" }),
            generation: 1,
            creates_channel,
            label: "pm_file:".to_owned(),
            loopback: true,
            ice: Ice::new(),
            streams: Streams { camera: format!("{name}-C"), screen: format!("{name}-S") },
            shows: shows.to_vec(),
            router: Arc::clone(&router),
            out,
        });
        let media = MediaOut::new(router);
        let (candidates, links, tracks, ended) = Default::default();
        let lines = Lines::new();
        Self { handle, told, media, candidates, links, tracks, ended, foreign: 0, lines }
    }

    async fn next(&mut self) -> Option<Result<Described, ()>> {
        let told = tokio::time::timeout(DEADLINE, self.told.recv()).await;
        match told.expect("the connection says something").expect("it lives").what {
            What::Done(result) => return Some(result),
            What::Candidate(candidate) => self.candidates.push(candidate),
            What::Link(link) => self.links.push(link),
            What::Event(Event::Track(track)) => self.tracks.push(track),
            What::Event(Event::TrackEnded { track, .. }) => self.ended.push(track),
            What::Replaced(_) => self.foreign += 1,
            What::Lines(lines) => self.lines = lines,
            What::Changed | What::Event(_) => {}
        }
        None
    }

    async fn run(&mut self, op: Op) -> Result<Described, ()> {
        self.handle.send(ToPeer::Run(op)).unwrap();
        loop {
            if let Some(result) = self.next().await {
                return result;
            }
        }
    }

    async fn until(&mut self, reached: impl Fn(&Self) -> bool) {
        while !reached(self) {
            self.next().await;
        }
    }

    fn take_candidates_of(&self, other: &mut Self) {
        for candidate in other.candidates.drain(..) {
            self.handle.send(ToPeer::Run(Op::Candidate(candidate))).unwrap();
        }
    }
}

fn offer(rollback: bool, restart: bool) -> Op {
    Op::Offer { rollback, restart }
}

fn pair() -> (Side, Side) {
    let shows = [Source::Microphone, Source::Camera];
    (Side::open("a", true, &shows), Side::open("b", false, &shows))
}

/// One side offers, the other answers.
async fn negotiate(from: &mut Side, to: &mut Side, restart: bool) -> (Described, Described) {
    let offered = from.run(offer(false, restart)).await.unwrap();
    let answered = to.run(Op::AcceptOffer { sdp: offered.sdp, rollback: false }).await.unwrap();
    let sdp = answered.sdp.clone();
    let accepted = from.run(Op::AcceptAnswer { sdp }).await.unwrap();
    (accepted, answered)
}

/// Until both are connected, whatever else they say meanwhile.
async fn connect(a: &mut Side, b: &mut Side) {
    let connected = |side: &Side| side.links.last() == Some(&Link::Connected);
    let connecting = async {
        while !(connected(a) && connected(b)) {
            tokio::select! {
                _ = a.next() => {}
                _ = b.next() => {}
            }
            a.take_candidates_of(b);
            b.take_candidates_of(a);
        }
    };
    tokio::time::timeout(DEADLINE, connecting).await.expect("they connect");
}

/// Sends pictures of a camera, for ever.
async fn film(media: &MediaOut) {
    for number in 0_u32.. {
        let key = [0, 0, 0, 0x9D, 1, 0x2A, 0, 0, 0, 0];
        let data = Bytes::copy_from_slice(&key);
        let rtp_time = number * 3_000;
        let frame = EncodedFrame { data, rtp_time, key: true, captured: Instant::now() };
        media.send(Source::Camera, frame).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Pictures from one side arrive at the other.
async fn assert_flows(from: &Side, to: &mut Side) {
    let media = from.media.clone();
    let film = tokio::spawn(async move { film(&media).await });
    let before = to.tracks.len();
    if before == 0 {
        to.until(|side| !side.tracks.is_empty()).await;
    }
    let track = to.tracks.last_mut().expect("it came");
    while track.frames.try_recv().is_ok() {}
    for _ in 0..10 {
        let frame = tokio::time::timeout(DEADLINE, track.frames.recv()).await;
        assert!(frame.expect("a picture in time").expect("the track goes on").key);
    }
    film.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_offer_and_one_answer_are_enough_for_both() {
    let (mut a, mut b) = pair();
    let (accepted, answered) = negotiate(&mut a, &mut b, false).await;
    assert!(!accepted.incomplete && !answered.incomplete);
    connect(&mut a, &mut b).await;
    assert_flows(&a, &mut b).await;
    assert_flows(&b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opened_the_encryption_stays_so_in_every_answer() {
    let (mut a, mut b) = pair();
    let (_, first) = negotiate(&mut a, &mut b, false).await;
    assert!(first.sdp.contains("a=setup:active") && !first.sdp.contains("a=setup:passive"));
    connect(&mut a, &mut b).await;
    let (_, other_way) = negotiate(&mut b, &mut a, false).await;
    assert!(other_way.sdp.contains("a=setup:passive") && !other_way.sdp.contains("a=setup:active"));
    let (_, again) = negotiate(&mut a, &mut b, false).await;
    assert!(again.sdp.contains("a=setup:active"));
    assert_flows(&a, &mut b).await;
    assert_flows(&b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_another_connection_is_not_mistaken_for_this_one() {
    let (mut a, mut b) = pair();
    negotiate(&mut a, &mut b, false).await;
    let (mut other, _) = pair();
    let offered = other.run(offer(false, false)).await.unwrap();
    b.handle.send(ToPeer::Run(Op::AcceptOffer { sdp: offered.sdp, rollback: false })).unwrap();
    b.until(|side| side.foreign == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_says_about_its_lines_goes_before_guesses() {
    let (mut a, mut b) = pair();
    negotiate(&mut a, &mut b, false).await;
    connect(&mut a, &mut b).await;
    a.until(|a| a.lines.len() == 2).await;
    let sources: Vec<Source> = a.lines.values().copied().collect();
    assert_eq!(sources, [Source::Microphone, Source::Camera]);
    assert_flows(&a, &mut b).await;
    let camera = b.tracks.iter().find(|track| track.source == Source::Camera).unwrap().id.clone();
    // Then it says that it was a screen all the time; a microphone can't be one.
    let lines = a.lines.keys().map(|mid| (mid.clone(), Source::Screen)).collect();
    b.handle.send(ToPeer::Lines(lines)).unwrap();
    b.until(|b| b.ended.contains(&camera)).await;
    let media = a.media.clone();
    let film = tokio::spawn(async move { film(&media).await });
    b.until(|b| b.tracks.iter().any(|track| track.source == Source::Screen)).await;
    film.abort();
    assert!(b.ended.iter().all(|ended| *ended == camera));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_offers_at_once_are_settled_by_the_polite_side() {
    let (mut a, mut b) = pair();
    let (of_a, _of_b) =
        (a.run(offer(false, false)).await.unwrap(), b.run(offer(false, false)).await);
    let answered = b.run(Op::AcceptOffer { sdp: of_a.sdp, rollback: true }).await.unwrap();
    assert!(!answered.incomplete, "{}", answered.sdp);
    a.run(Op::AcceptAnswer { sdp: answered.sdp }).await.unwrap();
    connect(&mut a, &mut b).await;
    assert_flows(&a, &mut b).await;
    assert_flows(&b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_nobody_answered_can_be_made_again() {
    let (mut a, mut b) = pair();
    for rollback in [false, true, true] {
        a.run(offer(rollback, false)).await.unwrap();
    }
    let offered = a.run(offer(true, false)).await.unwrap();
    let answered = b.run(Op::AcceptOffer { sdp: offered.sdp, rollback: false }).await.unwrap();
    a.run(Op::AcceptAnswer { sdp: answered.sdp }).await.unwrap();
    connect(&mut a, &mut b).await;
    assert_flows(&a, &mut b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_paths_are_found_from_either_side_and_pictures_go_on() {
    let (mut a, mut b) = pair();
    negotiate(&mut a, &mut b, false).await;
    connect(&mut a, &mut b).await;
    assert_flows(&a, &mut b).await;
    for round in 0..2 {
        let (from, to) = if round == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        from.links.clear();
        to.links.clear();
        negotiate(from, to, true).await;
        connect(&mut a, &mut b).await;
        assert_flows(&a, &mut b).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_needs_one_more_offer_and_ends_with_another() {
    let (mut a, mut b) = pair();
    negotiate(&mut a, &mut b, false).await;
    connect(&mut a, &mut b).await;
    for (from_a, on) in [(true, true), (false, true), (true, false), (false, false), (true, true)] {
        let (from, to) = if from_a { (&mut a, &mut b) } else { (&mut b, &mut a) };
        from.handle.send(ToPeer::Show { source: Source::Screen, on }).unwrap();
        let (accepted, answered) = negotiate(from, to, false).await;
        assert!(!accepted.incomplete && !answered.incomplete, "{from_a} {on}");
        let sending = |sdp: &str, stream: &str| {
            let description = Description::parse(sdp);
            description.media.iter().filter(|media| media.sends && media.stream == stream).count()
        };
        let stream = if from_a { "b-S" } else { "a-S" };
        assert!(sending(&answered.sdp, stream) <= 1);
    }
    assert_flows(&a, &mut b).await;
    assert_flows(&b, &mut a).await;
}

/// Takes a codec out of a description.
fn without_codec(sdp: &str, name: &str) -> String {
    let is_gone = |line: &&str| line.starts_with("a=rtpmap:") && line.contains(name);
    let gone: Vec<&str> = sdp
        .lines()
        .filter(is_gone)
        .filter_map(|line| line["a=rtpmap:".len()..].split(' ').next())
        .collect();
    let mut result = String::new();
    for line in sdp.lines() {
        let words =
            line.split(' ').filter(|word| !line.starts_with("m=video") || !gone.contains(word));
        if !is_gone(&line) {
            result += &words.collect::<Vec<_>>().join(" ");
            result += "\r\n";
        }
    }
    result
}

/// A peer that the library makes by itself, with one track of a given codec.
struct Stranger {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
}

impl Stranger {
    const SSRC: u32 = 77;

    async fn new(codec: RTCRtpCodecParameters) -> Self {
        let (happenings, _) = mpsc::channel(HAPPENINGS);
        let (state, _) = watch::channel(RTCPeerConnectionState::New);
        let router = Arc::new(Router::new(mpsc::channel(1).0));
        let handler = Arc::new(Handler { happenings, state });
        let requests = KeyFrameRequests::new(router);
        let connection = connect::connection(true, &[], requests, handler).await.unwrap();
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(Self::SSRC),
                ..RTCRtpCodingParameters::default()
            },
            codec: codec.rtp_codec,
            ..RTCRtpEncodingParameters::default()
        };
        let (stream, id, label) = ("x".to_owned(), "y".to_owned(), "z".to_owned());
        let track = MediaStreamTrack::new(stream, id, label, RtpCodecKind::Video, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal>).await.unwrap();
        Self { connection, track }
    }

    /// The answer, with all candidates in it.
    async fn answer(&self, sdp: String) -> String {
        let offer = RTCSessionDescription::offer(sdp).unwrap();
        self.connection.set_remote_description(offer).await.unwrap();
        let answer = self.connection.create_answer(None).await.unwrap();
        self.connection.set_local_description(answer).await.unwrap();
        let gathered = async {
            loop {
                let sdp = self.connection.local_description().await.unwrap().sdp;
                if sdp.contains("a=candidate:") {
                    return sdp;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, gathered).await.expect("it has an address")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_a_peer_that_has_h264_only_arrive() {
    for payload_type in [108, 102] {
        pictures_arrive_as_h264(payload_type, |answer| answer).await;
    }
}

/// Chromium puts the constrained profile last, and names its tracks by `a=msid` alone.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_a_browser_that_has_h264_only_arrive() {
    let as_chromium = |answer: String| {
        let list = answer.lines().find(|line| line.starts_with("m=video")).unwrap();
        let answer = answer.replace(list, "m=video 9 UDP/TLS/RTP/SAVPF 102 103 108 109");
        let is_msid = |line: &&str| line.starts_with("a=ssrc:") && !line.contains(" cname:");
        answer.lines().filter(|line| !is_msid(line)).map(|line| format!("{line}\r\n")).collect()
    };
    pictures_arrive_as_h264(102, as_chromium).await;
}

async fn pictures_arrive_as_h264(payload_type: PayloadType, changed: impl Fn(String) -> String) {
    let (mut a, _) = pair();
    let h264 = connect::video_codecs().into_iter().find(|codec| codec.payload_type == payload_type);
    let stranger = Stranger::new(h264.unwrap()).await;
    let offered = a.run(offer(false, false)).await.unwrap();
    let answer = stranger.answer(without_codec(&offered.sdp, "VP8")).await;
    assert!(!answer.contains("VP8"));
    a.run(Op::AcceptAnswer { sdp: changed(answer) }).await.unwrap();
    let sending = tokio::spawn(async move {
        for number in 0_u16.. {
            let header = Header {
                version: 2,
                marker: true,
                payload_type,
                sequence_number: number,
                timestamp: u32::from(number) * 3_000,
                ssrc: Stranger::SSRC,
                ..Header::default()
            };
            // A parameter set and a refresh, aggregated.
            let payload = Bytes::from_static(&[0x78, 0, 2, 0x67, 1, 0, 3, 0x65, 2, 3]);
            stranger.track.write_rtp(Packet { header, payload }).await.ok();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    a.until(|side| !side.tracks.is_empty()).await;
    let track = &mut a.tracks[0];
    assert_eq!(track.codec, crate::media::Codec::H264);
    let frame = tokio::time::timeout(DEADLINE, track.frames.recv()).await.unwrap().unwrap();
    assert_eq!(frame.data[..], [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x65, 2, 3]);
    sending.abort();
}

/// A small generator with a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// Lines dropped, doubled, swapped and scratched.
fn damaged(sdp: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(4) {
        let (one, two) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(5) {
            0 => drop(lines.remove(one)),
            1 => lines.insert(one, lines[two].clone()),
            2 => lines.swap(one, two),
            3 => {
                let cut = random.below(lines[one].len() + 1);
                lines[one] = lines[one].chars().take(cut).collect();
            }
            _ => {
                let digit = char::from(b'0' + random.below(10) as u8);
                lines[one] = lines[one].replace(digit, "99999999999");
            }
        }
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_descriptions_end_in_an_answer_or_an_error() {
    let mut random = Random(0x5EED);
    let (mut a, _) = pair();
    let good = a.run(offer(false, false)).await.unwrap().sdp;
    let (mut accepted, mut refused, mut broken) = (0, 0, 0);
    let (_, mut b) = pair();
    for round in 0..150 {
        if round % 10 == 0 {
            b = pair().1;
        }
        let op = Op::AcceptOffer { sdp: damaged(&good, &mut random), rollback: false };
        b.handle.send(ToPeer::Run(op)).unwrap();
        loop {
            if b.links.contains(&Link::Gone) {
                broken += 1;
                b = pair().1;
                break;
            }
            match b.next().await {
                Some(Ok(_)) => accepted += 1,
                Some(Err(())) => refused += 1,
                None if b.foreign > 0 => {
                    b.foreign = 0;
                    refused += 1;
                }
                None => continue,
            }
            break;
        }
    }
    println!("{accepted} accepted, {refused} refused, {broken} broke the library");
    assert!(accepted > 0 && refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_tracks_of_the_other_side() {
    let (mut a, mut b) = pair();
    negotiate(&mut a, &mut b, false).await;
    connect(&mut a, &mut b).await;
    assert_flows(&a, &mut b).await;
    a.handle.close().await;
    let closing =
        b.until(|side| side.links.last() != Some(&Link::Connected) || !side.ended.is_empty());
    tokio::time::timeout(DEADLINE, closing).await.expect("it is noticed");
}
