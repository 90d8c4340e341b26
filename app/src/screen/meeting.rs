//! The call: tiles, chat, people, and the switches beneath.

pub mod chat;
mod chat_view;
mod dialog;
mod happened;
mod stage;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use iced::widget::{column, container, operation, row, stack, text};
use iced::{Element, Event, Length, Subscription, Task, clipboard, event, keyboard, window};
use net::{Invite, PeerState, ServerLink, Source, UserId};

use crate::call::TileInfo;
use crate::i18n::meeting as words;
use crate::icon::Icon;
use crate::theme::{self, Tint, gap, size};
use crate::widget::control;

use chat::Chat;

/// How long a short notice stays.
const NOTICE_STAYS: Duration = Duration::from_secs(4);
/// Notices that are shown at once; older ones give way.
const NOTICES: usize = 3;
/// From here on somebody counts as speaking.
const SPEAKING_DBFS: f32 = -45.0;

/// The screen; see the module.
#[derive(Debug)]
pub struct Meeting {
    me: UserId,
    name: String,
    invite: Invite,
    link: ServerLink,
    people: Vec<Person>,
    tiles: Vec<Shown>,
    /// Grows when `tiles` changes, so that the watch over them begins anew.
    generation: u64,
    on: On,
    chat: Chat,
    panel: Option<Panel>,
    dialog: Option<Dialog>,
    notices: Vec<Notice>,
    dropping: bool,
    scale_factor: f32,
}

/// Somebody in the room, not ourselves.
#[derive(Debug)]
struct Person {
    id: UserId,
    name: String,
    state: PeerState,
    typing: bool,
    speaking: bool,
    /// They say that their microphone is off.
    muted: bool,
}

/// A picture that can be shown.
#[derive(Debug)]
struct Shown {
    info: TileInfo,
    /// Whether there is a picture in it at the moment.
    alive: bool,
}

/// Which of our sources are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct On {
    /// Others hear us.
    pub microphone: bool,
    /// Others see us.
    pub camera: bool,
    /// Others see our screen.
    pub screen: bool,
}

/// What stands beside the tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panel {
    /// What is said.
    Chat,
    /// Who is here.
    People,
}

/// What lies over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialog {
    /// The invite link.
    Invite,
    /// The keyboard shortcuts.
    Shortcuts,
}

#[derive(Debug)]
struct Notice {
    icon: Icon,
    tint: Tint,
    words: String,
}

/// What happened on this screen.
#[derive(Debug, Clone)]
pub enum Message {
    /// In the chat.
    Chat(chat::Message),
    /// There is a new picture, or it is time to look who speaks.
    Refresh,
    /// Microphone on or off.
    Microphone,
    /// Camera on or off.
    Camera,
    /// Screen shared or not.
    Screen,
    /// Leave.
    Leave,
    /// Show this beside the tiles, or hide it.
    Panel(Panel),
    /// Show this over everything.
    Dialog(Dialog),
    /// Close what is open: the dialog, else the panel.
    Close,
    /// Copy the invite link, with the passphrase or without.
    CopyInvite(bool),
    /// Dismiss the notice with these words.
    Dismiss(String),
    /// Dark or light.
    SwitchTheme,
    /// A file hovers over the window, or does not any more.
    Dropping(bool),
    /// A file was dropped.
    Dropped(PathBuf),
}

/// What only the window can do.
#[derive(Debug)]
pub enum Action {
    /// Nothing.
    None,
    /// Run this.
    Run(Task<Message>),
    /// For the call, from the chat.
    Chat(chat::Action),
    /// Switch this source.
    Switch(Source, bool),
    /// Ask the call how loud everybody is; see [`Meeting::hear`].
    Listen,
    /// Leave the meeting.
    Leave,
    /// Dark or light.
    SwitchTheme,
}

impl Meeting {
    /// The screen of a call that has just begun.
    #[must_use]
    pub fn new(me: UserId, name: String, invite: Invite, on: On) -> Self {
        Self {
            me,
            name,
            invite,
            link: ServerLink::Connected,
            people: Vec::new(),
            tiles: Vec::new(),
            generation: 0,
            on,
            chat: Chat::default(),
            panel: Some(Panel::Chat),
            dialog: None,
            notices: Vec::new(),
            dropping: false,
            scale_factor: 1.0,
        }
    }

    /// Physical pixels in a logical one.
    pub fn set_scale_factor(&mut self, scale_factor: f32) {
        self.scale_factor = scale_factor;
    }

    /// The pictures that can be shown changed.
    pub fn set_tiles(&mut self, tiles: Vec<TileInfo>) {
        self.tiles = tiles.into_iter().map(|info| Shown { info, alive: false }).collect();
        self.generation += 1;
        self.look();
    }

    /// How loud everybody is, in dBFS.
    pub fn hear(&mut self, level_dbfs: impl Fn(&UserId) -> f32) {
        for person in &mut self.people {
            person.speaking = level_dbfs(&person.id) > SPEAKING_DBFS;
        }
    }

    /// The chat, for what only the window can answer.
    pub fn chat(&mut self) -> &mut Chat {
        &mut self.chat
    }

    /// Something went wrong that the user should know.
    pub fn complain(&mut self, words: impl Into<String>) {
        self.notify(Icon::Warning, Tint::Danger, words.into());
    }

    /// New pictures, files, shortcuts.
    pub fn subscription(&self) -> Subscription<Message> {
        let slots = self.tiles.iter().map(|tile| tile.info.frames.clone()).collect();
        let company = !self.people.is_empty();
        Subscription::batch([
            watch::pictures(self.generation, slots, company).map(|()| Message::Refresh),
            event::listen_with(|event, _status, _window| shortcut(event)),
        ])
    }

    /// Takes in what the user did.
    pub fn update(&mut self, message: Message) -> Action {
        match message {
            Message::Chat(message) => return Action::Chat(self.chat.update(message)),
            Message::Refresh => {
                self.look();
                return if self.people.is_empty() { Action::None } else { Action::Listen };
            }
            Message::Microphone => return Action::Switch(Source::Microphone, !self.on.microphone),
            Message::Camera => return Action::Switch(Source::Camera, !self.on.camera),
            Message::Screen => return Action::Switch(Source::Screen, !self.on.screen),
            Message::Leave => return Action::Leave,
            Message::Panel(panel) => return self.toggle(panel),
            Message::Dialog(dialog) => {
                self.dialog = if self.dialog == Some(dialog) { None } else { Some(dialog) };
            }
            Message::Close => {
                if self.dialog.take().is_none() {
                    self.panel = None;
                }
            }
            Message::CopyInvite(with_passphrase) => return self.copy_invite(with_passphrase),
            Message::Dismiss(words) => self.notices.retain(|notice| notice.words != words),
            Message::SwitchTheme => return Action::SwitchTheme,
            Message::Dropping(dropping) => self.dropping = dropping,
            Message::Dropped(path) => {
                self.dropping = false;
                let read = chat::picture::read(path).map(chat::Message::Picked);
                return Action::Run(read.map(Message::Chat));
            }
        }
        Action::None
    }

    fn look(&mut self) {
        for tile in &mut self.tiles {
            tile.alive = tile.info.frames.latest().is_some();
        }
    }

    fn toggle(&mut self, panel: Panel) -> Action {
        if self.panel == Some(panel) {
            self.panel = None;
            return Action::None;
        }
        self.panel = Some(panel);
        if panel == Panel::People {
            return Action::None;
        }
        self.chat.unread = 0;
        Action::Run(operation::focus(chat::INPUT))
    }

    fn copy_invite(&mut self, with_passphrase: bool) -> Action {
        self.dialog = None;
        self.notify(Icon::Check, Tint::Positive, words::COPIED.to_owned());
        let vanish = Task::perform(async { tokio::time::sleep(NOTICE_STAYS).await }, |()| {
            Message::Dismiss(words::COPIED.to_owned())
        });
        let copy = clipboard::write(self.invite.to_link(with_passphrase));
        Action::Run(Task::batch([copy, vanish]))
    }

    fn notify(&mut self, icon: Icon, tint: Tint, words: String) {
        self.notices.retain(|notice| notice.words != words);
        if self.notices.len() == NOTICES {
            self.notices.remove(0);
        }
        self.notices.push(Notice { icon, tint, words });
    }

    fn person_mut(&mut self, id: &UserId) -> Option<&mut Person> {
        self.people.iter_mut().find(|person| person.id == *id)
    }

    fn name_of(&self, id: &UserId) -> String {
        self.people
            .iter()
            .find(|person| person.id == *id)
            .map_or_else(|| words::SOMEBODY.to_owned(), |person| person.name.clone())
    }

    /// Whether the chat is private from the server.
    fn is_sealed(&self) -> bool {
        self.invite.passphrase.as_ref().is_some_and(|passphrase| !passphrase.is_empty())
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &str {
        self.invite.room.as_str()
    }

    /// How it looks now, dark or light.
    #[must_use]
    pub fn view(&self, dark: bool) -> Element<'_, Message> {
        let middle = column![self.strips(), stack![self.stage(), self.toasts()]]
            .width(Length::Fill)
            .height(Length::Fill);
        let beside = self.panel.map(|panel| match panel {
            Panel::Chat => self.chat_panel(),
            Panel::People => self.people_panel(),
        });
        let page = column![
            self.header(dark),
            control::line(),
            row![middle, beside].height(Length::Fill),
            control::line(),
            self.toolbar(),
        ];
        let over = match self.dialog {
            Some(Dialog::Invite) => Some(self.invite_dialog()),
            Some(Dialog::Shortcuts) => Some(dialog::shortcuts()),
            None if self.dropping => Some(dropping()),
            None => None,
        };
        stack![page, over].into()
    }

    fn strips(&self) -> Option<Element<'_, Message>> {
        let lost = match self.link {
            ServerLink::Connected => None,
            ServerLink::Reconnecting { retry_in, .. } => {
                let words = words::server_lost(retry_in.as_secs());
                Some(control::strip(Icon::Retry, Tint::Warning, words, None).into())
            }
        };
        let troubles = self.notices.iter().filter(|notice| notice.tint != Tint::Positive);
        below_each_other(lost.into_iter().chain(troubles.map(Notice::view)).collect())
    }

    /// Good news vanish by themselves, so nothing makes room for them.
    fn toasts(&self) -> Option<Element<'_, Message>> {
        let news = self.notices.iter().filter(|notice| notice.tint == Tint::Positive);
        below_each_other(news.map(Notice::view).collect())
    }
}

impl Notice {
    fn view(&self) -> Element<'_, Message> {
        let close = (words::CLOSE, Message::Dismiss(self.words.clone()));
        control::strip(self.icon, self.tint, &self.words, Some(close)).into()
    }
}

fn below_each_other(strips: Vec<Element<'_, Message>>) -> Option<Element<'_, Message>> {
    if strips.is_empty() {
        return None;
    }
    let padding = iced::Padding { bottom: 0.0, ..iced::Padding::new(gap::M) };
    Some(column(strips).spacing(gap::S).padding(padding).into())
}

fn dropping<'a>() -> Element<'a, Message> {
    let content = column![
        crate::icon::icon(Icon::Image, 48.0, Tint::OnDark),
        text(words::DROP).size(size::TITLE).style(theme::over_picture),
    ]
    .spacing(gap::L)
    .align_x(iced::Alignment::Center);
    container(content).center(Length::Fill).style(theme::veil).into()
}

/// What a key or a file means, wherever the focus is.
fn shortcut(event: Event) -> Option<Message> {
    let (key, modifiers) = match event {
        Event::Keyboard(keyboard::Event::KeyPressed { key, modifiers, repeat: false, .. }) => {
            (key, modifiers)
        }
        Event::Window(window::Event::FileHovered(_)) => return Some(Message::Dropping(true)),
        Event::Window(window::Event::FilesHoveredLeft) => return Some(Message::Dropping(false)),
        Event::Window(window::Event::FileDropped(path)) => return Some(Message::Dropped(path)),
        _ => return None,
    };
    if key == keyboard::Key::Named(keyboard::key::Named::Escape) {
        return Some(Message::Close);
    }
    if !modifiers.command() {
        return None;
    }
    let keyboard::Key::Character(letter) = key else {
        return None;
    };
    Some(match (letter.to_lowercase().as_str(), modifiers.shift()) {
        ("d", false) => Message::Microphone,
        ("e", false) => Message::Camera,
        ("s", true) => Message::Screen,
        ("t", false) => Message::Panel(Panel::Chat),
        ("p", false) => Message::Panel(Panel::People),
        ("i", false) => Message::Dialog(Dialog::Invite),
        ("/", _) => Message::Dialog(Dialog::Shortcuts),
        ("v", false) => Message::Chat(chat::Message::Paste),
        ("l", true) => Message::Leave,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
