use std::time::Duration;

use iced::futures::StreamExt as _;
use iced::futures::stream::{BoxStream, SelectAll};
use iced_test::runtime::{Action, task};
use iced_test::selector;
use net::Passphrase;

use super::*;
use crate::i18n::{chat as said, home as words, meeting as says};
use crate::testing::hands_on;

/// No step takes longer, even on a busy computer.
const DEADLINE: Duration = Duration::from_secs(45);

/// A window without a display, and the tasks that it runs.
struct Hands {
    window: Window,
    tasks: SelectAll<BoxStream<'static, Action<Message>>>,
    closed: bool,
    _folder: tempfile::TempDir,
}

impl Hands {
    fn on(start: &Start) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, settings, problem) = SettingsFile::open_at(folder.path().join("settings.json"));
        assert_eq!(problem, None);
        let remembered = Remembered { settings, file, problem: None };
        Self::with(start, remembered, folder)
    }

    fn with(start: &Start, remembered: Remembered, folder: tempfile::TempDir) -> Self {
        let (window, task) = Window::new(start, remembered);
        let mut hands = Self { window, tasks: SelectAll::new(), closed: false, _folder: folder };
        hands.run(task);
        hands
    }

    fn run(&mut self, task: Task<Message>) {
        self.tasks.extend(task::into_stream(task));
    }

    fn tell(&mut self, message: Message) {
        let task = self.window.update(message);
        self.run(task);
    }

    /// Does something with the widgets that are shown.
    fn act(&mut self, hands: impl FnOnce(&mut iced_test::Simulator<'_, Message>)) {
        let mut ui = hands_on(self.window.view());
        hands(&mut ui);
        let messages: Vec<Message> = ui.into_messages().collect();
        for message in messages {
            self.tell(message);
        }
    }

    fn sees(&self, words: &str) -> bool {
        hands_on(self.window.view()).find(words).is_ok()
    }

    /// Lets time pass until these words are seen.
    async fn wait_for(&mut self, words: &str) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !self.sees(words) {
            let next = tokio::time::timeout_at(deadline, self.tasks.next()).await;
            match next.unwrap_or_else(|_| panic!("“{words}” never came")) {
                Some(Action::Output(message)) => self.tell(message),
                Some(Action::Exit) => self.closed = true,
                Some(_) => {}
                None => panic!("“{words}” never came, and nothing else will"),
            }
        }
    }

    /// Lets time pass until the window is gone.
    async fn wait_for_the_end(&mut self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !self.closed {
            match tokio::time::timeout_at(deadline, self.tasks.next()).await.unwrap() {
                Some(Action::Output(message)) => self.tell(message),
                Some(Action::Exit) => self.closed = true,
                Some(_) => {}
                None => panic!("nothing closes the window"),
            }
        }
    }
}

/// What it takes to join, without any device.
fn start(server: &str, name: &str) -> Start {
    Start {
        server: Some(server.parse().unwrap()),
        room: Some(net::RawRoomId::new("demo").unwrap()),
        name: Some(name.to_owned()),
        passphrase: Some(Passphrase::new("secret".to_owned())),
        join: true,
        camera: Some(VideoSource::None),
        microphone: Some(SoundSource::None),
        speaker: Some(SoundSink::None),
        ..Start::default()
    }
}

#[tokio::test]
async fn the_command_line_wins_over_what_is_remembered() {
    let settings = Settings {
        name: "Ana".to_owned(),
        server: Some("https://old.example.org".to_owned()),
        camera: Some("pattern".to_owned()),
        microphone: Some("none".to_owned()),
        ..Settings::default()
    };
    let from_nothing = form(&Start::default(), &settings);
    assert_eq!((from_nothing.name.as_str(), from_nothing.room.as_str()), ("Ana", ""));
    assert_eq!(from_nothing.server, "https://old.example.org");
    assert_eq!(sources(&Start::default(), &settings).camera, VideoSource::Pattern);

    let start = start("https://h:1", "Bob");
    let from_start = form(&start, &settings);
    assert_eq!((from_start.name.as_str(), from_start.room.as_str()), ("Bob", "demo"));
    assert!(from_start.server.contains("h:1"));
    assert_eq!(from_start.passphrase.expose(), "secret");
    assert_eq!(sources(&start, &settings).camera, VideoSource::None);
    assert_eq!(sources(&Start::default(), &settings).microphone, SoundSource::None);
}

#[tokio::test]
async fn join_without_all_that_is_needed_asks_for_the_rest() {
    let hands = Hands::on(&Start { join: true, ..Start::default() });
    assert!(hands.sees(words::NAME_EMPTY) && hands.sees(words::SERVER_EMPTY));
}

#[tokio::test]
async fn the_appearance_follows_the_system_until_it_is_chosen() {
    let mut hands = Hands::on(&Start::default());
    for (mode, dark) in [(Mode::Light, false), (Mode::Dark, true), (Mode::None, true)] {
        hands.tell(Message::System(mode));
        assert_eq!(hands.window.is_dark(), dark);
    }
    hands.tell(Message::Home(home::Message::SwitchTheme));
    assert_eq!(hands.window.theme(), theme::light());
    hands.tell(Message::System(Mode::Dark));
    assert_eq!(hands.window.theme(), theme::light());
    assert_eq!(hands.window.remembered.settings.theme, ThemeChoice::Light);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_and_the_form_kept() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = format!("http://{closed}");
    let mut hands = Hands::on(&start(&server, "Ana"));
    assert!(hands.sees(words::JOINING));
    hands.wait_for(words::JOIN).await;
    assert!(hands.window.home.form().server.contains(&closed.to_string()));
    assert_eq!(hands.window.home.form().passphrase.expose(), "secret");
}

#[tokio::test]
async fn settings_that_were_not_understood_are_told_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.json");
    std::fs::write(&path, "rubbish").unwrap();
    let (file, settings, problem) = SettingsFile::open_at(path);
    let problem = problem.map(|problem| problem.to_string());
    let sentence = home::sentence(problem.as_deref().unwrap());
    let remembered = Remembered { settings, file, problem };
    let hands = Hands::with(&Start::default(), remembered, folder);
    assert!(hands.sees(&sentence), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_windows_meet_talk_and_part() {
    let state = tempfile::tempdir().unwrap();
    let config = server::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: server::Tls::SelfSigned,
        state_dir: Some(state.path().to_owned()),
        ..server::Config::default()
    };
    let server = server::Server::bind(config).await.unwrap();
    let url = server.url();
    tokio::spawn(server.run(std::future::pending()));

    // Ana is asked about the certificate, and remembers it.
    let mut ana = Hands::on(&start(&url, "Ana"));
    ana.wait_for(words::CERTIFICATE).await;
    ana.act(|ui| {
        ui.click(words::TRUST).unwrap();
    });
    ana.wait_for(says::ALONE).await;
    assert_eq!(ana.window.title(), "demo – Private Meet");
    let trusted = ana.window.remembered.settings.trusted.clone();
    assert_eq!(trusted.len(), 1);

    // Bob has been here before.
    let folder = tempfile::tempdir().unwrap();
    let (file, mut settings, _) = SettingsFile::open_at(folder.path().join("settings.json"));
    settings.trusted = trusted;
    let remembered = Remembered { settings, file, problem: None };
    let mut bob = Hands::with(&start(&url, "Bob"), remembered, folder);
    bob.wait_for("Ana").await;
    ana.wait_for("Bob").await;

    // They talk.
    ana.act(|ui| {
        ui.click(selector::id(chat::INPUT)).unwrap();
        ui.typewrite("H");
    });
    let draft = meeting::Message::Chat(chat::Message::Draft("Hello, Bob".to_owned()));
    ana.tell(Message::Meeting(draft));
    bob.wait_for("Ana is typing…").await;
    ana.act(|ui| {
        ui.click(selector::id(chat::INPUT)).unwrap();
        ui.tap_key(key::Named::Enter);
    });
    assert!(ana.sees("Hello, Bob") && ana.sees(said::SENDING));
    bob.wait_for("Hello, Bob").await;
    let sent = |ana: &Hands| !ana.sees(said::SENDING);
    while !sent(&ana) {
        match tokio::time::timeout(DEADLINE, ana.tasks.next()).await.unwrap() {
            Some(Action::Output(message)) => ana.tell(message),
            Some(_) => {}
            None => panic!("the message was never sent"),
        }
    }

    // Bob closes his window; Ana leaves, and could come back.
    bob.tell(Message::Window(WindowEvent::CloseRequested(window::Id::unique())));
    bob.wait_for_the_end().await;
    ana.wait_for(says::ALONE).await;
    ana.act(|ui| {
        ui.click(says::LEAVE).unwrap();
    });
    assert!(ana.sees(words::JOIN) && ana.sees("demo"));
}
