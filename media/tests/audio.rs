//! Sound through the whole chain: source, encoder, jitter buffer, decoder, mixer, sink.

#![cfg(test)]

use std::time::{Duration, Instant};

use media::{
    AudioConfig, AudioEngine, AudioInput, AudioPacket, EncodedAudio, SoundSink, SoundSource,
};
use tokio::sync::mpsc;

const LONG: Duration = Duration::from_secs(20);

fn packet(encoded: &EncodedAudio) -> AudioPacket {
    let sequence = (encoded.rtp_time / 960) as u16;
    AudioPacket { data: encoded.data.clone(), rtp_time: encoded.rtp_time, sequence }
}

fn tone(hz: f32, speaker: SoundSink) -> (AudioEngine, mpsc::Receiver<EncodedAudio>) {
    let microphone = SoundSource::Tone(hz);
    AudioEngine::open(AudioConfig { microphone, speaker, processing: None })
}

/// Carries packets from one engine to a peer of the other until `done`.
fn carry(
    from: &mut mpsc::Receiver<EncodedAudio>,
    to: &AudioInput,
    lost: impl Fn(u64) -> bool,
    done: impl Fn() -> bool,
) {
    let deadline = Instant::now() + LONG;
    let mut count = 0;
    while !done() {
        assert!(Instant::now() < deadline, "it never came to pass");
        let encoded = from.blocking_recv().expect("the tone goes on");
        count += 1;
        if !lost(count) {
            to.push(packet(&encoded));
        }
    }
}

#[test]
fn a_tone_arrives_with_its_pitch_and_level() {
    let (sender, mut packets) = tone(440.0, SoundSink::None);
    let (receiver, _own) = tone(440.0, SoundSink::None);
    let peer = receiver.add_peer("ada");
    carry(&mut packets, &peer, |_| false, || peer.stats().decoded > 60);
    let (level, pitch) = (peer.loudest_dbfs(), peer.pitch_hz().expect("a tone has a pitch"));
    assert!((pitch / 440.0 - 1.0).abs() < 0.02, "{pitch} Hz");
    assert!((level + 12.0).abs() < 1.5, "{level} dBFS");
    assert!((sender.levels().microphone_dbfs + 12.0).abs() < 0.5);
    let levels = receiver.levels();
    assert_eq!(levels.peers.len(), 1);
    assert_eq!(levels.peers[0].id, "ada");
    assert!((levels.peers[0].level_dbfs + 12.0).abs() < 1.5);
    assert!(sender.problems().is_empty() && receiver.problems().is_empty());
    drop(peer);
    assert!(receiver.levels().peers.is_empty(), "a peer that left is not mixed any more");
}

#[test]
fn packets_have_the_clock_and_the_size_that_rtp_needs() {
    let (_sender, mut packets) = tone(440.0, SoundSink::None);
    let mut last: Option<EncodedAudio> = None;
    let mut bytes = 0;
    for _ in 0..50 {
        let encoded = packets.blocking_recv().unwrap();
        if let Some(last) = last {
            assert_eq!(encoded.rtp_time, last.rtp_time.wrapping_add(960));
            assert!(encoded.captured >= last.captured);
        }
        bytes += encoded.data.len();
        last = Some(encoded);
    }
    let bitrate = bytes * 8;
    assert!((16_000..48_000).contains(&bitrate), "{bitrate} bit/s");
}

#[test]
fn a_muted_microphone_sends_silence_and_still_shows_its_level() {
    let (sender, mut packets) = tone(440.0, SoundSink::None);
    let (receiver, _own) = tone(440.0, SoundSink::None);
    let peer = receiver.add_peer("ada");
    sender.set_muted(true);
    assert!(sender.is_muted());
    // What was captured before the switch is heard for up to a second.
    carry(&mut packets, &peer, |_| false, || peer.stats().decoded > 70);
    assert!(peer.loudest_dbfs() < -70.0, "{} dBFS", peer.loudest_dbfs());
    assert_eq!(peer.pitch_hz(), None);
    assert!((sender.levels().microphone_dbfs + 12.0).abs() < 0.5);
    sender.set_muted(false);
    carry(&mut packets, &peer, |_| false, || peer.level_dbfs() > -20.0);
}

#[test]
fn a_tone_survives_the_loss_of_every_tenth_packet() {
    let (_sender, mut packets) = tone(440.0, SoundSink::None);
    let (receiver, _own) = tone(440.0, SoundSink::None);
    let peer = receiver.add_peer("ada");
    carry(&mut packets, &peer, |count| count % 10 == 5, || peer.stats().decoded > 90);
    let pitch = peer.pitch_hz().expect("the tone is still there");
    assert!((pitch / 440.0 - 1.0).abs() < 0.02, "{pitch} Hz");
    let stats = peer.stats();
    assert!(stats.concealed >= 5, "{stats:?}");
}

#[test]
fn rubbish_packets_are_counted_and_do_no_harm() {
    let (_sender, mut packets) = tone(440.0, SoundSink::None);
    let (receiver, _own) = tone(440.0, SoundSink::None);
    let peer = receiver.add_peer("ada");
    for sequence in 0..200u16 {
        let data: Vec<u8> = (0..sequence).map(|i| (i * 31 % 251) as u8).collect();
        let rtp_time = u32::from(sequence) * 960;
        peer.push(AudioPacket { data: data.into(), rtp_time, sequence });
        peer.push(AudioPacket { data: vec![0xFF; 5000].into(), rtp_time: 0, sequence });
    }
    assert!(peer.stats().discarded >= 200);
    // Sound that comes after it is heard all the same.
    carry(
        &mut packets,
        &peer,
        |_| false,
        || peer.pitch_hz().is_some_and(|pitch| (pitch / 440.0 - 1.0).abs() < 0.02),
    );
}

#[test]
fn two_peers_are_mixed_into_the_file_that_stands_for_the_speaker() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heard.wav");
    let (_one, mut packets) = tone(300.0, SoundSink::None);
    let (receiver, own) = tone(440.0, SoundSink::File(path.clone()));
    drop(own);
    let (ada, bob) = (receiver.add_peer("ada"), receiver.add_peer("bob"));
    let deadline = Instant::now() + LONG;
    while bob.stats().decoded < 60 {
        assert!(Instant::now() < deadline);
        let encoded = packets.blocking_recv().unwrap();
        ada.push(packet(&encoded));
        bob.push(packet(&encoded));
    }
    drop(receiver);
    let wav = std::fs::read(&path).unwrap();
    let samples: Vec<f32> = wav[44..]
        .chunks_exact(2)
        .map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32768.0)
        .collect();
    assert!(samples.len() > 40_000, "{} samples", samples.len());
    // Twice the tone at −12 dBFS, in step: −6 dBFS most of the time.
    let level = |sound: &[f32]| {
        let mean_square = sound.iter().map(|s| s * s).sum::<f32>() / sound.len() as f32;
        10.0 * (2.0 * mean_square).log10()
    };
    let mut levels: Vec<f32> = samples.chunks_exact(480).map(level).collect();
    levels.sort_by(f32::total_cmp);
    let usual = levels[levels.len() * 3 / 4]; // it begins with silence
    assert!((usual + 6.0).abs() < 1.0, "{usual} dBFS");
    // What was written can be spoken again.
    let microphone = SoundSource::File(path);
    let (_again, mut packets) =
        AudioEngine::open(AudioConfig { microphone, speaker: SoundSink::None, processing: None });
    let (listener, _own) = tone(440.0, SoundSink::None);
    let peer = listener.add_peer("file");
    carry(
        &mut packets,
        &peer,
        |_| false,
        || peer.pitch_hz().is_some_and(|pitch| (pitch / 300.0 - 1.0).abs() < 0.02),
    );
}

#[test]
fn missing_devices_and_files_are_told_in_sentences_and_nothing_else_happens() {
    let config = AudioConfig {
        microphone: SoundSource::Named("no such microphone".into()),
        speaker: SoundSink::File("/no/such/folder/heard.wav".into()),
        processing: None,
    };
    let (engine, mut packets) = AudioEngine::open(config);
    let deadline = Instant::now() + LONG;
    while engine.problems().len() < 2 {
        assert!(Instant::now() < deadline, "{:?}", engine.problems());
        std::thread::yield_now();
    }
    for problem in engine.problems() {
        assert!(problem.ends_with('.') && problem.contains("no"), "{problem}");
    }
    // The mixer runs on without them.
    let (_sender, mut spoken) = tone(440.0, SoundSink::None);
    let peer = engine.add_peer("ada");
    carry(&mut spoken, &peer, |_| false, || peer.level_dbfs() > -20.0);
    assert!(packets.try_recv().is_err());
}

#[test]
fn an_engine_without_listeners_ends_when_dropped() {
    let (engine, packets) = tone(440.0, SoundSink::None);
    let input = engine.add_peer("ada");
    drop(packets);
    drop(engine);
    // A handle that outlives its engine is harmless.
    input.push(AudioPacket { data: vec![1, 2, 3].into(), rtp_time: 0, sequence: 0 });
    assert_eq!(input.id(), "ada");
}

#[test]
fn the_sound_of_a_film_is_a_microphone() {
    let film = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testdata/pattern.webm");
    let microphone = SoundSource::File(film.into());
    let (_film, mut packets) =
        AudioEngine::open(AudioConfig { microphone, speaker: SoundSink::None, processing: None });
    let (listener, _own) = tone(440.0, SoundSink::None);
    let peer = listener.add_peer("film");
    // More than its one second, so that it was played from the start again.
    carry(
        &mut packets,
        &peer,
        |_| false,
        || {
            peer.stats().decoded > 80
                && peer.pitch_hz().is_some_and(|pitch| (pitch / 660.0 - 1.0).abs() < 0.02)
        },
    );
}
