//! Threads are there while they are needed, and end with the call. Linux tells their names.
#![cfg(target_os = "linux")]

use std::fs;
use std::time::Duration;

use app::call::{self, Call, CallConfig, CallEvent, Sources};
use app::headless::protocol::Event;
use media::{SoundSink, SoundSource, VideoSource};
use net::{Passphrase, PeerState, RawRoomId};
use tokio::sync::mpsc;

use crate::harness::{DEADLINE, Stage};

/// Pause between two looks at the threads of a process.
const LOOK: Duration = Duration::from_millis(20);

/// The names of our own threads in a process.
fn threads(process: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("pm-")).collect()
}

async fn until(process: &str, what: &str, holds: impl Fn(&[String]) -> bool) {
    let looked = tokio::time::timeout(DEADLINE, async {
        while !holds(&threads(process)) {
            tokio::time::sleep(LOOK).await;
        }
    });
    assert!(looked.await.is_ok(), "{what}: {:?}", threads(process));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_runs_only_while_somebody_is_there_to_receive() {
    let stage = Stage::new().await;
    let ana = stage.native("Ana", 440).await;
    let id = ana.id().to_string();
    let encodes = |names: &[String]| names.iter().any(|name| name == "pm-encode");
    assert!(!encodes(&threads(&id)), "nobody is there yet");
    let mut bob = stage.native("Bob", 660).await;
    bob.sees(&ana.user()).await;
    assert!(encodes(&threads(&id)), "Bob sees Ana");
    bob.leave().await;
    until(&id, "Bob has left", |names| {
        !encodes(names) && !names.iter().any(|name| name.starts_with("pm-decode"))
    })
    .await;
    ana.leave().await;
}

async fn join(stage: &Stage, name: &str) -> (Call, mpsc::Receiver<CallEvent>) {
    let config = CallConfig {
        server: stage.url().parse().unwrap(),
        fingerprint: Some(stage.fingerprint().parse().unwrap()),
        room: RawRoomId::new("demo").unwrap(),
        name: name.to_owned(),
        passphrase: Passphrase::new("secret".to_owned()),
        sources: Sources {
            camera: VideoSource::Pattern,
            microphone: SoundSource::Tone(440.0),
            speaker: SoundSink::None,
            ..Sources::default()
        },
        camera_on: true,
        microphone_on: true,
    };
    call::start(config).await.unwrap()
}

async fn wait_for(events: &mut mpsc::Receiver<CallEvent>, matches: impl Fn(&CallEvent) -> bool) {
    let found = tokio::time::timeout(DEADLINE, async {
        while !matches(&events.recv().await.expect("the call goes on")) {}
    });
    found.await.expect("it happens in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_leaves_and_one_that_was_left_has_no_threads() {
    let stage = Stage::new().await;
    let (ana, mut ana_events) = join(&stage, "Ana").await;
    let (bob, mut bob_events) = join(&stage, "Bob").await;
    for events in [&mut ana_events, &mut bob_events] {
        wait_for(events, |event| matches!(event, CallEvent::FirstPicture { .. })).await;
    }
    let tiles = ana.tiles();
    assert_eq!(tiles.len(), 2);
    assert_eq!((&tiles[0].peer, tiles[1].peer.as_ref()), (&None, Some(&bob.user())));
    assert!(tiles[0].frames.latest().is_some(), "the self-view has a picture");

    drop(bob);
    wait_for(&mut bob_events, |event| matches!(event, CallEvent::Left)).await;
    let closed =
        |event: &CallEvent| matches!(event, CallEvent::Peer { state: PeerState::Closed, .. });
    wait_for(&mut ana_events, closed).await;
    assert_eq!(ana.tiles().len(), 1);

    ana.leave().await;
    assert_eq!(threads("self"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_reads_still_leaves_in_time() {
    let stage = Stage::new().await;
    let (ana, _unread) = join(&stage, "Ana").await;
    let mut bob = stage.native("Bob", 660).await;
    bob.sees(&ana.user()).await;
    let left = tokio::time::timeout(Duration::from_secs(6), ana.leave()).await;
    assert!(left.is_ok());
    bob.wait_for("closed peer", |event| {
        matches!(event, Event::Peer { state: PeerState::Closed, .. })
    })
    .await;
    bob.leave().await;
}
