//! Command lines that can't work get a clear sentence and a status that says so.

use app::headless::protocol::Event;

use crate::harness::{Native, Stage};

async fn refused(arguments: &[&str]) -> (Option<i32>, String, Vec<Event>) {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let mut native = Native::start(folder.path(), "refused", &arguments);
    let status = native.ended().await;
    let events = native.rest().await;
    (status.code(), native.complaints(), events)
}

#[tokio::test]
async fn a_command_line_that_is_not_usable_ends_with_two_and_a_sentence() {
    let long_room = "x".repeat(129);
    let server = ["--headless", "--server", "http://127.0.0.1:1", "--name", "Ana"];
    let room = [&server[..], &["--room", "demo"]].concat();
    for (arguments, sentence) in [
        (vec!["--headless"], "a headless call needs a server"),
        (server.to_vec(), "a headless call needs a room"),
        ([&server[..], &["--room", &long_room]].concat(), "the room's id is too long"),
        ([&room[..], &["--passphrase-file", "/does/not/exist"]].concat(), "/does/not/exist"),
        ([&room[..], &["--passphrase-file", "/"]].concat(), "passphrase file /"),
        (vec!["--headless", "--name", " ", "https://h/#/room/demo"], "the name is empty"),
        (vec!["--headless", "--server", "not a server"], "not a server's address"),
        (vec!["--headless", "https://h/#/nowhere"], "not an invite link"),
        (vec!["--headless", "--camera", "file:", "https://h/#/room/a"], "file: needs a path"),
        (vec!["--dance"], "--dance"),
    ] {
        let (code, complaint, events) = refused(&arguments).await;
        assert_eq!(code, Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(sentence), "{arguments:?}: {complaint}");
        assert_eq!(events, []);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_event_and_ends_with_one() {
    // A port that was free a moment ago; nobody listens there now.
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let server = format!("http://127.0.0.1:{port}");
    let (code, _, events) = refused(&["--headless", "--server", &server, "--room", "demo"]).await;
    let [Event::Error { code: error, message }, Event::Left] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((code, error.as_str()), (Some(1), "unreachable"));
    assert!(message.contains(&server), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_known_is_refused_and_its_fingerprint_is_said() {
    let stage = Stage::new().await;
    let known = stage.arguments("Ana");
    let at = known.iter().position(|argument| argument == "--fingerprint").unwrap();
    let fingerprint = known[at + 1].clone();

    let unknown: Vec<_> = known[..at].iter().map(String::as_str).collect();
    let (code, _, events) = refused(&unknown).await;
    let [Event::Error { code: error, message }, Event::Left] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((code, error.as_str()), (Some(1), "unknown-certificate"));
    assert!(message.contains(&fingerprint), "{message}");

    let wrong = "ab".repeat(32);
    let (code, _, events) = refused(&[&unknown[..], &["--fingerprint", &wrong]].concat()).await;
    let [Event::Error { code: error, .. }, Event::Left] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((code, error.as_str()), (Some(1), "other-certificate"));
}
