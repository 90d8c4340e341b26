//! Histories of people who come and go on three servers, while servers and the broker die; drawn
//! from seeds, judged at the end.
//!
//! `HISTORIES=200 SEED=7 cargo test --test cluster histories -- --nocapture` runs 200 from seed 7
//! on; so does `./dev histories 200 7`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::broker::Broker;
use crate::house::{Mind, Person, Server};

const PEOPLE: usize = 6;
const ROOMS: [&str; 2] = ["hall", "yard"];
const STEPS: usize = 90;
/// How long after the last incident all must agree: six seconds for the dead, and five for those
/// whose connections were lost at the same time.
const AGREED: Duration = Duration::from_secs(8);

/// How long somebody who stays may take to read what has arrived: who leaves or loses the connection
/// in that time may miss it.
const READ: Duration = Duration::from_millis(500);

/// SplitMix64: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// When somebody was surely in a room on one connection.
#[derive(Debug, Default)]
struct Stays(BTreeMap<(usize, &'static str), Vec<(Instant, Instant)>>);

struct History {
    dice: Dice,
    broker: Broker,
    broker_lives: bool,
    servers: Vec<Option<Server>>,
    people: Vec<Person>,
    at: Vec<Option<usize>>,
    wanted: Vec<BTreeSet<&'static str>>,
    stays: Stays,
    folder: tempfile::TempDir,
}

impl History {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start();
        let servers: Vec<_> = (0..3).map(|_| Some(Server::start(&broker, folder.path()))).collect();
        let address = servers[0].as_ref().unwrap().address;
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            people.push(Person::new("somebody", address).await);
        }
        Self {
            dice: Dice(seed),
            broker,
            broker_lives: true,
            servers,
            people,
            at: vec![None; PEOPLE],
            wanted: vec![BTreeSet::new(); PEOPLE],
            stays: Stays::default(),
            folder,
        }
    }

    fn living(&mut self) -> Option<usize> {
        let living: Vec<_> = (0..3).filter(|index| self.servers[*index].is_some()).collect();
        (!living.is_empty()).then(|| living[self.dice.below(living.len())])
    }

    /// What ends now was sure until now.
    fn end_stays(&mut self, who: usize, rooms: impl IntoIterator<Item = &'static str>) {
        let mind = self.people[who].mind.lock().unwrap();
        for room in rooms {
            if let Some(since) = mind.since.get(room) {
                self.stays.0.entry((who, room)).or_default().push((*since, Instant::now()));
            }
        }
    }

    async fn connect(&mut self, who: usize) {
        let Some(to) = self.living() else { return };
        self.end_stays(who, ROOMS);
        let address = self.servers[to].as_ref().unwrap().address;
        self.at[who] = Some(to);
        self.people[who].connect(address).await;
    }

    async fn step(&mut self) {
        let who = self.dice.below(PEOPLE);
        let room = ROOMS[self.dice.below(ROOMS.len())];
        match self.dice.below(30) {
            0..=12 => {
                self.people[who].chat(room).await;
            }
            13..=16 => {
                self.wanted[who].insert(room);
                self.people[who].join(room).await;
            }
            17 => {
                self.end_stays(who, [room]);
                self.wanted[who].remove(room);
                self.people[who].leave(room).await;
            }
            18 => {
                self.end_stays(who, ROOMS);
                self.people[who].cut().await;
                self.at[who] = None;
            }
            19..=20 => self.connect(who).await,
            21 => self.kill_or_start_server().await,
            22 => self.kill_or_start_broker(),
            _ => {}
        }
        // Whoever has lost the connection comes back, to any server.
        for who in 0..PEOPLE {
            let lost = self.at[who].is_some_and(|at| self.servers[at].is_none());
            if lost || (self.at[who].is_none() && self.dice.below(4) == 0) {
                self.connect(who).await;
            }
        }
        sleep(Duration::from_millis(self.dice.below(60) as u64)).await;
    }

    async fn kill_or_start_server(&mut self) {
        let index = self.dice.below(3);
        match self.servers[index].take() {
            Some(mut server) => {
                for who in 0..PEOPLE {
                    if self.at[who] == Some(index) {
                        self.end_stays(who, ROOMS);
                    }
                }
                server.kill();
            }
            None => self.servers[index] = Some(Server::start(&self.broker, self.folder.path())),
        }
    }

    fn kill_or_start_broker(&mut self) {
        if self.broker_lives {
            self.broker.kill();
        } else {
            self.broker.restart();
        }
        self.broker_lives = !self.broker_lives;
    }

    /// All is whole again, and everybody is there.
    async fn end(&mut self) {
        if !self.broker_lives {
            self.kill_or_start_broker();
        }
        for index in 0..3 {
            if self.servers[index].is_none() {
                self.servers[index] = Some(Server::start(&self.broker, self.folder.path()));
            }
        }
        for who in 0..PEOPLE {
            if !self.people[who].mind.lock().unwrap().connected {
                self.connect(who).await;
            }
        }
        for person in &self.people {
            person.until("it is welcomed", |mind| mind.connected).await;
        }
        let whole = Instant::now();
        for (who, person) in self.people.iter().enumerate() {
            for room in &self.wanted[who] {
                let inside = (0..PEOPLE).filter(|other| self.wanted[*other].contains(room));
                let inside: Vec<&Person> = inside.map(|other| &self.people[other]).collect();
                person.sees(room, &inside).await;
            }
        }
        assert!(whole.elapsed() < AGREED, "rosters agreed after {:?}", whole.elapsed());
        for who in 0..PEOPLE {
            self.end_stays(who, ROOMS);
        }
    }

    /// Whether the promises were kept; how many messages were acknowledged.
    fn judge(&self) -> (usize, Vec<String>) {
        let minds: Vec<_> = self.people.iter().map(|person| person.mind.lock().unwrap()).collect();
        let mut faults: Vec<String> = minds.iter().flat_map(|mind| mind.faults.clone()).collect();
        let mut acknowledged = 0;
        for mind in &minds {
            faults.extend(out_of_order(mind, &minds));
        }
        for sender in &minds {
            for (id, letter) in &sender.letters {
                let Some(acked) = letter.acked else { continue };
                acknowledged += 1;
                for (who, receiver) in minds.iter().enumerate() {
                    let stays = self
                        .stays
                        .0
                        .iter()
                        .filter(|((owner, room), _)| *owner == who && **room == *letter.room);
                    let mut stays = stays.flat_map(|(_, stays)| stays);
                    let throughout =
                        stays.any(|(from, to)| *from < letter.sent && *to > acked + READ);
                    let owed = throughout && letter.owed.contains(&receiver.user);
                    if owed && !receiver.heard.iter().any(|(_, _, other)| other == id) {
                        faults
                            .push(format!("{} lacks {id}, which was acknowledged", receiver.user));
                    }
                }
            }
        }
        (acknowledged, faults)
    }
}

/// What one person heard twice, or in another order than it was said. A session that began anew
/// may hear again what it or the sender had lost with a server; its ids tell.
fn out_of_order(mind: &Mind, all: &[impl std::ops::Deref<Target = Mind>]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (room, from, id) in &mind.heard {
        if !seen.insert(id) {
            let sender = all.iter().find(|other| other.user == *from);
            // The first welcome of each is no loss.
            let lost = |mind: &Mind| mind.anew.len() > 1;
            if !lost(mind) && !sender.is_some_and(|sender| lost(sender)) {
                faults.push(format!("{} heard {id} twice", mind.user));
            }
            continue;
        }
        let before = last.insert((room.as_str(), from.as_str()), id.as_str());
        // Ids of one sender go up.
        if before.is_some_and(|before| before > id.as_str()) {
            faults.push(format!("{} heard {id} after {before:?}", mind.user));
        }
    }
    faults
}

#[tokio::test]
async fn histories_keep_the_promises() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (setting("SEED").unwrap_or(1), setting("HISTORIES").unwrap_or(2));
    for seed in first..first + count {
        println!("history {seed}");
        let mut history = History::new(seed).await;
        for who in 0..PEOPLE {
            history.connect(who).await;
            for room in ROOMS {
                history.wanted[who].insert(room);
                history.people[who].join(room).await;
            }
        }
        for _ in 0..STEPS {
            history.step().await;
        }
        history.end().await;
        let (acknowledged, faults) = history.judge();
        assert!(faults.is_empty(), "history {seed}: {faults:#?}");
        assert!(acknowledged > 0, "history {seed}: nothing was acknowledged");
        println!("history {seed}: {acknowledged} acknowledged");
    }
}
