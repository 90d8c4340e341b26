//! A member that speaks the protocol by hand, and badly.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use net::wire::{ClientMessage, RawRoomId, RoomId, ServerMessage, SignInResponse, UserId};
use net::{PeerState, Source};
use server::{Config, Server, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Guest, film, watch, within};

struct Hostile {
    id: UserId,
    room: RoomId,
    socket: WebSocketStream<TcpStream>,
}

impl Hostile {
    /// Over plain HTTP, so that nothing but the protocol is in the way.
    async fn join(address: std::net::SocketAddr, room: &str) -> Self {
        let mut tcp = TcpStream::connect(address).await.expect("the test is set up well");
        let request = format!(
            "POST /auth/sign-in HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        tcp.write_all(request.as_bytes()).await.expect("the test is set up well");
        let mut answer = String::new();
        within("a sign-in", tcp.read_to_string(&mut answer))
            .await
            .expect("the test is set up well");
        let json = answer.split_once("\r\n\r\n").expect("the test is set up well").1;
        let account: SignInResponse = serde_json::from_str(json).expect("the test is set up well");
        let tcp = TcpStream::connect(address).await.expect("the test is set up well");
        let url = format!("ws://{address}/ws?token={}", account.access_token);
        let mut request = url.into_client_request().expect("the test is set up well");
        request.headers_mut().insert(
            "origin",
            format!("http://{address}").parse().expect("the test is set up well"),
        );
        let (socket, _) =
            tokio_tungstenite::client_async(request, tcp).await.expect("the test is set up well");
        let room = RawRoomId::new(room)
            .expect("the test is set up well")
            .on_the_wire("pm_room:")
            .expect("the test is set up well");
        let mut hostile = Self { id: account.user_id, room, socket };
        hostile.say(ClientMessage::Join).await;
        hostile
    }

    async fn say(&mut self, message: ClientMessage) {
        self.socket
            .send(Message::text(message.to_json(&self.room)))
            .await
            .expect("the test is set up well");
    }

    /// The next signal of somebody.
    async fn hear(&mut self) -> ServerMessage {
        loop {
            let message = within("a message", self.socket.next())
                .await
                .expect("the test is set up well")
                .expect("the test is set up well");
            let bytes = message.into_data();
            if let Ok((_, message)) = ServerMessage::parse(&bytes) {
                return message;
            }
        }
    }

    async fn offer_of_victim(&mut self) -> String {
        loop {
            if let ServerMessage::Offer { sdp, .. } = self.hear().await {
                return sdp;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_from_one_member_hurts_nobody() {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: Tls::Off,
        http_rate_limit: false,
        ..Config::default()
    };
    let server = Server::bind(config).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async move {
        stopped.await.ok();
    }));

    let join = |name: &str| net::JoinConfig {
        server: format!("http://{address}").parse().unwrap(),
        fingerprint: None,
        room: RawRoomId::new("x").unwrap(),
        name: name.to_owned(),
        passphrase: net::Passphrase::default(),
        publish: net::Publish { microphone: true, camera: true },
    };
    let mut alice = Guest::join(join("alice")).await.unwrap();
    let mut hostile = Hostile::join(address, "x").await;
    alice.peer_is(&hostile.id, PeerState::Connecting).await;

    let to = alice.id().clone();
    let sdps = rubbish_descriptions(&hostile.offer_of_victim().await);
    for sdp in &sdps {
        hostile.say(ClientMessage::Offer { sdp: sdp.clone(), to: to.clone() }).await;
        hostile.say(ClientMessage::Answer { sdp: sdp.clone(), to: to.clone() }).await;
        tokio::time::sleep(Duration::from_millis(60)).await; // The server's rate, not a state.
    }
    for candidate in [
        "",
        "rubbish",
        "{}",
        "[]",
        r#"{"candidate":""}"#,
        r#"{"candidate":"candidate:"}"#,
        r#"{"candidate":"candidate:1 1 udp"}"#,
        r#"{"candidate":"candidate:1 1 udp 99999999999 x y typ host"}"#,
        r#"{"candidate":"candidate:1 1 tcp 1 127.0.0.1 1 typ host tcptype passive"}"#,
        r#"{"candidate":"candidate:1 1 udp 1 aaaaaaaa-0000-4000-8000-000000000000.local 9 typ host"}"#,
        r#"{"candidate":"candidate:1 1 udp 1 256.1.1.1 9 typ host"}"#,
        r#"{"candidate":"candidate:1 1 udp 1 ::1 9 typ prflx raddr x rport y"}"#,
        r#"{"candidate":5}"#,
    ] {
        let candidate = candidate.to_owned();
        hostile.say(ClientMessage::IceCandidate { candidate, to: to.clone() }).await;
    }

    // Whoever comes afterwards finds everything in order.
    let mut bob = Guest::join(join("bob")).await.unwrap();
    bob.connected_to(alice.id()).await;
    alice.connected_to(bob.id()).await;
    let _film = film(&alice, Source::Camera);
    watch(&mut bob.track(Source::Camera).await, 20).await;
    let stats = alice.stats().await;
    let of_hostile = stats.peers.iter().find(|peer| peer.peer == hostile.id);
    assert!(of_hostile.is_none_or(|peer| peer.bad_signals > 0), "{stats:?}");
    stop.send(()).unwrap();
    within("the server's end", task).await.unwrap();
}

/// Texts that are no descriptions, and descriptions that are broken in one place.
fn rubbish_descriptions(good: &str) -> Vec<String> {
    let mut bad: Vec<String> = [
        "",
        "v=0",
        "rubbish",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 x\r\na=mid:0\r\na=sendrecv\r\n",
    ]
    .map(str::to_owned)
    .into();
    bad.push(good.replace("a=mid:", "a=dim:"));
    bad.push(good.replace("a=fingerprint:sha-256", "a=fingerprint:md5"));
    bad.push(good.replace("a=fingerprint:", "a=thumbprint:"));
    bad.push(good.replace("a=ice-ufrag:", "a=ice-frag:"));
    bad.push(good.replace("a=ssrc:", "a=ssrc:99999999999999"));
    bad.push(good.replace("opus/48000/2", "opus"));
    bad.push(good.replace("a=rtpmap:", "a=rtpmap:x"));
    bad.push(good.replace("m=video", "m=audio"));
    bad.push(good.replace("a=extmap:", "a=extmap:9999999"));
    bad.push(good.chars().take(good.len() / 2).collect());
    bad.push(good.repeat(3));
    bad.push(format!("{good}a={}\r\n", "x".repeat(20_000)));
    bad
}
