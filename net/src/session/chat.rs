//! Chat: seals what we say, opens what others say, and sees to it that each message of ours is in
//! the room exactly once, or that the user hears that it is not.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use wire::{ClientMessage, Refusal, UserId};

use super::hearing::Hearing;
use crate::event::{Event, MessageId};
use crate::seal::ChatSeal;

/// How long the server may take to give our message to the room, while we have a connection.
const ECHO: Duration = Duration::from_secs(5);
/// How long a message waits for a connection; then it is said that it is not sent.
const AWAY: Duration = Duration::from_secs(15);
/// After a session that could not be resumed: how long what is said again waits for the others,
/// who come back in their own time and would miss it.
const GATHERING: Duration = Duration::from_secs(3);
/// Messages of ours that wait for their acknowledgement; a further one is not sent.
const PENDING: usize = 64;
/// Messages that count as not sent and are remembered, lest they be in the room after all.
const GIVEN_UP: usize = 64;
/// Messages, ours or others', that wait for the key to be derived, half a second at most. Further
/// ones of ours are not sent; further ones of others are reported as unreadable.
const BEFORE_KEY: usize = 64;

/// What the session has to do about chat.
#[derive(Debug)]
pub(super) enum Say {
    /// Tell the server.
    Send(ClientMessage),
    /// Tell the user.
    Tell(Event),
}

/// Something that somebody said, as it came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) from: UserId,
    /// The sender's name at this moment.
    pub(super) name: String,
    pub(super) message: String,
    pub(super) id: Option<String>,
    pub(super) number: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    id: MessageId,
    /// As it crosses the wire, which is how its echo is recognised in version 1: no IV comes twice.
    message: String,
    /// It was handed to the connection that we have.
    sent: bool,
    deadline: Instant,
}

#[derive(Debug)]
enum Waiting {
    Ours { id: MessageId, text: String },
    Theirs(Heard),
}

/// What comes back to us is waited for by the sender.
#[derive(Debug)]
struct Gathering {
    missing: BTreeSet<UserId>,
    until: Instant,
}

/// The chat of one session.
pub(super) struct Chat {
    own: UserId,
    online: bool,
    /// Version 2 is spoken: messages are acknowledged, and are sent again after a cut.
    v2: bool,
    gathering: Option<Gathering>,
    seal: Option<ChatSeal>,
    before_key: VecDeque<Waiting>,
    pending: VecDeque<Pending>,
    given_up: VecDeque<MessageId>,
    hearing: Hearing,
}

impl Chat {
    pub(super) fn new(own: UserId, v2: bool) -> Self {
        Self {
            own,
            online: true,
            v2,
            gathering: None,
            seal: None,
            before_key: VecDeque::new(),
            pending: VecDeque::new(),
            given_up: VecDeque::new(),
            hearing: Hearing::default(),
        }
    }

    /// Whether version 2 is spoken with the server.
    pub(super) fn is_v2(&self) -> bool {
        self.v2
    }

    /// From now on we are somebody else. What was sealed under the old id nobody would open, and
    /// whether it has arrived nobody knows.
    pub(super) fn rename(&mut self, own: UserId, out: &mut Vec<Say>) {
        self.own = own;
        let pending = std::mem::take(&mut self.pending);
        out.extend(pending.into_iter().map(|pending| not_sent(pending.id, LOST)));
        self.given_up.clear();
    }

    /// The connection to the server is lost.
    pub(super) fn lost(&mut self, now: Instant) {
        if !std::mem::take(&mut self.online) {
            return; // Another attempt has failed; the clocks run already.
        }
        self.gathering = None;
        if self.v2 {
            for pending in &mut self.pending {
                pending.deadline = now + AWAY;
            }
        }
    }

    /// It is back. `known` are those who were in the room; we are among them.
    pub(super) fn back(
        &mut self,
        v2: bool,
        resumed: bool,
        known: BTreeSet<UserId>,
        now: Instant,
        out: &mut Vec<Say>,
    ) {
        (self.online, self.v2) = (true, v2);
        for pending in &mut self.pending {
            pending.sent = false;
        }
        if resumed {
            return self.flush(now, out);
        }
        self.hearing.forget_numbers();
        if !v2 {
            // Whether the server has taken it, an echo would have told.
            let pending = std::mem::take(&mut self.pending);
            out.extend(pending.into_iter().map(|pending| not_sent(pending.id, LOST)));
            return;
        }
        let until = now + GATHERING;
        for pending in &mut self.pending {
            pending.deadline = until + ECHO;
        }
        self.gathering = Some(Gathering { missing: known, until });
    }

    /// Who is in the room now.
    pub(super) fn members(&mut self, members: &BTreeSet<UserId>, now: Instant, out: &mut Vec<Say>) {
        self.hearing.keep(members);
        if let Some(gathering) = &mut self.gathering {
            gathering.missing.retain(|member| !members.contains(member));
            if gathering.missing.is_empty() {
                self.flush(now, out);
            }
        }
    }

    /// Sends what waits, in the old order.
    fn flush(&mut self, now: Instant, out: &mut Vec<Say>) {
        self.gathering = None;
        for pending in self.pending.iter_mut().filter(|pending| !pending.sent) {
            (pending.sent, pending.deadline) = (true, now + ECHO);
            let (message, id) = (pending.message.clone(), Some(pending.id.to_string()));
            out.push(Say::Send(ClientMessage::Chat { message, id }));
        }
    }

    /// The key is there.
    pub(super) fn set_seal(&mut self, seal: ChatSeal, now: Instant, out: &mut Vec<Say>) {
        self.seal = Some(seal);
        for waiting in std::mem::take(&mut self.before_key) {
            match waiting {
                Waiting::Ours { id, text } => self.say(id, text, now, out),
                Waiting::Theirs(heard) => self.open(heard, out),
            }
        }
    }

    /// We say something.
    pub(super) fn say(&mut self, id: MessageId, text: String, now: Instant, out: &mut Vec<Say>) {
        let Some(seal) = &self.seal else {
            if self.before_key.len() < BEFORE_KEY {
                self.before_key.push_back(Waiting::Ours { id, text });
            } else {
                out.push(not_sent(id, TOO_MANY));
            }
            return;
        };
        if !self.online && !self.v2 {
            return out.push(not_sent(id, LOST));
        }
        if self.pending.len() >= PENDING {
            return out.push(not_sent(id, TOO_MANY));
        }
        let message = match seal.seal(&text, &self.own) {
            Ok(message) => message,
            Err(error) => return out.push(not_sent(id, &error.to_string())),
        };
        let sent = self.online && self.gathering.is_none();
        let deadline = match &self.gathering {
            Some(gathering) => gathering.until + ECHO,
            None if sent => now + ECHO,
            None => now + AWAY,
        };
        if sent {
            let (message, id) = (message.clone(), self.v2.then(|| id.to_string()));
            out.push(Say::Send(ClientMessage::Chat { message, id }));
        }
        self.pending.push_back(Pending { id, message, sent, deadline });
    }

    /// The message could not be handed to the socket.
    pub(super) fn unsendable(&mut self, message: &str, out: &mut Vec<Say>) {
        if let Some(pending) = self.take(|pending| pending.message == message) {
            out.push(not_sent(pending.id, TOO_MANY));
        }
    }

    /// The server has given our message to the room.
    pub(super) fn acknowledged(&mut self, id: &str, out: &mut Vec<Say>) {
        let found = self.take(|pending| pending.id.to_string() == id).map(|pending| pending.id);
        let late = || {
            let place = self.given_up.iter().position(|late| late.to_string() == id)?;
            self.given_up.remove(place)
        };
        if let Some(id) = found.or_else(late) {
            out.push(Say::Tell(Event::Sent { id }));
        }
    }

    /// Somebody said something; also our own echo comes here.
    pub(super) fn heard(&mut self, heard: Heard, out: &mut Vec<Say>) {
        if heard.from == self.own {
            match &heard.id {
                Some(id) => self.acknowledged(id, out),
                None => {
                    if let Some(pending) = self.take(|pending| pending.message == heard.message) {
                        out.push(Say::Tell(Event::Sent { id: pending.id }));
                    }
                }
            }
            return;
        }
        let count = self.hearing.missing(&heard.from, heard.number);
        if !self.hearing.is_new(&heard.from, heard.id.as_ref()) {
            return;
        }
        if count > 0 {
            let (from, name) = (heard.from.clone(), heard.name.clone());
            out.push(Say::Tell(Event::Missed { from, name, count }));
        }
        self.open(heard, out);
    }

    fn open(&mut self, heard: Heard, out: &mut Vec<Say>) {
        let Some(seal) = &self.seal else {
            if self.before_key.len() < BEFORE_KEY {
                self.before_key.push_back(Waiting::Theirs(heard));
            } else {
                let why = crate::event::UnreadableReason::Malformed;
                out.push(Say::Tell(Event::Unreadable { from: heard.from, why }));
            }
            return;
        };
        let Heard { from, name, message, id, .. } = heard;
        let id = id.and_then(|id| id.parse().ok()).map(MessageId);
        out.push(Say::Tell(match seal.open(&message, &from) {
            Ok(opened) => {
                let (text, protection) = (opened.text, opened.protection);
                Event::Chat { id, from, name, text, protection }
            }
            Err(why) => Event::Unreadable { from, why },
        }));
    }

    /// The server refused something; whether that was a message of ours. Without an id of it: the
    /// server answers in order.
    pub(super) fn refused(&mut self, error: &str, id: Option<&str>, out: &mut Vec<Say>) -> bool {
        let chat = [
            Refusal::ChatNotAllowed,
            Refusal::InvalidChat,
            Refusal::ChatEmpty,
            Refusal::ChatTooLong,
        ];
        let refused = match id {
            Some(id) => self.take(|pending| pending.id.to_string() == id),
            None if chat.iter().any(|refusal| refusal.text() == error) => {
                self.take(|pending| pending.sent)
            }
            None => None,
        };
        out.extend(refused.as_ref().map(|pending| not_sent(pending.id, error)));
        refused.is_some()
    }

    fn take(&mut self, which: impl Fn(&Pending) -> bool) -> Option<Pending> {
        let place = self.pending.iter().position(which)?;
        self.pending.remove(place)
    }

    /// When [`Self::expire`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.pending.iter().map(|pending| pending.deadline);
        deadlines.chain(self.gathering.as_ref().map(|gathering| gathering.until)).min()
    }

    /// Messages without an acknowledgement did not reach the room.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Say>) {
        if self.gathering.as_ref().is_some_and(|gathering| now >= gathering.until) {
            self.flush(now, out);
        }
        while let Some(pending) = self.take(|pending| now >= pending.deadline) {
            let why = if self.online { "the server did not take it in time" } else { LOST };
            out.push(not_sent(pending.id, why));
            if self.v2 && self.given_up.len() < GIVEN_UP {
                self.given_up.push_back(pending.id);
            }
        }
    }
}

const LOST: &str = "the server cannot be reached";
const TOO_MANY: &str = "too many messages at once";

fn not_sent(id: MessageId, why: &str) -> Say {
    Say::Tell(Event::NotSent { id, why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use wire::RawRoomId;

    use super::*;
    use crate::event::{Protection, UnreadableReason};
    use crate::passphrase::Passphrase;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn seal(passphrase: &str) -> ChatSeal {
        let raw = RawRoomId::new("demo").unwrap();
        let room = raw.on_the_wire("pm_room:").unwrap();
        let passphrase = Passphrase::new(passphrase.to_owned());
        ChatSeal::derive(&raw, room, "pm_e2ee:".to_owned(), &passphrase)
    }

    fn chat(own: &str, passphrase: &str) -> Chat {
        let mut chat = Chat::new(user(own), true);
        chat.set_seal(seal(passphrase), Instant::now(), &mut Vec::new());
        chat
    }

    fn heard(from: &str, name: &str, message: &str) -> Heard {
        let (name, message) = (name.to_owned(), message.to_owned());
        Heard { from: user(from), name, message, id: None, number: None }
    }

    fn sent(out: &[Say]) -> Vec<String> {
        out.iter()
            .filter_map(|say| match say {
                Say::Send(ClientMessage::Chat { message, .. }) => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_message_is_sent_sealed_and_known_by_its_echo() {
        let (mut alice, mut bob, mut out) = (chat("a", "x"), chat("b", "x"), Vec::new());
        let (id, now) = (MessageId::random(), Instant::now());
        alice.say(id, "hello".into(), now, &mut out);
        let message = sent(&out).pop().unwrap();
        assert!(message.starts_with("pm_e2ee:") && !message.contains("hello"));
        alice.heard(heard("a", "A", &message), &mut out);
        assert!(matches!(out.last(), Some(Say::Tell(Event::Sent { id: echoed })) if *echoed == id));
        assert_eq!(alice.deadline(), None);
        bob.heard(heard("a", "A", &message), &mut out);
        let Some(Say::Tell(Event::Chat { text, protection, name, .. })) = out.last() else {
            panic!("{out:?}");
        };
        assert_eq!((text.as_str(), *protection, name.as_str()), ("hello", Protection::Sealed, "A"));
    }

    #[test]
    fn another_passphrase_and_no_passphrase_are_told_apart() {
        let (mut alice, mut out) = (chat("a", "x"), Vec::new());
        alice.say(MessageId::random(), "hello".into(), Instant::now(), &mut out);
        let message = sent(&out).pop().unwrap();
        chat("b", "y").heard(heard("a", "", &message), &mut out);
        assert!(matches!(
            out.last(),
            Some(Say::Tell(Event::Unreadable { why: UnreadableReason::WrongKey, .. }))
        ));
        alice.heard(heard("b", "", "plain"), &mut out);
        assert!(matches!(
            out.last(),
            Some(Say::Tell(Event::Chat { protection: Protection::Plain, .. }))
        ));
    }

    #[test]
    fn what_gets_no_echo_or_a_refusal_was_not_sent() {
        let (mut chat, mut out, now) = (chat("a", "x"), Vec::new(), Instant::now());
        let (one, two) = (MessageId::random(), MessageId::random());
        chat.say(one, "1".into(), now, &mut out);
        chat.say(two, "2".into(), now, &mut out);
        assert!(!chat.refused("Invalid message type", None, &mut out));
        assert!(chat.refused(Refusal::ChatTooLong.text(), None, &mut out));
        assert!(matches!(out.last(), Some(Say::Tell(Event::NotSent { id, .. })) if *id == one));
        chat.expire(chat.deadline().unwrap(), &mut out);
        assert!(matches!(out.last(), Some(Say::Tell(Event::NotSent { id, .. })) if *id == two));
        // Version 1 has no way to say again what may have arrived.
        chat.v2 = false;
        chat.lost(now);
        chat.say(one, "3".into(), now, &mut out);
        assert!(matches!(out.last(), Some(Say::Tell(Event::NotSent { id, .. })) if *id == one));
        assert_eq!(sent(&out).len(), 2);
    }

    #[test]
    fn what_comes_before_the_key_waits_for_it() {
        let (mut chat, mut out, now) = (Chat::new(user("a"), true), Vec::new(), Instant::now());
        chat.say(MessageId::random(), "hello".into(), now, &mut out);
        for _ in 0..2 * BEFORE_KEY {
            chat.heard(heard("b", "", "plain"), &mut out);
        }
        assert_eq!(out.len(), BEFORE_KEY + 1);
        out.clear();
        chat.set_seal(seal("x"), now, &mut out);
        assert_eq!((out.len(), sent(&out).len()), (BEFORE_KEY, 1));
    }

    /// Ids of what was sent, and of what the user was told.
    fn told(out: &mut Vec<Say>) -> Vec<(&'static str, MessageId)> {
        let told = |say: Say| match say {
            Say::Send(ClientMessage::Chat { id, .. }) => {
                Some(("say", MessageId(id.unwrap().parse().unwrap())))
            }
            Say::Tell(Event::Sent { id }) => Some(("sent", id)),
            Say::Tell(Event::NotSent { id, .. }) => Some(("not sent", id)),
            _ => None,
        };
        out.drain(..).filter_map(told).collect()
    }

    #[test]
    fn a_cut_loses_nothing_and_doubles_nothing() {
        let (mut chat, mut out, now) = (chat("a", "x"), Vec::new(), Instant::now());
        let [one, two, three] = [(); 3].map(|()| MessageId::random());
        chat.say(one, "1".into(), now, &mut out);
        chat.say(two, "2".into(), now, &mut out);
        chat.acknowledged(&one.to_string(), &mut out);
        assert_eq!(told(&mut out), [("say", one), ("say", two), ("sent", one)]);
        chat.lost(now);
        chat.say(three, "3".into(), now, &mut out);
        let later = now + Duration::from_secs(10);
        chat.expire(later, &mut out);
        assert_eq!(told(&mut out), [], "it waits for the connection");
        chat.lost(later);
        assert_eq!(chat.deadline(), Some(now + AWAY), "and no attempt makes it wait longer");
        chat.back(true, true, BTreeSet::new(), later, &mut out);
        assert_eq!(told(&mut out), [("say", two), ("say", three)]);
        for _ in 0..2 {
            chat.acknowledged(&two.to_string(), &mut out);
        }
        chat.heard(Heard { id: Some(three.to_string()), ..heard("a", "A", "?") }, &mut out);
        assert_eq!(told(&mut out), [("sent", two), ("sent", three)]);
        assert_eq!(chat.deadline(), None);
    }

    #[test]
    fn after_a_new_session_what_is_said_again_waits_for_the_others() {
        let (mut chat, mut out, now) = (chat("a", "x"), Vec::new(), Instant::now());
        let everybody = BTreeSet::from([user("a"), user("b")]);
        let [one, two] = [(); 2].map(|()| MessageId::random());
        chat.say(one, "1".into(), now, &mut out);
        chat.lost(now);
        chat.back(true, false, everybody.clone(), now, &mut out);
        chat.say(two, "2".into(), now, &mut out);
        chat.members(&BTreeSet::from([user("a")]), now, &mut out);
        assert_eq!(told(&mut out), [("say", one)], "only what was said before");
        chat.members(&everybody, now, &mut out);
        assert_eq!(told(&mut out), [("say", one), ("say", two)]);

        chat.lost(now);
        chat.back(true, false, everybody, now, &mut out);
        chat.members(&BTreeSet::from([user("a")]), now, &mut out);
        assert_eq!(chat.deadline(), Some(now + GATHERING));
        chat.expire(now + GATHERING, &mut out);
        assert_eq!(told(&mut out), [("say", one), ("say", two)], "nobody waits for ever");
    }

    #[test]
    fn what_is_given_up_may_still_turn_out_well() {
        let (mut chat, mut out, now) = (chat("a", "x"), Vec::new(), Instant::now());
        let id = MessageId::random();
        chat.say(id, "1".into(), now, &mut out);
        chat.expire(now + ECHO, &mut out);
        chat.acknowledged(&id.to_string(), &mut out);
        assert_eq!(told(&mut out), [("say", id), ("not sent", id), ("sent", id)]);
        chat.say(id, "2".into(), now, &mut out);
        chat.lost(now);
        chat.expire(now + AWAY, &mut out);
        assert_eq!(told(&mut out), [("say", id), ("not sent", id)]);
        chat.back(true, true, BTreeSet::new(), now + AWAY, &mut out);
        assert_eq!(told(&mut out), [], "the user knows that it was not sent");
    }

    #[test]
    fn a_refusal_with_an_id_is_for_that_message() {
        let (mut chat, mut out, now) = (chat("a", "x"), Vec::new(), Instant::now());
        let [one, two] = [(); 2].map(|()| MessageId::random());
        chat.say(one, "1".into(), now, &mut out);
        chat.say(two, "2".into(), now, &mut out);
        told(&mut out);
        assert!(chat.refused("Rate limit exceeded", Some(&two.to_string()), &mut out));
        assert_eq!(told(&mut out), [("not sent", two)]);
        assert!(!chat.refused("Rate limit exceeded", Some(&two.to_string()), &mut out));
    }

    #[test]
    fn what_is_missing_and_what_comes_twice_is_noticed() {
        let (mut chat, mut out) = (chat("a", "x"), Vec::new());
        let message = |number| Heard {
            id: Some(format!("{number}")),
            number: Some(number),
            ..heard("b", "B", "plain")
        };
        for number in [3, 4, 4, 7] {
            chat.heard(message(number), &mut out);
        }
        let kinds: Vec<String> = out
            .iter()
            .map(|say| match say {
                Say::Tell(Event::Chat { .. }) => "chat".to_owned(),
                Say::Tell(Event::Missed { count, .. }) => format!("{count} missing"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["chat", "chat", "2 missing", "chat"]);
    }
}
