//! A cluster in virtual time: servers that crash, a carrier that loses, repeats, delays and
//! reorders, partitions that come and go. Thousands of seeds; a failure names its own.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;
use wire::{LeftReason, MessageType, UserId};

use super::NodeId;
use super::cluster::{Cluster, Input, Output, Random, TICK};
use super::packet::{Packet, RoomKey, Words};
use super::seal::Topic;
use crate::auth::User;

const PLACES: [&str; 2] = ["hall", "yard"];
const HOSTS: usize = 3;
/// Marks the ids of directed messages in [`World::pending`].
const DIRECTED: u128 = 1 << 127;
const USERS_PER_HOST: usize = 3;

type Roster = BTreeSet<String>;

/// What can go wrong between servers.
#[derive(Debug, Clone, Copy)]
struct Carrier {
    /// Of 100 packets.
    lost: u64,
    /// Of 100 packets.
    repeated: u64,
    delay_ms: u64,
}

const CALM: Carrier = Carrier { lost: 0, repeated: 0, delay_ms: 5 };

/// One server with its rooms as the relay would have them.
struct Host {
    node: NodeId,
    alive: bool,
    cluster: Cluster,
    numbers: u64,
    subscribed: HashSet<RoomKey>,
    local: HashMap<&'static str, BTreeSet<String>>,
    remote: HashMap<(String, NodeId), BTreeSet<String>>,
}

/// A message that wants to be acknowledged.
struct Pending {
    /// Whom the sender's server listed, and who were there, when it was said; those who leave or
    /// lose sight of one another are struck out.
    owed: BTreeSet<(usize, String)>,
    number: u64,
}

struct World {
    seed: u64,
    random: Random,
    start: Instant,
    now: Instant,
    hosts: Vec<Host>,
    flying: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    packets: HashMap<u64, (NodeId, u64, Packet)>,
    next_packet: u64,
    carrier: Carrier,
    /// Pairs that don't reach each other.
    cut: HashSet<(usize, usize)>,
    /// What each user got in a room from each sender: the sender's numbers.
    got: HashMap<(usize, String, String, String), Vec<u64>>,
    said: u64,
    pending: HashMap<Uuid, (&'static str, String, Pending)>,
    confirmed: usize,
    gave_up: usize,
    dead: Vec<(NodeId, Instant)>,
    next_node: u64,
}

fn key(place: &str) -> RoomKey {
    RoomKey(place.bytes().fold(7, |key, byte| key * 257 + u128::from(byte)))
}

fn user(id: &str) -> Arc<User> {
    Arc::new(User { id: UserId::new(id).unwrap(), name: id.to_owned() })
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            seed,
            random: Random(seed),
            start: now,
            now,
            hosts: Vec::new(),
            flying: BinaryHeap::new(),
            packets: HashMap::new(),
            next_packet: 0,
            carrier: CALM,
            cut: HashSet::new(),
            got: HashMap::new(),
            said: 0,
            pending: HashMap::new(),
            confirmed: 0,
            gave_up: 0,
            dead: Vec::new(),
            next_node: 1,
        };
        for _ in 0..HOSTS {
            let host = world.new_host();
            world.hosts.push(host);
        }
        world
    }

    fn new_host(&mut self) -> Host {
        let node = NodeId(self.next_node);
        self.next_node += 1;
        Host {
            node,
            alive: true,
            cluster: Cluster::new(node, self.random.next()),
            numbers: 0,
            subscribed: HashSet::new(),
            local: HashMap::new(),
            remote: HashMap::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next() % bound
    }

    fn input(&mut self, host: usize, input: Input) {
        let mut out = Vec::new();
        let now = self.now;
        self.hosts[host].cluster.handle(input, now, &mut out);
        self.hosts[host].cluster.flush(&mut out);
        for output in out {
            self.output(host, output);
        }
    }

    fn output(&mut self, host: usize, output: Output) {
        match output {
            Output::Publish(topic, packet) => self.publish(host, topic, &packet),
            Output::Ask(..) => panic!("questions are collected"),
            Output::Subscribe(room) => {
                self.hosts[host].subscribed.insert(room);
            }
            Output::Unsubscribe(room) => {
                self.hosts[host].subscribed.remove(&room);
            }
            Output::Members { room, node, users } => {
                let users: BTreeSet<_> = users.iter().map(|user| user.id.to_string()).collect();
                let before =
                    self.hosts[host].remote.insert((room.to_string(), node), users.clone());
                for lost in before.unwrap_or_default().difference(&users) {
                    self.strike(host, node, lost);
                }
            }
            Output::Joined { room, node, user } => {
                let place = (room.to_string(), node);
                self.hosts[host].remote.entry(place).or_default().insert(user.id.to_string());
            }
            Output::Left { room, node, user, .. } => {
                let place = (room.to_string(), node);
                self.hosts[host].remote.entry(place).or_default().remove(user.as_str());
                self.strike(host, node, user.as_str());
            }
            Output::Said { room, words } => self.deliver(host, &room, &words),
            Output::Confirmed { ticket, .. } => self.confirm(ticket.id),
            Output::GaveUp(count) => self.gave_up += count,
            Output::Met(_) | Output::Session(..) | Output::Surrender(..) => {}
            Output::Gone(node) => {
                self.hosts[host].remote.retain(|(_, other), _| *other != node);
                // Whoever lost sight of somebody was not connected throughout.
                if let Some(other) = self.hosts.iter().position(|host| host.node == node) {
                    for (_, sender, pending) in self.pending.values_mut() {
                        let sender_host = host_of(sender);
                        pending.owed.retain(|(at, _)| {
                            !((*at == other && sender_host == host)
                                || (*at == host && sender_host == other))
                        });
                    }
                }
            }
        }
    }

    /// A user left, or this host believes so.
    fn strike(&mut self, host: usize, node: NodeId, user: &str) {
        let Some(other) = self.hosts.iter().position(|host| host.node == node) else { return };
        for (_, sender, pending) in self.pending.values_mut() {
            if host_of(sender) == host {
                pending.owed.remove(&(other, user.to_owned()));
            }
            if host_of(sender) == other && sender == user {
                pending.owed.retain(|(at, _)| *at != host);
            }
        }
    }

    fn publish(&mut self, from: usize, topic: Topic, packet: &Packet) {
        // What goes over the wire is what the receiver reads.
        let packet =
            Packet::from_bytes(&packet.to_bytes()).expect("our own packets are well-formed");
        self.hosts[from].numbers += 1;
        let (node, number) = (self.hosts[from].node, self.hosts[from].numbers);
        for to in 0..self.hosts.len() {
            let host = &self.hosts[to];
            let hears = match topic {
                Topic::All => true,
                Topic::Node(node) => host.node == node,
                Topic::Room(room) => host.subscribed.contains(&room),
            };
            if !hears || to == from || self.cut.contains(&(from, to)) {
                continue;
            }
            let copies = u64::from(self.below(100) >= self.carrier.lost)
                + u64::from(self.below(100) < self.carrier.repeated);
            for _ in 0..copies {
                let delay = Duration::from_micros(self.below(self.carrier.delay_ms * 1_000) + 1);
                self.next_packet += 1;
                let at = self.now - self.start + delay;
                self.flying.push(Reverse((at, self.next_packet, to)));
                self.packets.insert(self.next_packet, (node, number, packet.clone()));
            }
        }
    }

    fn deliver(&mut self, host: usize, room: &str, words: &Words) {
        if words.is_fleeting() {
            return;
        }
        let number: u64 = words.data[5..words.data.len() - 1].parse().unwrap();
        let locals = self.hosts[host].local.get(room).cloned().unwrap_or_default();
        for local in locals {
            if words.to.as_ref().is_some_and(|to| to.as_str() != local) {
                continue;
            }
            let from = words.from.to_string();
            let log =
                self.got.entry((host, local.clone(), room.to_owned(), from.clone())).or_default();
            assert!(
                log.last().is_none_or(|last| *last < number),
                "seed {}: {local} got {number} of {from} after {log:?}",
                self.seed
            );
            log.push(number);
        }
    }

    fn confirm(&mut self, id: Uuid) {
        if let Some(pending) = self.pending.remove(&id) {
            self.confirmed += 1;
            self.check_delivered(pending);
        }
    }

    /// Signals have no acknowledgement, but they must arrive, too.
    fn check_directed(&mut self) {
        for (id, pending) in std::mem::take(&mut self.pending) {
            if id.as_u128() & DIRECTED != 0 {
                self.check_delivered(pending);
            }
        }
    }

    fn check_delivered(&self, (place, sender, pending): (&'static str, String, Pending)) {
        for (host, user) in pending.owed {
            let log = self.got.get(&(host, user.clone(), place.to_owned(), sender.clone()));
            assert!(
                log.is_some_and(|log| log.contains(&pending.number)),
                "seed {}: {user} on {host} lacks {} of {sender}",
                self.seed,
                pending.number
            );
        }
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let tick = self.now + TICK;
            while let Some(Reverse((at, packet, to))) = self.flying.peek().copied() {
                if self.start + at > tick {
                    break;
                }
                self.flying.pop();
                self.now = self.now.max(self.start + at);
                let (from, number, packet) = self.packets.remove(&packet).unwrap();
                if self.hosts[to].alive {
                    self.input(to, Input::Packet(from, number, packet));
                }
            }
            self.now = tick;
            for host in 0..self.hosts.len() {
                if self.hosts[host].alive {
                    self.input(host, Input::Tick);
                }
            }
            self.check_the_dead();
        }
    }

    fn check_the_dead(&self) {
        for (node, died) in &self.dead {
            if self.now >= *died + Duration::from_secs(6) {
                for host in self.hosts.iter().filter(|host| host.alive) {
                    let ghosts = host.remote.iter().filter(|((_, other), _)| other == node);
                    let ghosts: usize = ghosts.map(|(_, users)| users.len()).sum();
                    assert_eq!(ghosts, 0, "seed {}: the dead are still listed", self.seed);
                }
            }
        }
    }

    fn act(&mut self) {
        let host = self.below(HOSTS as u64) as usize;
        if !self.hosts[host].alive {
            return;
        }
        let place = PLACES[self.below(PLACES.len() as u64) as usize];
        let name = format!("{host}-{}", self.below(USERS_PER_HOST as u64));
        let sits = self.hosts[host].local.get(place).is_some_and(|users| users.contains(&name));
        match self.below(10) {
            0..=2 if !sits => self.join(host, place, &name),
            0 if sits => self.leave(host, place, &name),
            1..=7 if sits => self.say(host, place, &name, None),
            8 if sits => {
                let other = self.below(HOSTS as u64);
                let other = format!("{other}-{}", self.below(USERS_PER_HOST as u64));
                self.say(host, place, &name, Some(other));
            }
            9 if sits => self.fleet(host, place, &name),
            _ => {}
        }
    }

    fn join(&mut self, host: usize, place: &'static str, name: &str) {
        let is_open = self.hosts[host].local.get(place).is_some_and(|users| !users.is_empty());
        if !is_open {
            // The relay keeps nobody for a room without members of its own.
            self.hosts[host].remote.retain(|(room, _), _| room != place);
        }
        self.hosts[host].local.entry(place).or_default().insert(name.to_owned());
        for ((at, who, room, _), log) in &mut self.got {
            // Somebody who comes back may be told again what was said while being away.
            if (*at, who.as_str(), room.as_str()) == (host, name, place) {
                log.clear();
            }
        }
        self.input(host, Input::Joined(place.into(), key(place), user(name)));
    }

    fn leave(&mut self, host: usize, place: &'static str, name: &str) {
        self.hosts[host].local.entry(place).or_default().remove(name);
        for (at, _, pending) in self.pending.values_mut() {
            if *at == place {
                pending.owed.remove(&(host, name.to_owned()));
            }
        }
        let id = UserId::new(name).unwrap();
        let why = if self.below(2) == 0 { LeftReason::Left } else { LeftReason::Lost };
        self.input(host, Input::Left(key(place), id, why));
    }

    fn words(&mut self, kind: MessageType, name: &str) -> Words {
        self.said += 1;
        let data = format!("{{\"n\":{}}}", self.said).into();
        Words { kind, from: UserId::new(name).unwrap(), to: None, data, id: None, seq: None }
    }

    fn say(&mut self, host: usize, place: &'static str, name: &str, to: Option<String>) {
        let kind = if to.is_some() { MessageType::Offer } else { MessageType::Chat };
        let words = self.words(kind, name);
        let number = self.said;
        let words = match to {
            Some(to) => Words { to: Some(UserId::new(to).unwrap()), ..words },
            None => Words { id: Some(Uuid::from_u128(number.into())), ..words },
        };
        let id = words.id.unwrap_or(Uuid::from_u128(DIRECTED | u128::from(number)));
        let to = words.to.as_ref().map(UserId::as_str);
        let mut owed = BTreeSet::new();
        for other in 0..self.hosts.len() {
            let node = self.hosts[other].node;
            let listed = self.hosts[host].remote.get(&(place.to_owned(), node));
            let listed = listed.into_iter().flatten();
            for listed in listed.filter(|listed| to.is_none_or(|to| to == *listed)) {
                let there = self.hosts[other].alive
                    && self.hosts[other].local.get(place).is_some_and(|l| l.contains(listed));
                if there {
                    owed.insert((other, listed.clone()));
                }
            }
        }
        self.pending.insert(id, (place, name.to_owned(), Pending { owed, number }));
        self.input(host, Input::Said(key(place), words));
    }

    fn fleet(&mut self, host: usize, place: &'static str, name: &str) {
        let words = self.words(MessageType::Typing, name);
        self.input(host, Input::Said(key(place), words));
    }

    fn crash(&mut self, host: usize) {
        let node = self.hosts[host].node;
        self.hosts[host].alive = false;
        self.hosts[host].local.clear();
        self.dead.push((node, self.now));
        for (_, sender, pending) in self.pending.values_mut() {
            pending.owed.retain(|(at, _)| *at != host);
            if host_of(sender) == host {
                pending.owed.clear();
            }
        }
    }

    fn restart(&mut self, host: usize) {
        self.got.retain(|(at, ..), _| *at != host);
        self.hosts[host] = self.new_host();
        self.input(host, Input::Connected);
    }

    fn rosters(&self, place: &str) -> (Roster, Vec<(usize, Roster)>) {
        let alive = || self.hosts.iter().enumerate().filter(|(_, host)| host.alive);
        let locals = |host: &Host| host.local.get(place).cloned().unwrap_or_default();
        let truth: Roster = alive().flat_map(|(_, host)| locals(host)).collect();
        let open = alive().filter(|(_, host)| !locals(host).is_empty());
        let seen = open.map(|(index, host)| {
            let remote = host.remote.iter().filter(|((room, _), _)| room == place);
            let remote = remote.flat_map(|(_, users)| users.iter().cloned());
            (index, locals(host).into_iter().chain(remote).collect())
        });
        (truth, seen.collect())
    }

    fn check_rosters(&self) {
        for place in PLACES {
            let (truth, seen) = self.rosters(place);
            for (host, roster) in seen {
                assert_eq!(roster, truth, "seed {}: host {host} in {place}", self.seed);
            }
        }
    }
}

fn host_of(user: &str) -> usize {
    user.split('-').next().unwrap().parse().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One history: trouble for a while, then calm, after which all must agree.
fn history(seed: u64) -> (usize, usize) {
    let mut world = World::new(seed);
    for host in 0..HOSTS {
        world.input(host, Input::Connected);
    }
    world.run(ms(300));
    let trouble = seed % 4;
    for _ in 0..60 {
        world.act();
        let pause = world.below(300) + 1;
        world.run(ms(pause));
        match (trouble, world.below(12)) {
            (1, 0) => world.carrier = Carrier { lost: 15, repeated: 10, delay_ms: 60 },
            (1 | 2, 1) => world.carrier = CALM,
            (2, 0) => {
                let (one, two) = (world.below(3) as usize, world.below(3) as usize);
                world.cut.insert((one, two));
                if world.below(2) == 0 {
                    world.cut.insert((two, one));
                }
            }
            (2, 2) => world.cut = (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).collect(),
            (2, 3 | 4) => world.cut.clear(),
            (3, 0) => {
                let host = world.below(3) as usize;
                if world.hosts[host].alive {
                    world.crash(host);
                } else {
                    world.restart(host);
                }
            }
            _ => {}
        }
    }
    world.carrier = CALM;
    world.cut.clear();
    for host in 0..HOSTS {
        if world.hosts[host].alive {
            world.input(host, Input::Connected);
        }
    }
    let crashed = world.dead.iter().any(|(_, died)| world.now < *died + ms(6_000));
    world.run(if crashed { ms(6_500) } else { ms(5_000) });
    world.check_rosters();
    world.run(ms(15_000));
    world.check_rosters();
    world.check_directed();
    for host in &world.hosts {
        assert!(!host.alive || host.cluster.is_settled(), "seed {seed}: something still waits");
    }
    (world.confirmed, world.gave_up)
}

#[test]
fn histories_end_with_equal_rosters_and_nothing_acknowledged_is_lost() {
    let seeds =
        std::env::var("VIRTUAL_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let first = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (mut confirmed, mut gave_up) = (0, 0);
    for seed in first..first + seeds {
        let (more, less) = history(seed);
        confirmed += more;
        gave_up += less;
    }
    // A test in which nothing happens proves nothing.
    assert!(confirmed as u64 > seeds * 2, "{confirmed} confirmed, {gave_up} given up");
}
