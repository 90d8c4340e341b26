//! The window: which screen is shown, and everything that only it may do for them — start and
//! leave calls, remember settings, follow the system's appearance.

mod backend;

use iced::keyboard::{self, key};
use iced::theme::Mode;
use iced::widget::operation;
use iced::{Element, Event, Size, Subscription, Task, Theme, event, futures, system, task, window};
use media::{SoundSink, SoundSource, VideoSource};
use net::{Invite, JoinError, Source};
use tokio::sync::mpsc;

use crate::call::{self, Call, CallConfig, CallEvent, Sources};
use crate::cli::Start;
use crate::i18n;
use crate::screen::home::{self, Destination, Form, Home};
use crate::screen::meeting::{self, Meeting, On, chat};
use crate::settings::{Settings, SettingsFile, ThemeChoice};
use crate::theme;

/// The size of the window at first, in logical pixels.
const WINDOW: Size = Size::new(1200.0, 760.0);
/// Smaller than this nothing fits.
const SMALLEST_WINDOW: Size = Size::new(720.0, 520.0);
/// Names the window to the desktop.
const APPLICATION_ID: &str = "private-meet";

/// Opens the window and returns when it was closed and the call, if there was one, was left.
///
/// # Errors
/// When no window can be opened: there is no display, or it refuses.
pub fn run(start: Start) -> iced::Result {
    backend::choose();
    let remembered = Remembered::load();
    let boot = move || Window::new(&start, remembered.clone());
    let mut application = iced::application(boot, Window::update, Window::view)
        .title(Window::title)
        .theme(Window::theme)
        .subscription(Window::subscription)
        .default_font(theme::REGULAR)
        .window(window::Settings {
            size: WINDOW,
            min_size: Some(SMALLEST_WINDOW),
            exit_on_close_request: false,
            #[cfg(target_os = "linux")]
            platform_specific: window::settings::PlatformSpecific {
                application_id: APPLICATION_ID.to_owned(),
                ..window::settings::PlatformSpecific::default()
            },
            ..window::Settings::default()
        });
    for file in theme::FONT_FILES {
        application = application.font(file);
    }
    application.run()
}

/// The state; see the module.
#[derive(Debug)]
pub struct Window {
    home: Home,
    live: Option<Live>,
    remembered: Remembered,
    sources: Sources,
    system: Mode,
    scale_factor: f32,
}

/// The call that we are in. Dropping it leaves.
#[derive(Debug)]
struct Live {
    meeting: Meeting,
    call: Call,
    /// Why the call may have to end.
    last_error: Option<String>,
    /// Reads the call's events; ends with this.
    _events: task::Handle,
}

/// The settings, where they are kept, and what was wrong with them.
#[derive(Debug, Clone)]
struct Remembered {
    settings: Settings,
    file: SettingsFile,
    problem: Option<String>,
}

/// What happened.
#[derive(Debug)]
pub enum Message {
    /// On the home screen.
    Home(home::Message),
    /// On the meeting screen.
    Meeting(meeting::Message),
    /// The attempt to join ended.
    Joined(Box<Attempt>),
    /// In the call.
    Happened(CallEvent),
    /// To the window itself.
    Window(WindowEvent),
    /// The system prefers this appearance.
    System(Mode),
    /// The call was left and the window can go.
    Gone,
}

/// How an attempt to join ended.
#[derive(Debug)]
pub struct Attempt {
    destination: Destination,
    result: Result<(Call, mpsc::Receiver<CallEvent>), JoinError>,
}

/// What happened to the window itself.
#[derive(Debug, Clone, Copy)]
pub enum WindowEvent {
    /// It is there.
    Opened(window::Id),
    /// So many physical pixels are a logical one.
    Scaled(f32),
    /// The user closes it.
    CloseRequested(window::Id),
    /// To the next field, or back.
    Tab {
        /// Back.
        back: bool,
    },
}

impl Remembered {
    fn load() -> Self {
        let (file, settings, problem) = SettingsFile::open();
        Self { settings, file, problem: problem.map(|problem| problem.to_string()) }
    }

    /// Writes what is remembered, elsewhere.
    fn save<T: Send + 'static>(&self) -> Task<T> {
        let (file, settings) = (self.file.clone(), self.settings.clone());
        let write = async move {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = file.save(&settings) {
                    tracing::warn!(%error, "the settings are not remembered");
                }
            })
            .await
            .ok();
        };
        Task::future(write).discard()
    }
}

impl Window {
    fn new(start: &Start, remembered: Remembered) -> (Self, Task<Message>) {
        let form = form(start, &remembered.settings);
        let problem = remembered.problem.as_deref().map(home::sentence);
        let mut window = Self {
            home: Home::new(form).with_notice(problem),
            live: None,
            sources: sources(start, &remembered.settings),
            remembered,
            system: Mode::None,
            scale_factor: 1.0,
        };
        window.offer_recent();
        let begin = if start.join {
            window.on_home(home::Message::Join)
        } else {
            window.home.focus().map(Message::Home)
        };
        (window, Task::batch([begin, system::theme().map(Message::System)]))
    }

    /// Takes in what happened.
    pub fn update(&mut self, message: Message) -> Task<Message> {
        match message {
            Message::Home(message) => self.on_home(message),
            Message::Meeting(message) => self.on_meeting(message),
            Message::Joined(attempt) => self.joined(*attempt),
            Message::Happened(event) => self.happened(event),
            Message::Window(event) => self.on_window(event),
            Message::System(mode) => {
                self.system = mode;
                Task::none()
            }
            Message::Gone => iced::exit(),
        }
    }

    /// How it looks now.
    #[must_use]
    pub fn view(&self) -> Element<'_, Message> {
        match &self.live {
            Some(live) => live.meeting.view(self.is_dark()).map(Message::Meeting),
            None => self.home.view(self.is_dark()).map(Message::Home),
        }
    }

    fn title(&self) -> String {
        match &self.live {
            Some(live) => format!("{} – {}", live.meeting.room(), i18n::home::TITLE),
            None => i18n::home::TITLE.to_owned(),
        }
    }

    fn theme(&self) -> Theme {
        if self.is_dark() { theme::dark() } else { theme::light() }
    }

    fn is_dark(&self) -> bool {
        match self.remembered.settings.theme {
            ThemeChoice::Dark => true,
            ThemeChoice::Light => false,
            // A system without an opinion gets the appearance that suits pictures best.
            ThemeChoice::System | ThemeChoice::Unknown => self.system != Mode::Light,
        }
    }

    fn subscription(&self) -> Subscription<Message> {
        let screen = match &self.live {
            Some(live) => live.meeting.subscription().map(Message::Meeting),
            None => Subscription::none(),
        };
        Subscription::batch([
            screen,
            system::theme_changes().map(Message::System),
            event::listen_with(|event, _status, id| window_event(&event, id)),
        ])
    }

    fn on_home(&mut self, message: home::Message) -> Task<Message> {
        match self.home.update(message) {
            home::Action::None => Task::none(),
            home::Action::Run(task) => task.map(Message::Home),
            home::Action::Join(destination) => self.join(destination),
            home::Action::TrustAndJoin(destination) => {
                if let Some(fingerprint) = &destination.fingerprint {
                    let server = destination.server.origin();
                    self.remembered.settings.trust(&server, &fingerprint.to_string());
                }
                Task::batch([self.remembered.save(), self.join(destination)])
            }
            home::Action::SwitchTheme => self.switch_theme(),
        }
    }

    fn join(&mut self, mut destination: Destination) -> Task<Message> {
        if destination.fingerprint.is_none() {
            let trusted = self.remembered.settings.trusted.get(&destination.server.origin());
            destination.fingerprint = trusted.and_then(|digits| digits.parse().ok());
        }
        let on = self.on_at_first();
        let config = CallConfig {
            server: destination.server.clone(),
            fingerprint: destination.fingerprint,
            room: destination.room.clone(),
            name: destination.name.clone(),
            passphrase: destination.passphrase.clone(),
            sources: self.sources.clone(),
            camera_on: on.camera,
            microphone_on: on.microphone,
        };
        let (attempt, handle) = Task::future(Box::pin(call::start(config))).abortable();
        self.home.joining(handle);
        attempt.map(move |result| {
            Message::Joined(Box::new(Attempt { destination: destination.clone(), result }))
        })
    }

    fn on_at_first(&self) -> On {
        let settings = &self.remembered.settings;
        On {
            microphone: settings.microphone_on.unwrap_or(true)
                && self.sources.microphone != SoundSource::None,
            camera: settings.camera_on.unwrap_or(true) && self.sources.camera != VideoSource::None,
            screen: false,
        }
    }

    fn joined(&mut self, Attempt { destination, result }: Attempt) -> Task<Message> {
        if !self.home.is_joining() {
            // Cancelled in the last moment; dropping the call leaves.
            return Task::none();
        }
        let (call, events) = match result {
            Ok(joined) => joined,
            Err(error) => {
                self.home.failed(&error);
                return Task::none();
            }
        };
        self.home.arrived();
        let settings = &mut self.remembered.settings;
        settings.name.clone_from(&destination.name);
        settings.server = Some(destination.server.to_string());
        settings.remember_room(&destination.server.origin(), destination.room.as_str());
        self.offer_recent();
        let invite = Invite {
            server: destination.server,
            room: destination.room,
            passphrase: Some(destination.passphrase),
            fingerprint: destination.fingerprint,
        };
        let mut meeting = Meeting::new(call.user(), destination.name, invite, self.on_at_first());
        meeting.set_scale_factor(self.scale_factor);
        meeting.set_tiles(call.tiles());
        let (events, handle) = Task::stream(stream(events)).abortable();
        self.live = Some(Live { meeting, call, last_error: None, _events: handle.abort_on_drop() });
        Task::batch([
            events.map(Message::Happened),
            self.remembered.save(),
            operation::focus(chat::INPUT),
        ])
    }

    fn offer_recent(&mut self) {
        let recent = self.remembered.settings.recent.iter();
        let recent = recent.map(|known| (known.server.clone(), known.room.clone()));
        self.home.set_recent(recent.collect());
    }

    fn happened(&mut self, event: CallEvent) -> Task<Message> {
        let Some(live) = &mut self.live else {
            return Task::none();
        };
        match &event {
            CallEvent::TileAdded { .. } | CallEvent::TileRemoved { .. } => {
                live.meeting.set_tiles(live.call.tiles());
            }
            CallEvent::Error { message, .. } => live.last_error = Some(home::sentence(message)),
            CallEvent::Left => {
                let why = live.last_error.take();
                self.live = None;
                self.home.complain(why.unwrap_or_else(|| i18n::meeting::ENDED.to_owned()));
                return Task::none();
            }
            _ => {}
        }
        live.meeting.happened(event).map(Message::Meeting)
    }

    fn on_meeting(&mut self, message: meeting::Message) -> Task<Message> {
        let Some(live) = &mut self.live else {
            return Task::none();
        };
        match live.meeting.update(message) {
            meeting::Action::None => Task::none(),
            meeting::Action::Run(task) => task.map(Message::Meeting),
            meeting::Action::Chat(action) => {
                live.on_chat(action).map(meeting::Message::Chat).map(Message::Meeting)
            }
            meeting::Action::Switch(source, on) => {
                live.switch(source, on);
                Task::none()
            }
            meeting::Action::Listen => {
                let Live { meeting, call, .. } = live;
                meeting.hear(|peer| call.peer_level(peer));
                Task::none()
            }
            meeting::Action::Leave => {
                self.live = None;
                self.home.focus().map(Message::Home)
            }
            meeting::Action::SwitchTheme => self.switch_theme(),
        }
    }

    fn on_window(&mut self, event: WindowEvent) -> Task<Message> {
        match event {
            WindowEvent::Opened(id) => {
                window::scale_factor(id).map(|scale| Message::Window(WindowEvent::Scaled(scale)))
            }
            WindowEvent::Scaled(scale_factor) => {
                self.scale_factor = scale_factor;
                if let Some(live) = &mut self.live {
                    live.meeting.set_scale_factor(scale_factor);
                }
                Task::none()
            }
            WindowEvent::CloseRequested(id) => match self.live.take() {
                // The others should know at once; the window need not be seen meanwhile.
                Some(live) => Task::batch([
                    window::set_mode(id, window::Mode::Hidden),
                    Task::perform(live.call.leave(), |()| Message::Gone),
                ]),
                None => iced::exit(),
            },
            WindowEvent::Tab { back: false } => operation::focus_next(),
            WindowEvent::Tab { back: true } => operation::focus_previous(),
        }
    }

    fn switch_theme(&mut self) -> Task<Message> {
        self.remembered.settings.theme =
            if self.is_dark() { ThemeChoice::Light } else { ThemeChoice::Dark };
        self.remembered.save()
    }
}

impl Live {
    fn switch(&mut self, source: Source, on: bool) {
        let result = match source {
            Source::Microphone => self.call.set_microphone(on),
            Source::Camera => self.call.set_camera(on),
            Source::Screen => self.call.set_screen(on),
            Source::ScreenAudio => Ok(()),
        };
        if result.is_err() {
            self.meeting.complain(i18n::meeting::BUSY);
        }
    }

    fn on_chat(&mut self, action: chat::Action) -> Task<chat::Message> {
        match action {
            chat::Action::None => Task::none(),
            chat::Action::Run(task) => task,
            chat::Action::Say { id, text, then } => {
                if self.call.send_chat_as(id, text).is_err() {
                    let why = i18n::meeting::BUSY.to_owned();
                    self.meeting.chat().delivered(id, Err(why));
                }
                // Who does not hear that we stopped typing sees the message itself.
                self.call.set_typing(false).ok();
                then
            }
            chat::Action::Typing(typing, then) => {
                self.call.set_typing(typing).ok();
                then
            }
            chat::Action::SendPicture(picture) => {
                let sent =
                    self.call.send_image(picture.name.clone(), picture.mime, picture.bytes.clone());
                match sent {
                    Ok(id) => self.meeting.chat().sending(id, picture),
                    Err(_) => {
                        self.meeting.complain(i18n::meeting::BUSY);
                        Task::none()
                    }
                }
            }
            chat::Action::Cancel(id) => {
                if self.call.cancel_image(id).is_err() {
                    self.meeting.complain(i18n::meeting::BUSY);
                }
                Task::none()
            }
        }
    }
}

fn stream<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

fn form(start: &Start, settings: &Settings) -> Form {
    let server = start.server.as_ref().map(ToString::to_string).or_else(|| settings.server.clone());
    let room = start.room.as_ref().map(ToString::to_string);
    Form {
        name: start.name.clone().unwrap_or_else(|| settings.name.clone()),
        server: server.unwrap_or_default(),
        room: room.unwrap_or_default(),
        fingerprint: start.fingerprint,
        passphrase: start.passphrase.clone().unwrap_or_default(),
    }
}

fn sources(start: &Start, settings: &Settings) -> Sources {
    Sources {
        camera: chosen(start.camera.as_ref(), settings.camera.as_deref()),
        microphone: chosen(start.microphone.as_ref(), settings.microphone.as_deref()),
        speaker: chosen::<SoundSink>(start.speaker.as_ref(), settings.speaker.as_deref()),
        processing: start.processing,
        ..Sources::default()
    }
}

/// What the command line says, else what is remembered, else what is usual.
fn chosen<T: Clone + Default + std::str::FromStr>(said: Option<&T>, known: Option<&str>) -> T {
    said.cloned().or_else(|| known?.parse().ok()).unwrap_or_default()
}

fn window_event(event: &Event, id: window::Id) -> Option<Message> {
    let event = match event {
        Event::Window(window::Event::Opened { .. }) => WindowEvent::Opened(id),
        Event::Window(window::Event::Rescaled(scale)) => WindowEvent::Scaled(*scale),
        Event::Window(window::Event::CloseRequested) => WindowEvent::CloseRequested(id),
        Event::Keyboard(keyboard::Event::KeyPressed {
            key: keyboard::Key::Named(key::Named::Tab),
            modifiers,
            ..
        }) => WindowEvent::Tab { back: modifiers.shift() },
        _ => return None,
    };
    Some(Message::Window(event))
}

#[cfg(test)]
mod tests;
