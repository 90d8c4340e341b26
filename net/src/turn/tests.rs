//! The way through a real relay.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;
use wire::IceServer;

use super::*;

/// No state takes longer to come, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(10);
/// A binding request (RFC 8489 §5) with the transaction 1, 1, 1, …
const QUESTION: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];

fn server(urls: &[&str]) -> IceServer {
    IceServer {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        username: Some("name".to_owned()),
        credential: Some("word".to_owned()),
    }
}

#[test]
fn relays_by_stream_are_told_from_others() {
    let check = |url: &str, expected: Option<(&str, u16, bool)>| {
        let expected =
            expected.map(|(host, port, secure)| Relay { host: host.to_owned(), port, secure });
        assert_eq!(Relay::of(url), expected, "{url}");
    };
    check("turn:a.example?transport=tcp", Some(("a.example", 3478, false)));
    check("turn:a.example:80?transport=tcp", Some(("a.example", 80, false)));
    check("turns:a.example", Some(("a.example", 5349, true)));
    check("turns:[2001:db8::1]:443?transport=tcp", Some(("2001:db8::1", 443, true)));
    check("turns:[2001:db8::1]", Some(("2001:db8::1", 5349, true)));
    for other in [
        "turn:a.example",
        "turn:a.example?transport=udp",
        "turns:a.example?transport=udp",
        "stun:a.example",
        "turn::1?transport=tcp",
        "turn:a:port?transport=tcp",
        "",
    ] {
        check(other, None);
    }
}

#[tokio::test]
async fn addresses_stay_the_same_when_credentials_change() {
    let mut ways = Ways::default();
    let servers = [server(&[
        "turn:127.0.0.1:9?transport=udp",
        "turn:127.0.0.1:9?transport=tcp",
        "turns:127.0.0.1:9",
    ])];
    let first = ways.adapt(&servers).await;
    assert_eq!(first[0].urls[0], servers[0].urls[0]);
    assert!(first[0].urls[1..].iter().all(|url| url.starts_with("turn:127.0.0.1:")));
    assert_ne!(first[0].urls[1], first[0].urls[2]);
    let newer = [IceServer { credential: Some("newer".to_owned()), ..servers[0].clone() }];
    let second = ways.adapt(&newer).await;
    assert_eq!(second[0].urls, first[0].urls);
    assert_eq!(second[0].credential.as_deref(), Some("newer"));
}

/// A relay that sends back what it gets, whole packet by whole packet, and tells how many streams
/// it has seen.
async fn echo() -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, streams) = mpsc::channel(SOURCES * 2);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            seen.try_send(()).unwrap();
            tokio::spawn(async move {
                let mut packet = [0; QUESTION.len()];
                while tcp.read_exact(&mut packet).await.is_ok() {
                    tcp.write_all(&packet).await.unwrap();
                }
            });
        }
    });
    (address, streams)
}

async fn ask(socket: &UdpSocket) -> bool {
    socket.send(&QUESTION).await.unwrap();
    let mut answer = [0; 64];
    let received = timeout(DEADLINE, socket.recv(&mut answer)).await;
    received.is_ok_and(|length| answer[..length.unwrap()] == QUESTION)
}

#[tokio::test]
async fn each_socket_has_its_stream_and_all_end_with_the_ways() {
    let (relay, mut streams) = echo().await;
    let mut ways = Ways::default();
    let servers = ways.adapt(&[server(&[&format!("turn:{relay}?transport=tcp")])]).await;
    let local = servers[0].urls[0].strip_prefix("turn:").unwrap();
    let local: SocketAddr = local.strip_suffix("?transport=udp").unwrap().parse().unwrap();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(local).await.unwrap();
        assert!(ask(&socket).await && ask(&socket).await);
        sockets.push(socket);
    }
    for _ in 0..3 {
        timeout(DEADLINE, streams.recv()).await.unwrap().unwrap();
    }
    assert!(streams.try_recv().is_err(), "one stream for each");
    drop(ways);
    let closed = async {
        while UdpSocket::bind(local).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, closed).await.expect("the port is free again");
}

#[tokio::test]
async fn other_processes_get_no_answer() {
    let (relay, mut streams) = echo().await;
    let mut ways = Ways::default();
    let servers = ways.adapt(&[server(&[&format!("turn:{relay}?transport=tcp")])]).await;
    let local = servers[0].urls[0].strip_prefix("turn:127.0.0.1:").unwrap();
    let port = local.strip_suffix("?transport=udp").unwrap();
    // The shell's own way of sending a datagram.
    let script =
        format!("printf '\\0\\1\\0\\0\\41\\22\\244\\102aaaaaaaaaaaa' > /dev/udp/127.0.0.1/{port}");
    let status = tokio::process::Command::new("bash").args(["-c", &script]).status().await;
    assert!(status.unwrap().success());
    let own = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    own.connect(format!("127.0.0.1:{port}")).await.unwrap();
    assert!(ask(&own).await);
    streams.recv().await.unwrap();
    assert!(streams.try_recv().is_err(), "ours is the only stream");
}
