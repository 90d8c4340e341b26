//! How a headless peer ends, and what does not end it.

use std::time::Duration;

use app::headless::protocol::{COMMAND_BYTES, Command, Event};

use crate::harness::{Native, Stage};

const QUIET: &[&str] = &["--microphone", "none"];

async fn told_by_signal(native: &Native, signal: &str) {
    let id = native.id().to_string();
    let status = tokio::process::Command::new("kill").args([signal, &id]).status().await;
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_input_and_signals_leave() {
    let stage = Stage::new().await;
    for how in ["input", "-TERM", "-INT"] {
        let mut native = stage.native_with("Ana", "secret", QUIET).await;
        match how {
            "input" => native.close_input(),
            signal => told_by_signal(&native, signal).await,
        }
        native.wait_for("left", |event| *event == Event::Left).await;
        assert_eq!(native.ended().await.code(), Some(0), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_commands_get_an_error_each_and_nothing_else_happens() {
    let stage = Stage::new().await;
    let mut native = stage.native_with("Ana", "secret", QUIET).await;
    let too_long = format!(r#"{{"command":"chat","text":"{}"}}"#, "x".repeat(COMMAND_BYTES));
    let unreadable = r#"{"command":"image","path":"/does/not/exist.png"}"#;
    let no_image = format!(r#"{{"command":"image","path":"{}"}}"#, file!());
    let elsewhere = r#"{"command":"snapshot","from":"nobody","track":"camera","path":"/tmp/x"}"#;
    for (line, code) in [
        ("hello", "bad-command"),
        ("[]", "bad-command"),
        ("\"leave\"", "bad-command"),
        (r#"{"command":"dance"}"#, "bad-command"),
        (r#"{"command":"chat"}"#, "bad-command"),
        (r#"{"command":"chat","text":7}"#, "bad-command"),
        (r#"{"command":"leave"} {"command":"leave"}"#, "bad-command"),
        (&too_long, "bad-command"),
        (unreadable, "image"),
        (&no_image, "image"),
        (elsewhere, "no-such-track"),
    ] {
        native.forget();
        native.write(line).await;
        let error = native.wait_for("error", |event| matches!(event, Event::Error { .. })).await;
        let Event::Error { code: found, message } = error else { unreachable!() };
        assert_eq!(found, code, "{line:.60}: {message}");
        assert!(!message.is_empty());
    }
    native.forget();
    native.write("").await;
    native.write(r#"{"command":"chat","text":"alive"}"#).await;
    native.wait_for("sent", |event| matches!(event, Event::Sent { .. })).await;
    assert!(!native.saw(|event| matches!(event, Event::Error { .. })));
    native.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_output_nobody_reads_ends() {
    let stage = Stage::new().await;
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", r#""$0" "$@" | head -n 1 >/dev/null"#, env!("CARGO_BIN_EXE_private-meet")])
        .args(stage.arguments("Ana"))
        .args(QUIET)
        .env("HOME", stage.folder.path())
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // Its input stays open: only the broken output can end it, with the next event.
    let _input = child.stdin.take();
    let mut other = stage.native_with("Bob", "secret", QUIET).await;
    other
        .wait_for("roster of two, then of one", {
            let met = std::cell::Cell::new(false);
            move |event| match event {
                Event::Roster { users } if users.len() == 2 => {
                    met.set(true);
                    false
                }
                Event::Roster { users } => met.get() && users.len() == 1,
                _ => false,
            }
        })
        .await;
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
    other.send(&Command::Leave).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_and_does_not_end_the_call() {
    let stage = Stage::new().await;
    let missing = ["--camera", "file:/does/not/exist.mp4", "--microphone", "no such microphone"];
    let mut native = stage.native_with("Ana", "secret", &missing).await;
    for name in ["exist.mp4", "no such microphone"] {
        native
            .wait_for(
                "problem",
                |event| matches!(event, Event::Problem { message } if message.contains(name)),
            )
            .await;
    }
    native.forget();
    native.send(&Command::Screen { on: true }).await;
    native.wait_for("problem", |event| matches!(event, Event::Problem { .. })).await;
    let off = Event::Source { source: net::Source::Screen, on: false };
    native.wait_for("end of sharing", |event| *event == off).await;
    native.leave().await;
}
