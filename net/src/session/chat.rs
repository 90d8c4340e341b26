//! Chat: seals what we say, opens what others say, and watches for the echo of our own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wire::{ClientMessage, Refusal, UserId};

use crate::event::{Event, MessageId};
use crate::seal::ChatSeal;

/// How long the server may take to give our message to the room.
const ECHO: Duration = Duration::from_secs(5);
/// Messages of ours that wait for their echo; a further one is not sent.
const PENDING: usize = 64;
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

#[derive(Debug)]
struct Pending {
    id: MessageId,
    /// As it crosses the wire, which is how its echo is recognised: no IV comes twice.
    message: String,
    deadline: Instant,
}

#[derive(Debug)]
enum Waiting {
    Ours { id: MessageId, text: String },
    Theirs { from: UserId, name: String, message: String },
}

/// The chat of one session.
pub(super) struct Chat {
    own: UserId,
    online: bool,
    seal: Option<ChatSeal>,
    before_key: VecDeque<Waiting>,
    pending: VecDeque<Pending>,
}

impl Chat {
    pub(super) fn new(own: UserId) -> Self {
        let (before_key, pending) = Default::default();
        Self { own, online: true, seal: None, before_key, pending }
    }

    /// From now on we are somebody else.
    pub(super) fn rename(&mut self, own: UserId) {
        self.own = own;
    }

    pub(super) fn set_online(&mut self, online: bool) {
        self.online = online;
    }

    /// The key is there.
    pub(super) fn set_seal(&mut self, seal: ChatSeal, now: Instant, out: &mut Vec<Say>) {
        self.seal = Some(seal);
        for waiting in std::mem::take(&mut self.before_key) {
            match waiting {
                Waiting::Ours { id, text } => self.say(id, text, now, out),
                Waiting::Theirs { from, name, message } => self.heard(from, name, message, out),
            }
        }
    }

    /// We say something.
    pub(super) fn say(&mut self, id: MessageId, text: String, now: Instant, out: &mut Vec<Say>) {
        let not_sent = |why: &str| Say::Tell(Event::NotSent { id, why: why.to_owned() });
        let Some(seal) = &self.seal else {
            if self.before_key.len() < BEFORE_KEY {
                self.before_key.push_back(Waiting::Ours { id, text });
            } else {
                out.push(not_sent("too many messages at once"));
            }
            return;
        };
        if !self.online {
            return out.push(not_sent("the server cannot be reached"));
        }
        if self.pending.len() >= PENDING {
            return out.push(not_sent("too many messages at once"));
        }
        match seal.seal(&text, &self.own) {
            Ok(message) => {
                let deadline = now + ECHO;
                self.pending.push_back(Pending { id, message: message.clone(), deadline });
                out.push(Say::Send(ClientMessage::Chat { message, id: None }));
            }
            Err(error) => out.push(not_sent(&error.to_string())),
        }
    }

    /// The message could not be handed to the socket.
    pub(super) fn unsendable(&mut self, out: &mut Vec<Say>) {
        if let Some(last) = self.pending.pop_back() {
            let why = "too many messages at once".to_owned();
            out.push(Say::Tell(Event::NotSent { id: last.id, why }));
        }
    }

    /// Somebody said something; also our own echo comes here.
    pub(super) fn heard(
        &mut self,
        from: UserId,
        name: String,
        message: String,
        out: &mut Vec<Say>,
    ) {
        if from == self.own {
            let place = self.pending.iter().position(|pending| pending.message == message);
            if let Some(pending) = place.and_then(|place| self.pending.remove(place)) {
                out.push(Say::Tell(Event::Sent { id: pending.id }));
            }
            return;
        }
        let Some(seal) = &self.seal else {
            if self.before_key.len() < BEFORE_KEY {
                self.before_key.push_back(Waiting::Theirs { from, name, message });
            } else {
                let why = crate::event::UnreadableReason::Malformed;
                out.push(Say::Tell(Event::Unreadable { from, why }));
            }
            return;
        };
        out.push(Say::Tell(match seal.open(&message, &from) {
            Ok(opened) => {
                let (text, protection) = (opened.text, opened.protection);
                Event::Chat { id: None, from, name, text, protection }
            }
            Err(why) => Event::Unreadable { from, why },
        }));
    }

    /// The server refused something; whether that was a message of ours. It answers in order.
    pub(super) fn refused(&mut self, error: &str, out: &mut Vec<Say>) -> bool {
        let chat = [
            Refusal::ChatNotAllowed,
            Refusal::InvalidChat,
            Refusal::ChatEmpty,
            Refusal::ChatTooLong,
        ];
        if !chat.iter().any(|refusal| refusal.text() == error) {
            return false;
        }
        let Some(pending) = self.pending.pop_front() else { return false };
        let why = error.to_owned();
        out.push(Say::Tell(Event::NotSent { id: pending.id, why }));
        true
    }

    /// When [`Self::expire`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.deadline)
    }

    /// Messages without an echo did not reach the room.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Vec<Say>) {
        while self.deadline().is_some_and(|deadline| now >= deadline)
            && let Some(pending) = self.pending.pop_front()
        {
            let why = "the server did not take it in time".to_owned();
            out.push(Say::Tell(Event::NotSent { id: pending.id, why }));
        }
    }
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
        let mut chat = Chat::new(user(own));
        chat.set_seal(seal(passphrase), Instant::now(), &mut Vec::new());
        chat
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
        alice.heard(user("a"), "A".into(), message.clone(), &mut out);
        assert!(matches!(out.last(), Some(Say::Tell(Event::Sent { id: echoed })) if *echoed == id));
        assert_eq!(alice.deadline(), None);
        bob.heard(user("a"), "A".into(), message, &mut out);
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
        chat("b", "y").heard(user("a"), String::new(), message, &mut out);
        assert!(matches!(
            out.last(),
            Some(Say::Tell(Event::Unreadable { why: UnreadableReason::WrongKey, .. }))
        ));
        alice.heard(user("b"), String::new(), "plain".into(), &mut out);
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
        assert!(!chat.refused("Invalid message type", &mut out));
        assert!(chat.refused(Refusal::ChatTooLong.text(), &mut out));
        assert!(matches!(out.last(), Some(Say::Tell(Event::NotSent { id, .. })) if *id == one));
        chat.expire(chat.deadline().unwrap(), &mut out);
        assert!(matches!(out.last(), Some(Say::Tell(Event::NotSent { id, .. })) if *id == two));
        chat.set_online(false);
        chat.say(one, "3".into(), now, &mut out);
        assert!(matches!(out.last(), Some(Say::Tell(Event::NotSent { id, .. })) if *id == one));
        assert_eq!(sent(&out).len(), 2);
    }

    #[test]
    fn what_comes_before_the_key_waits_for_it() {
        let (mut chat, mut out, now) = (Chat::new(user("a")), Vec::new(), Instant::now());
        chat.say(MessageId::random(), "hello".into(), now, &mut out);
        for _ in 0..2 * BEFORE_KEY {
            chat.heard(user("b"), String::new(), "plain".into(), &mut out);
        }
        assert_eq!(out.len(), BEFORE_KEY + 1);
        out.clear();
        chat.set_seal(seal("x"), now, &mut out);
        assert_eq!((out.len(), sent(&out).len()), (BEFORE_KEY, 1));
    }
}
