//! coturn's client against our server, and our credentials against coturn's server. Both come with
//! Debian's package `coturn`.

use std::io;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use server::auth::Secret;
use server::config::environment::Environment;
use server::{Config, Server, Tls};
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// No state takes longer to come, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(60);
const SECRET: &str = "what the relays know";
/// How coturn's client is told apart from one that is missing.
const MISSING: &str = "this test needs Debian's package coturn";

/// A running server; it stops with this value.
struct House {
    address: SocketAddr,
    turn: Option<SocketAddr>,
    _stop: DropGuard,
}

async fn open(config: Config) -> House {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        state_dir: Some(folder.path().to_owned()),
        ..config
    };
    let server = Server::bind(config).await.unwrap();
    let (address, turn) = (server.address(), server.turn_address());
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        server.run(stopped).await;
        drop(folder);
    });
    House { address, turn, _stop: stop.drop_guard() }
}

fn config() -> Config {
    let mut config = Config::default();
    config.ice.secret = Some(Secret::new(SECRET));
    config.turn.as_mut().unwrap().port = Some(0);
    config
}

/// Runs coturn's client: two users of it meet through the relay at `port`, or more.
async fn meet(port: u16, flags: &[&str]) -> Output {
    let mut client = Command::new("turnutils_uclient");
    client.args(["-y", "-c", "-n", "10", "-m", "2", "-l", "700", "-p", &port.to_string()]);
    client.args(flags).arg("127.0.0.1").kill_on_drop(true).stdin(Stdio::null());
    timeout(DEADLINE, client.output()).await.expect("it ends").expect(MISSING)
}

/// What it says at the end. Its first packets may come before the other end lets them in.
fn check(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && most_arrived(&text), "{text}");
}

fn most_arrived(text: &str) -> bool {
    let mut counts = text.lines().rev().filter_map(|line| {
        let count = |name| {
            let (_, rest) = line.split_once(name)?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok()
        };
        Some((count("tot_send_msgs=")?, count("tot_recv_msgs=")?))
    });
    counts.next().is_some_and(|(sent, received)| sent > 0 && received * 2 > sent)
}

#[tokio::test]
async fn coturns_client_is_served_by_udp_tcp_and_tls() {
    let house = open(config()).await;
    let port = house.turn.unwrap().port();
    let meet = async |flags: &'static [&'static str]| {
        let flags = [&["-u", "bob", "-W", SECRET], flags].concat();
        check(&meet(port, &flags).await);
    };
    // With -s by indications in place of channels.
    tokio::join!(
        meet(&[]),
        meet(&["-s"]),
        meet(&["-t"]),
        meet(&["-t", "-s"]),
        meet(&["-t", "-S"]),
        meet(&["-t", "-S", "-s"]),
    );
}

/// What `GET /ice-servers` answers to somebody who has just signed in.
async fn ice_servers(house: &House) -> Value {
    let ask = async |head: &str| {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut tcp = tokio::net::TcpStream::connect(house.address).await.unwrap();
        let head = format!("{head}Host: {}\r\nConnection: close\r\n", house.address);
        tcp.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(DEADLINE, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str::<Value>(body).unwrap_or_default())
    };
    let (head, _) = ask("GET /ice-servers HTTP/1.1\r\n").await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let (_, user) = ask("POST /auth/sign-in HTTP/1.1\r\nContent-Length: 0\r\n").await;
    let token = user["accessToken"].as_str().unwrap();
    let (head, answer) =
        ask(&format!("GET /ice-servers HTTP/1.1\r\nAuthorization: Bearer {token}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_ascii_lowercase().contains("cache-control: no-store"), "{head}");
    answer
}

#[tokio::test]
async fn what_the_server_hands_out_opens_its_own_relay() {
    let house = open(Config { tls: Tls::Off, ..config() }).await;
    let answer = ice_servers(&house).await;
    assert_eq!(answer["ttl"], 6 * 3_600);
    let port = house.turn.unwrap().port();
    let [stun, turn] = &answer["iceServers"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!(stun["urls"][0], format!("stun:127.0.0.1:{port}"));
    assert_eq!(turn["urls"][1], format!("turn:127.0.0.1:{port}?transport=tcp"));
    let (name, word) = (turn["username"].as_str().unwrap(), turn["credential"].as_str().unwrap());
    check(&meet(port, &["-u", name, "-w", word]).await);
    let refused = meet(port, &["-u", name, "-w", "a guess"]).await;
    assert!(!most_arrived(&String::from_utf8_lossy(&refused.stdout)));
}

/// coturn's server on a port of its own; it ends with this value.
async fn coturn() -> (Child, u16, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let port = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut server = Command::new("turnserver")
            .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file", "stdout"])
            .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"])
            .args(["--listening-port", &port.to_string(), "--allow-loopback-peers"])
            .args(["--use-auth-secret", "--static-auth-secret", SECRET, "--realm", "others"])
            .arg("--pidfile")
            .arg(folder.path().join("pid"))
            .arg("--userdb")
            .arg(folder.path().join("users"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect(MISSING);
        if answers(port, &mut server).await.unwrap() {
            return (server, port, folder);
        }
    }
    panic!("coturn does not start");
}

/// Whether a STUN server answers at that port, before it ends.
async fn answers(port: u16, server: &mut Child) -> io::Result<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(("127.0.0.1", port)).await?;
    let question = b"\x00\x01\x00\x00\x21\x12\xA4\x42aaaaaaaaaaaa";
    let mut answer = [0; 128];
    for _ in 0..100 {
        if server.try_wait()?.is_some() {
            return Ok(false);
        }
        // Refused while nobody listens.
        let _ = socket.send(question).await;
        if let Ok(Ok(_)) = timeout(Duration::from_millis(100), socket.recv(&mut answer)).await {
            return Ok(true);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(false)
}

#[tokio::test]
async fn coturn_takes_our_credentials() {
    let (_server, port, _folder) = coturn().await;
    let url = format!("turn:127.0.0.1:{port}");
    let settings = [("TURN", "off"), ("TURN_SECRET", SECRET), ("TURN_URLS", &url), ("TLS", "off")];
    let house = open(Environment::of(&settings).config(Config::default()).unwrap()).await;
    assert_eq!(house.turn, None);
    let answer = ice_servers(&house).await;
    let [turn] = &answer["iceServers"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!(turn["urls"][0], url);
    let (name, word) = (turn["username"].as_str().unwrap(), turn["credential"].as_str().unwrap());
    let [by_udp, by_tcp] = [&["-u", name, "-w", word][..], &["-u", name, "-w", word, "-t"]];
    let (udp, tcp) = tokio::join!(meet(port, by_udp), meet(port, by_tcp));
    check(&udp);
    check(&tcp);
    let refused = meet(port, &["-u", name, "-w", "a guess"]).await;
    assert!(!most_arrived(&String::from_utf8_lossy(&refused.stdout)));
}
