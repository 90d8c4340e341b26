use iced_test::selector;
use net::limits;

use super::*;
use crate::testing::{self, hands_on};

const LINK: &str = "https://h:8443/#/room/demo&k=one%20two";

fn ready() -> Home {
    Home::new(Form {
        name: "alice".to_owned(),
        server: "meet.example.org".to_owned(),
        room: "demo".to_owned(),
        ..Form::default()
    })
}

/// Does something with the screen's widgets and hands what they say to the screen.
fn act(home: &mut Home, hands: impl FnOnce(&mut iced_test::Simulator<'_, Message>)) -> Vec<Action> {
    let mut ui = hands_on(home.view(true));
    hands(&mut ui);
    let messages: Vec<Message> = ui.into_messages().collect();
    messages.into_iter().map(|message| home.update(message)).collect()
}

fn sees(home: &Home, words: &str) -> bool {
    hands_on(home.view(true)).find(words).is_ok()
}

fn fingerprint() -> Fingerprint {
    "0123456789abcdef".repeat(4).parse().unwrap()
}

#[test]
fn every_field_has_its_name_and_takes_what_is_typed() {
    let mut home = Home::new(Form::default());
    for name in [words::NAME, words::SERVER, words::ROOM, words::PASSPHRASE] {
        assert!(sees(&home, name), "{name}");
    }
    for field in [NAME, SERVER, ROOM, PASSPHRASE] {
        act(&mut home, |ui| {
            ui.click(selector::id(field)).unwrap();
            ui.typewrite("x");
        });
    }
    let form = home.form();
    let typed = [&form.name, &form.server, &form.room].map(String::as_str);
    assert_eq!((typed, form.passphrase.expose()), (["x"; 3], "x"));
}

#[test]
fn enter_joins_from_any_field() {
    for field in [NAME, SERVER, ROOM, PASSPHRASE] {
        let mut home = ready();
        let actions = act(&mut home, |ui| {
            ui.click(selector::id(field)).unwrap();
            ui.tap_key(iced::keyboard::key::Named::Enter);
        });
        assert!(matches!(&actions[..], [Action::Join(to)] if to.room.as_str() == "demo"));
        assert!(home.is_joining());
    }
}

#[test]
fn an_incomplete_form_says_what_is_missing_beneath_each_field() {
    let mut home = Home::new(Form::default());
    assert!(!sees(&home, words::NAME_EMPTY), "nobody is blamed before they tried");
    let actions = act(&mut home, |ui| {
        ui.click(words::JOIN).unwrap();
    });
    assert!(matches!(&actions[..], [Action::Run(_)]));
    for sentence in [words::NAME_EMPTY, words::SERVER_EMPTY, words::ROOM_EMPTY] {
        assert!(sees(&home, sentence), "{sentence}");
    }
    let _ = home.update(Message::Name("n".repeat(limits::USERNAME_CHARS + 1)));
    let _ = home.update(Message::Room("r".repeat(limits::ROOM_ID_CHARS + 1)));
    let _ = home.update(Message::Server("ftp://h".to_owned()));
    for sentence in ["At most 32 characters, please.", "At most 128 characters, please."] {
        assert!(sees(&home, sentence), "{sentence}");
    }
    assert!(!sees(&home, words::SERVER_EMPTY));
}

#[test]
fn a_link_in_the_server_or_the_room_field_fills_everything() {
    for paste in [Message::Server(LINK.to_owned()), Message::Room(LINK.to_owned())] {
        let mut home = Home::new(Form { name: "alice".to_owned(), ..Form::default() });
        let _ = home.update(paste);
        let form = home.form();
        assert_eq!((form.room.as_str(), form.passphrase.expose()), ("demo", "one two"));
        assert!(form.server.contains("h:8443"));
        assert!(sees(&home, words::FILLED));
        assert!(matches!(home.update(Message::Join), Action::Join(_)));
    }
}

#[test]
fn the_dice_make_up_a_room_and_a_passphrase() {
    let mut home = ready();
    act(&mut home, |ui| {
        ui.click(selector::id(words::NEW_ROOM)).unwrap();
        ui.click(selector::id(words::NEW_PASSPHRASE)).unwrap();
    });
    assert_eq!(home.form().room.len(), 36);
    assert!(home.form().passphrase.expose().split([' ', '-']).count() >= 6);
    assert!(sees(&home, &home.form().room.clone()));
}

#[test]
fn without_a_passphrase_the_form_says_what_that_means() {
    let mut home = ready();
    assert!(sees(&home, words::NO_PASSPHRASE));
    let _ = home.update(Message::Passphrase(Passphrase::new("secret".to_owned())));
    assert!(!sees(&home, words::NO_PASSPHRASE));
}

#[test]
fn joining_can_be_cancelled() {
    let mut home = ready();
    let _ = home.update(Message::Join);
    assert!(sees(&home, words::JOINING));
    assert!(matches!(home.update(Message::Join), Action::None), "once is enough");
    act(&mut home, |ui| {
        ui.click(words::CANCEL).unwrap();
    });
    assert!(!home.is_joining() && sees(&home, words::JOIN));
}

#[test]
fn an_unknown_certificate_is_shown_and_trusted_only_when_asked() {
    let mut home = ready();
    let _ = home.update(Message::Join);
    home.failed(&JoinError::UnknownCertificate { fingerprint: fingerprint() });
    assert!(sees(&home, words::CERTIFICATE) && sees(&home, words::CERTIFICATE_WHY));
    assert!(sees(&home, &grouped(&fingerprint().to_string())));
    let actions = act(&mut home, |ui| {
        ui.click(words::TRUST).unwrap();
    });
    let [Action::TrustAndJoin(to)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(to.fingerprint, Some(fingerprint()));

    home.failed(&JoinError::OtherCertificate { found: fingerprint() });
    assert!(sees(&home, words::CERTIFICATE_CHANGED));
    act(&mut home, |ui| {
        ui.click(words::CANCEL).unwrap();
    });
    assert!(sees(&home, words::JOIN));
}

#[test]
fn what_went_wrong_is_said_in_a_sentence_and_nothing_is_lost() {
    let mut home = ready();
    let _ = home.update(Message::Join);
    home.failed(&JoinError::Timeout);
    assert!(sees(&home, "The server did not answer in time."));
    assert_eq!(home.form(), ready().form());
    let _ = home.update(Message::Dismiss);
    assert!(!sees(&home, "The server did not answer in time."));
}

#[test]
fn a_room_joined_before_is_one_press_away() {
    let recent = vec![("https://h:1".to_owned(), "tea".to_owned())];
    let mut home = Home::new(Form::default());
    home.set_recent(recent);
    act(&mut home, |ui| {
        ui.click("tea").unwrap();
    });
    assert_eq!((home.form().server.as_str(), home.form().room.as_str()), ("https://h:1", "tea"));
}

#[test]
fn the_screen_is_drawn_dark_and_light() {
    let mut home = ready();
    for (name, theme) in [("home-dark", theme::dark()), ("home-light", theme::light())] {
        let size = iced::Size::new(1200.0, 760.0);
        let view = home.view(name == "home-dark");
        let pixels = testing::drawn(view, &theme, size, 1.0, testing::SOFTWARE);
        testing::keep(&pixels, name);
        let background = theme::colors(&theme).background.into_rgba8();
        assert_eq!(pixels.get_pixel(4, 750).0, background);
        let different = pixels.pixels().filter(|pixel| pixel.0 != background).count();
        assert!(different > 100_000, "{different} pixels are drawn");
    }
    let _ = home.update(Message::Join);
    home.failed(&JoinError::UnknownCertificate { fingerprint: fingerprint() });
    let size = iced::Size::new(900.0, 600.0);
    let pixels = testing::drawn(home.view(true), &theme::dark(), size, 1.0, testing::SOFTWARE);
    testing::keep(&pixels, "home-certificate");

    let mut home = Home::new(Form::default());
    let _ = home.update(Message::Join);
    home.complain("Cannot reach https://meet.example.org: no route to host.".to_owned());
    let pixels = testing::drawn(home.view(true), &theme::dark(), size, 1.0, testing::SOFTWARE);
    testing::keep(&pixels, "home-small-errors");
}

#[test]
fn a_fingerprint_is_shown_in_groups() {
    let shown = grouped(&"0123456789abcdef".repeat(4));
    assert_eq!(shown.lines().count(), 4);
    assert!(shown.lines().all(|line| line == "0123 4567 89ab cdef"));
}

#[test]
fn an_error_becomes_a_sentence() {
    assert_eq!(sentence("cannot reach the server"), "Cannot reach the server.");
    assert_eq!(sentence("really?"), "Really?");
    assert_eq!(sentence(""), "");
}
