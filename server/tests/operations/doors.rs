//! Who is let in when there is little room.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use server::config::Doors;
use server::{Config, Server, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::program::{Program, ask, connect_tls, enter, get, knock, sign_in, soon, until};

async fn house(config: Config) -> SocketAddr {
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = Config { listen, tls: Tls::Off, http_rate_limit: false, ..config };
    let server = Server::bind(config).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    address
}

#[tokio::test]
async fn when_files_run_short_newcomers_get_503_and_those_inside_live_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command_with_files(folder.path(), 96);
    command.args(["--tls", "off", "--http-rate-limit", "false"]);
    command.args(["--max-connections-per-address", "0"]);
    let program = Program::start(&mut command, folder.path(), 1);
    let (mut ann, mut bob) =
        (enter(program.address, "ann").await, enter(program.address, "bob").await);
    ann.join("r").await;
    bob.join("r").await;

    let mut crowd = Vec::new();
    while program.get("/health").await.status == 200 {
        assert!(crowd.len() < 96, "the server never says no");
        crowd.push(TcpStream::connect(program.address).await.unwrap());
    }
    let answer = program.get("/health").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.to_ascii_lowercase().contains("retry-after: "), "{answer:?}");

    // Many more than could ever be answered come at once.
    for _ in 0..150 {
        crowd.push(TcpStream::connect(program.address).await.unwrap());
    }
    let (before, started) = (program.cpu(), Instant::now());
    for turn in 0..20 {
        ann.say("r", &format!("still here {turn}")).await;
        let heard = bob.expect("chat.message").await;
        assert_eq!(heard["data"]["message"], format!("still here {turn}"));
    }
    // Time to spin in, if it spins.
    sleep(Duration::from_millis(700)).await;
    let (spent, passed) = (program.cpu() - before, started.elapsed());
    assert!(spent < passed / 2, "busy for {spent:?} of {passed:?}");

    drop(crowd);
    until("the door opens again", async || program.get("/health").await.status == 200).await;
    enter(program.address, "cem").await.join("r").await;
    let log = program.log();
    assert!(!log.contains("cannot accept"), "{log}");
}

#[tokio::test]
async fn when_the_system_refuses_connections_the_server_waits_and_does_not_spin() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command_with_files(folder.path(), 1_000);
    command.args(["--tls", "off", "--http-rate-limit", "false"]);
    let program = Program::start(&mut command, folder.path(), 1);
    let mut ann = enter(program.address, "ann").await;
    ann.join("r").await;

    // Behind its back, the server may open nothing more.
    program.limit_files("8");
    let waiting = TcpStream::connect(program.address).await.unwrap();
    until("it says so", async || program.log().contains("cannot accept")).await;
    let (before, started) = (program.cpu(), Instant::now());
    sleep(Duration::from_millis(700)).await;
    ann.say("r", "still here").await;
    ann.expect("chat.message").await;
    let (spent, passed) = (program.cpu() - before, started.elapsed());
    assert!(spent < passed / 4, "busy for {spent:?} of {passed:?}");
    assert_eq!(program.log().matches("cannot accept").count(), 1, "{}", program.log());

    program.limit_files("1000");
    let answer = ask(waiting, "GET /health HTTP/1.1\r\nHost: a", "").await;
    assert_eq!(answer.status, 200, "whoever waited is served");
}

/// The memory of the process, in bytes, as it says itself.
async fn memory(metrics: SocketAddr) -> u64 {
    let text = get(metrics, "/metrics").await.body;
    let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.expect("the memory of the process").parse::<f64>().unwrap() as u64
}

#[tokio::test]
async fn when_memory_runs_short_newcomers_get_503_and_those_inside_live_on() {
    let folder = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = Program::command(folder.path());
        command.args(["--tls", "off", "--turn", "off", "--http-rate-limit", "false"]);
        command.args(["--metrics-listen", "127.0.0.1:0", "--max-connections-per-address", "0"]);
        command
    };
    let metrics = |program: &Program| {
        let (_, address) = program.lines[1].split_once("http://").unwrap();
        address.strip_suffix("/metrics").unwrap().parse().unwrap()
    };
    let at_rest = {
        let program = Program::start(&mut command(), folder.path(), 2);
        enter(program.address, "ann").await.join("r").await;
        memory(metrics(&program)).await
    };

    let limit = (at_rest + (4 << 20)).to_string();
    let program = Program::start(command().args(["--max-memory", &limit]), folder.path(), 2);
    let mut ann = enter(program.address, "ann").await;
    ann.join("r").await;
    let mut crowd = Vec::new();
    while memory(metrics(&program)).await <= at_rest + (4 << 20) {
        assert!(crowd.len() < 4_000, "so many guests take no memory");
        for _ in 0..50 {
            let mut tcp = TcpStream::connect(program.address).await.unwrap();
            let head = format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(12_000));
            // Those who are turned away may find the connection closed.
            let _ = tcp.write_all(head.as_bytes()).await;
            crowd.push(tcp);
        }
    }
    // While many are being told, some are not told why.
    until("it says why", async || program.get("/health").await.status == 503).await;
    ann.say("r", "still here").await;
    assert_eq!(ann.expect("chat.message").await["data"]["message"], "still here");
    assert!(program.log().contains("memory is short"), "{}", program.log());
}

#[tokio::test]
async fn a_full_server_says_so_by_tls_too() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let doors = Doors { connections: 1, ..Doors::default() };
    let server = Server::bind(Config { listen, doors, ..Config::default() }).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(std::future::pending()));
    let first = connect_tls(address, "localhost", &[]).await.unwrap();
    let second = connect_tls(address, "localhost", &[]).await.unwrap();
    let answer = ask(second, "GET /health HTTP/1.1\r\nHost: a", "").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    drop(first);
    until("there is a place", async || {
        let tls = connect_tls(address, "localhost", &[]).await.unwrap();
        ask(tls, "GET /health HTTP/1.1\r\nHost: a", "").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn an_address_has_a_bounded_number_of_connections() {
    let doors = Doors { per_address: 3, ..Doors::default() };
    let address = house(Config { doors, ..Config::default() }).await;
    // Signing in takes a connection, too, so it comes first.
    let mut guests = Vec::new();
    let token = sign_in(address, "ann").await;
    let url = format!("http://{address}");
    while guests.len() < 3 {
        let tcp = TcpStream::connect(address).await.unwrap();
        // The connection of the sign-in may take a moment to go.
        if let Ok(guest) = knock(tcp, &url, &token, &[]).await {
            guests.push(guest);
        }
    }
    assert_eq!(get(address, "/health").await.status, 429);
    guests[0].join("r").await;
    guests.pop();
    until("there is a place", async || get(address, "/health").await.status == 200).await;
}

#[tokio::test]
async fn behind_a_proxy_the_address_it_names_counts() {
    let doors = Doors { per_address: 1, ..Doors::default() };
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let address = house(Config { doors, trusted_proxies, ..Config::default() }).await;
    let (token, url) = (sign_in(address, "ann").await, format!("http://{address}"));
    let from = async |client: &str| {
        let tcp = TcpStream::connect(address).await.unwrap();
        knock(tcp, &url, &token, &[("x-forwarded-for", client)]).await
    };
    let first = from("203.0.113.1").await.expect("a place");
    let _other = from("198.51.100.7, 203.0.113.2").await.expect("another place");
    assert_eq!(from("203.0.113.1").await.err(), Some(429));
    assert_eq!(from("198.51.100.8, 203.0.113.2").await.err(), Some(429));
    drop(first);
    until("there is a place", async || from("203.0.113.1").await.is_ok()).await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_after_ten_seconds() {
    let address = house(Config::default()).await;
    let started = Instant::now();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
    let mut rest = Vec::new();
    // Reset or closed, both are an end.
    let _ = soon(tcp.read_to_end(&mut rest)).await;
    let took = started.elapsed();
    assert!((9..=12).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test]
async fn a_sign_in_of_more_than_4_kib_is_refused() {
    let address = house(Config::default()).await;
    for (length, expected) in [(4_000, 400), (5_000, 400)] {
        let tcp = TcpStream::connect(address).await.unwrap();
        let body = json!({"username": "a", "more": "x".repeat(length)}).to_string();
        let head = format!("POST /auth/sign-in HTTP/1.1\r\nHost: {address}");
        let answer = ask(tcp, &head, &body).await;
        let expected = if body.len() > 4_096 { expected } else { 200 };
        assert_eq!(answer.status, expected, "{length}: {answer:?}");
    }
}
