//! Whole meetings: sessions against a server in this process, over TLS, ICE, DTLS and SRTP on
//! loopback.

#[path = "meeting/hostile.rs"]
mod hostile;
#[path = "meeting/support.rs"]
mod support;

use std::time::Instant;

use bytes::Bytes;
use net::{
    Command, Event, JoinError, MessageId, Passphrase, PeerState, Protection, Publish, ServerLink,
    Source, TransferId, UnreadableReason,
};
use sha2::{Digest, Sha256};
use support::{Guest, Host, film, go_on_watching, hum, listen, watch, within};

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_sound_go_both_ways() {
    let host = Host::start().await;
    let started = Instant::now();
    let (mut alice, mut bob) = host.couple("media").await;
    let _films = [film(&alice, Source::Camera), film(&bob, Source::Camera)];
    let _hums = [hum(&alice), hum(&bob)];
    for guest in [&mut alice, &mut bob] {
        watch(&mut guest.track(Source::Camera).await, 40).await;
        listen(&mut guest.track(Source::Microphone).await, 40).await;
    }
    println!("join to the fortieth picture: {:?}", started.elapsed());
    let stats = alice.stats().await;
    assert_eq!(stats.peers.len(), 1);
    let peer = &stats.peers[0];
    assert_eq!((peer.state, peer.tracks.len()), (PeerState::Connected, 2));
    assert!(peer.packets_sent > 80 && peer.packets_received > 80 && peer.connect_ms.is_some());
    assert_eq!(peer.tracks.iter().map(|track| track.lost).sum::<u64>(), 0);
    let gone = alice.id().clone();
    alice.leave().await;
    bob.peer_is(&gone, PeerState::Closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_is_sealed_and_echoed() {
    let host = Host::start().await;
    let (mut alice, mut bob) = host.couple("chat").await;
    let mut config = host.config("chat", "mallory");
    config.passphrase = Passphrase::new("wrong".to_owned());
    let mut mallory = Guest::join(config).await.unwrap();
    let mut config = host.config("chat", "guest");
    config.passphrase = Passphrase::default();
    let mut open = Guest::join(config).await.unwrap();
    alice.roster_of(4).await;

    let id = MessageId::random();
    alice.ask(Command::Typing(true));
    alice.ask(Command::Chat { id, text: "Grüße 👋".to_owned() });
    alice
        .next("the echo", |event| {
            matches!(event, Event::Sent { id: sent } if *sent == id).then_some(())
        })
        .await;
    let from = alice.id().clone();
    let (name, text, protection) = bob
        .next("the message", |event| match event {
            Event::Chat { from: who, name, text, protection, .. } if *who == from => {
                Some((name.clone(), text.clone(), *protection))
            }
            _ => None,
        })
        .await;
    assert_eq!((name.as_str(), text.as_str()), ("alice", "Grüße 👋"));
    assert_eq!(protection, Protection::Sealed);
    assert!(bob.has_seen(|event| matches!(event, Event::Typing { typing: true, .. })));
    for stranger in [&mut mallory, &mut open] {
        let why = stranger
            .next("an unreadable message", |event| match event {
                Event::Unreadable { from: who, why } if *who == from => Some(*why),
                _ => None,
            })
            .await;
        assert_eq!(why, UnreadableReason::WrongKey);
    }

    let id = MessageId::random();
    alice.ask(Command::Chat { id, text: "x".repeat(1_501) });
    alice.not_sent(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_arrive_with_equal_hash_both_ways() {
    let host = Host::start().await;
    let (mut alice, mut bob) = host.couple("images").await;
    // A PNG's header, and much behind it.
    let mut image =
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x06\0\0\0".to_vec();
    image.extend((0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    let (image, sha) = (Bytes::from(image.clone()), Sha256::digest(&image));
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let guests = [&mut alice, &mut bob];
        let id = TransferId::random();
        guests[sender].ask(Command::SendImage {
            id: id.clone(),
            name: "/home/me/cat.png".to_owned(),
            mime: "image/png".to_owned(),
            bytes: image.clone(),
        });
        let (name, mime, bytes, sha256) = guests[receiver]
            .next("the image", |event| match event {
                Event::Image { id: got, name, mime, bytes, sha256, .. } if *got == id => {
                    Some((name.clone(), *mime, bytes.clone(), *sha256))
                }
                _ => None,
            })
            .await;
        assert_eq!((name.as_str(), mime), ("cat.png", "image/png"));
        assert_eq!((bytes, &sha256[..]), (image.clone(), &sha[..]));
        guests[sender]
            .next("the news", |event| {
                matches!(event, Event::ImageSent { id: sent, .. } if *sent == id).then_some(())
            })
            .await;
        assert!(guests[receiver].has_seen(|event| matches!(event, Event::ImageProgress { .. })));
    }

    let id = TransferId::random();
    alice.ask(Command::SendImage {
        id: id.clone(),
        name: "notes.txt".to_owned(),
        mime: "image/png".to_owned(),
        bytes: Bytes::from_static(b"not an image"),
    });
    let why = alice
        .next("a refusal", |event| match event {
            Event::ImageFailed { id: failed, why, .. } if *failed == id => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(why.contains("PNG"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_can_be_stopped_by_either_side() {
    let host = Host::start().await;
    let (mut alice, mut bob) = host.couple("stop").await;
    let mut image =
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x06\0\0\0".to_vec();
    image.resize(12 * 1024 * 1024, 7);
    let image = Bytes::from(image);
    for by_sender in [true, false] {
        let id = TransferId::random();
        alice.ask(Command::SendImage {
            id: id.clone(),
            name: "large.png".to_owned(),
            mime: "image/png".to_owned(),
            bytes: image.clone(),
        });
        bob.next("its beginning", |event| {
            matches!(event, Event::ImageIncoming { id: got, .. } if *got == id).then_some(())
        })
        .await;
        let stopper = if by_sender { &alice } else { &bob };
        stopper.ask(Command::CancelImage { id: id.clone() });
        for guest in [&mut alice, &mut bob] {
            guest
                .next("its end", |event| {
                    matches!(event, Event::ImageFailed { id: failed, .. } if *failed == id)
                        .then_some(())
                })
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_is_shown_beside_the_camera_and_taken_away_again() {
    let host = Host::start().await;
    let (mut alice, mut bob) = host.couple("screen").await;
    let _camera = film(&alice, Source::Camera);
    let mut camera = bob.track(Source::Camera).await;
    watch(&mut camera, 5).await;
    for _ in 0..2 {
        alice.ask(Command::Publish { source: Source::Screen, on: true });
        alice.key_frame_wanted(Source::Screen).await;
        let film = film(&alice, Source::Screen);
        let mut screen = bob.track(Source::Screen).await;
        watch(&mut screen, 20).await;
        alice.ask(Command::Publish { source: Source::Screen, on: false });
        drop(film);
        bob.track_ended(&screen.id).await;
        while within("the end", screen.frames.recv()).await.is_some() {}
    }
    go_on_watching(&mut camera, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_can_be_off_at_first_and_on_later_and_off_again() {
    let host = Host::start().await;
    let mut config = host.config("camera", "alice");
    config.publish = Publish { microphone: false, camera: false };
    let mut alice = Guest::join(config).await.unwrap();
    let mut bob = host.join("camera", "bob").await;
    alice.connected_to(bob.id()).await;
    bob.connected_to(alice.id()).await;
    assert!(!alice.session.media().wanted(Source::Camera));
    let _film = film(&alice, Source::Camera);
    for _ in 0..2 {
        alice.ask(Command::Publish { source: Source::Camera, on: true });
        let mut camera = bob.track(Source::Camera).await;
        watch(&mut camera, 20).await;
        alice.ask(Command::Publish { source: Source::Camera, on: false });
        bob.track_ended(&camera.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_gone_and_may_come_back() {
    let host = Host::start().await;
    let (alice, mut bob) = host.couple("return").await;
    let first = alice.id().clone();
    alice.leave().await;
    bob.peer_is(&first, PeerState::Closed).await;
    bob.roster_of(1).await;
    let mut alice = host.join("return", "alice").await;
    bob.connected_to(alice.id()).await;
    alice.connected_to(bob.id()).await;
    let _film = film(&alice, Source::Camera);
    watch(&mut bob.track(Source::Camera).await, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_outlives_the_server_and_finds_it_again() {
    let mut host = Host::start().await;
    let (mut alice, mut bob) = host.couple("restart").await;
    let _film = film(&alice, Source::Camera);
    let mut camera = bob.track(Source::Camera).await;
    watch(&mut camera, 10).await;
    host.stop().await;
    for guest in [&mut alice, &mut bob] {
        guest
            .next("the loss of the server", |event| {
                matches!(event, Event::Server(ServerLink::Reconnecting { .. })).then_some(())
            })
            .await;
    }
    let id = MessageId::random();
    alice.ask(Command::Chat { id, text: "anybody there?".to_owned() });
    alice.not_sent(id).await;
    go_on_watching(&mut camera, 20).await;
    host.restart().await;
    for guest in [&mut alice, &mut bob] {
        guest.next("the first connection", server_connected).await;
        guest.next("the server's return", server_connected).await;
        guest.roster_of(2).await;
    }
    go_on_watching(&mut camera, 100).await;
    for guest in [&mut alice, &mut bob] {
        assert!(
            !guest.has_seen(|event| matches!(event, Event::Peer { state: PeerState::Closed, .. }))
        );
    }
    alice.ask(Command::Chat { id, text: "there you are".to_owned() });
    bob.next("the message", |event| matches!(event, Event::Chat { .. }).then_some(())).await;
}

fn server_connected(event: &Event) -> Option<()> {
    matches!(event, Event::Server(ServerLink::Connected)).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn four_people_all_see_each_other() {
    let host = Host::start().await;
    let mut guests = Vec::new();
    for name in ["a", "b", "c", "d"] {
        guests.push(host.join("four", name).await);
    }
    let ids: Vec<_> = guests.iter().map(|guest| guest.id().clone()).collect();
    let _films: Vec<_> = guests.iter().map(|guest| film(guest, Source::Camera)).collect();
    for guest in &mut guests {
        for id in ids.iter().filter(|id| *id != guest.id()).cloned().collect::<Vec<_>>() {
            guest.connected_to(&id).await;
            let mut track = guest
                .track_where("a camera", |track| track.peer == id && track.source == Source::Camera)
                .await;
            watch(&mut track, 10).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_stuck_gets_a_key_frame() {
    let host = Host::start().await;
    let (mut alice, mut bob) = host.couple("key").await;
    let _film = film(&alice, Source::Camera);
    let mut camera = bob.track(Source::Camera).await;
    watch(&mut camera, 5).await;
    while alice.has_seen(|event| matches!(event, Event::KeyFrameWanted { .. })) {
        alice.key_frame_wanted(Source::Camera).await;
    }
    bob.ask(Command::RequestKeyFrame { peer: alice.id().clone(), track: camera.id.clone() });
    alice.key_frame_wanted(Source::Camera).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_tells_what_is_wrong() {
    let host = Host::start().await;
    let error = |config| async { Guest::join(config).await.map(|_| ()).unwrap_err() };

    let mut config = host.config("x", "alice");
    config.server = "https://127.0.0.1:1".parse().unwrap();
    assert!(matches!(error(config).await, JoinError::Unreachable { .. }));

    let mut config = host.config("x", "alice");
    config.server = "https://nobody.invalid".parse().unwrap();
    assert!(matches!(error(config).await, JoinError::Unreachable { .. }));

    let mut config = host.config("x", "alice");
    config.server = format!("http://{}", host.address).parse().unwrap();
    let plain = error(config).await;
    assert!(plain.to_string().contains("speaks HTTPS"), "{plain:?}");

    let mut config = host.config("x", "alice");
    config.fingerprint = None;
    let JoinError::UnknownCertificate { fingerprint } = error(config).await else {
        panic!("the certificate is not one that the system knows");
    };
    assert_eq!(fingerprint, host.fingerprint);

    let mut config = host.config("x", "alice");
    config.fingerprint = Some(net::Fingerprint::from_bytes([7; 32]));
    let JoinError::OtherCertificate { found } = error(config).await else {
        panic!("the certificate is another one");
    };
    assert_eq!(found, host.fingerprint);

    assert!(matches!(error(host.config(&"r".repeat(128), "alice")).await, JoinError::Room(_)));
    assert!(matches!(error(host.config("x", &"n".repeat(33))).await, JoinError::NameTooLong));

    let guest = Guest::join(host.config("x", "  ")).await.unwrap();
    assert_eq!(guest.session.name(), "Guest");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_session_leaves() {
    let host = Host::start().await;
    let (alice, mut bob) = host.couple("drop").await;
    let id = alice.id().clone();
    drop(alice);
    bob.peer_is(&id, PeerState::Closed).await;
}
