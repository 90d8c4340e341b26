//! The way between servers, without rooms: three of them in one process, with a real broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use server::auth::{Secret, User};
use server::backplane::seal::Keys;
use server::backplane::{Backplane, ClusterConfig, Local, NodeId, Words};
use server::metrics::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;
use wire::{LeftReason, MessageType, UserId};

use crate::broker::Broker;

const DEADLINE: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret that only the servers of this test know";

/// What the others have said, as rooms would keep it.
#[derive(Debug, Default)]
struct Seen {
    members: BTreeMap<(String, NodeId), BTreeSet<String>>,
    said: Vec<String>,
    confirmed: BTreeSet<Uuid>,
}

#[derive(Debug)]
struct Recorder {
    seen: Mutex<Seen>,
    changes: watch::Sender<u64>,
}

impl Recorder {
    fn change(&self, act: impl FnOnce(&mut Seen)) {
        act(&mut self.seen.lock().unwrap());
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Local for Recorder {
    fn members(&self, room: &str, node: NodeId, users: Vec<Arc<User>>) {
        let users = users.iter().map(|user| user.id.to_string()).collect();
        self.change(|seen| {
            seen.members.insert((room.to_owned(), node), users);
        });
    }

    fn joined(&self, room: &str, node: NodeId, user: Arc<User>) {
        self.change(|seen| {
            let place = (room.to_owned(), node);
            seen.members.entry(place).or_default().insert(user.id.to_string());
        });
    }

    fn left(&self, room: &str, node: NodeId, user: &UserId, _: LeftReason) {
        self.change(|seen| {
            let place = (room.to_owned(), node);
            seen.members.entry(place).or_default().remove(user.as_str());
        });
    }

    fn gone(&self, node: NodeId) {
        self.change(|seen| seen.members.retain(|(_, other), _| *other != node));
    }

    fn said(&self, _: &str, words: &Words) {
        self.change(|seen| seen.said.push(words.data.to_string()));
    }

    fn confirmed(&self, _: &str, _: &UserId, id: Uuid) {
        self.change(|seen| {
            seen.confirmed.insert(id);
        });
    }

    fn surrender(&self, token: &str, received: Option<u64>) -> Option<Vec<u8>> {
        (token == "mine").then(|| vec![received.unwrap_or(0) as u8])
    }
}

/// A server without rooms of its own; it ends with this value, as one that is killed.
struct Node {
    backplane: Arc<Backplane>,
    recorder: Arc<Recorder>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _guard: DropGuard,
    id: NodeId,
}

impl Node {
    fn start(broker: &Broker, id: u64) -> Self {
        Self::start_at(&broker.url(), id)
    }

    fn start_at(url: &str, id: u64) -> Self {
        let id = NodeId(id);
        let servers = ClusterConfig::servers(url).unwrap();
        let config = ClusterConfig { servers, secret: Secret::new(SECRET), ca: None };
        let metrics = Arc::<Metrics>::default();
        let backplane = Arc::new(Backplane::new(metrics.clone()));
        let (changes, _) = watch::channel(0);
        let recorder = Arc::new(Recorder { seen: Mutex::default(), changes });
        let stop = CancellationToken::new();
        let run = backplane.clone().run(config, id, recorder.clone(), stop.clone());
        let task = tokio::spawn(run);
        Self { backplane, recorder, metrics, _guard: stop.clone().drop_guard(), stop, task, id }
    }

    /// Dies without a goodbye.
    fn kill(&self) {
        self.task.abort();
    }

    fn join(&self, room: &str, user: &str) {
        let id = UserId::new(user).unwrap();
        self.backplane.joined(&room.into(), &Arc::new(User { id, name: user.to_owned() }));
    }

    fn leave(&self, room: &str, user: &str) {
        self.backplane.left(&room.into(), &UserId::new(user).unwrap(), LeftReason::Left);
    }

    fn say(&self, room: &str, user: &str, text: &str, to: Option<&str>) -> Uuid {
        let id = Uuid::new_v4();
        let words = Words {
            kind: if to.is_some() { MessageType::Offer } else { MessageType::Chat },
            from: UserId::new(user).unwrap(),
            to: to.map(|to| UserId::new(to).unwrap()),
            data: format!("{{\"m\":\"{text}\"}}").into(),
            id: Some(id),
            seq: Some(1),
        };
        self.backplane.said(&room.into(), words).unwrap();
        id
    }

    /// Waits until what was heard from others is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) -> Duration {
        let started = Instant::now();
        let mut changes = self.recorder.changes.subscribe();
        let wait = async {
            while !is_so(&self.recorder.seen.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        };
        if timeout(DEADLINE, wait).await.is_err() {
            panic!("{:?} does not see that {what}: {:?}", self.id, self.recorder.seen);
        }
        started.elapsed()
    }

    async fn sees(&self, room: &str, users: &[&str]) -> Duration {
        let expected: BTreeSet<String> = users.iter().map(|&user| user.to_owned()).collect();
        self.until(&format!("{users:?} are in {room}"), |seen| {
            let there = seen.members.iter().filter(|((place, _), _)| place == room);
            there.flat_map(|(_, users)| users.clone()).collect::<BTreeSet<_>>() == expected
        })
        .await
    }

    async fn hears(&self, texts: &[&str]) {
        let expected: Vec<_> = texts.iter().map(|text| format!("{{\"m\":\"{text}\"}}")).collect();
        self.until(&format!("{texts:?} are said"), |seen| seen.said == expected).await;
    }
}

#[tokio::test]
async fn members_and_messages_of_one_server_reach_the_others() {
    let broker = Broker::start();
    let nodes = [1, 2, 3].map(|id| Node::start(&broker, id));
    for (node, user) in nodes.iter().zip(["ann", "bob", "cid"]) {
        node.join("hall", user);
    }
    nodes[2].join("yard", "cid");
    nodes[0].sees("hall", &["bob", "cid"]).await;
    nodes[1].sees("hall", &["ann", "cid"]).await;
    nodes[2].sees("hall", &["ann", "bob"]).await;

    let id = nodes[0].say("hall", "ann", "one", None);
    nodes[0].say("hall", "ann", "only bob", Some("bob"));
    nodes[0].say("hall", "ann", "two", None);
    nodes[1].hears(&["one", "only bob", "two"]).await;
    nodes[2].hears(&["one", "two"]).await;
    nodes[0].until("it is confirmed", |seen| seen.confirmed.contains(&id)).await;

    nodes[1].leave("hall", "bob");
    nodes[0].sees("hall", &["cid"]).await;
    nodes[0].say("hall", "ann", "three", None);
    nodes[2].hears(&["one", "two", "three"]).await;
    assert_eq!(nodes[1].recorder.seen.lock().unwrap().said.len(), 3);
}

#[tokio::test]
async fn a_server_that_says_goodbye_is_gone_at_once_and_one_that_dies_within_six_seconds() {
    let broker = Broker::start();
    let nodes = [1, 2, 3].map(|id| Node::start(&broker, id));
    for (node, user) in nodes.iter().zip(["ann", "bob", "cid"]) {
        node.join("hall", user);
    }
    nodes[0].sees("hall", &["bob", "cid"]).await;
    nodes[1].stop.cancel();
    assert!(nodes[0].sees("hall", &["cid"]).await < Duration::from_secs(2));
    nodes[2].kill();
    assert!(nodes[0].sees("hall", &[]).await < Duration::from_secs(6));
}

#[tokio::test]
async fn a_broker_that_dies_costs_nothing_that_was_acknowledged() {
    let mut broker = Broker::start();
    let nodes = [1, 2].map(|id| Node::start(&broker, id));
    nodes[0].join("hall", "ann");
    nodes[1].join("hall", "bob");
    nodes[0].sees("hall", &["bob"]).await;
    nodes[1].sees("hall", &["ann"]).await;
    broker.kill();
    let ids = ["one", "two", "three"].map(|text| nodes[0].say("hall", "ann", text, None));
    nodes[1].join("hall", "ben");
    // A room that nobody elsewhere is in notices nothing.
    nodes[0].join("cell", "ann");
    let alone = nodes[0].say("cell", "ann", "alone", None);
    nodes[0].until("it is confirmed", |seen| seen.confirmed.contains(&alone)).await;
    assert!(!nodes[0].recorder.seen.lock().unwrap().confirmed.contains(&ids[0]));

    broker.restart();
    let back = Instant::now();
    nodes[1].hears(&["one", "two", "three"]).await;
    nodes[0].sees("hall", &["ben", "bob"]).await;
    nodes[0].until("all is confirmed", |s| ids.iter().all(|id| s.confirmed.contains(id))).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    assert!(nodes.iter().all(|node| node.metrics.backplane.reconnects.get() == 1));
}

#[cfg(unix)]
#[tokio::test]
async fn after_a_long_silence_of_the_broker_rosters_agree_within_five_seconds() {
    let broker = Broker::start();
    let nodes = [1, 2].map(|id| Node::start(&broker, id));
    nodes[0].join("hall", "ann");
    nodes[1].join("hall", "bob");
    nodes[0].sees("hall", &["bob"]).await;
    nodes[1].sees("hall", &["ann"]).await;
    broker.freeze(true);
    nodes[0].sees("hall", &[]).await;
    nodes[1].sees("hall", &[]).await;
    nodes[1].join("hall", "ben");
    broker.freeze(false);
    let back = Instant::now();
    nodes[0].sees("hall", &["ben", "bob"]).await;
    nodes[1].sees("hall", &["ann"]).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_session_comes_from_the_server_that_has_it() {
    let broker = Broker::start();
    let nodes = [1, 2].map(|id| Node::start(&broker, id));
    nodes[0].join("hall", "ann");
    nodes[1].join("hall", "bob");
    nodes[0].sees("hall", &["bob"]).await;
    let claim = |node, token: &'static str| nodes[0].backplane.claim(NodeId(node), token, Some(7));
    assert_eq!(claim(2, "mine").await, Some(vec![7]));
    assert_eq!(claim(2, "another's").await, None);
    let asked = Instant::now();
    assert_eq!(claim(99, "mine").await, None);
    assert!(asked.elapsed() < Duration::from_millis(500), "nobody waits for a dead server");
}

#[tokio::test]
async fn whoever_reaches_the_broker_without_the_secret_can_do_nothing() {
    let broker = Broker::start();
    let nodes = [1, 2].map(|id| Node::start(&broker, id));
    nodes[0].join("hall", "ann");
    nodes[1].join("hall", "bob");
    nodes[0].sees("hall", &["bob"]).await;

    let keys = Keys::new(&Secret::new(SECRET));
    let foreign = Keys::new(&Secret::new("another secret of the length that is required"));
    let subject = keys.subject(server::backplane::seal::Topic::All);
    let bye = server::backplane::packet::Packet::Bye.to_bytes();
    let forged = foreign.of_node(NodeId(2)).seal(1 << 40, &subject, &bye);
    let mut lines = Vec::new();
    for payload in [&b""[..], b"rubbish", &forged, &[0; 100_000]] {
        lines.extend(format!("PUB {subject} {}\r\n", payload.len()).into_bytes());
        lines.extend(payload);
        lines.extend(b"\r\n");
    }
    broker.inject(&lines);
    nodes[1].say("hall", "bob", "still here", None);
    nodes[0].hears(&["still here"]).await;
    nodes[0].sees("hall", &["bob"]).await;
    assert_eq!(nodes[0].metrics.backplane.refused.get(), 4);
}

#[tokio::test]
async fn a_broker_with_a_password_lets_in_who_knows_it() {
    let broker = Broker::start_with(&["--user", "meet", "--pass", "s3cret"]);
    let with = broker.url().replace("nats://", "nats://meet:s3cret@");
    let nodes = [1, 2].map(|id| Node::start_at(&with, id));
    nodes[0].join("hall", "ann");
    nodes[1].join("hall", "bob");
    nodes[0].sees("hall", &["bob"]).await;
    let stranger = Node::start(&broker, 3);
    stranger.join("hall", "cid");
    let alone = stranger.say("hall", "cid", "alone", None);
    stranger.until("it goes on alone", |seen| seen.confirmed.contains(&alone)).await;
    nodes[0].sees("hall", &["bob"]).await;
}
