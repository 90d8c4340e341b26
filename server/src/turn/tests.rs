//! The relay over real sockets on loopback.

use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::message::{Class, Frame, Key, Kind, Message, Method, Writer, channel_data, frame};
use super::*;
use crate::auth::Secret;

/// No state takes longer to come, unless something is broken.
const DEADLINE: Duration = Duration::from_secs(10);
/// Long enough for a packet on loopback to arrive if it is on its way.
const NOTHING: Duration = Duration::from_millis(300);

struct House {
    address: SocketAddr,
    credentials: Credentials,
    metrics: Arc<Metrics>,
    _task: AbortOnDropHandle<()>,
}

impl House {
    fn open(config: TurnConfig) -> Self {
        Self::open_with(config, None)
    }

    fn open_with(config: TurnConfig, tls: Option<TlsAcceptor>) -> Self {
        let credentials = Credentials::new(Secret::new("of the relay"));
        let metrics = Arc::new(Metrics::default());
        let config = TurnConfig { port: Some(0), ..config };
        let loopback = Ipv4Addr::LOCALHOST.into();
        let server =
            TurnServer::bind(config, loopback, credentials.clone(), tls, metrics.clone()).unwrap();
        let address = server.address();
        let task = AbortOnDropHandle::new(tokio::spawn(server.run()));
        Self { address, credentials, metrics, _task: task }
    }

    fn credential(&self, user: &str, lifetime: Duration) -> (String, String) {
        self.credentials.issue(user, SystemTime::now() + lifetime)
    }

    async fn udp(&self) -> Wire {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.address).await.unwrap();
        Wire::Udp(socket)
    }

    async fn tcp(&self) -> Wire {
        Wire::Stream(Box::new(TcpStream::connect(self.address).await.unwrap()))
    }

    /// A client by UDP that holds an allocation.
    async fn client(&self, user: &str) -> Client {
        let client = Client::new(self.udp().await, self.credential(user, DEADLINE * 60));
        client.allocated().await
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Any way to the relay.
enum Wire {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

impl Wire {
    async fn send(&mut self, packet: &[u8]) {
        match self {
            Self::Udp(socket) => {
                socket.send(packet).await.unwrap();
            }
            Self::Stream(stream) => {
                let mut packet = packet.to_vec();
                packet.resize(packet.len().next_multiple_of(4), 0);
                stream.write_all(&packet).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut packet = vec![0; 65_536];
                let length = socket.recv(&mut packet).await.unwrap();
                packet.truncate(length);
                Some(packet)
            }
            Self::Stream(stream) => {
                let mut packet = vec![0; 4];
                stream.read_exact(&mut packet).await.ok()?;
                let (_, length) = frame(packet[..4].try_into().unwrap()).unwrap();
                packet.resize(length, 0);
                stream.read_exact(&mut packet[4..]).await.ok()?;
                Some(packet)
            }
        }
    }
}

/// What a relay says to a request.
#[derive(Debug)]
struct Answer {
    error: Option<u16>,
    lifetime: Option<u32>,
    relayed: Option<SocketAddr>,
    mapped: Option<SocketAddr>,
}

/// A small TURN client.
struct Client {
    wire: Wire,
    username: String,
    password: String,
    realm: String,
    nonce: Vec<u8>,
    relayed: SocketAddr,
    mapped: Option<SocketAddr>,
    count: u8,
}

impl Client {
    fn new(wire: Wire, (username, password): (String, String)) -> Self {
        Self {
            wire,
            username,
            password,
            realm: String::new(),
            nonce: Vec::new(),
            relayed: SocketAddr::from(([0, 0, 0, 0], 0)),
            mapped: None,
            count: 0,
        }
    }

    async fn allocated(mut self) -> Self {
        let answer = self.allocate().await;
        assert_eq!(answer.error, None, "{answer:?}");
        self.relayed = answer.relayed.unwrap();
        self.mapped = answer.mapped;
        self
    }

    async fn allocate(&mut self) -> Answer {
        self.ask(Method::ALLOCATE, |request| {
            request.with(Kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        })
        .await
    }

    async fn refresh(&mut self, lifetime: u32) -> Answer {
        let lifetime = lifetime.to_be_bytes();
        self.ask(Method::REFRESH, |request| request.with(Kind::LIFETIME, &lifetime)).await
    }

    async fn permit(&mut self, peer: SocketAddr) -> Option<u16> {
        let permit = |request: Writer| request.with_address(Kind::XOR_PEER_ADDRESS, peer);
        self.ask(Method::CREATE_PERMISSION, permit).await.error
    }

    async fn bind(&mut self, number: u16, peer: SocketAddr) -> Option<u16> {
        let [high, low] = number.to_be_bytes();
        let bind = |request: Writer| {
            request
                .with(Kind::CHANNEL_NUMBER, &[high, low, 0, 0])
                .with_address(Kind::XOR_PEER_ADDRESS, peer)
        };
        self.ask(Method::CHANNEL_BIND, bind).await.error
    }

    /// Asks, and asks again with what the relay wants repeated.
    async fn ask(&mut self, method: Method, fill: impl Fn(Writer) -> Writer) -> Answer {
        for _ in 0..2 {
            self.count += 1;
            let transaction = [self.count; 12];
            let mut request = fill(Writer::new(Class::Request, method, transaction));
            let key = Key::new(self.username.as_bytes(), &self.realm, &self.password);
            if !self.nonce.is_empty() {
                request = request
                    .with(Kind::USERNAME, self.username.as_bytes())
                    .with(Kind::REALM, self.realm.as_bytes())
                    .with(Kind::NONCE, &self.nonce);
            }
            let signed = !self.nonce.is_empty();
            self.wire.send(&request.finish_with_sum(signed.then_some(&key))).await;
            let bytes = timeout(DEADLINE, self.wire.receive()).await.unwrap().unwrap();
            let answer = Message::parse(&bytes).unwrap();
            assert_eq!((answer.method, answer.transaction), (method, transaction));
            let is_challenge = matches!(answer.error(), Some(401 | 438));
            let nonce = answer.value(Kind::NONCE);
            if let Some(nonce) =
                nonce.filter(|_| is_challenge && !(signed && answer.error() == Some(401)))
            {
                self.nonce = nonce.to_vec();
                self.realm = String::from_utf8(answer.value(Kind::REALM).unwrap().into()).unwrap();
                continue;
            }
            if !is_challenge && answer.error() != Some(400) {
                assert!(answer.is_signed_with(&key), "the relay shows that it is the one");
            }
            return Answer {
                error: answer.error(),
                lifetime: answer.number(Kind::LIFETIME),
                relayed: answer.address(Kind::XOR_RELAYED_ADDRESS),
                mapped: answer.address(Kind::XOR_MAPPED_ADDRESS),
            };
        }
        panic!("the relay wants ever new nonces");
    }

    async fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let packet = Writer::new(Class::Indication, Method::SEND, [9; 12])
            .with_address(Kind::XOR_PEER_ADDRESS, peer)
            .with(Kind::DATA, data)
            .finish(None);
        self.wire.send(&packet).await;
    }

    async fn send_on(&mut self, channel: u16, data: &[u8]) {
        let mut packet = channel.to_be_bytes().to_vec();
        packet.extend_from_slice(&(data.len() as u16).to_be_bytes());
        packet.extend_from_slice(data);
        self.wire.send(&packet).await;
    }

    /// The next data of a peer.
    async fn data(&mut self) -> Option<Vec<u8>> {
        let bytes = timeout(NOTHING, self.wire.receive()).await.ok()??;
        if let Some((_, data)) = channel_data(&bytes) {
            return Some(data.to_vec());
        }
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class, message.method), (Class::Indication, Method::DATA));
        Some(message.value(Kind::DATA).unwrap().to_vec())
    }
}

/// Two clients reach one another through both their allocations, by indications and channels.
async fn meet(a: &mut Client, b: &mut Client) {
    assert_eq!(a.permit(b.relayed).await, None);
    a.send(b.relayed, b"too early").await;
    assert_eq!(b.data().await, None, "nobody let it in");
    assert_eq!(b.permit(a.relayed).await, None);
    a.send(b.relayed, b"hello").await;
    assert_eq!(b.data().await.unwrap(), b"hello");
    assert_eq!(b.bind(0x4001, a.relayed).await, None);
    b.send_on(0x4001, b"well met").await;
    assert_eq!(a.data().await.unwrap(), b"well met");
    assert_eq!(a.bind(0x4002, b.relayed).await, None);
    for round in 0..100_u8 {
        a.send_on(0x4002, &vec![round; 1 + usize::from(round) * 11]).await;
        assert_eq!(b.data().await.unwrap(), vec![round; 1 + usize::from(round) * 11]);
    }
}

#[tokio::test]
async fn two_clients_meet_by_udp() {
    let house = House::open(TurnConfig::default());
    let (mut a, mut b) = (house.client("a").await, house.client("b").await);
    let own = |client: &Client| match &client.wire {
        Wire::Udp(socket) => socket.local_addr().unwrap(),
        Wire::Stream(_) => unreachable!("it came by UDP"),
    };
    assert_eq!(a.mapped, Some(own(&a)));
    meet(&mut a, &mut b).await;
    assert_eq!(house.metrics.turn.allocations.get(), 2);
    assert_eq!(a.refresh(0).await.lifetime, Some(0));
    assert_eq!(a.refresh(600).await.error, Some(437), "it is gone");
    let mut again = house.client("a").await;
    assert_eq!(again.permit(b.relayed).await, None);
    b.send(again.relayed, b"you are back").await;
    assert_eq!(again.data().await.unwrap(), b"you are back");
}

#[tokio::test]
async fn two_clients_meet_by_tcp_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let own = crate::Tls::SelfSigned;
    let identity = crate::tls::Identity::new(&own, Some(folder.path()), SystemTime::now());
    let (identity, _keeper) = identity.unwrap().unwrap();
    let acceptor = TlsAcceptor::from(identity.config(&[]).unwrap());
    let house = House::open_with(TurnConfig::default(), Some(acceptor));
    let credential = house.credential("a", DEADLINE);
    let mut a = Client::new(house.tcp().await, credential).allocated().await;

    let tcp = TcpStream::connect(house.address).await.unwrap();
    let tls = trusting_connector().connect(ServerName::try_from("meet").unwrap(), tcp).await;
    let wire = Wire::Stream(Box::new(tls.unwrap()));
    let mut b = Client::new(wire, house.credential("b", DEADLINE)).allocated().await;
    meet(&mut a, &mut b).await;

    let gone = a.relayed;
    drop(a);
    let free = async {
        while house.metrics.turn.allocations.get() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, free).await.expect("an allocation ends with its connection");
    b.send(gone, b"anybody there?").await;
    assert_eq!(b.data().await, None);
}

/// Takes any certificate: what is tested is the relay.
fn trusting_connector() -> tokio_rustls::TlsConnector {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    struct Any;
    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any))
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn peers_outside_are_reached_where_it_is_allowed() {
    let config = TurnConfig { reach: Some(Reach::Anything), ..TurnConfig::default() };
    let house = House::open(config);
    let mut client = house.client("a").await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    assert_eq!(client.permit(address).await, None);
    client.send(address, b"ping").await;
    let mut packet = [0; 16];
    let (length, from) = timeout(DEADLINE, peer.recv_from(&mut packet)).await.unwrap().unwrap();
    assert_eq!((&packet[..length], from), (&b"ping"[..], client.relayed));
    peer.send_to(b"pong", client.relayed).await.unwrap();
    assert_eq!(client.data().await.unwrap(), b"pong");
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    stranger.send_to(b"let me in", client.relayed).await.unwrap();
    assert_eq!(client.data().await, None);
}

#[tokio::test]
async fn a_public_relay_does_not_reach_into_private_networks() {
    let addresses = vec!["198.51.100.7".parse().unwrap()];
    let house = House::open(TurnConfig { addresses, ..TurnConfig::default() });
    let mut client = house.client("a").await;
    assert_eq!(client.relayed.ip().to_string(), "198.51.100.7");
    for private in [
        "127.0.0.1:9",
        "10.0.0.1:5000",
        "192.168.0.1:5000",
        "169.254.169.254:80",
        "224.0.0.251:5353",
        "0.0.0.0:5000",
        "100.100.0.1:5000",
    ] {
        assert_eq!(client.permit(private.parse().unwrap()).await, Some(403), "{private}");
        assert_eq!(client.bind(0x4000, private.parse().unwrap()).await, Some(403), "{private}");
    }
    for other_family in ["[::ffff:10.0.0.1]:5000", "[::1]:5000", "[2001:db8::1]:5000"] {
        assert_eq!(client.permit(other_family.parse().unwrap()).await, Some(443), "{other_family}");
    }
    assert_eq!(client.permit("203.0.113.1:5000".parse().unwrap()).await, None);
    // The server's own services, at the address that is announced.
    let own = SocketAddr::new("198.51.100.7".parse().unwrap(), 5_000);
    assert_eq!(client.permit(own).await, None, "other allocations are there");
    client.send(own, b"to a service").await;
    assert_eq!(client.refresh(600).await.error, None);
    let text = house.metrics.render();
    assert!(text.contains(r#"turn_refused_total{reason="address"} 15"#), "{text}");
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_credential() {
    let house = House::open(TurnConfig::default());
    let (username, password) = house.credential("a", DEADLINE);
    let (old, old_password) = house.credential("a", Duration::ZERO);
    for credential in [
        (username.clone(), "guess".to_owned()),
        (old, old_password),
        (username.replace(":a", ":b"), password.clone()),
        ("admin".to_owned(), password.clone()),
    ] {
        let mut client = Client::new(house.udp().await, credential);
        assert_eq!(client.allocate().await.error, Some(401));
    }
    assert_eq!(house.metrics.turn.allocations.get(), 0);
    let mut good = Client::new(house.udp().await, (username, password));
    assert_eq!(good.allocate().await.error, None);
    // Another user on the same address, as behind a proxy that mixes clients up.
    let (username, password) = house.credential("b", DEADLINE);
    (good.username, good.password) = (username, password);
    assert_eq!(good.refresh(600).await.error, Some(441));
    assert_eq!(good.refresh(0).await.error, Some(441));
}

#[tokio::test]
async fn a_call_goes_on_when_its_credential_has_ended() {
    let config = TurnConfig {
        lifetime: Duration::from_secs(3),
        nonce_lifetime: Duration::from_secs(2),
        ..TurnConfig::default()
    };
    let house = House::open(config);
    let short = house.credential("a", Duration::from_secs(2));
    let mut a = Client::new(house.udp().await, short.clone()).allocated().await;
    let mut b = house.client("b").await;
    meet(&mut a, &mut b).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (one, other) = (a.refresh(600).await, b.refresh(600).await);
        assert_eq!((one.error, other.error, one.lifetime), (None, None, Some(3)));
        a.send_on(0x4002, b"still here").await;
        assert_eq!(b.data().await.unwrap(), b"still here");
    }
    let mut late = Client::new(house.udp().await, short);
    assert_eq!(late.allocate().await.error, Some(401), "it opens nothing new");
    // The client signs in anew meanwhile: its new credential takes over.
    (a.username, a.password) = house.credential("a", DEADLINE);
    assert_eq!(a.refresh(600).await.error, None);
    a.send_on(0x4002, b"and here").await;
    assert_eq!(b.data().await.unwrap(), b"and here");
}

#[tokio::test]
async fn an_allocation_ends_without_refreshes_and_at_its_age() {
    let config = TurnConfig {
        lifetime: Duration::from_secs(2),
        age: Duration::from_secs(4),
        ..TurnConfig::default()
    };
    let house = House::open(config);
    let (mut kept, _left) = (house.client("a").await, house.client("a").await);
    let left = || house.metrics.turn.allocations.get();
    assert_eq!(left(), 2);
    for expected in [Some(2), Some(2)] {
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        assert!(kept.refresh(600).await.lifetime <= expected);
    }
    assert_eq!(left(), 1, "nobody refreshed the other");
    let ended = async {
        while left() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, ended).await.unwrap();
    assert_eq!(kept.refresh(600).await.error, Some(437));
}

#[tokio::test]
async fn users_addresses_and_all_have_their_quota() {
    let config = TurnConfig { per_user: 2, per_address: 4, total: 100, ..TurnConfig::default() };
    let house = House::open(config);
    let mut held = Vec::new();
    for user in ["a", "a", "b", "b"] {
        held.push(house.client(user).await);
    }
    let allocate = async |user: &str| {
        Client::new(house.udp().await, house.credential(user, DEADLINE)).allocate().await.error
    };
    assert_eq!(allocate("a").await, Some(486));
    assert_eq!(allocate("c").await, Some(486), "the address has enough");
    held.pop().unwrap().refresh(0).await;
    let retry = async {
        while allocate("c").await.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, retry).await.expect("a place is free again");
}

#[tokio::test]
async fn one_allocation_has_its_bandwidth() {
    let house = House::open(TurnConfig { bytes_per_second: 20_000, ..TurnConfig::default() });
    let (mut a, mut b) = (house.client("a").await, house.client("b").await);
    assert_eq!(b.permit(a.relayed).await, None);
    assert_eq!(a.bind(0x4000, b.relayed).await, None);
    for _ in 0..100 {
        a.send_on(0x4000, &[7; 1_000]).await;
    }
    let mut received = 0;
    while b.data().await.is_some() {
        received += 1;
    }
    assert!((10..30).contains(&received), "{received}");
}

#[tokio::test]
async fn anybody_may_ask_for_its_address_but_floods_nobody_through_us() {
    let house = House::open(TurnConfig::default());
    let mut wire = house.udp().await;
    let Wire::Udp(socket) = &wire else { unreachable!() };
    let own = socket.local_addr().unwrap();
    let question = Writer::new(Class::Request, Method::BINDING, [3; 12]).finish(None);
    wire.send(&question).await;
    let answer = timeout(DEADLINE, wire.receive()).await.unwrap().unwrap();
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.address(Kind::XOR_MAPPED_ADDRESS), Some(own));

    let allocate = Writer::new(Class::Request, Method::ALLOCATE, [4; 12])
        .with(Kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        .finish(None);
    let mut asked = 0;
    let mut answered = 0;
    for _ in 0..20 {
        for _ in 0..100 {
            wire.send(&allocate).await;
            asked += allocate.len();
        }
        while let Ok(Some(answer)) = timeout(NOTHING / 20, wire.receive()).await {
            assert!(answer.len() <= 80, "{}", answer.len());
            answered += answer.len();
        }
    }
    assert!(answered < asked, "{answered} bytes for {asked}");
}

#[tokio::test]
async fn junk_ends_its_connection_and_nothing_else() {
    let house = House::open(TurnConfig::default());
    let mut good = house.client("a").await;
    for junk in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x40, 0, 0xFF, 0xFF], &[0, 1, 0xFF, 0xFC], &[22, 3, 1]]
    {
        let mut tcp = TcpStream::connect(house.address).await.unwrap();
        tcp.write_all(junk).await.unwrap();
        let mut rest = Vec::new();
        let closed = timeout(DEADLINE, tcp.read_to_end(&mut rest)).await.unwrap();
        assert!(closed.is_err() || rest.is_empty());
        let mut udp = house.udp().await;
        udp.send(junk).await;
    }
    assert_eq!(good.refresh(600).await.error, None);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told_so() {
    let house = House::open(TurnConfig::default());
    let mut client = Client::new(house.udp().await, house.credential("a", DEADLINE));
    let error = async |client: &mut Client, method, kind, value: &[u8]| {
        client.ask(method, |request| request.with(kind, value)).await.error
    };
    let transport = Kind::REQUESTED_TRANSPORT;
    assert_eq!(error(&mut client, Method::ALLOCATE, Kind::LIFETIME, &[0; 4]).await, Some(400));
    assert_eq!(error(&mut client, Method::ALLOCATE, transport, &[6, 0, 0, 0]).await, Some(442));
    assert_eq!(error(&mut client, Method::ALLOCATE, Kind(0x001A), &[]).await, Some(420));
    assert_eq!(error(&mut client, Method::REFRESH, Kind::LIFETIME, &[0; 4]).await, Some(437));
    assert_eq!(client.permit("127.0.0.1:5000".parse().unwrap()).await, Some(437));
    assert_eq!(error(&mut client, Method::ALLOCATE, Kind::EVEN_PORT, &[]).await, Some(400));
    let reserving = |request: Writer| {
        request.with(Kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).with(Kind::EVEN_PORT, &[0x80])
    };
    assert_eq!(client.ask(Method::ALLOCATE, reserving).await.error, Some(508));
    let even = |request: Writer| {
        request.with(Kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).with(Kind::EVEN_PORT, &[0])
    };
    client.relayed = client.ask(Method::ALLOCATE, even).await.relayed.unwrap();
    assert_eq!(client.relayed.port() % 2, 0);
    assert_eq!(client.allocate().await.error, Some(437), "one client, one allocation");
    let peer = client.relayed;
    assert_eq!(client.bind(0x3FFF, peer).await, Some(400));
    assert_eq!(client.bind(0x8000, peer).await, Some(400));
    assert_eq!(error(&mut client, Method::CREATE_PERMISSION, Kind::DATA, b"").await, Some(400));
    assert_eq!(error(&mut client, Method(0x00A), Kind::DATA, b"").await, Some(400));
}

#[test]
fn frames_of_streams_are_cut_where_they_end() {
    assert_eq!(frame([0x40, 0, 0, 1]), Some((Frame::Channel { number: 0x4000, length: 1 }, 8)));
}
