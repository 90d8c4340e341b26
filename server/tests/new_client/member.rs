//! A client of version 2.

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::house::{Guest, House, SignedIn, listed};

/// A client that has said hello.
pub struct Member {
    pub guest: Guest,
    pub welcome: Value,
    /// Messages had in this session, as a client counts them.
    pub received: u64,
}

/// A WebSocket without a query string.
pub async fn knock(house: &House) -> Guest {
    let tcp = TcpStream::connect(house.address).await.unwrap();
    let mut request = house.knock("");
    *request.uri_mut() = format!("ws://{}/ws", house.address).parse().unwrap();
    let (socket, _) = client_async(request, tcp).await.unwrap();
    Guest { id: String::new(), socket }
}

impl Member {
    pub async fn enter(house: &House, name: &str) -> Self {
        let who = house.sign_in(name).await;
        Self::hello(house, &json!({"v": 2, "token": who.token})).await
    }

    pub async fn with_token(house: &House, who: &SignedIn) -> Self {
        Self::hello(house, &json!({"v": 2, "token": who.token})).await
    }

    pub async fn hello(house: &House, data: &Value) -> Self {
        let mut guest = knock(house).await;
        guest.send(&json!({"type": "session.hello", "room": "", "data": data})).await;
        let welcome = guest.next().await;
        assert_eq!(
            (&welcome["type"], &welcome["from"]),
            (&json!("session.welcome"), &json!("system"))
        );
        guest.id = welcome["data"]["userID"].as_str().unwrap().to_owned();
        Self { guest, welcome: welcome["data"].clone(), received: 0 }
    }

    /// Comes back with what it has of `self`.
    pub async fn back(&self, house: &House) -> Self {
        let data = json!({"v": 2, "resume": self.welcome["resume"], "received": self.received});
        let mut back = Self::hello(house, &data).await;
        if back.welcome["resumed"] == json!(true) {
            back.received = self.received;
        }
        back
    }

    pub async fn next(&mut self) -> Value {
        self.received += 1;
        self.guest.next().await
    }

    pub async fn say(&mut self, kind: &str, data: &Value) {
        self.guest.send(&json!({"type": kind, "room": "r", "data": data})).await;
    }

    pub async fn chat(&mut self, text: &str, id: &str) {
        self.say("chat.message", &json!({"message": text, "id": id})).await;
    }

    /// Joins and waits for the snapshot.
    pub async fn joined(&mut self) -> Vec<String> {
        self.say("chat.join", &json!({})).await;
        listed(&self.next().await)
    }

    /// The next message is of this type; its data.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let next = self.next().await;
        assert_eq!((&next["type"], &next["room"]), (&json!(kind), &json!("r")), "{next}");
        next["data"].clone()
    }

    /// Fails if anything is on its way.
    pub async fn expect_nothing(&mut self) {
        self.received += 1;
        self.guest.expect_nothing().await;
    }

    /// Breaks the connection without a word, and waits until the server has noticed.
    pub async fn break_off(&mut self) {
        use tokio::io::AsyncWriteExt as _;
        self.guest.socket.get_mut().shutdown().await.unwrap();
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut self.guest.socket).await {
            assert!(!matches!(message, Message::Text(_)), "{message:?} came too late");
        }
    }
}

pub const IDS: [&str; 3] = [
    "6f1c8a52-0000-4000-8000-000000000001",
    "6f1c8a52-0000-4000-8000-000000000002",
    "6f1c8a52-0000-4000-8000-000000000003",
];
