//! Who may open a WebSocket.

use std::time::SystemTime;

use serde_json::json;
use server::auth::{Secret, Tokens, User};
use server::{Config, Origins};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::house::{House, refusal};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

async fn knock(house: &House, request: Request) -> (u16, String) {
    let tcp = TcpStream::connect(house.address).await.unwrap();
    refusal(client_async(request, tcp).await)
}

fn with_origin(mut request: Request, origin: Option<&str>) -> Request {
    request.headers_mut().remove("origin");
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
    }
    request
}

#[tokio::test]
async fn a_token_comes_first_then_an_upgrade_then_the_origin() {
    let house = House::open().await;
    let who = house.sign_in("alice").await;
    for path in ["/ws", "/ws?token=", "/ws?token=a.b.c", "/ws?other=1"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, "Unauthorized"), "{path}");
    }
    assert_eq!(house.get(&format!("/ws?token={}", who.token)).await.status, 400);
    let strange = with_origin(house.knock("a.b.c"), Some("https://evil.example"));
    assert_eq!(knock(&house, strange).await, (401, "Unauthorized".to_owned()));
    let strange = with_origin(house.knock(&who.token), Some("https://evil.example"));
    assert_eq!(knock(&house, strange).await.0, 403);
    assert_eq!(knock(&house, house.knock(&who.token)).await.0, 101);
}

#[tokio::test]
async fn tokens_of_others_old_ones_and_foreign_ones_open_nothing() {
    let mut config = Config::default();
    config.sign_in.secret = Some(Secret::new(SECRET));
    let house = House::open_with(config).await;
    let hour = std::time::Duration::from_secs(3_600);
    let tokens = |issuer: &str, secret: &[u8]| Tokens {
        issuer: issuer.to_owned(),
        secret: Secret::new(secret),
        previous: None,
        lifetime: hour,
    };
    let (user, now) = (User::new("alice".to_owned()), SystemTime::now());
    let check = async |tokens: Tokens, at: SystemTime, expected: u16| {
        let token = tokens.issue(&user, at);
        assert_eq!(knock(&house, house.knock(&token)).await.0, expected);
    };
    check(tokens("private-meet", SECRET), now, 101).await;
    check(tokens("private-meet", b"another secret"), now, 401).await;
    check(tokens("public-meet", SECRET), now, 401).await;
    check(tokens("private-meet", SECRET), now - hour, 401).await;
    check(tokens("private-meet", SECRET), now + hour, 401).await;
}

#[tokio::test]
async fn the_origin_must_be_the_servers_own_or_listed() {
    let listed = vec!["https://meet.example".parse().unwrap()];
    let config = Config { origins: Origins::Listed(listed), ..Config::default() };
    let house = House::open_with(config).await;
    let who = house.sign_in("alice").await;
    let own = format!("http://{}", house.address);
    let check = async |origin: Option<&str>, expected: u16| {
        let request = with_origin(house.knock(&who.token), origin);
        assert_eq!(knock(&house, request).await.0, expected, "{origin:?}");
    };
    check(Some(&own), 101).await;
    check(Some("https://meet.example"), 101).await;
    check(Some(&own.replace("http:", "https:")), 403).await;
    check(Some("http://127.0.0.1"), 403).await;
    check(Some("http://meet.example"), 403).await;
    check(Some("null"), 403).await;
    check(None, 403).await;
}

#[tokio::test]
async fn in_development_any_origin_will_do_and_none() {
    let house = House::open_with(Config { origins: Origins::Any, ..Config::default() }).await;
    let who = house.sign_in("alice").await;
    for origin in [None, Some("null"), Some("https://evil.example")] {
        let request = with_origin(house.knock(&who.token), origin);
        assert_eq!(knock(&house, request).await.0, 101, "{origin:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_tells_the_scheme_of_the_page() {
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    for (config, expected) in
        [(Config { trusted_proxies, ..Config::default() }, 101), (Config::default(), 403)]
    {
        let house = House::open_with(config).await;
        let who = house.sign_in("alice").await;
        let origin = format!("https://{}", house.address);
        let mut request = with_origin(house.knock(&who.token), Some(&origin));
        request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
        assert_eq!(knock(&house, request).await.0, expected);
    }
}

#[tokio::test]
async fn no_subprotocol_and_no_extension_is_agreed_on() {
    let house = House::open().await;
    let who = house.sign_in("alice").await;
    let mut request = house.knock(&who.token);
    let deflate = HeaderValue::from_static("permessage-deflate; client_max_window_bits");
    request.headers_mut().insert("sec-websocket-extensions", deflate);
    let tcp = TcpStream::connect(house.address).await.unwrap();
    let (_, answer) = client_async(request, tcp).await.unwrap();
    assert_eq!(answer.status(), 101);
    for name in ["sec-websocket-extensions", "sec-websocket-protocol"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn one_token_opens_several_sockets_of_one_user() {
    let house = House::open().await;
    let who = house.sign_in("alice").await;
    let (mut one, mut two) = (house.connect(&who).await, house.connect(&who).await);
    let own = std::slice::from_ref(&who.id);
    assert_eq!(one.joined("r").await, *own);
    assert_eq!(two.joined("r").await, *own);
    assert_eq!(one.next().await["type"], "room.users");
    two.send(&json!({"type": "chat.message", "room": "r", "data": {"message": "hi"}})).await;
    for socket in [&mut one, &mut two] {
        assert_eq!(socket.next().await["from"], json!(who.id));
    }
}
