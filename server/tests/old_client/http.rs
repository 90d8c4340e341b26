//! Requests and their answers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use server::{Config, Origins, Web};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::house::{Answer, House, ask};

#[tokio::test]
async fn health_is_two_bytes() {
    let house = House::open().await;
    let answer = house.get("/health").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let head = house.ask("HEAD /health HTTP/1.1", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("2"));
}

#[tokio::test]
async fn whoever_gives_no_name_is_a_guest() {
    let house = House::open().await;
    for body in ["", "null", "{}", r#"{"username":null}"#, r#"{"username":" \t\u2003"}"#] {
        let answer = house.ask("POST /auth/sign-in HTTP/1.1", body).await;
        assert_eq!(answer.status, 200, "{body}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer["username"], "Guest", "{body}");
    }
}

#[tokio::test]
async fn a_sign_in_gives_a_token_whose_payload_is_ascii() {
    let house = House::open().await;
    let answer = house.ask("POST /auth/sign-in HTTP/1.1", r#"{"username":"  Zoë 🔐 "}"#).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["accessToken", "tokenType", "userId", "username"]);
    assert_eq!((&answer["tokenType"], &answer["username"]), (&json!("Bearer"), &json!("Zoë 🔐")));
    let id = Uuid::parse_str(answer["userId"].as_str().unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 4);

    let token: Vec<&str> = answer["accessToken"].as_str().unwrap().split('.').collect();
    let [header, payload, _] = token[..] else { panic!("{token:?}") };
    assert_eq!(URL_SAFE_NO_PAD.decode(header).unwrap(), br#"{"alg":"HS256","typ":"JWT"}"#);
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    assert!(payload.is_ascii());
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&claims["sub"], &claims["username"]), (&answer["userId"], &json!("Zoë 🔐")));
    assert_eq!(claims["iss"], "private-meet");
    let (iat, exp) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert_eq!(exp - iat, 12 * 3_600);
}

#[tokio::test]
async fn bad_sign_ins_are_told_in_words() {
    let house = House::open().await;
    let check = async |body: &str, text: &str| {
        let answer = house.ask("POST /auth/sign-in HTTP/1.1", body).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, text), "{body}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    };
    let longest = "🔐".repeat(32);
    let body = format!(r#"{{"username":"{longest}"}}"#);
    assert_eq!(house.ask("POST /auth/sign-in HTTP/1.1", &body).await.status, 200);
    let too_long = format!(r#"{{"username":"{longest}x"}}"#);
    check(&too_long, "Username too long (maximum is 32 characters)").await;
    for body in ["{", "[]", "7", r#""alice""#, r#"{"username":7}"#, r#"{"username":{}}"#] {
        check(body, "Invalid request body").await;
    }
    let huge = format!(r#"{{"username":"a","x":"{}"}}"#, "x".repeat(5_000));
    check(&huge, "Invalid request body").await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let mut config = Config::default();
    config.sign_in.request_timeout = Duration::from_millis(50);
    let house = House::open_with(config).await;
    let tcp = TcpStream::connect(house.address).await.unwrap();
    let head = "POST /auth/sign-in HTTP/1.1\r\nContent-Length: 10";
    let answer = ask(tcp, house.address, head, "{").await;
    assert_eq!((answer.status, answer.body.as_str()), (408, "Request timeout"));
}

#[tokio::test]
async fn every_other_get_is_a_file_or_the_page() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "the page").unwrap();
    std::fs::write(folder.path().join("app.js"), "a script").unwrap();
    let web = Web::Folder { root: folder.path().to_owned(), csp: None };
    let house = House::open_with(Config { web, ..Config::default() }).await;
    for path in ["/", "/room/demo?x=1", "/auth/sign-in", "/../secret", "/missing.js"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "the page"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    let script = house.get("/app.js").await;
    assert_eq!((script.status, script.body.as_str()), (200, "a script"));
    let head = house.ask("HEAD /app.js HTTP/1.1", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("8"));
    let tag = script.header("etag").unwrap();
    let again = house.ask(&format!("GET /app.js HTTP/1.1\r\nIf-None-Match: {tag}"), "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
}

#[tokio::test]
async fn the_web_client_comes_from_inside_with_its_guards() {
    let house = House::open().await;
    let page = house.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<script type=\"module\""), "{}", page.body);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self'; ") && !policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    let permissions = page.header("permissions-policy").unwrap();
    for device in ["camera=(self)", "microphone=(self)", "display-capture=(self)"] {
        assert!(permissions.contains(device), "{permissions}");
    }
}

#[tokio::test]
async fn other_methods_are_not_allowed_and_the_answer_says_which_are() {
    let house = House::open().await;
    for (method, path, allowed) in [
        ("POST", "/health", &["GET", "HEAD"][..]),
        ("DELETE", "/", &["GET", "HEAD"]),
        ("PUT", "/room/demo", &["GET", "HEAD"]),
        ("OPTIONS", "/auth/sign-in", &["GET", "HEAD", "POST"]),
        ("PATCH", "/auth/sign-in", &["GET", "HEAD", "POST"]),
        ("POST", "/ws", &["GET", "HEAD"]),
        ("POST", "/client-config", &["GET", "HEAD"]),
    ] {
        let answer = house.ask(&format!("{method} {path} HTTP/1.1"), "").await;
        assert_eq!(answer.status, 405, "{method} {path}");
        let mut allow: Vec<&str> =
            answer.header("allow").unwrap().split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow, allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_client_can_ask_what_this_deployment_is_like() {
    let mut config = Config::default();
    config.client.room_prefix = "ours:".to_owned();
    let house = House::open_with(config).await;
    let answer = house.get("/client-config").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        answer,
        json!({
            "roomPrefix": "ours:", "wirePrefix": "pm_e2ee:", "fileChannelLabel": "pm_file:",
            "limits": {"frameBytes": 65_536, "roomIdChars": 128, "usernameChars": 32,
                "messageChars": 5_000, "peers": 8},
            "version": env!("CARGO_PKG_VERSION"), "minClient": "0.1.0", "protocol": 2,
        })
    );
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let house = House::open_with(Config::default()).await;
    let asked = join_all((0..30).map(|_| house.ask("POST /auth/sign-in HTTP/1.1", ""))).await;
    let (served, refused): (Vec<Answer>, Vec<Answer>) =
        asked.into_iter().partition(|answer| answer.status == 200);
    assert!(served.len() >= 5, "only {} were served", served.len());
    let refused = refused.first().expect("thirty at once are too many");
    assert_eq!((refused.status, refused.body.as_str()), (429, "Rate limit exceeded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(house.get("/health").await.status, 200);
    for _ in 0..30 {
        assert_eq!(house.get("/style.css").await.status, 200);
        assert_eq!(house.get("/ws").await.status, 401);
    }
}

#[tokio::test]
async fn nobody_forwards_himself_past_the_limit_but_a_trusted_proxy_may() {
    async fn ask_as(house: &House, host: usize) -> u16 {
        let head =
            format!("POST /auth/sign-in HTTP/1.1\r\nX-Forwarded-For: 10.0.0.1, 203.0.113.{host}");
        house.ask(&head, "").await.status
    }
    let stranger = House::open_with(Config::default()).await;
    let answers = join_all((0..30).map(|host| ask_as(&stranger, host))).await;
    assert!(answers.contains(&429), "{answers:?}");

    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let proxied = House::open_with(Config { trusted_proxies, ..Config::default() }).await;
    let answers = join_all((0..30).map(|host| ask_as(&proxied, host))).await;
    assert_eq!(answers, [200; 30]);
    let answers = join_all((0..30).map(|_| ask_as(&proxied, 99))).await;
    assert!(answers.contains(&429), "{answers:?}");
}

#[tokio::test]
async fn pages_elsewhere_may_sign_in_where_their_sockets_are_welcome() {
    let preflight = "OPTIONS /auth/sign-in HTTP/1.1\r\nOrigin: https://a.example\r\n\
        Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type";
    let check = async |origins: Origins, expected: Option<&str>| {
        let config = Config { origins, http_rate_limit: false, ..Config::default() };
        let house = House::open_with(config).await;
        let answer = house.ask(preflight, "").await;
        assert_eq!(answer.header("access-control-allow-origin"), expected);
        let head = "POST /auth/sign-in HTTP/1.1\r\nOrigin: https://a.example";
        let answer = house.ask(head, "").await;
        assert_eq!(answer.header("access-control-allow-origin"), expected);
    };
    check(Origins::Any, Some("*")).await;
    let listed = |origin: &str| Origins::Listed(vec![origin.parse().unwrap()]);
    check(listed("https://a.example"), Some("https://a.example")).await;
    check(listed("https://b.example"), None).await;
    check(Origins::default(), None).await;
}
