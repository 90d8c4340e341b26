//! Whole meetings in virtual time: several meshes, a network with random delays, and connections
//! that know only the rules of offer and answer.

use super::*;

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn member(id: &str) -> Member {
    Member { id: user(id), username: id.to_uppercase() }
}

/// A small generator; the seed decides the whole run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What a real connection would be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Signaling {
    #[default]
    Stable,
    HaveLocalOffer,
}

/// A connection: counts as complete once each side's things went through an offer or answer.
#[derive(Debug, Default)]
struct Engine {
    signaling: Signaling,
    described: bool,
    /// How many things we show, and how many of them are negotiated.
    shows: u32,
    negotiated: u32,
    /// What the offer under way contains.
    offered: u32,
    /// The number of the newest offer; its answer carries it, too.
    number: u32,
}

impl Engine {
    fn run(&mut self, op: &Op) -> Result<Described, ()> {
        let sdp = match op {
            Op::Offer { rollback, .. } => {
                assert_eq!(*rollback, self.signaling == Signaling::HaveLocalOffer, "offer");
                self.signaling = Signaling::HaveLocalOffer;
                self.offered = self.shows;
                self.number += 1;
                format!("offer {}", self.number)
            }
            Op::AcceptOffer { sdp, rollback } => {
                assert_eq!(*rollback, self.signaling == Signaling::HaveLocalOffer, "accept offer");
                self.signaling = Signaling::Stable;
                let Some(number) = sdp.strip_prefix("offer ") else { return Err(()) };
                self.described = true;
                // An answer has room for one thing; the rest needs an own offer.
                self.negotiated = self.negotiated.max(self.shows.min(1));
                format!("answer {number}")
            }
            Op::AcceptAnswer { sdp } => {
                assert_eq!(self.signaling, Signaling::HaveLocalOffer, "accept answer");
                let Some(number) = sdp.strip_prefix("answer ") else { return Err(()) };
                assert_eq!(number, self.number.to_string(), "the answer to another offer");
                self.described = true;
                self.signaling = Signaling::Stable;
                self.negotiated = self.offered;
                String::new()
            }
            Op::Candidate(_) => {
                assert!(self.described, "a candidate before any description");
                return Err(());
            }
        };
        Ok(Described { sdp, incomplete: self.negotiated < self.shows })
    }
}

/// One client, ours or an old one.
struct Client {
    mesh: Mesh,
    engines: BTreeMap<(UserId, u64), Engine>,
    states: BTreeMap<UserId, PeerState>,
    /// An old web client: overhears offers that follow its answer (or offer) too closely.
    deaf_after_answer: Option<Duration>,
    answered: BTreeMap<UserId, Instant>,
}

enum Happening {
    Deliver { to: UserId, input: Input },
    Tick { client: UserId },
}

struct World {
    now: Instant,
    random: Random,
    clients: BTreeMap<UserId, Client>,
    /// Ordered by time, then by order of creation.
    happenings: BTreeMap<(Instant, u64), Happening>,
    count: u64,
    /// Each pair's messages keep their order, as on a socket.
    last: BTreeMap<(UserId, UserId), Instant>,
    /// No message takes longer, in milliseconds.
    slowest: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            clients: BTreeMap::new(),
            happenings: BTreeMap::new(),
            count: 0,
            last: BTreeMap::new(),
            slowest: 120,
        }
    }

    fn join(&mut self, id: &str, deaf_after_answer: Option<Duration>) {
        let client = Client {
            mesh: Mesh::new(user(id)),
            engines: BTreeMap::new(),
            states: BTreeMap::new(),
            deaf_after_answer,
            answered: BTreeMap::new(),
        };
        self.clients.insert(user(id), client);
        self.announce();
    }

    fn leave(&mut self, id: &str) {
        self.clients.remove(&user(id));
        self.announce();
    }

    fn announce(&mut self) {
        let members: Vec<Member> = self.clients.keys().map(|id| member(id.as_str())).collect();
        for to in self.clients.keys().cloned().collect::<Vec<_>>() {
            self.send(&user("server"), &to, Input::Roster(members.clone()));
        }
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.happenings.insert((at, self.count), happening);
    }

    fn send(&mut self, from: &UserId, to: &UserId, input: Input) {
        let delay = Duration::from_millis(1 + self.random.below(self.slowest));
        let last = self.last.entry((from.clone(), to.clone())).or_insert(self.now);
        let at = (self.now + delay).max(*last);
        *last = at;
        self.schedule(at, Happening::Deliver { to: to.clone(), input });
    }

    fn input(&mut self, id: &UserId, input: Input) {
        let mut out = Vec::new();
        let Some(client) = self.clients.get_mut(id) else { return };
        if let (Some(deaf), Input::Offer { from, .. }) = (client.deaf_after_answer, &input)
            && client.answered.get(from).is_some_and(|at| self.now < *at + deaf)
        {
            return;
        }
        client.mesh.handle(input, self.now, &mut out);
        for output in out {
            self.output(id, output);
        }
        if let Some(at) = self.clients.get(id).and_then(|client| client.mesh.deadline()) {
            let at = at.max(self.now);
            self.schedule(at, Happening::Tick { client: id.clone() });
        }
    }

    fn output(&mut self, id: &UserId, output: Output) {
        let client = self.clients.get_mut(id).expect("only clients that are here do something");
        match output {
            Output::Open { peer, generation, creates_channel } => {
                assert_eq!(creates_channel, *id < peer);
                let engine = Engine { shows: 2, ..Engine::default() };
                client.engines.insert((peer, generation), engine);
            }
            Output::Close { peer, generation } => {
                client.engines.remove(&(peer, generation)).expect("it was open");
            }
            Output::State { peer, state } => {
                client.states.insert(peer, state);
            }
            Output::Full { .. } => {}
            Output::Run { peer, generation, op } => {
                let engine = client.engines.get_mut(&(peer.clone(), generation)).expect("open");
                let result = engine.run(&op);
                let connected = engine.described && engine.signaling == Signaling::Stable;
                if matches!(op, Op::Candidate(_)) {
                    return;
                }
                let delay = Duration::from_millis(self.random.below(40));
                let done = Input::Done { peer: peer.clone(), generation, result };
                let at = self.now + delay;
                self.schedule(at, Happening::Deliver { to: id.clone(), input: done });
                if connected {
                    let input = Input::Link { peer, generation, link: Link::Connected };
                    self.schedule(at, Happening::Deliver { to: id.clone(), input });
                } else {
                    let candidate = "{}".to_owned();
                    let input = Input::LocalCandidate { peer, generation, candidate };
                    self.schedule(at, Happening::Deliver { to: id.clone(), input });
                }
            }
            Output::Send(message) => {
                let from = id.clone();
                let (to, input) = match message {
                    ClientMessage::Offer { sdp, to } => (to, Input::Offer { from, sdp }),
                    ClientMessage::Answer { sdp, to } => {
                        client.answered.insert(to.clone(), self.now);
                        (to, Input::Answer { from, sdp })
                    }
                    ClientMessage::IceCandidate { candidate, to } => {
                        (to, Input::Candidate { from, candidate })
                    }
                    other => panic!("the mesh says only signals, not {other:?}"),
                };
                self.send(id, &to, input);
            }
        }
    }

    /// A client shows something new to everybody.
    fn changed(&mut self, id: &UserId) {
        for (peer, generation) in self.clients[id].engines.keys().cloned().collect::<Vec<_>>() {
            self.input(id, Input::Changed { peer, generation });
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(entry) = self.happenings.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            match happening {
                Happening::Deliver { to, input } => self.input(&to, input),
                Happening::Tick { client } => self.input(&client, Input::Tick),
            }
        }
        self.now = end;
    }

    /// Everybody is connected to everybody, and everything is negotiated.
    fn assert_complete(&self, seed: u64) {
        for (id, client) in &self.clients {
            assert_eq!(client.engines.len(), self.clients.len() - 1, "seed {seed}");
            for ((peer, _), engine) in &client.engines {
                assert_eq!(engine.signaling, Signaling::Stable, "seed {seed}: {id} with {peer}");
                assert_eq!(engine.negotiated, engine.shows, "seed {seed}: {id} with {peer}");
                assert_eq!(client.states[peer], PeerState::Connected, "seed {seed}");
            }
        }
    }
}

#[test]
fn any_two_find_each_other_whatever_the_delays() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        world.join("a", None);
        world.run_for(Duration::from_millis(seed % 50));
        world.join("b", None);
        world.run_for(Duration::from_secs(20));
        world.assert_complete(seed);
    }
}

#[test]
fn eight_people_with_changes_all_the_time_end_up_complete() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        for id in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            world.join(id, None);
            let pause = Duration::from_millis(world.random.below(400));
            world.run_for(pause);
        }
        for _ in 0..20 {
            let index = world.random.below(8) as usize;
            let id = world.clients.keys().nth(index).unwrap().clone();
            let client = world.clients.get_mut(&id).unwrap();
            client.engines.values_mut().for_each(|engine| engine.shows += 1);
            world.changed(&id);
            let pause = Duration::from_millis(world.random.below(600));
            world.run_for(pause);
        }
        world.run_for(Duration::from_secs(30));
        world.assert_complete(seed);
    }
}

#[test]
fn answers_that_come_late_still_fit() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        world.slowest = 1_900;
        world.join("a", None);
        world.join("b", None);
        world.run_for(Duration::from_secs(60));
        world.assert_complete(seed);
    }
}

#[test]
fn an_offer_that_nobody_hears_is_repeated_word_for_word() {
    let (mut mesh, mut out, mut now) = (Mesh::new(user("a")), Vec::new(), Instant::now());
    mesh.handle(Input::Roster(vec![member("a"), member("b")]), now, &mut out);
    let Some(Output::Run { generation, .. }) = out.last().cloned() else { panic!("{out:?}") };
    let described = Described { sdp: "offer 1".to_owned(), incomplete: false };
    let done = Input::Done { peer: user("b"), generation, result: Ok(described) };
    mesh.handle(done, now, &mut out);
    for pause in [2_500, 5_000, 10_000, 20_000, 20_000] {
        out.clear();
        let due = mesh.deadline().unwrap();
        assert_eq!(due - now, Duration::from_millis(pause));
        now = due;
        mesh.handle(Input::Tick, now, &mut out);
        let again = ClientMessage::Offer { sdp: "offer 1".to_owned(), to: user("b") };
        assert_eq!(out, [Output::Send(again)]);
    }
}

#[test]
fn an_old_client_that_overhears_offers_is_reached() {
    for seed in 0..200 {
        for (ours, old) in [("a", "b"), ("b", "a")] {
            let mut world = World::new(seed);
            world.join(old, Some(Duration::from_millis(300)));
            world.run_for(Duration::from_millis(seed));
            world.join(ours, None);
            world.run_for(Duration::from_secs(20));
            world.assert_complete(seed);
        }
    }
}

#[test]
fn the_higher_id_waits_for_the_first_offer_but_not_for_ever() {
    let (mut mesh, mut out, start) = (Mesh::new(user("b")), Vec::new(), Instant::now());
    mesh.handle(Input::Roster(vec![member("a"), member("b")]), start, &mut out);
    assert!(!out.iter().any(|output| matches!(output, Output::Run { .. })));
    let due = mesh.deadline().unwrap();
    assert_eq!(due, start + Duration::from_millis(2_500));
    mesh.handle(Input::Tick, due, &mut out);
    assert!(matches!(
        out.last(),
        Some(Output::Run { op: Op::Offer { rollback: false, restart: false }, .. })
    ));
}

#[test]
fn leaving_and_joining_again_within_a_second_changes_nothing() {
    let mut world = World::new(7);
    world.join("a", None);
    world.join("b", None);
    world.run_for(Duration::from_secs(10));
    let generations = |world: &World| {
        world.clients[&user("a")].engines.keys().map(|key| key.1).collect::<Vec<_>>()
    };
    let before = generations(&world);
    world.input(&user("a"), Input::Roster(vec![member("a")]));
    world.run_for(Duration::from_millis(900));
    world.input(&user("a"), Input::Roster(vec![member("a"), member("b")]));
    world.run_for(Duration::from_secs(5));
    assert_eq!(generations(&world), before);
}

#[test]
fn who_left_is_closed_after_a_second_and_may_come_back() {
    let mut world = World::new(3);
    world.join("a", None);
    world.join("b", None);
    world.run_for(Duration::from_secs(10));
    world.leave("b");
    world.run_for(Duration::from_secs(3));
    let client = &world.clients[&user("a")];
    assert!(client.engines.is_empty());
    assert_eq!(client.states[&user("b")], PeerState::Closed);
    world.join("b", None);
    world.run_for(Duration::from_secs(20));
    world.assert_complete(3);
}

#[test]
fn a_connection_outlives_a_server_that_forgot_its_member() {
    let mut world = World::new(5);
    world.join("a", None);
    world.join("b", None);
    world.run_for(Duration::from_secs(10));
    // A server that goes takes one after the other off the list.
    world.input(&user("a"), Input::Roster(vec![member("a")]));
    world.run_for(Duration::from_millis(50));
    world.input(&user("a"), Input::Online(false));
    world.run_for(Duration::from_secs(60));
    world.input(&user("a"), Input::Online(true));
    world.input(&user("a"), Input::Roster(vec![member("a")]));
    world.run_for(Duration::from_secs(20));
    world.assert_complete(5);
    world.run_for(Duration::from_secs(20));
    assert!(world.clients[&user("a")].engines.is_empty(), "it never came back");
}

#[test]
fn a_ninth_peer_is_left_out_and_enters_when_there_is_room() {
    let ids = ["b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let (mut mesh, mut out, start) = (Mesh::new(user("a")), Vec::new(), Instant::now());
    let mut members: Vec<Member> = ids.iter().map(|id| member(id)).collect();
    members.push(member("b")); // Several sockets of one user.
    mesh.handle(Input::Roster(members.clone()), start, &mut out);
    let opened =
        |out: &[Output]| out.iter().filter(|output| matches!(output, Output::Open { .. })).count();
    assert_eq!(opened(&out), 8);
    assert!(out.contains(&Output::Full { left_out: 1 }));
    assert_eq!(mesh.roster().len(), 9);
    mesh.handle(Input::Offer { from: user("j"), sdp: "offer".into() }, start, &mut out);
    assert_eq!((opened(&out), mesh.bad_signals(None)), (8, 1));
    members.retain(|member| member.id != user("c"));
    mesh.handle(Input::Roster(members), start, &mut out);
    mesh.handle(Input::Tick, start + Duration::from_secs(2), &mut out);
    assert_eq!(opened(&out), 9);
}

#[test]
fn a_path_that_fails_is_searched_anew_by_the_lower_id_and_given_up_in_the_end() {
    let mut world = World::new(9);
    world.join("a", None);
    world.join("b", None);
    world.run_for(Duration::from_secs(10));
    let (mut mesh, mut now) = (world.clients.remove(&user("a")).unwrap().mesh, world.now);
    let generation = mesh.peers[&user("b")].generation();
    let mut out = Vec::new();
    let failed = |generation| Input::Link { peer: user("b"), generation, link: Link::Failed };
    mesh.handle(failed(generation), now, &mut out);
    let (mut restarts, mut failures) = (0, 0);
    for _ in 0..200 {
        for output in std::mem::take(&mut out) {
            match output {
                Output::Run { op: Op::Offer { restart, .. }, .. } => {
                    restarts += u32::from(restart);
                    let result = Ok(Described { sdp: "offer".into(), incomplete: false });
                    let peer = user("b");
                    mesh.handle(Input::Done { peer, generation, result }, now, &mut out);
                    let sdp = format!("answer to restart {restarts}");
                    mesh.handle(Input::Answer { from: user("b"), sdp }, now, &mut out);
                }
                Output::Run { op: Op::AcceptAnswer { .. }, .. } => {
                    let result = Ok(Described { sdp: String::new(), incomplete: false });
                    let peer = user("b");
                    mesh.handle(Input::Done { peer, generation, result }, now, &mut out);
                    mesh.handle(failed(generation), now, &mut out);
                }
                Output::State { state: PeerState::Failed, .. } => failures += 1,
                _ => {}
            }
        }
        if !out.is_empty() {
            continue;
        }
        let Some(deadline) = mesh.deadline() else { break };
        now = deadline.max(now);
        mesh.handle(Input::Tick, now, &mut out);
    }
    assert_eq!((restarts, failures), (5, 1));
}

#[test]
fn rubbish_from_a_peer_is_counted_and_does_not_stop_the_negotiation() {
    let mut world = World::new(11);
    world.join("a", None);
    world.join("b", None);
    for sdp in ["", "v=0", "rubbish"] {
        for _ in 0..30 {
            let (from, sdp) = (user("b"), sdp.to_owned());
            world.input(&user("a"), Input::Answer { from: from.clone(), sdp: sdp.clone() });
            world.input(&user("a"), Input::Offer { from, sdp });
        }
        world.run_for(Duration::from_millis(300));
    }
    world.run_for(Duration::from_secs(60));
    world.assert_complete(11);
    assert!(world.clients[&user("a")].mesh.bad_signals(Some(&user("b"))) > 0);
}

#[test]
fn a_connection_that_broke_down_is_opened_anew_by_the_peers_next_offer() {
    let mut world = World::new(13);
    world.join("a", None);
    world.join("b", None);
    world.run_for(Duration::from_secs(10));
    let generation = world.clients[&user("b")].mesh.peers[&user("a")].generation();
    world.input(&user("b"), Input::Link { peer: user("a"), generation, link: Link::Gone });
    world.clients.get_mut(&user("b")).unwrap().engines.clear();
    assert_eq!(world.clients[&user("b")].states[&user("a")], PeerState::Failed);
    world.changed(&user("a"));
    world.run_for(Duration::from_secs(10));
    world.assert_complete(13);
}

#[test]
fn under_a_new_id_everything_begins_anew() {
    let mut world = World::new(15);
    world.join("a", None);
    world.join("b", None);
    world.run_for(Duration::from_secs(10));
    let mut out = Vec::new();
    let mesh = &mut world.clients.get_mut(&user("a")).unwrap().mesh;
    mesh.rename(user("c"), &mut out);
    assert!(matches!(out[0], Output::Close { .. }));
    mesh.handle(Input::Roster(vec![member("b"), member("c")]), world.now, &mut out);
    assert!(out.iter().any(|output| matches!(output, Output::Open { creates_channel: false, .. })));
}

#[test]
fn a_peers_new_connection_replaces_the_old_one() {
    let mut world = World::new(17);
    world.join("a", None);
    world.join("b", None);
    world.run_for(Duration::from_secs(10));
    let generation = world.clients[&user("b")].mesh.peers[&user("a")].generation();
    // The other side begins anew without a word: its next offer is a stranger's.
    let client = world.clients.get_mut(&user("a")).unwrap();
    client
        .engines
        .values_mut()
        .for_each(|engine| *engine = Engine { shows: 2, number: 8, ..Engine::default() });
    let sdp = "offer 9".to_owned();
    world.input(&user("b"), Input::Replaced { peer: user("a"), generation, sdp });
    let engines = &world.clients[&user("b")].engines;
    assert_eq!(engines.len(), 1);
    assert!(!engines.contains_key(&(user("a"), generation)), "the old connection is closed");
    world.changed(&user("a"));
    world.run_for(Duration::from_secs(20));
    world.assert_complete(17);
}
