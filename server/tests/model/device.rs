//! A client of either version, without a connection: texts in, texts out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

/// A message as devices know it: who wrote it, and the how-manieth of that device.
pub type Mark = (usize, u64);

/// What a device knows of a room.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// Since which step it is surely a member, without a break.
    pub since: Option<u64>,
    /// Users in it.
    pub roster: BTreeSet<String>,
    /// The number of each sender's last message.
    last_seq: BTreeMap<String, u64>,
    /// Messages had since it is a member.
    pub had: BTreeSet<Mark>,
}

/// A client.
#[derive(Debug)]
pub struct Device {
    number: usize,
    pub is_v2: bool,
    /// The token that signs it in, which is its user's name, too.
    pub user: String,
    resume: Option<String>,
    received: u64,
    welcomed: bool,
    /// The rooms that it wants to be in.
    pub wanted: BTreeSet<usize>,
    pub views: BTreeMap<usize, View>,
    /// Rooms that it left, and may still hear of: it joins again when that has passed.
    leaving: BTreeSet<usize>,
    /// When it was, or may have been, in a room: room, from, to.
    stays: Vec<(usize, u64, Option<u64>)>,
    /// Written, not acknowledged: room, mark, text.
    pending: Vec<(usize, Mark, String)>,
    written: u64,
    /// When each message was first sent, and where.
    pub sent: BTreeMap<Mark, (usize, u64)>,
    pub acknowledged: BTreeSet<Mark>,
    /// Every message had: room, which, when.
    pub heard: Vec<(usize, Mark, u64)>,
    /// The last message had of each room and sender, over everything.
    last_had: BTreeMap<(usize, usize), u64>,
    pub resumed: u64,
    pub faults: Vec<String>,
}

fn room_name(room: usize) -> String {
    format!("room {room}")
}

fn id_of((device, number): Mark) -> String {
    format!("{device:08x}-0000-4000-8000-{number:012x}")
}

impl Device {
    pub fn new(number: usize, is_v2: bool) -> Self {
        Self {
            number,
            is_v2,
            user: format!("user{number}"),
            resume: None,
            received: 0,
            welcomed: false,
            wanted: BTreeSet::new(),
            views: BTreeMap::new(),
            leaving: BTreeSet::new(),
            stays: Vec::new(),
            pending: Vec::new(),
            written: 0,
            sent: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            heard: Vec::new(),
            last_had: BTreeMap::new(),
            resumed: 0,
            faults: Vec::new(),
        }
    }

    /// A connection is open: what it says first.
    pub fn connected(&mut self, step: u64) -> Vec<String> {
        self.welcomed = !self.is_v2;
        if self.is_v2 {
            let mut data = json!({"v": 2, "token": self.user});
            if let Some(resume) = &self.resume {
                data["resume"] = json!(resume);
                data["received"] = json!(self.received);
            }
            return vec![json!({"type": "session.hello", "room": "", "data": data}).to_string()];
        }
        self.end_stays(step);
        self.begin_anew()
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.welcomed = false;
        if !self.is_v2 {
            self.forget();
        }
    }

    /// It said goodbye, and its session is over with that.
    pub fn left(&mut self) {
        self.resume = None;
        self.welcomed = false;
        self.forget();
    }

    fn forget(&mut self) {
        self.views.clear();
        self.leaving.clear();
        if !self.is_v2 {
            // Nobody acknowledges; what was not heard of may be lost.
            self.pending.clear();
        }
    }

    /// The server knows which rooms it wants to be in.
    fn end_stays(&mut self, step: u64) {
        for (room, _, ended) in &mut self.stays {
            if !self.wanted.contains(room) {
                ended.get_or_insert(step);
            }
        }
    }

    /// Joins and repeats what a new session needs.
    fn begin_anew(&mut self) -> Vec<String> {
        self.forget();
        let joins = self.wanted.iter().map(|room| say("chat.join", *room, json!({})));
        let again = self.pending.iter().map(|(_, _, text)| text.clone());
        joins.chain(again).collect()
    }

    /// Wants into a room.
    pub fn join(&mut self, room: usize, step: u64) -> Vec<String> {
        if self.wanted.insert(room) {
            self.stays.push((room, step, None));
        }
        let may = self.welcomed && !self.leaving.contains(&room);
        if may { vec![say("chat.join", room, json!({}))] } else { vec![] }
    }

    /// Wants out.
    pub fn leave(&mut self, room: usize, step: u64) -> Vec<String> {
        if !self.welcomed {
            // It stays until it is back.
            return vec![];
        }
        self.wanted.remove(&room);
        self.views.remove(&room);
        self.pending.retain(|(other, ..)| *other != room);
        self.end_stays(step);
        self.leaving.insert(room);
        // The answer comes behind all that was on the way before.
        vec![say("chat.leave", room, json!({})), say("utils.generateRoomID", room, json!({}))]
    }

    /// Writes something, if it is in the room.
    pub fn chat(&mut self, room: usize, is_large: bool, step: u64) -> Vec<String> {
        let waits = self.leaving.contains(&room) || (!self.is_v2 && !self.welcomed);
        if !self.wanted.contains(&room) || waits {
            return vec![];
        }
        self.written += 1;
        let mark = (self.number, self.written);
        let padding = if is_large { "🔐".repeat(4_900) } else { String::new() };
        let mut data = json!({"message": format!("{}:{} {padding}", mark.0, mark.1)});
        if self.is_v2 {
            data["id"] = json!(id_of(mark));
        }
        let text = say("chat.message", room, data);
        self.sent.insert(mark, (room, step));
        if self.is_v2 {
            self.pending.push((room, mark, text.clone()));
        }
        if self.welcomed { vec![text] } else { vec![] }
    }

    pub fn typing(&mut self, room: usize) -> Vec<String> {
        let may = self.welcomed && self.wanted.contains(&room);
        if may { vec![say("chat.typing", room, json!({"typing": true}))] } else { vec![] }
    }

    /// Whether it was in the room at some time between these steps.
    pub fn was_in(&self, room: usize, from: u64, to: u64) -> bool {
        let mut stays = self.stays.iter().filter(|stay| stay.0 == room);
        stays.any(|(_, began, ended)| *began <= to && ended.is_none_or(|ended| ended >= from))
    }

    /// Whether it has nothing more to wait for.
    pub fn is_settled(&self) -> bool {
        self.welcomed && self.pending.is_empty()
    }

    /// One message of the server; what to say to it.
    pub fn hear(&mut self, text: &str, step: u64) -> Vec<String> {
        let message: Value = serde_json::from_str(text).expect("the server speaks JSON");
        let (data, kind) = (&message["data"], message["type"].as_str().unwrap());
        if kind == "session.welcome" {
            return self.hear_welcome(data, step);
        }
        self.received += 1;
        let room = message["room"].as_str().unwrap();
        let room: usize = room.trim_start_matches("room ").parse().unwrap_or(usize::MAX);
        match kind {
            "room.users" => {
                let users = data["users"].as_array().unwrap().iter();
                let roster =
                    users.map(|user| user["userID"].as_str().unwrap().to_owned()).collect();
                if self.wanted.contains(&room) && !self.leaving.contains(&room) {
                    let view = self.views.entry(room).or_default();
                    view.since.get_or_insert(step);
                    view.roster = roster;
                }
            }
            "room.joined" => {
                let user = data["user"]["userID"].as_str().unwrap().to_owned();
                if let Some(view) = self.views.get_mut(&room) {
                    view.roster.insert(user);
                }
            }
            "room.left" => {
                let user = data["userID"].as_str().unwrap();
                if let Some(view) = self.views.get_mut(&room) {
                    view.roster.remove(user);
                }
            }
            "chat.message" => self.hear_chat(room, &message, step),
            "utils.generateRoomID" => {
                if self.leaving.remove(&room) && self.wanted.contains(&room) {
                    return vec![say("chat.join", room, json!({}))];
                }
            }
            "chat.ack" => {
                let id = data["id"].as_str().unwrap();
                let known = self.sent.keys().find(|mark| id_of(**mark) == id).copied();
                let Some(mark) = known else {
                    self.faults.push(format!("an acknowledgement of what was never sent: {id}"));
                    return vec![];
                };
                self.pending.retain(|(_, other, _)| *other != mark);
                self.acknowledged.insert(mark);
            }
            "general.error" => {
                // Spoken to a room that was left meanwhile, over another connection perhaps.
                if let Some(id) = data["id"].as_str() {
                    self.pending.retain(|(_, mark, _)| id_of(*mark) != id);
                }
            }
            "chat.typing" => {}
            other => self.faults.push(format!("unexpected {other}")),
        }
        if !self.is_v2 && (kind.starts_with("session.") || kind == "room.joined") {
            self.faults.push(format!("an old client got {kind}"));
        }
        vec![]
    }

    fn hear_welcome(&mut self, data: &Value, step: u64) -> Vec<String> {
        self.welcomed = true;
        self.end_stays(step);
        self.resume = Some(data["resume"].as_str().unwrap().to_owned());
        if data["userID"] != json!(self.user) {
            self.faults.push(format!("{} was welcomed as {}", self.user, data["userID"]));
        }
        if data["resumed"] == json!(true) {
            self.resumed += 1;
            // Joins and messages may have been on the way when the connection broke.
            let joins = self.wanted.iter().map(|room| say("chat.join", *room, json!({})));
            let again = self.pending.iter().map(|(_, _, text)| text.clone());
            let there = data["rooms"].as_array().unwrap().iter().map(|room| room.as_str().unwrap());
            let gone = there.filter(|room| !self.wanted.iter().any(|w| room_name(*w) == *room));
            let leaves = gone
                .map(|room| json!({"type": "chat.leave", "room": room, "data": {}}).to_string());
            return leaves.chain(joins).chain(again).collect();
        }
        self.received = 0;
        self.begin_anew()
    }

    fn hear_chat(&mut self, room: usize, message: &Value, step: u64) {
        let (text, from) = (message["data"]["message"].as_str().unwrap(), &message["from"]);
        let (device, number) = text.split_once(' ').unwrap().0.split_once(':').unwrap();
        let mark: Mark = (device.parse().unwrap(), number.parse().unwrap());
        let from = from.as_str().unwrap().to_owned();
        if from != format!("user{}", mark.0) {
            self.faults.push(format!("{from} did not write {mark:?}"));
        }
        let last = self.last_had.entry((room, mark.0)).or_default();
        if mark.1 <= *last {
            let fault = format!("{} had {mark:?} after {last} in room {room}", self.user);
            self.faults.push(fault);
        }
        *last = mark.1.max(*last);
        self.heard.push((room, mark, step));
        let Some(view) = self.views.get_mut(&room) else {
            // What was on the way when it left is no fault, but nothing comes before the roster.
            if self.wanted.contains(&room) && !self.leaving.contains(&room) {
                self.faults.push(format!("{} had {mark:?} before the roster", self.user));
            }
            return;
        };
        view.had.insert(mark);
        match (message["seq"].as_u64(), self.is_v2) {
            (Some(seq), true) => {
                if let Some(before) = view.last_seq.insert(from, seq)
                    && seq != before + 1
                {
                    let fault = format!("{}: {mark:?} has {seq} after {before}", self.user);
                    self.faults.push(fault);
                }
            }
            (None, false) => {}
            (seq, _) => self.faults.push(format!("{} had a number: {seq:?}", self.user)),
        }
    }
}

fn say(kind: &str, room: usize, data: impl Serialize) -> String {
    json!({"type": kind, "room": room_name(room), "data": data}).to_string()
}
