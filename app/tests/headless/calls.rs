//! Native peers in one room, judged by content: the counter in the decoded picture, the pitch of
//! the decoded sound, the hash of the image.

use app::headless::protocol::{Command, Event, ServerState};
use net::{PeerState, Protection, Source, UnreadableReason, UserId};
use sha2::{Digest as _, Sha256};

use crate::harness::{Native, Stage, write_image};

/// Both see moving pictures of each other and hear each other's tone.
async fn meet(one: (&mut Native, f64), two: (&mut Native, f64)) {
    let ((one, one_hz), (two, two_hz)) = (one, two);
    let (one_id, two_id) = (one.user(), two.user());
    let ((_, a), (_, b)) = tokio::join!(one.sees(&two_id), two.sees(&one_id));
    let counts = |id: UserId, seen: u32| {
        move |event: &Event| {
            matches!(event, Event::Video { from, counter: Some(counter), .. }
                if *from == id && *counter > seen)
        }
    };
    tokio::join!(
        one.wait_for("growing counter", counts(two_id.clone(), a)),
        two.wait_for("growing counter", counts(one_id.clone(), b)),
    );
    tokio::join!(one.hears(&two_id, two_hz), two.hears(&one_id, one_hz));
}

/// How long the newcomer had to wait for a picture.
async fn print_first_frame(newcomer: &mut Native, other: &Native) {
    let (since_joined, since_start) = newcomer.first_frame(&other.user()).await;
    println!("join → first decoded frame: {since_joined} ms (with the sign-in {since_start} ms)");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_natives_see_hear_and_read_each_other() {
    let stage = Stage::new().await;
    let mut ana = stage.native("Ana", 440).await;
    let mut bob = stage.native("Bob", 660).await;
    print_first_frame(&mut bob, &ana).await;
    meet((&mut ana, 440.0), (&mut bob, 660.0)).await;

    ana.send(&Command::Typing { typing: true }).await;
    let (ana_id, bob_id) = (ana.user(), bob.user());
    let types = |event: &Event| *event == Event::Typing { from: ana_id.clone(), typing: true };
    bob.wait_for("typing", types).await;

    let id = net::MessageId::random();
    ana.send(&Command::Chat { text: "Grüße, 世界 🔐".to_owned(), id: Some(id) }).await;
    ana.wait_for("sent", |event| *event == Event::Sent { id }).await;
    let chat = bob.wait_for("chat", |event| matches!(event, Event::Chat { .. })).await;
    let Event::Chat { from, name, text, protection, .. } = chat else { unreachable!() };
    assert_eq!((from, name.as_str(), text.as_str()), (ana_id.clone(), "Ana", "Grüße, 世界 🔐"));
    assert_eq!(protection, Protection::Sealed);

    let path = write_image(stage.folder.path(), "a picture.png");
    let bytes = std::fs::read(&path).unwrap();
    bob.send(&Command::Image { path }).await;
    let image = ana.wait_for("image", |event| matches!(event, Event::Image { .. })).await;
    let Event::Image { from, name, sha256, path, bytes: size, .. } = image else { unreachable!() };
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((from, name.as_str(), sha256), (bob_id.clone(), "a picture.png", hash));
    assert_eq!((size, std::fs::read(path).unwrap()), (bytes.len() as u64, bytes));
    let handed_over = |event: &Event| matches!(event, Event::ImageSent { to, .. } if *to == ana_id);
    bob.wait_for("image-sent", handed_over).await;

    let (track, _) = ana.sees(&bob_id).await;
    let path = stage.folder.path().join("snapshot.png");
    ana.send(&Command::Snapshot { from: bob_id.clone(), track, path: path.clone() }).await;
    ana.wait_for("snapshot", |event| matches!(event, Event::Snapshot { .. })).await;
    let picture = image::open(&path).unwrap();
    assert_eq!((picture.width(), picture.height()), (1280, 720));

    ana.send(&Command::Stats).await;
    let stats = ana.wait_for("stats", |event| matches!(event, Event::Stats { .. })).await;
    let Event::Stats { counters } = stats else { unreachable!() };
    assert_eq!(counters["peers"][0]["peer"], bob_id.as_str());

    bob.leave().await;
    let closed = Event::Peer { id: bob_id, state: PeerState::Closed };
    ana.wait_for("closed peer", |event| *event == closed).await;
    ana.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_leaves_and_comes_back_is_met_again() {
    let stage = Stage::new().await;
    let mut ana = stage.native("Ana", 440).await;
    for tone in [660, 550] {
        let mut bob = stage.native("Bob", tone).await;
        print_first_frame(&mut bob, &ana).await;
        meet((&mut ana, 440.0), (&mut bob, f64::from(tone))).await;
        let closed = Event::Peer { id: bob.user(), state: PeerState::Closed };
        bob.leave().await;
        ana.wait_for("closed peer", |event| *event == closed).await;
        ana.wait_for(
            "roster of one",
            |event| matches!(event, Event::Roster { users } if users.len() == 1),
        )
        .await;
        ana.forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_and_a_microphone_go_off_and_on_again() {
    let stage = Stage::new().await;
    let mut ana = stage.native("Ana", 440).await;
    let mut bob = stage.native("Bob", 660).await;
    meet((&mut ana, 440.0), (&mut bob, 660.0)).await;
    let ana_id = ana.user();

    for on in [false, true] {
        ana.send(&Command::Camera { on }).await;
        ana.send(&Command::Microphone { on }).await;
        for source in [Source::Camera, Source::Microphone] {
            let switched = Event::Source { source, on };
            ana.wait_for("switched source", |event| *event == switched).await;
        }
        bob.forget();
        if on {
            bob.sees(&ana_id).await;
            bob.hears(&ana_id, 440.0).await;
        } else {
            let gone = |event: &Event| match event {
                Event::TrackRemoved { from, .. } => *from == ana_id,
                Event::Video { from, fps, .. } => *from == ana_id && *fps == 0.0,
                _ => false,
            };
            bob.wait_for("no picture", gone).await;
        }
        ana.forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_passphrase_can_not_read() {
    let stage = Stage::new().await;
    let silent = ["--microphone", "none"];
    let mut ana = stage.native_with("Ana", "correct horse", &silent).await;
    let mut eve = stage.native_with("Eve", "wrong horse", &silent).await;
    ana.wait_for(
        "roster of two",
        |event| matches!(event, Event::Roster { users } if users.len() == 2),
    )
    .await;
    ana.send(&Command::Chat { text: "for you only".to_owned(), id: None }).await;
    let protected = Event::Unreadable { from: ana.user(), why: UnreadableReason::WrongKey };
    eve.wait_for("unreadable", |event| *event == protected).await;
    assert!(!eve.saw(|event| matches!(event, Event::Chat { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_natives_share_a_call() {
    let stage = Stage::new().await;
    let mut ana = stage.native("Ana", 440).await;
    let mut bob = stage.native("Bob", 660).await;
    let mut cleo = stage.native("Cleo", 550).await;
    let (a, b, c) = (ana.user(), bob.user(), cleo.user());
    for (who, others) in [
        (&mut ana, [(&b, 660.0), (&c, 550.0)]),
        (&mut bob, [(&a, 440.0), (&c, 550.0)]),
        (&mut cleo, [(&a, 440.0), (&b, 660.0)]),
    ] {
        for (other, hz) in others {
            // Three debug builds share two cores with whatever else runs: content counts here.
            let pictured = |event: &Event| {
                matches!(event, Event::Video { from, counter: Some(_), frames: 10.., .. }
                    if from == other)
            };
            who.wait_for("picture", pictured).await;
            who.hears(other, hz).await;
        }
    }
    cleo.send(&Command::Chat { text: "to both".to_owned(), id: None }).await;
    for who in [&mut ana, &mut bob] {
        who.wait_for(
            "chat",
            |event| matches!(event, Event::Chat { text, .. } if text == "to both"),
        )
        .await;
    }
    for who in [ana, bob, cleo] {
        who.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_lives_on_while_the_server_is_gone_and_the_chat_comes_back_with_it() {
    let mut stage = Stage::new().await;
    let mut ana = stage.native("Ana", 440).await;
    let mut bob = stage.native("Bob", 660).await;
    meet((&mut ana, 440.0), (&mut bob, 660.0)).await;

    ana.forget();
    bob.forget();
    stage.stop_server().await;
    let in_state = |wanted| move |event: &Event| matches!(event, Event::Server { state, .. } if *state == wanted);
    for who in [&mut ana, &mut bob] {
        who.wait_for("lost server", in_state(ServerState::Reconnecting)).await;
        who.forget();
    }
    meet((&mut ana, 440.0), (&mut bob, 660.0)).await;

    stage.start_server().await;
    for who in [&mut ana, &mut bob] {
        who.wait_for("server again", in_state(ServerState::Connected)).await;
    }
    ana.send(&Command::Chat { text: "still here".to_owned(), id: None }).await;
    bob.wait_for("chat", |event| matches!(event, Event::Chat { text, .. } if text == "still here"))
        .await;
    let (ana_now, bob_now) = (ana.current_user(), bob.current_user());
    ana.forget();
    bob.forget();
    tokio::join!(ana.sees(&bob_now), bob.sees(&ana_now));
    ana.leave().await;
    bob.leave().await;
}
