//! The chat: what was said, what is being written, pictures on their way.

pub mod log;
pub mod picture;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use iced::widget::operation;
use iced::{Task, clipboard, task};
use net::{MessageId, Protection, TransferId, UnreadableReason, UserId, limits};

use log::{Body, Delivery, Entry, Log};
use picture::{Outgoing, Preview};

/// After this long without a key press, one does not type any more.
const TYPING_PAUSE: Duration = Duration::from_secs(3);

/// The field one writes into, for whoever wants to focus it.
pub const INPUT: &str = "chat.input";

/// The state; see the module.
#[derive(Debug, Default)]
pub struct Chat {
    /// What was said.
    pub(super) log: Log,
    /// What is being written.
    pub(super) draft: String,
    /// A picture that waits for its message to be sent.
    pub(super) attached: Option<Outgoing>,
    /// What could not be done with the last picture.
    pub(super) complaint: Option<String>,
    /// Messages that came while the chat was hidden.
    pub(super) unread: usize,
    /// We told the others that we type; ends by itself.
    typing: Option<task::Handle>,
}

/// What happened in the chat.
#[derive(Debug, Clone)]
pub enum Message {
    /// The draft was edited.
    Draft(String),
    /// Enter, or the button.
    Send,
    /// Nothing was typed for a while.
    Paused,
    /// Send a message again that did not reach the room.
    Retry(MessageId),
    /// Choose a picture.
    Pick,
    /// Look for a picture on the clipboard.
    Paste,
    /// A picture was read and can be sent at once, or it can't.
    Picked(Result<Outgoing, String>),
    /// A picture was found on the clipboard.
    Pasted(Outgoing),
    /// Send the attached picture no more.
    Detach,
    /// A picture is ready to be shown.
    Ready(TransferId, Option<Preview>),
    /// Stop a transfer.
    Cancel(TransferId),
    /// Save a picture.
    Save(TransferId),
    /// It was saved there, or could not be.
    Saved(TransferId, Result<PathBuf, String>),
    /// Copy what somebody said.
    Copy(String),
    /// Show more of what was said before.
    Earlier,
    /// Dismiss what could not be done.
    Dismiss,
}

/// What only the window can do.
#[derive(Debug)]
pub enum Action {
    /// Nothing.
    None,
    /// Run this.
    Run(Task<Message>),
    /// Say this to the room; the entry is in the log already.
    Say {
        /// Of the entry.
        id: MessageId,
        /// What.
        text: String,
        /// And run this.
        then: Task<Message>,
    },
    /// Tell the others that we type, or stopped.
    Typing(bool, Task<Message>),
    /// Send this picture; then call [`Chat::sending`].
    SendPicture(Outgoing),
    /// Stop this transfer.
    Cancel(TransferId),
}

impl Chat {
    /// Takes in what happened.
    pub fn update(&mut self, message: Message) -> Action {
        match message {
            Message::Draft(draft) => return self.write(draft),
            Message::Send => return self.send(),
            Message::Paused => {
                self.typing = None;
                return Action::Typing(false, Task::none());
            }
            Message::Retry(id) => return self.retry(id),
            Message::Pick => return Action::Run(picture::pick().map(Message::Picked)),
            Message::Paste => return Action::Run(picture::paste().map(Message::Pasted)),
            Message::Picked(Ok(picture)) => return Action::SendPicture(picture),
            Message::Picked(Err(why)) => self.complaint = Some(why),
            Message::Pasted(picture) => self.attached = Some(picture),
            Message::Detach => self.attached = None,
            Message::Ready(id, preview) => self.log.shown(&id, preview),
            Message::Cancel(id) => return Action::Cancel(id),
            Message::Save(id) => return Action::Run(self.save(&id)),
            Message::Saved(id, Ok(path)) => self.log.saved(&id, path),
            Message::Copy(said) => return Action::Run(clipboard::write(said)),
            Message::Saved(_, Err(why)) => self.complaint = Some(why),
            Message::Earlier => self.log.show_earlier(),
            Message::Dismiss => self.complaint = None,
        }
        Action::None
    }

    /// UTF-16 units that the draft may still grow by; negative when it is too long.
    pub(super) fn room_left(&self) -> isize {
        let units = self.draft.trim().encode_utf16().count();
        limits::CHAT_TEXT_UNITS as isize - units as isize
    }

    /// Whether there is something that can be sent.
    pub(super) fn can_send(&self) -> bool {
        let text = !self.draft.trim().is_empty();
        (text || self.attached.is_some()) && self.room_left() >= 0
    }

    fn write(&mut self, draft: String) -> Action {
        self.draft = draft;
        let typing = !self.draft.trim().is_empty();
        let was_typing = self.typing.take().is_some();
        let pause = if typing {
            let pause = Task::perform(async { tokio::time::sleep(TYPING_PAUSE).await }, |()| {
                Message::Paused
            });
            let (pause, handle) = pause.abortable();
            self.typing = Some(handle.abort_on_drop());
            pause
        } else {
            Task::none()
        };
        if typing == was_typing { Action::Run(pause) } else { Action::Typing(typing, pause) }
    }

    fn send(&mut self) -> Action {
        if !self.can_send() {
            return Action::None;
        }
        let text = self.draft.trim().to_owned();
        let picture = self.attached.take();
        let then = match picture {
            Some(picture) if text.is_empty() => return Action::SendPicture(picture),
            Some(picture) => Task::done(Message::Picked(Ok(picture))),
            None => Task::none(),
        };
        self.draft.clear();
        self.typing = None;
        let then = Task::batch([then, operation::focus(INPUT)]);
        self.say(text, then)
    }

    fn say(&mut self, text: String, then: Task<Message>) -> Action {
        let id = MessageId::random();
        self.log.push(Entry::ours(Body::Text {
            id: Some(id),
            text: text.clone(),
            delivery: Delivery::Sending,
            protection: Protection::Sealed,
        }));
        Action::Say { id, text, then }
    }

    fn retry(&mut self, id: MessageId) -> Action {
        match self.log.take_failed(id) {
            Some(text) => self.say(text, Task::none()),
            None => Action::None,
        }
    }

    fn save(&self, id: &TransferId) -> Task<Message> {
        let Some((name, bytes)) = self.log.file(id) else {
            return Task::none();
        };
        let id = id.clone();
        picture::save(name, bytes).map(move |result| Message::Saved(id.clone(), result))
    }

    /// Somebody else said something.
    pub(super) fn heard(
        &mut self,
        from: &UserId,
        name: &str,
        text: String,
        protection: Protection,
    ) {
        let body = Body::Text { id: None, text, delivery: Delivery::Received, protection };
        self.log.push(Entry::theirs(from, name, body));
    }

    /// Somebody else said something that can't be read.
    pub(super) fn unreadable(&mut self, from: &UserId, name: &str, why: UnreadableReason) {
        self.log.push(Entry::theirs(from, name, Body::Unreadable(why)));
    }

    /// The room has our message, or not.
    pub fn delivered(&mut self, id: MessageId, result: Result<(), String>) {
        let delivery = match result {
            Ok(()) => Delivery::Sent,
            Err(why) => Delivery::Failed(why),
        };
        self.log.deliver(id, delivery);
    }

    /// Our picture is on its way under this id.
    pub fn sending(&mut self, id: TransferId, picture: Outgoing) -> Task<Message> {
        let Outgoing { name, bytes, .. } = picture;
        let preview = preview(id.clone(), bytes.clone());
        self.log.push(Entry::ours(Body::picture(id, name, bytes.len() as u64, Some(bytes))));
        preview
    }

    /// Somebody else begins to send a picture.
    pub(super) fn incoming(
        &mut self,
        from: &UserId,
        by: &str,
        id: TransferId,
        name: String,
        size: u64,
    ) {
        self.log.push(Entry::theirs(from, by, Body::picture(id, name, size, None)));
    }

    /// A picture of somebody else's is complete.
    pub(super) fn received(
        &mut self,
        from: &UserId,
        by: &str,
        id: TransferId,
        name: String,
        bytes: Bytes,
    ) -> Task<Message> {
        if !self.log.complete(&id, bytes.clone()) {
            let size = bytes.len() as u64;
            self.log.push(Entry::theirs(from, by, Body::picture(id.clone(), name, size, None)));
            self.log.complete(&id, bytes.clone());
        }
        preview(id, bytes)
    }
}

fn preview(id: TransferId, bytes: Bytes) -> Task<Message> {
    picture::preview(bytes).map(move |preview| Message::Ready(id.clone(), preview))
}
