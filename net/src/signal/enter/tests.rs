//! Against servers of both versions, as far as a beginning goes.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use wire::{UserId, close};

use super::*;

struct Fake(TcpListener);

impl Fake {
    async fn start() -> (Self, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Self(listener), Server::new(url.parse().unwrap(), None).unwrap())
    }

    /// The next connection, and the address that was asked for.
    async fn accept(&self) -> (WebSocketStream<TcpStream>, String) {
        let (tcp, _) = self.0.accept().await.unwrap();
        let mut asked = String::new();
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let note = |request: &Request, response: Response| {
            asked = request.uri().to_string();
            Ok(response)
        };
        let socket = accept_hdr_async(tcp, note).await.unwrap();
        (socket, asked)
    }
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Value {
    let message = socket.next().await.unwrap().unwrap();
    serde_json::from_slice(&message.into_data()).unwrap()
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: Value) {
    socket.send(Message::binary(message.to_string().into_bytes())).await.unwrap();
}

fn welcome(resume: &str, resumed: bool) -> Value {
    let data = json!({
        "v": 2, "userID": "a", "resume": resume, "resumed": resumed,
        "iceServers": [{ "urls": ["stun:host"] }], "iceTtl": 300,
    });
    json!({ "type": "session.welcome", "room": "", "data": data, "from": "system" })
}

fn roster() -> Value {
    let users = json!({ "users": [{ "userID": "a", "username": "A" }] });
    json!({ "type": "room.users", "room": "r", "data": users, "from": "system" })
}

fn refusal() -> Value {
    let data = json!({ "error": "Invalid message type" });
    json!({ "type": "general.error", "room": "", "data": data, "from": "system" })
}

fn standing(protocol: u32) -> Standing {
    let account = SignInResponse {
        access_token: "secret".to_owned(),
        token_type: "Bearer".to_owned(),
        user_id: UserId::new("a").unwrap(),
        username: "A".to_owned(),
    };
    Standing::new(account, protocol)
}

fn room() -> RoomId {
    RoomId::new("r").unwrap()
}

#[tokio::test]
async fn a_session_begins_without_a_token_in_the_address_and_goes_on() {
    let (fake, server) = Fake::start().await;
    let script = async {
        let (mut socket, asked) = fake.accept().await;
        assert_eq!(asked, "/ws");
        let hello = hear(&mut socket).await;
        assert_eq!(hello["type"], "session.hello");
        assert_eq!(hello["data"], json!({ "v": 2, "token": "secret", "caps": [] }));
        assert_eq!(hear(&mut socket).await["type"], "chat.join");
        say(&mut socket, welcome("one", false)).await;
        say(&mut socket, json!({ "type": "of.the.future", "room": "r", "data": {} })).await;
        say(&mut socket, roster()).await;

        let (mut socket, _) = fake.accept().await;
        let hello = hear(&mut socket).await;
        assert_eq!(
            (&hello["data"]["resume"], &hello["data"]["received"]),
            (&json!("one"), &json!(2))
        );
        say(&mut socket, welcome("two", true)).await;

        let (mut socket, _) = fake.accept().await;
        assert_eq!(hear(&mut socket).await["data"]["resume"], "two");
        say(&mut socket, welcome("three", false)).await;
        say(&mut socket, roster()).await;
    };
    let client = async {
        let mut standing = standing(2);
        let entered = standing.enter(&server, &room()).await.unwrap();
        assert!(entered.v2 && !entered.resumed);
        assert_eq!((entered.said.len(), standing.received), (1, 2));
        assert_eq!(entered.ice.unwrap().ttl, 300);
        let entered = standing.enter(&server, &room()).await.unwrap();
        assert!(entered.v2 && entered.resumed && entered.said.is_empty());
        assert_eq!(standing.received, 2, "the count goes on");
        let entered = standing.enter(&server, &room()).await.unwrap();
        assert!(!entered.resumed);
        assert_eq!(standing.received, 1, "a new session counts anew");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn an_old_server_is_met_in_version_1() {
    let (fake, server) = Fake::start().await;
    // One that says no, and one that says nothing.
    for answers in [vec![refusal(), roster()], vec![roster()]] {
        let script = async {
            let (mut socket, asked) = fake.accept().await;
            assert_eq!(asked, "/ws?token=secret");
            let hello = hear(&mut socket).await;
            assert_eq!(hello["data"], json!({ "v": 2, "caps": [] }));
            assert_eq!(hear(&mut socket).await["type"], "chat.join");
            for answer in answers {
                say(&mut socket, answer).await;
            }
        };
        let client = async {
            let mut standing = standing(1);
            let entered = standing.enter(&server, &room()).await.unwrap();
            assert!(!entered.v2 && !entered.resumed && entered.ice.is_none());
            assert!(standing.resume.is_none());
        };
        tokio::join!(script, client);
    }
}

#[tokio::test]
async fn a_server_that_became_older_gets_the_token_where_it_looks_for_it() {
    let (fake, server) = Fake::start().await;
    let script = async {
        let (mut tcp, _) = fake.0.accept().await.unwrap();
        assert!(tcp.read(&mut [0; 4_096]).await.unwrap() > 0);
        tcp.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let (mut socket, asked) = fake.accept().await;
        assert_eq!(asked, "/ws?token=secret");
        say(&mut socket, refusal()).await;
        say(&mut socket, roster()).await;
        hear(&mut socket).await;
    };
    let client = async {
        let mut standing = standing(2);
        assert!(!standing.enter(&server, &room()).await.unwrap().v2);
        assert_eq!(standing.protocol, FIRST_VERSION);
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn refusals_keep_their_code_and_their_wait() {
    let (fake, server) = Fake::start().await;
    let script = async {
        let (mut socket, _) = fake.accept().await;
        let frame = CloseFrame { code: close::SIGN_IN.into(), reason: "the token ended".into() };
        socket.send(Message::Close(Some(frame))).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        let (mut tcp, _) = fake.0.accept().await.unwrap();
        assert!(tcp.read(&mut [0; 4_096]).await.unwrap() > 0);
        let answer =
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nfull";
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp
    };
    let client = async {
        let mut standing = standing(2);
        let Err(setback) = standing.enter(&server, &room()).await else { panic!("it is closed") };
        assert_eq!((setback.code, setback.wait), (close::SIGN_IN, None));
        let Err(setback) = standing.enter(&server, &room()).await else { panic!("it is full") };
        assert_eq!((setback.code, setback.wait.map(|wait| wait.as_secs())), (503, Some(7)));
    };
    tokio::join!(script, client);
}
