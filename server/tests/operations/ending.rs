//! How a server ends: politely, spread over a while, and in time.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::program::{Guest, Program, knock, sign_in, soon};

/// Enough that their farewells take half a second.
const GUESTS: usize = 500;

#[tokio::test]
async fn sigterm_closes_all_with_1012_one_after_another_and_ends_within_five_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command(folder.path());
    command.args(["--tls", "off", "--turn", "off", "--http-rate-limit", "false"]);
    let program = Program::start(&mut command, folder.path(), 1);
    let (address, url) = (program.address, format!("http://{}", program.address));
    let token = sign_in(address, "ann").await;
    let mut guests = Vec::new();
    for _ in 0..GUESTS {
        let tcp = TcpStream::connect(address).await.unwrap();
        guests.push(knock(tcp, &url, &token, &[]).await.expect("a place"));
    }
    guests[0].join("r").await;
    // Somebody who will not answer must not hold up the end.
    let deaf = knock(TcpStream::connect(address).await.unwrap(), &url, &token, &[]).await;

    let started = Instant::now();
    program.signal("TERM");
    let mut farewells = JoinSet::new();
    for Guest(mut socket) in guests {
        farewells.spawn(async move {
            let code = loop {
                let message = soon(socket.next()).await.expect("a close frame").unwrap();
                if let Message::Close(frame) = message {
                    break u16::from(frame.expect("a code").code);
                }
            };
            let at = started.elapsed();
            // Answers the close, and waits for the end.
            while soon(socket.next()).await.is_some_and(|message| message.is_ok()) {}
            (code, at)
        });
    }
    let farewells = farewells.join_all().await;
    assert!(farewells.iter().all(|(code, _)| *code == 1012), "{farewells:?}");
    let times = || farewells.iter().map(|(_, at)| *at);
    let (first, last) = (times().min().unwrap(), times().max().unwrap());
    assert!(last - first > Duration::from_millis(200), "all at once: {first:?} to {last:?}");
    assert!(last < Duration::from_secs(4), "{last:?}");
    assert!(TcpStream::connect(address).await.is_err(), "nobody new is let in");
    let (success, log) = program.ended().await;
    assert!(success, "{log}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(deaf);
}
