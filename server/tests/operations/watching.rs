//! What operators see, and what they never see.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::program::{Guest, Program, ask, connect_tls, enter, get, knock, soon, until};

#[tokio::test]
async fn counters_have_a_listener_of_their_own_or_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command(folder.path());
    command.args(["--tls", "off", "--metrics-listen", "127.0.0.1:0"]);
    command.env("METRICS_TOKEN", "only-for-the-tests");
    let program = Program::start(&mut command, folder.path(), 2);
    let (_, own) = program.lines[1].split_once("http://").unwrap();
    let own = own.strip_suffix("/metrics").unwrap().parse().unwrap();

    enter(program.address, "ann").await.join("r").await;
    let answer = get(own, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("openmetrics-text"), "{}", answer.head);
    assert!(answer.body.contains("private_meet_sign_ins_total 1"), "{}", answer.body);
    assert_eq!(get(own, "/health").await.body, "OK");
    assert_eq!(get(own, "/").await.status, 404);

    let with = async |token: &str| {
        let tcp = TcpStream::connect(program.address).await.unwrap();
        let host = program.address;
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}");
        ask(tcp, &head, "").await.status
    };
    assert_eq!(with("Bearer only-for-the-tests").await, 200);
    assert_eq!(with("Bearer only-for-the-test").await, 401);
    assert_eq!(with("Basic only-for-the-tests").await, 401);
    assert_eq!(with("").await, 401);
}

#[tokio::test]
async fn json_logs_are_one_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command(folder.path());
    command.args(["--tls", "off", "--log-format", "json", "--log", "debug"]);
    let program = Program::start(&mut command, folder.path(), 1);
    enter(program.address, "ann").await.join("r").await;
    program.signal("TERM");
    let (success, log) = program.ended().await;
    assert!(success, "{log}");
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
}

/// The value of a line, or 0.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn what_happens_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command(folder.path());
    command.args(["--tls", "off", "--metrics-listen", "127.0.0.1:0"]);
    let program = Program::start(&mut command, folder.path(), 2);
    let (_, own) = program.lines[1].split_once("http://").unwrap();
    let own = own.strip_suffix("/metrics").unwrap().parse().unwrap();
    let (mut ann, mut bob) =
        (enter(program.address, "ann").await, enter(program.address, "bob").await);
    ann.join("r").await;
    bob.join("r").await;
    ann.say("r", "one").await;
    ann.say("elsewhere", "not a member").await;
    ann.expect("general.error").await;
    for guest in [&mut ann, &mut bob] {
        guest.send(json!({"type": "chat.typing", "room": "r", "data": {"typing": true}})).await;
        guest.expect("chat.typing").await;
    }
    let now = async |name: &str| value(&get(own, "/metrics").await.body, name);
    for (name, expected) in [
        ("private_meet_connections", 2.0),
        ("private_meet_connections_opened_total", 2.0),
        ("private_meet_sign_ins_total", 2.0),
        ("private_meet_rooms", 1.0),
        ("private_meet_seats", 2.0),
        (r#"private_meet_messages_total{type="chat.join"}"#, 2.0),
        (r#"private_meet_messages_total{type="chat.message"}"#, 2.0),
        ("private_meet_messages_refused_total", 1.0),
        ("private_meet_backplane_connected", 1.0),
        ("private_meet_backplane_nodes", 1.0),
    ] {
        let is_so = async || (now(name).await - expected).abs() < f64::EPSILON;
        until(&format!("{name} is {expected}"), is_so).await;
    }
    // Snapshots to one and then to two, a message and two indicators to both, the refusal.
    assert!(now("private_meet_frames_delivered_total").await >= 9.0);
    assert!(now("private_meet_frames_delivered_bytes_total").await > 500.0);
    assert!(now("private_meet_relay_seconds_count").await >= 3.0);
    until("nothing waits", async || now("private_meet_outbox_bytes").await == 0.0).await;
    drop(bob);
    until("bob is gone", async || now("private_meet_seats").await == 1.0).await;
    let gone = r#"private_meet_connections_closed_total{reason="gone"}"#;
    until("it is counted why", async || now(gone).await == 1.0).await;
}

/// Everything a guest does that could leave a trace.
async fn lead_a_life(program: &Program, token: &str, addresses: &mut Vec<String>) -> Vec<String> {
    let tcp = connect_tls(program.address, "localhost", &[]).await.unwrap();
    addresses.push(tcp.get_ref().0.local_addr().unwrap().port().to_string());
    let url = format!("https://{}", program.address);
    let headers = [("x-forwarded-for", "203.0.113.77"), ("user-agent", "TellTaleBrowser/7")];
    let query = format!("{token}&secretquery=hush");
    let guest = Box::pin(knock(tcp, &url, &query, &headers)).await;
    let Ok(mut guest) = guest else { panic!("no place for the guest") };
    guest.join("hidden-room").await;
    let candidate = "candidate:1 1 udp 2130706431 198.51.100.23 40000 typ host";
    let to = "11111111-2222-3333-4444-555555555555";
    for (kind, data) in [
        ("chat.message", json!({"message": "tell-tale"})),
        ("chat.typing", json!({"typing": true})),
        ("webrtc.offer", json!({"sdp": "v=0 tell-tale-sdp", "to": to})),
        ("webrtc.iceCandidate", json!({"candidate": candidate, "to": to})),
        ("utils.generateRoomID", json!({})),
        ("broken-type", json!({})),
        ("chat.message", json!({"message": 7})),
    ] {
        guest.send(json!({"type": kind, "room": "hidden-room", "data": data})).await;
    }
    guest.expect("general.error").await;
    junk(program, addresses).await;
    let resume = say_hello(program, token, addresses).await;
    let Guest(mut socket) = guest;
    soon(socket.close(None)).await.unwrap();
    resume
}

/// What a client of version 2 does besides; the secrets that it was given.
async fn say_hello(program: &Program, token: &str, addresses: &mut Vec<String>) -> Vec<String> {
    let tcp = connect_tls(program.address, "localhost", &[]).await.unwrap();
    addresses.push(tcp.get_ref().0.local_addr().unwrap().port().to_string());
    let url = format!("https://{}", program.address);
    let mut guest = Box::pin(knock(tcp, &url, "", &[])).await.expect("the door for hello");
    let hello = json!({"v": 2, "token": token, "caps": ["tell-tale-cap"]});
    guest.send(json!({"type": "session.hello", "room": "", "data": hello})).await;
    let welcome = guest.expect("session.welcome").await;
    guest.join("hidden-room").await;
    let id = "99999999-8888-4777-8666-555555555555";
    let data = json!({"message": "tell-tale", "id": id});
    guest.send(json!({"type": "chat.message", "room": "hidden-room", "data": data})).await;
    guest.expect("chat.ack").await;
    let data = json!({"to": id, "m": {"t": "tell-tale"}});
    guest.send(json!({"type": "peer.auth", "room": "hidden-room", "data": data})).await;
    let data = json!({"microphone": true, "tracks": {"tell-tale": "camera"}});
    guest.send(json!({"type": "peer.state", "room": "hidden-room", "data": data})).await;
    // An answer comes behind everything before it.
    guest.send(json!({"type": "utils.generateRoomID"})).await;
    guest.expect("utils.generateRoomID").await;
    let ice = &welcome["data"]["iceServers"];
    let secrets = ice.as_array().into_iter().flatten().map(|server| &server["credential"]);
    let secrets = secrets.chain([&welcome["data"]["resume"]]).filter_map(Value::as_str);
    let secrets: Vec<String> = secrets.map(str::to_owned).collect();
    assert!(secrets.len() > 1, "{welcome}");
    secrets
}

/// Requests that are wrong in many ways.
async fn junk(program: &Program, addresses: &mut Vec<String>) {
    for head in [
        "GET /ws?token=forgedtoken.tell.tale HTTP/1.1\r\nHost: tell-tale-host",
        "GET /no/such/hidden-page?secretquery=1 HTTP/1.1\r\nHost: x",
        "BREW /hidden-page HTTP/1.1\r\nHost: x",
        "tell-tale junk",
    ] {
        let tls = connect_tls(program.address, "tell-tale-sni", &[]).await.unwrap();
        addresses.push(tls.get_ref().0.local_addr().unwrap().port().to_string());
        ask(tls, head, "").await;
    }
    let plain = TcpStream::connect(program.address).await.unwrap();
    ask(plain, "\u{1}tell-tale junk", "").await;
}

#[tokio::test]
async fn a_busy_run_at_trace_level_gives_nobody_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Program::command(folder.path());
    command.args(["--log", "trace", "--http-rate-limit", "false"]);
    command.args(["--trusted-proxy", "127.0.0.1", "--app-name", "our-issuer"]);
    command.env("JWT_SECRET", "0123456789abcdef-tell-tale-secret");
    let program = Program::start(&mut command, folder.path(), 2);
    let mut addresses = Vec::new();
    let mut tokens = Vec::new();
    for name in ["Mata Hari", "Margaretha"] {
        let tls = connect_tls(program.address, "localhost", &[]).await.unwrap();
        let body = json!({ "username": name }).to_string();
        let head = "POST /auth/sign-in HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.77";
        let answer: Value = serde_json::from_str(&ask(tls, head, &body).await.body).unwrap();
        let token = answer["accessToken"].as_str().unwrap().to_owned();
        tokens.extend(lead_a_life(&program, &token, &mut addresses).await);
        tokens.push(answer["userId"].as_str().unwrap().to_owned());
        tokens.extend(token.split('.').skip(1).map(str::to_owned));
    }
    until("something is logged", async || program.log().len() > 1_000).await;
    program.signal("TERM");
    let (success, log) = program.ended().await;
    assert!(success, "{log}");
    assert!(log.contains("TRACE") && log.contains("the server stops"), "{log}");
    let words = [
        "Mata",
        "Margaretha",
        "tell-tale",
        "hidden-room",
        "hidden-page",
        "broken-type",
        "secretquery",
        "203.0.113.77",
        "198.51.100.23",
        "TellTale",
        "forgedtoken",
        "11111111-2222",
        "99999999-8888",
    ];
    for secret in words.iter().map(|word| (*word).to_owned()).chain(tokens) {
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret:?} is in the log: {line:?}");
    }
    for port in addresses {
        let line = log.lines().find(|line| line.contains(&format!("127.0.0.1:{port}")));
        assert!(line.is_none(), "an address is in the log: {line:?}");
    }
}
