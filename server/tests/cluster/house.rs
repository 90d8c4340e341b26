//! Several servers as processes of their own, and people in them who use protocol 2.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::broker::Broker;

pub const DEADLINE: Duration = Duration::from_secs(20);
const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// A server program; it is killed with this value.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(broker: &Broker, folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_private-meet-server"));
        command.current_dir(folder).env_clear().env("HOME", folder);
        command.args(["--listen", "127.0.0.1:0", "--tls", "off", "--turn", "off"]);
        command.args(["--nats", &broker.url()]);
        command.env("CLUSTER_SECRET", SECRET).env("HTTP_RATE_LIMIT", "false");
        command.env("RUST_LOG", "warn,async_nats=off");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server's program starts");
        let stdout = child.stdout.take().unwrap();
        let (sender, receiver) = sync_channel(16);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let line = receiver.recv_timeout(DEADLINE).expect("the server says where it listens");
        let address = line.split_once("://").expect("an address").1.parse().unwrap();
        Self { child, address }
    }

    /// As `kill -9` does it.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a person has said and what became of it.
#[derive(Debug, Clone)]
pub struct Letter {
    pub room: String,
    pub sent: Instant,
    pub acked: Option<Instant>,
    /// Who was listed when it was sent, and all the time until it was acknowledged.
    pub owed: BTreeSet<String>,
    text: String,
}

/// What a person knows.
#[derive(Debug, Default)]
pub struct Mind {
    pub user: String,
    token: String,
    resume: Option<String>,
    received: u64,
    pub connected: bool,
    pub resumed: usize,
    /// When a connection without a history began.
    pub anew: Vec<Instant>,
    wanted: BTreeSet<String>,
    /// Rooms that it hears of, with who is there.
    pub rosters: BTreeMap<String, BTreeSet<String>>,
    /// Rooms that it left, and may still hear of.
    leaving: BTreeSet<String>,
    /// Since when it has been in each room without a break.
    pub since: BTreeMap<String, Instant>,
    pub letters: BTreeMap<String, Letter>,
    order: Vec<String>,
    /// Everything heard: room, sender, id.
    pub heard: Vec<(String, String, String)>,
    pub signals: Vec<String>,
    /// When something was heard of a room last.
    pub last: BTreeMap<String, Instant>,
    pub faults: Vec<String>,
    count: u64,
}

#[derive(Debug)]
enum Order {
    Connect(SocketAddr),
    Cut,
    Say(String),
}

/// Somebody who uses the servers.
pub struct Person {
    pub mind: Arc<Mutex<Mind>>,
    orders: mpsc::Sender<Order>,
    changes: watch::Receiver<()>,
    task: JoinHandle<()>,
}

impl Drop for Person {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Socket = WebSocketStream<TcpStream>;

impl Person {
    /// Signs in at one server; the token is good at all of them.
    pub async fn new(name: &str, address: SocketAddr) -> Self {
        let answer = sign_in(name, address).await;
        let mind = Mind {
            user: answer["userId"].as_str().unwrap().to_owned(),
            token: answer["accessToken"].as_str().unwrap().to_owned(),
            ..Mind::default()
        };
        let mind = Arc::new(Mutex::new(mind));
        let (orders, incoming) = mpsc::channel(1_024);
        let (changed, changes) = watch::channel(());
        let task = tokio::spawn(live(mind.clone(), incoming, changed));
        Self { mind, orders, changes, task }
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.expect("the person lives");
    }

    /// Comes to a server; it tries again until it is there.
    pub async fn connect(&self, address: SocketAddr) {
        self.order(Order::Connect(address)).await;
    }

    /// Its connection breaks.
    pub async fn cut(&self) {
        self.order(Order::Cut).await;
    }

    pub async fn join(&self, room: &str) {
        let may_say = {
            let mut mind = self.mind.lock().unwrap();
            mind.wanted.insert(room.to_owned());
            !mind.leaving.contains(room)
        };
        if may_say {
            self.order(Order::Say(say("chat.join", room, &json!({})))).await;
        }
    }

    pub async fn leave(&self, room: &str) {
        {
            let mut mind = self.mind.lock().unwrap();
            mind.wanted.remove(room);
            mind.rosters.remove(room);
            mind.since.remove(room);
            mind.leaving.insert(room.to_owned());
            mind.letters.retain(|_, letter| letter.room != room || letter.acked.is_some());
        }
        self.order(Order::Say(say("chat.leave", room, &json!({})))).await;
        // Its answer comes behind all that was on the way.
        self.order(Order::Say(say("utils.generateRoomID", room, &json!({})))).await;
    }

    /// Writes to a room, if it is in it.
    pub async fn chat(&self, room: &str) -> Option<String> {
        let text = {
            let mut mind = self.mind.lock().unwrap();
            if !mind.since.contains_key(room) {
                return None;
            }
            mind.count += 1;
            let id = format!("{}-{:012x}", &mind.user[..23], mind.count);
            let data = json!({"message": format!("{}", mind.count), "id": id});
            let text = say("chat.message", room, &data);
            let mut owed = mind.rosters[room].clone();
            owed.remove(&mind.user);
            let (sent, room) = (Instant::now(), room.to_owned());
            let letter = Letter { room, sent, acked: None, owed, text: text.clone() };
            mind.letters.insert(id.clone(), letter);
            mind.order.push(id.clone());
            (id, text)
        };
        self.order(Order::Say(text.1)).await;
        Some(text.0)
    }

    pub async fn signal(&self, room: &str, to: &str, sdp: &str) {
        let data = json!({"sdp": sdp, "to": to});
        self.order(Order::Say(say("webrtc.offer", room, &data))).await;
    }

    /// Waits until what it knows is so, and tells how long that took.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Mind) -> bool) -> Duration {
        let started = Instant::now();
        let mut changes = self.changes.clone();
        let wait = async {
            while !is_so(&self.mind.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        };
        if timeout(DEADLINE, wait).await.is_err() {
            panic!("it does not happen that {what}: {:?}", self.mind.lock().unwrap());
        }
        started.elapsed()
    }

    pub async fn sees(&self, room: &str, users: &[&Person]) -> Duration {
        let expected: BTreeSet<String> = users.iter().map(|person| person.user()).collect();
        let what = format!("{expected:?} are in {room}");
        self.until(&what, |mind| mind.rosters.get(room) == Some(&expected)).await
    }

    pub fn user(&self) -> String {
        self.mind.lock().unwrap().user.clone()
    }
}

fn say(kind: &str, room: &str, data: &Value) -> String {
    json!({"type": kind, "room": room, "data": data}).to_string()
}

async fn live(
    mind: Arc<Mutex<Mind>>,
    mut orders: mpsc::Receiver<Order>,
    changed: watch::Sender<()>,
) {
    let mut socket: Option<Socket> = None;
    loop {
        let heard = tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Connect(address)) => {
                    disconnected(&mind);
                    socket = connect(address, &mind).await;
                    None
                }
                Some(Order::Cut) => {
                    socket = None;
                    disconnected(&mind);
                    None
                }
                Some(Order::Say(text)) => {
                    // What can't be said now is said again after the next welcome.
                    let welcomed = mind.lock().unwrap().connected;
                    if let Some(open) = socket.as_mut().filter(|_| welcomed) {
                        let _ = open.send(Message::text(text)).await;
                    }
                    None
                }
            },
            message = next(&mut socket) => Some(message),
        };
        match heard {
            Some(Some(Ok(Message::Text(text)))) => {
                let answers = mind.lock().unwrap().hear(&text);
                if let Some(open) = &mut socket {
                    for answer in answers {
                        let _ = open.feed(Message::text(answer)).await;
                    }
                    let _ = open.flush().await;
                }
            }
            Some(Some(Ok(_))) | None => {}
            Some(_) => {
                socket = None;
                disconnected(&mind);
            }
        }
        changed.send_replace(());
    }
}

async fn next(
    socket: &mut Option<Socket>,
) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

fn disconnected(mind: &Mutex<Mind>) {
    let mut mind = mind.lock().unwrap();
    mind.connected = false;
    mind.since.clear();
}

async fn connect(address: SocketAddr, mind: &Mutex<Mind>) -> Option<Socket> {
    let tcp = TcpStream::connect(address).await.ok()?;
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let origin = HeaderValue::try_from(format!("http://{address}")).unwrap();
    request.headers_mut().insert("origin", origin);
    let (mut socket, _) = client_async(request, tcp).await.ok()?;
    let hello = {
        let mind = mind.lock().unwrap();
        let mut data = json!({"v": 2, "token": mind.token});
        if let Some(resume) = &mind.resume {
            data["resume"] = json!(resume);
            data["received"] = json!(mind.received);
        }
        say("session.hello", "", &data)
    };
    socket.send(Message::text(hello)).await.ok()?;
    Some(socket)
}

impl Mind {
    fn hear(&mut self, text: &str) -> Vec<String> {
        let message: Value = serde_json::from_str(text).unwrap();
        let (data, kind) = (&message["data"], message["type"].as_str().unwrap());
        let room = message["room"].as_str().unwrap().to_owned();
        if kind == "session.welcome" {
            return self.welcome(data);
        }
        self.received += 1;
        self.last.insert(room.clone(), Instant::now());
        let hears = self.wanted.contains(&room) && !self.leaving.contains(&room);
        match kind {
            "room.users" if hears => {
                let users = data["users"].as_array().unwrap().iter();
                let roster: BTreeSet<String> =
                    users.map(|user| user["userID"].as_str().unwrap().to_owned()).collect();
                self.since.entry(room.clone()).or_insert_with(Instant::now);
                self.owe(&room, &roster);
                self.rosters.insert(room, roster);
            }
            "room.joined" if hears => {
                let user = data["user"]["userID"].as_str().unwrap().to_owned();
                self.rosters.entry(room).or_default().insert(user);
            }
            "room.left" if hears => {
                let user = data["userID"].as_str().unwrap();
                self.rosters.entry(room.clone()).or_default().remove(user);
                let roster = self.rosters[&room].clone();
                self.owe(&room, &roster);
            }
            "chat.message" => self.chat_came(room, &message),
            "chat.ack" => {
                let id = data["id"].as_str().unwrap();
                if let Some(letter) = self.letters.get_mut(id) {
                    letter.acked.get_or_insert_with(Instant::now);
                }
            }
            "utils.generateRoomID" if self.leaving.remove(&room) && self.wanted.contains(&room) => {
                return vec![say("chat.join", &room, &json!({}))];
            }
            "webrtc.offer" => {
                if data["to"] != json!(self.user) {
                    self.faults.push("a signal for somebody else".to_owned());
                }
                self.signals.push(data["sdp"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
        vec![]
    }

    /// Nobody is owed what was said while the sender saw them go.
    fn owe(&mut self, room: &str, roster: &BTreeSet<String>) {
        for letter in self.letters.values_mut() {
            if letter.room == room && letter.acked.is_none() {
                letter.owed.retain(|user| roster.contains(user));
            }
        }
    }

    fn welcome(&mut self, data: &Value) -> Vec<String> {
        self.resume = Some(data["resume"].as_str().unwrap().to_owned());
        if data["userID"] != json!(self.user) {
            self.faults.push("welcomed as somebody else".to_owned());
        }
        self.connected = true;
        let mut answers = Vec::new();
        if data["resumed"] == json!(true) {
            self.resumed += 1;
            for room in data["rooms"].as_array().unwrap() {
                let room = room.as_str().unwrap();
                if !self.wanted.contains(room) {
                    answers.push(say("chat.leave", room, &json!({})));
                }
            }
        } else {
            self.received = 0;
            self.anew.push(Instant::now());
            self.rosters.clear();
        }
        self.leaving.clear();
        answers.extend(self.wanted.iter().map(|room| say("chat.join", room, &json!({}))));
        let pending = self.order.iter().filter_map(|id| self.letters.get(id));
        let pending = pending.filter(|letter| letter.acked.is_none());
        answers.extend(pending.map(|letter| letter.text.clone()));
        answers
    }

    fn chat_came(&mut self, room: String, message: &Value) {
        let from = message["from"].as_str().unwrap().to_owned();
        let id = message["data"]["id"].as_str().unwrap().to_owned();
        if !self.wanted.contains(&room) && !self.leaving.contains(&room) && self.connected {
            self.faults.push(format!("heard {id} in a room that it is not in"));
        }
        self.heard.push((room, from, id));
    }
}

async fn sign_in(name: &str, address: SocketAddr) -> Value {
    let body = json!({"username": name}).to_string();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /auth/sign-in HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}
