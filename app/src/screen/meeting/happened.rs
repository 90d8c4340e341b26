//! What the call tells, taken in.

use iced::Task;
use net::{Member, PeerState, Source};

use super::{Meeting, Message, Panel, Person, chat};
use crate::call::CallEvent;
use crate::i18n::chat as words;
use crate::icon::Icon;
use crate::screen::home::sentence;
use crate::theme::Tint;

impl Meeting {
    /// Takes in what happened in the call. Tiles are told with [`Meeting::set_tiles`].
    pub fn happened(&mut self, event: CallEvent) -> Task<Message> {
        match event {
            CallEvent::Joined { user, name, .. } => {
                self.me = user;
                self.name = name;
            }
            CallEvent::Server(link) => self.link = link,
            CallEvent::Roster(members) => self.meet(members),
            CallEvent::Peer { peer, state } => {
                if let Some(person) = self.person_mut(&peer) {
                    person.state = state;
                }
            }
            CallEvent::Devices { peer, microphone, .. } => {
                if let Some(person) = self.person_mut(&peer) {
                    person.muted = microphone == Some(false);
                }
            }
            CallEvent::Source { source, on } => self.switched(source, on),
            CallEvent::Problem { what } => self.notify(Icon::Warning, Tint::Warning, what),
            CallEvent::Error { message, .. } => self.complain(sentence(&message)),
            CallEvent::TileAdded { .. }
            | CallEvent::TileRemoved { .. }
            | CallEvent::FirstPicture { .. }
            | CallEvent::Stats(_)
            | CallEvent::Left => {}
            event => return self.said(event).map(Message::Chat),
        }
        Task::none()
    }

    /// The part of [`Meeting::happened`] that concerns the chat.
    fn said(&mut self, event: CallEvent) -> Task<chat::Message> {
        match event {
            CallEvent::Chat { from, name, text, protection, .. } => {
                let name = if name.is_empty() { self.name_of(&from) } else { name };
                if let Some(person) = self.person_mut(&from) {
                    person.typing = false;
                }
                self.chat.heard(&from, &name, text, protection);
                self.count_unread();
            }
            CallEvent::Unreadable { from, why } => {
                self.chat.unreadable(&from, &self.name_of(&from), why);
                self.count_unread();
            }
            CallEvent::Missed { from, name, count } => {
                let name = if name.is_empty() { self.name_of(&from) } else { name };
                self.notify(Icon::Warning, Tint::Warning, words::missed(&name, count));
            }
            CallEvent::Sent { id } => self.chat.delivered(id, Ok(())),
            CallEvent::NotSent { id, why } => {
                self.chat.delivered(id, Err(sentence(&why)));
            }
            CallEvent::Typing { from, typing } => {
                if let Some(person) = self.person_mut(&from) {
                    person.typing = typing;
                }
            }
            CallEvent::ImageIncoming { from, id, name, size } => {
                self.chat.incoming(&from, &self.name_of(&from), id, name, size);
                self.count_unread();
            }
            CallEvent::ImageProgress { id, done, total, .. } => {
                self.chat.log.progress(&id, done, total);
            }
            CallEvent::Image { from, id, name, bytes, .. } => {
                let by = self.name_of(&from);
                return self.chat.received(&from, &by, id, name, bytes);
            }
            CallEvent::ImageSent { id, .. } => self.chat.log.handed_over(&id),
            CallEvent::ImageFailed { id, why, .. } => {
                self.chat.log.failed(&id, sentence(&why));
            }
            _ => {}
        }
        Task::none()
    }

    /// Who stays keeps their place, lest tiles jump; who is new comes last.
    fn meet(&mut self, members: Vec<Member>) {
        self.people.retain(|person| members.iter().any(|member| member.id == person.id));
        for Member { id, username } in members {
            if id == self.me {
                continue;
            }
            match self.person_mut(&id) {
                Some(person) => person.name = username,
                None => self.people.push(Person {
                    id,
                    name: username,
                    state: PeerState::Connecting,
                    typing: false,
                    speaking: false,
                    muted: false,
                }),
            }
        }
    }

    fn switched(&mut self, source: Source, on: bool) {
        match source {
            Source::Microphone => self.on.microphone = on,
            Source::Camera => self.on.camera = on,
            Source::Screen => self.on.screen = on,
            Source::ScreenAudio => {}
        }
    }

    fn count_unread(&mut self) {
        if self.panel != Some(Panel::Chat) {
            self.chat.unread += 1;
        }
    }
}
