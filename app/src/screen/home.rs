//! Who, where, which room, which secret; and the wait until the meeting begins.

mod form;

use iced::task;
use iced::widget::{button, column, container, operation, row, stack, text, text_input, tooltip};
use iced::{Alignment, Element, Length, Padding, Task};
use net::{Fingerprint, JoinError, Passphrase};

use crate::i18n::home as words;
use crate::icon::{Icon, icon};
use crate::theme::{self, Tint, gap, size};
use crate::widget::control::{self, Field, glyph_button, icon_button, label, remark, word_button};

pub use form::{Destination, Form, Slip};

/// The width of the card, in logical pixels.
const CARD_WIDTH: f32 = 460.0;
/// Rooms that are offered beneath the form.
const RECENT: usize = 3;

/// The name field, for whoever wants to focus it.
pub const NAME: &str = "home.name";
/// The server field.
pub const SERVER: &str = "home.server";
/// The room field.
pub const ROOM: &str = "home.room";
/// The passphrase field.
pub const PASSPHRASE: &str = "home.passphrase";

/// The screen; see the module.
#[derive(Debug)]
pub struct Home {
    form: Form,
    recent: Vec<(String, String)>,
    passphrase_shown: bool,
    /// Somebody tried to join: from now on the form says what is wrong with it.
    tried: bool,
    filled_from_link: bool,
    stage: Stage,
    error: Option<String>,
    notice: Option<String>,
}

/// What the screen does at the moment.
#[derive(Debug)]
enum Stage {
    Editing,
    /// Dropping the handle ends the attempt.
    Joining {
        _attempt: Option<task::Handle>,
    },
    /// The server's certificate is unknown: shall it be trusted?
    Asking {
        fingerprint: Fingerprint,
        changed: bool,
    },
}

/// What happened on this screen.
#[derive(Debug, Clone)]
pub enum Message {
    /// The name was edited.
    Name(String),
    /// The server was edited, or a link was pasted there.
    Server(String),
    /// The room was edited, or a link was pasted there.
    Room(String),
    /// The passphrase was edited.
    Passphrase(Passphrase),
    /// Show or hide the passphrase.
    TogglePassphrase,
    /// Make a room up.
    NewRoom,
    /// Make a passphrase up.
    NewPassphrase,
    /// A room joined before.
    Recent(usize),
    /// Enter, in any field, or the button.
    Join,
    /// Stop joining; don't trust.
    Cancel,
    /// Trust the certificate, remember it, and join.
    Trust,
    /// Dismiss what went wrong.
    Dismiss,
    /// Dark or light.
    SwitchTheme,
}

/// What only the window can do.
#[derive(Debug)]
pub enum Action {
    /// Nothing.
    None,
    /// Run this.
    Run(Task<Message>),
    /// Join; then call [`Home::joining`], and [`Home::failed`] if it fails.
    Join(Destination),
    /// Remember this certificate of this server and join.
    TrustAndJoin(Destination),
    /// Dark or light.
    SwitchTheme,
}

impl Home {
    /// The screen with a form that is filled in already as far as things are known.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self {
            form,
            recent: Vec::new(),
            passphrase_shown: false,
            tried: false,
            filled_from_link: false,
            stage: Stage::Editing,
            error: None,
            notice: None,
        }
    }

    /// Offers rooms joined before, as server and room, newest first.
    pub fn set_recent(&mut self, recent: Vec<(String, String)>) {
        self.recent = recent;
    }

    /// Says something that the user should know before they begin.
    #[must_use]
    pub fn with_notice(mut self, notice: Option<String>) -> Self {
        self.notice = notice;
        self
    }

    /// What is filled in.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The attempt to join runs; dropping the screen ends it.
    pub fn joining(&mut self, attempt: task::Handle) {
        self.stage = Stage::Joining { _attempt: Some(attempt.abort_on_drop()) };
    }

    /// Whether an attempt to join runs.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining { .. })
    }

    /// The attempt succeeded.
    pub fn arrived(&mut self) {
        self.stage = Stage::Editing;
        self.tried = false;
        self.error = None;
    }

    /// The attempt failed.
    pub fn failed(&mut self, error: &JoinError) {
        self.error = None;
        self.stage = match error {
            JoinError::UnknownCertificate { fingerprint } => {
                Stage::Asking { fingerprint: *fingerprint, changed: false }
            }
            JoinError::OtherCertificate { found } => {
                Stage::Asking { fingerprint: *found, changed: true }
            }
            other => {
                self.error = Some(sentence(&other.to_string()));
                Stage::Editing
            }
        };
    }

    /// Something went wrong elsewhere; say so here.
    pub fn complain(&mut self, what: String) {
        self.error = Some(what);
        self.stage = Stage::Editing;
    }

    /// Goes to the first field that still has to be filled in.
    pub fn focus(&self) -> Task<Message> {
        let field = match self.form.check() {
            Err(slip) if slip.name.is_some() => NAME,
            Err(slip) if slip.server.is_some() => SERVER,
            Err(slip) if slip.room.is_some() => ROOM,
            _ => PASSPHRASE,
        };
        operation::focus(field)
    }

    /// Takes in what happened.
    pub fn update(&mut self, message: Message) -> Action {
        match message {
            Message::Name(name) => self.form.name = name,
            Message::Server(server) => return self.fill(server, Form::set_server),
            Message::Room(room) => return self.fill(room, |form, room| form.room = room),
            Message::Passphrase(passphrase) => self.form.set_passphrase(passphrase),
            Message::TogglePassphrase => self.passphrase_shown = !self.passphrase_shown,
            Message::NewRoom => self.form.room = net::new_room_id().to_string(),
            Message::NewPassphrase => {
                self.form.generate_passphrase();
                self.passphrase_shown = true;
            }
            Message::Recent(index) => {
                if let Some((server, room)) = self.recent.get(index).cloned() {
                    self.form.set_place(server, room);
                    return Action::Run(operation::focus(PASSPHRASE));
                }
            }
            Message::Join => return self.join(),
            Message::Cancel => self.stage = Stage::Editing,
            Message::Trust => return self.trust(),
            Message::Dismiss => {
                self.error = None;
                self.notice = None;
            }
            Message::SwitchTheme => return Action::SwitchTheme,
        }
        Action::None
    }

    /// Something was typed or pasted into a field that also takes a whole invite link.
    fn fill(&mut self, text: String, set: fn(&mut Form, String)) -> Action {
        if self.form.fill_from_link(&text) {
            self.filled_from_link = true;
            self.error = None;
            return Action::Run(self.focus());
        }
        self.filled_from_link = false;
        set(&mut self.form, text);
        Action::None
    }

    fn join(&mut self) -> Action {
        self.tried = true;
        if !matches!(self.stage, Stage::Editing) {
            return Action::None;
        }
        match self.form.check() {
            Ok(destination) => {
                self.error = None;
                self.stage = Stage::Joining { _attempt: None };
                Action::Join(destination)
            }
            Err(_) => Action::Run(self.focus()),
        }
    }

    fn trust(&mut self) -> Action {
        let Stage::Asking { fingerprint, .. } = self.stage else {
            return Action::None;
        };
        self.form.fingerprint = Some(fingerprint);
        match self.form.check() {
            Ok(destination) => {
                self.stage = Stage::Joining { _attempt: None };
                Action::TrustAndJoin(destination)
            }
            Err(_) => {
                self.stage = Stage::Editing;
                Action::None
            }
        }
    }

    /// How it looks now, dark or light.
    #[must_use]
    pub fn view(&self, dark: bool) -> Element<'_, Message> {
        let dark_or_light = container(control::theme_button(dark, Message::SwitchTheme))
            .align_right(Length::Fill)
            .padding(gap::M);
        let body = match &self.stage {
            Stage::Asking { fingerprint, changed } => {
                certificate(&self.form.server, fingerprint, *changed)
            }
            Stage::Editing | Stage::Joining { .. } => self.card(),
        };
        let page = column![heading(), body]
            .spacing(gap::XL)
            .max_width(CARD_WIDTH)
            .align_x(Alignment::Center);
        let page = container(page).center_x(Length::Fill).padding(gap::XL);
        let page = container(control::scroll(page)).center_y(Length::Fill);
        stack![page, dark_or_light].into()
    }

    fn card(&self) -> Element<'_, Message> {
        let error = self.error.as_ref().map(|error| {
            let close = (crate::i18n::meeting::CLOSE, Message::Dismiss);
            control::strip(Icon::Warning, Tint::Danger, error, Some(close))
        });
        let notice = self.notice.as_ref().map(|notice| {
            let close = (crate::i18n::meeting::CLOSE, Message::Dismiss);
            control::strip(Icon::Warning, Tint::Warning, notice, Some(close))
        });
        let slip = if self.tried { self.form.check().err() } else { None }.unwrap_or_default();
        let fields = column![
            self.name(slip.name),
            self.server(slip.server),
            self.room(slip.room),
            self.passphrase(),
        ]
        .spacing(gap::L);
        let card = column![error, notice, fields, self.button()].spacing(gap::XL);
        let card = container(card).padding(gap::XL).width(Length::Fill).style(theme::card);
        column![card, self.recent()].spacing(gap::L).align_x(Alignment::Center).into()
    }

    fn input<'a>(
        &self,
        id: &'static str,
        hint: &str,
        value: &str,
        on_input: fn(String) -> Message,
    ) -> text_input::TextInput<'a, Message> {
        let editing = !self.is_joining();
        text_input(hint, value)
            .id(id)
            .on_input_maybe(editing.then_some(on_input))
            .on_paste_maybe(editing.then_some(on_input))
            .on_submit_maybe(editing.then_some(Message::Join))
    }

    fn offer<'a>(
        &self,
        shown: Icon,
        words: &'static str,
        message: Message,
    ) -> Element<'a, Message> {
        glyph_button(shown, words, (!self.is_joining()).then_some(message))
    }

    fn name(&self, wrong: Option<String>) -> Element<'_, Message> {
        let input = self.input(NAME, words::NAME_HINT, &self.form.name, Message::Name);
        Field { name: words::NAME, input, buttons: Vec::new(), wrong, remark: None }.view()
    }

    fn server(&self, wrong: Option<String>) -> Element<'_, Message> {
        let input = self.input(SERVER, words::SERVER_HINT, &self.form.server, Message::Server);
        let remark = match (self.filled_from_link, self.form.fingerprint.is_some()) {
            (_, true) => Some(words::PINNED),
            (true, false) => Some(words::FILLED),
            (false, false) => None,
        };
        Field { name: words::SERVER, input, buttons: Vec::new(), wrong, remark }.view()
    }

    fn room(&self, wrong: Option<String>) -> Element<'_, Message> {
        let input = self.input(ROOM, words::ROOM_HINT, &self.form.room, Message::Room);
        let buttons = vec![self.offer(Icon::Dice, words::NEW_ROOM, Message::NewRoom)];
        Field { name: words::ROOM, input, buttons, wrong, remark: None }.view()
    }

    fn passphrase(&self) -> Element<'_, Message> {
        let passphrase = self.form.passphrase.expose();
        let input = self
            .input(PASSPHRASE, words::PASSPHRASE_HINT, passphrase, |text| {
                Message::Passphrase(Passphrase::new(text))
            })
            .secure(!self.passphrase_shown);
        let (eye, what) = if self.passphrase_shown {
            (Icon::EyeOff, words::HIDE)
        } else {
            (Icon::Eye, words::SHOW)
        };
        let buttons = vec![
            self.offer(eye, what, Message::TogglePassphrase),
            self.offer(Icon::Dice, words::NEW_PASSPHRASE, Message::NewPassphrase),
        ];
        let remark = passphrase.is_empty().then_some(words::NO_PASSPHRASE);
        Field { name: words::PASSPHRASE, input, buttons, wrong: None, remark }.view()
    }

    fn button(&self) -> Element<'_, Message> {
        if self.is_joining() {
            let waiting = container(label(words::JOINING))
                .center_x(Length::Fill)
                .center_y(control::CONTROL_HEIGHT)
                .style(theme::pill);
            let cancel =
                word_button(words::CANCEL, theme::secondary_button).on_press(Message::Cancel);
            return row![waiting, cancel].spacing(gap::S).align_y(Alignment::Center).into();
        }
        let words = container(label(words::JOIN)).center(Length::Fill);
        button(words)
            .width(Length::Fill)
            .height(control::CONTROL_HEIGHT + gap::XS)
            .style(theme::primary_button)
            .on_press(Message::Join)
            .into()
    }

    fn recent(&self) -> Option<Element<'_, Message>> {
        if self.recent.is_empty() || self.is_joining() {
            return None;
        }
        let rooms = self.recent.iter().take(RECENT).enumerate().map(|(index, (server, room))| {
            let room = text(short(room)).size(size::SMALL);
            let room = button(room)
                .padding(Padding::from([gap::XS, gap::M]))
                .style(theme::secondary_button)
                .on_press(Message::Recent(index));
            control::hint(room, server, tooltip::Position::Bottom)
        });
        let rooms = row(rooms).spacing(gap::S).wrap();
        Some(column![remark(words::RECENT), rooms].spacing(gap::S).into())
    }
}

fn heading<'a>() -> Element<'a, Message> {
    let name = row![
        icon(Icon::Lock, size::DISPLAY, Tint::Accent),
        text(words::TITLE).size(size::DISPLAY).font(theme::SEMIBOLD),
    ]
    .spacing(gap::M)
    .align_y(Alignment::Center);
    column![name, text(words::SUBTITLE).size(size::BODY).style(theme::muted)]
        .spacing(gap::S)
        .align_x(Alignment::Center)
        .into()
}

fn certificate<'a>(
    server: &'a str,
    fingerprint: &Fingerprint,
    changed: bool,
) -> Element<'a, Message> {
    let title = row![
        icon(Icon::Warning, size::TITLE, Tint::Warning),
        text(words::CERTIFICATE).size(size::TITLE).font(theme::SEMIBOLD),
    ]
    .spacing(gap::S)
    .align_y(Alignment::Center);
    let why = if changed { words::CERTIFICATE_CHANGED } else { words::CERTIFICATE_WHY };
    let digits =
        container(text(grouped(&fingerprint.to_string())).size(size::BODY).font(theme::MONOSPACE))
            .padding(gap::M)
            .center_x(Length::Fill)
            .style(theme::their_bubble);
    let style = if changed { theme::danger_button } else { theme::primary_button };
    let tint = if changed { Tint::OnDark } else { Tint::OnAccent };
    let answers = row![
        iced::widget::space::horizontal(),
        word_button(words::CANCEL, theme::secondary_button).on_press(Message::Cancel),
        icon_button(Icon::Check, tint, words::TRUST, style).on_press(Message::Trust),
    ]
    .spacing(gap::S);
    let server = text(server).size(size::BODY).font(theme::SEMIBOLD);
    let card = column![title, server, text(why).size(size::BODY), digits, answers].spacing(gap::L);
    container(card).padding(gap::XL).style(theme::card).into()
}

/// A fingerprint as people compare it: groups of four digits, four groups a line.
fn grouped(digits: &str) -> String {
    let digits: Vec<char> = digits.chars().collect();
    let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
    let lines: Vec<String> = groups.chunks(4).map(|line| line.join(" ")).collect();
    lines.join("\n")
}

/// An error's message as a sentence: errors begin small and end without a full stop.
#[must_use]
pub fn sentence(error: &str) -> String {
    let mut letters = error.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let mut sentence: String = first.to_uppercase().chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?', '…']) {
        sentence.push('.');
    }
    sentence
}

/// A room's name as it fits on a small button.
fn short(room: &str) -> String {
    const CHARS: usize = 18;
    if room.chars().count() <= CHARS {
        return room.to_owned();
    }
    room.chars().take(CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
