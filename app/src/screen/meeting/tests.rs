use std::time::{Duration, Instant};

use bytes::Bytes;
use iced_test::selector;
use media::{Frame, Slot};
use net::{Member, Passphrase, Protection, TrackId, TransferId, UnreadableReason, limits};

use super::*;
use crate::call::CallEvent;
use crate::i18n::chat as said;
use crate::testing::{self, hands_on, user};

fn meeting(passphrase: &str) -> Meeting {
    let invite = Invite {
        server: "https://meet.example.org".parse().unwrap(),
        room: net::RawRoomId::new("Tuesday round").unwrap(),
        passphrase: Some(Passphrase::new(passphrase.to_owned())),
        fingerprint: None,
    };
    let on = On { microphone: true, camera: true, screen: false };
    Meeting::new(user("me"), "Ana Sousa".to_owned(), invite, on)
}

fn member(id: &str, name: &str) -> Member {
    Member { id: user(id), username: name.to_owned() }
}

fn roster(names: &[&str]) -> CallEvent {
    let others = names.iter().map(|name| member(name, name));
    CallEvent::Roster([member("me", "Ana Sousa")].into_iter().chain(others).collect())
}

fn company(names: &[&str]) -> Meeting {
    let mut meeting = meeting("secret");
    happens(&mut meeting, roster(names));
    for name in names {
        happens(&mut meeting, CallEvent::Peer { peer: user(name), state: PeerState::Connected });
    }
    meeting
}

fn happens(meeting: &mut Meeting, event: CallEvent) {
    let _ = meeting.happened(event);
}

fn hears(meeting: &mut Meeting, from: &str, text: &str, protection: Protection) {
    let (from, name, text) = (user(from), String::new(), text.to_owned());
    happens(meeting, CallEvent::Chat { id: None, from, name, text, protection });
}

fn sees(meeting: &Meeting, words: &str) -> bool {
    hands_on(meeting.view(true)).find(words).is_ok()
}

/// Does something with the screen's widgets and hands what they say to the screen.
fn act(
    meeting: &mut Meeting,
    hands: impl FnOnce(&mut iced_test::Simulator<'_, Message>),
) -> Vec<Action> {
    let mut ui = hands_on(meeting.view(true));
    hands(&mut ui);
    let messages: Vec<Message> = ui.into_messages().collect();
    messages.into_iter().map(|message| meeting.update(message)).collect()
}

fn press(meeting: &mut Meeting, button: &'static str) -> Vec<Action> {
    act(meeting, |ui| {
        ui.click(selector::id(button)).unwrap();
    })
}

fn says(meeting: &mut Meeting, text: &str) -> net::MessageId {
    let _ = meeting.update(Message::Chat(chat::Message::Draft(text.to_owned())));
    let actions = act(meeting, |ui| {
        ui.click(selector::id(chat::INPUT)).unwrap();
        ui.tap_key(keyboard::key::Named::Enter);
    });
    match &actions[..] {
        [Action::Chat(chat::Action::Say { id, text: said, .. })] if said == text => *id,
        other => panic!("{other:?}"),
    }
}

fn picture_of(peer: Option<&str>, source: Source, frame: Frame) -> TileInfo {
    let frames = Slot::new();
    frames.put(frame);
    TileInfo { peer: peer.map(user), track: TrackId::new(source.name()), source, frames }
}

fn pattern(counter: u32, label: &str) -> Frame {
    media::pattern::draw(640, 360, counter, label, Instant::now())
}

#[test]
fn people_are_shown_with_their_names_and_counted() {
    let mut meeting = company(&["bob", "Carla Dias"]);
    assert!(sees(&meeting, "bob") && sees(&meeting, "Ana Sousa (You)"));
    assert!(sees(&meeting, "CD"), "initials where there is no picture");
    press(&mut meeting, words::TOGGLE_PEOPLE);
    assert!(sees(&meeting, "3 people"));
    happens(&mut meeting, roster(&["bob"]));
    assert!(sees(&meeting, "2 people") && !sees(&meeting, "Carla Dias"));
}

#[test]
fn tiles_do_not_jump_when_the_server_lists_people_in_another_order() {
    let mut meeting = company(&["bob", "carla", "dmitri"]);
    happens(&mut meeting, roster(&["emi", "dmitri", "bob"]));
    let names: Vec<&str> = meeting.people.iter().map(|person| person.name.as_str()).collect();
    assert_eq!(names, ["bob", "dmitri", "emi"]);
}

#[test]
fn who_is_alone_is_told_what_to_do() {
    let mut meeting = meeting("secret");
    assert!(sees(&meeting, words::ALONE));
    happens(&mut meeting, roster(&["bob"]));
    assert!(!sees(&meeting, words::ALONE));
}

#[test]
fn a_tile_says_how_its_connection_stands() {
    let mut meeting = company(&["bob"]);
    for (state, shown) in [
        (PeerState::Connecting, Some(words::CONNECTING)),
        (PeerState::Connected, None),
        (PeerState::Reconnecting, Some(words::RECONNECTING)),
        (PeerState::Failed, Some(words::FAILED)),
    ] {
        happens(&mut meeting, CallEvent::Peer { peer: user("bob"), state });
        for word in [words::CONNECTING, words::RECONNECTING, words::FAILED] {
            assert_eq!(sees(&meeting, word), Some(word) == shown, "{state:?}: {word}");
        }
    }
}

#[test]
fn the_label_never_claims_more_than_there_is() {
    let sealed = meeting("secret");
    assert!(sees(&sealed, words::SEALED) && !sees(&sealed, words::NOT_PRIVATE));
    let open = meeting("");
    assert!(sees(&open, words::NOT_PRIVATE) && !sees(&open, words::SEALED));
}

#[test]
fn a_message_goes_from_sending_to_sent() {
    let mut meeting = company(&["bob"]);
    let id = says(&mut meeting, "hello");
    assert!(sees(&meeting, "hello") && sees(&meeting, said::SENDING));
    happens(&mut meeting, CallEvent::Sent { id });
    assert!(sees(&meeting, "hello") && !sees(&meeting, said::SENDING));
}

#[test]
fn a_message_that_failed_can_be_sent_again() {
    let mut meeting = company(&["bob"]);
    let id = says(&mut meeting, "hello");
    happens(&mut meeting, CallEvent::NotSent { id, why: "no answer".to_owned() });
    assert!(sees(&meeting, said::FAILED));
    let actions = act(&mut meeting, |ui| {
        ui.click(said::RETRY).unwrap();
    });
    let [Action::Chat(chat::Action::Say { text, .. })] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(text, "hello");
    assert!(sees(&meeting, said::SENDING) && !sees(&meeting, said::FAILED));
}

#[test]
fn what_others_say_is_shown_as_it_came() {
    let mut meeting = company(&["bob"]);
    hears(&mut meeting, "bob", "sealed", Protection::Sealed);
    assert!(sees(&meeting, "sealed") && !sees(&meeting, said::PLAIN));
    hears(&mut meeting, "bob", "open", Protection::Plain);
    assert!(sees(&meeting, said::PLAIN));
    let why = UnreadableReason::WrongKey;
    happens(&mut meeting, CallEvent::Unreadable { from: user("bob"), why });
    assert!(sees(&meeting, "Protected message from bob"));
    assert!(sees(&meeting, said::unreadable_why(why)));
}

#[test]
fn who_types_is_shown_until_they_have_said_it() {
    let mut meeting = company(&["bob", "carla"]);
    happens(&mut meeting, CallEvent::Typing { from: user("bob"), typing: true });
    assert!(sees(&meeting, "bob is typing…"));
    happens(&mut meeting, CallEvent::Typing { from: user("carla"), typing: true });
    assert!(sees(&meeting, "bob and carla are typing…"));
    hears(&mut meeting, "bob", "done", Protection::Sealed);
    assert!(sees(&meeting, "carla is typing…"));
}

#[test]
fn messages_are_counted_while_the_chat_is_hidden() {
    let mut meeting = company(&["bob"]);
    hears(&mut meeting, "bob", "seen", Protection::Sealed);
    press(&mut meeting, words::TOGGLE_CHAT);
    for _ in 0..3 {
        hears(&mut meeting, "bob", "unseen", Protection::Sealed);
    }
    assert!(sees(&meeting, "3"));
    press(&mut meeting, words::TOGGLE_CHAT);
    assert!(!sees(&meeting, "3") && sees(&meeting, "unseen"));
}

#[test]
fn typing_is_told_once_and_ends() {
    let mut chat = Chat::default();
    let draft = |text: &str| chat::Message::Draft(text.to_owned());
    assert!(matches!(chat.update(draft("h")), chat::Action::Typing(true, _)));
    assert!(matches!(chat.update(draft("he")), chat::Action::Run(_)));
    assert!(matches!(chat.update(draft("")), chat::Action::Typing(false, _)));
    let _ = chat.update(draft("h"));
    assert!(matches!(chat.update(chat::Message::Paused), chat::Action::Typing(false, _)));
}

#[test]
fn a_message_beyond_the_limit_is_counted_and_not_sent() {
    let mut meeting = company(&["bob"]);
    // Three units each, in one character: the limit is one of UTF-16.
    let long = "🔐".repeat(limits::CHAT_TEXT_UNITS / 2 + 1);
    let _ = meeting.update(Message::Chat(chat::Message::Draft(long)));
    assert!(sees(&meeting, "1502 / 1500"));
    let action = meeting.update(Message::Chat(chat::Message::Send));
    assert!(matches!(action, Action::Chat(chat::Action::None)));
    let _ = meeting.update(Message::Chat(chat::Message::Draft(" ".to_owned())));
    let action = meeting.update(Message::Chat(chat::Message::Send));
    assert!(matches!(action, Action::Chat(chat::Action::None)), "nothing is not sent either");
}

#[test]
fn a_picture_on_its_way_can_be_cancelled_and_one_that_is_here_saved() {
    let mut meeting = company(&["bob"]);
    let id = TransferId::random();
    let name = "cat.png".to_owned();
    let incoming = CallEvent::ImageIncoming {
        from: user("bob"),
        id: id.clone(),
        name: name.clone(),
        size: 2_000_000,
    };
    happens(&mut meeting, incoming);
    let progress =
        CallEvent::ImageProgress { id: id.clone(), peer: None, done: 500_000, total: 2_000_000 };
    happens(&mut meeting, progress);
    assert!(sees(&meeting, "cat.png") && sees(&meeting, "500 kB of 2.0 MB"));
    let actions = act(&mut meeting, |ui| {
        ui.click(said::CANCEL).unwrap();
    });
    assert!(
        matches!(&actions[..], [Action::Chat(chat::Action::Cancel(cancelled))] if *cancelled == id)
    );
    let bytes = Bytes::from_static(b"not really a picture");
    let image =
        CallEvent::Image { from: user("bob"), id, name, mime: "image/png", bytes, sha256: [0; 32] };
    happens(&mut meeting, image);
    assert!(sees(&meeting, said::SAVE) && !sees(&meeting, said::CANCEL));
}

#[test]
fn our_picture_says_how_many_have_it() {
    let mut meeting = company(&["bob", "carla"]);
    let id = TransferId::random();
    let picture = chat::picture::Outgoing {
        name: "cat.png".to_owned(),
        mime: "image/png",
        bytes: Bytes::from_static(b"..."),
    };
    let _ = meeting.chat().sending(id.clone(), picture);
    happens(&mut meeting, CallEvent::ImageSent { id: id.clone(), peer: user("bob") });
    assert!(sees(&meeting, "Received by 1 person"));
    happens(&mut meeting, CallEvent::ImageSent { id: id.clone(), peer: user("carla") });
    assert!(sees(&meeting, "Received by 2 people"));
}

#[test]
fn the_switches_ask_for_the_other_state() {
    let mut meeting = company(&["bob"]);
    for (button, source, on, after) in [
        (words::MUTE, Source::Microphone, false, words::UNMUTE),
        (words::CAMERA_OFF, Source::Camera, false, words::CAMERA_ON),
        (words::SHARE, Source::Screen, true, words::UNSHARE),
    ] {
        let actions = press(&mut meeting, button);
        assert!(matches!(&actions[..], [Action::Switch(what, to)] if (*what, *to) == (source, on)));
        happens(&mut meeting, CallEvent::Source { source, on });
        assert!(hands_on(meeting.view(true)).find(selector::id(after)).is_ok());
    }
    let actions = act(&mut meeting, |ui| {
        ui.click(words::LEAVE).unwrap();
    });
    assert!(matches!(&actions[..], [Action::Leave]));
}

#[test]
fn every_shortcut_of_the_list_does_something() {
    use keyboard::{Key, Modifiers, key};
    for (keys, what) in crate::i18n::SHORTCUTS {
        let mut modifiers = Modifiers::empty();
        let mut pressed = None;
        for part in keys.split(" + ") {
            match part {
                "Ctrl" => modifiers |= Modifiers::COMMAND,
                "Shift" => modifiers |= Modifiers::SHIFT,
                "Escape" => pressed = Some(Key::Named(key::Named::Escape)),
                letter => pressed = Some(Key::Character(letter.to_lowercase().into())),
            }
        }
        let key = pressed.unwrap();
        let event = keyboard::Event::KeyPressed {
            modified_key: key.clone(),
            key,
            physical_key: key::Physical::Unidentified(key::NativeCode::Unidentified),
            location: keyboard::Location::Standard,
            modifiers,
            text: None,
            repeat: false,
        };
        assert!(shortcut(Event::Keyboard(event)).is_some(), "{keys}: {what}");
    }
}

#[test]
fn a_missing_device_is_a_sentence_that_can_be_dismissed() {
    let mut meeting = company(&["bob"]);
    let what = "No camera was found.".to_owned();
    happens(&mut meeting, CallEvent::Problem { what: what.clone() });
    happens(&mut meeting, CallEvent::Problem { what: what.clone() });
    assert_eq!(meeting.notices.len(), 1, "the same sentence is not said twice");
    assert!(sees(&meeting, &what));
    let _ = meeting.update(Message::Dismiss(what.clone()));
    assert!(!sees(&meeting, &what));
}

#[test]
fn a_lost_server_is_said_and_the_call_goes_on() {
    let mut meeting = company(&["bob"]);
    let lost = ServerLink::Reconnecting { attempt: 2, retry_in: Duration::from_secs(4) };
    happens(&mut meeting, CallEvent::Server(lost));
    assert!(sees(&meeting, &words::server_lost(4)) && sees(&meeting, "bob"));
    happens(&mut meeting, CallEvent::Server(ServerLink::Connected));
    assert!(!sees(&meeting, &words::server_lost(4)));
}

#[test]
fn the_invite_link_is_copied_with_the_passphrase_only_when_asked() {
    let mut sealed = company(&["bob"]);
    let _ = act(&mut sealed, |ui| {
        ui.click(words::INVITE).unwrap();
    });
    assert!(sees(&sealed, words::COPY_WITH) && sees(&sealed, words::COPY_WITHOUT));
    assert!(!sees(&sealed, &sealed.invite.to_link(true)), "the secret is not shown");
    let actions = act(&mut sealed, |ui| {
        ui.click(words::COPY_WITHOUT).unwrap();
    });
    assert!(matches!(&actions[..], [Action::Run(_), ..]), "{actions:?}");
    assert!(sees(&sealed, words::COPIED) && sealed.dialog.is_none());

    let mut open = meeting("");
    let _ = open.update(Message::Dialog(Dialog::Invite));
    assert!(sees(&open, words::COPY) && !sees(&open, words::COPY_WITH));
}

#[test]
fn escape_closes_the_dialog_first_and_the_panel_then() {
    let mut meeting = company(&["bob"]);
    let _ = meeting.update(Message::Dialog(Dialog::Shortcuts));
    let _ = meeting.update(Message::Close);
    assert_eq!((meeting.dialog, meeting.panel), (None, Some(Panel::Chat)));
    let _ = meeting.update(Message::Close);
    assert_eq!(meeting.panel, None);
}

#[test]
fn a_new_member_keeps_nothing_of_one_who_left() {
    let mut meeting = company(&["bob"]);
    happens(&mut meeting, CallEvent::Typing { from: user("bob"), typing: true });
    happens(&mut meeting, roster(&[]));
    happens(&mut meeting, roster(&["bob"]));
    assert!(!sees(&meeting, "bob is typing…") && sees(&meeting, words::CONNECTING));
}

#[test]
fn the_screen_is_drawn_with_any_number_of_tiles() {
    let names =
        ["Bob", "Carla Dias", "Dmitri", "Emi", "Farah", "Gaston Leroux", "Hana", "Ivo", "Juno"];
    for (count, width, height, dark) in [
        (0, 1200.0, 760.0, true),
        (1, 1200.0, 760.0, true),
        (2, 900.0, 600.0, false),
        (4, 1600.0, 900.0, true),
        (8, 1200.0, 760.0, false),
        (8, 900.0, 600.0, true),
    ] {
        let mut meeting = scene(&names[..count]);
        if count == 8 && !dark {
            meeting.panel = Some(Panel::People);
        }
        if count == 4 {
            happens(&mut meeting, CallEvent::Source { source: Source::Microphone, on: false });
        }
        let theme = if dark { theme::dark() } else { theme::light() };
        let size = iced::Size::new(width, height);
        let pixels = testing::drawn(meeting.view(dark), &theme, size, 1.0, testing::SOFTWARE);
        let name = format!("meeting-{}-{width}-{}", count + 1, if dark { "dark" } else { "light" });
        testing::keep(&pixels, &name);
        let background = theme::colors(&theme).background.into_rgba8();
        assert!(pixels.pixels().filter(|pixel| pixel.0 != background).count() > 200_000);
    }
    let mut small = meeting("");
    small.invite.room = net::new_room_id();
    small.name = "Wolfeschlegelsteinhausenbergerdo".to_owned();
    happens(&mut small, roster(&["Hubert Blaine Wolfeschlegelstein"]));
    let lost = ServerLink::Reconnecting { attempt: 2, retry_in: Duration::from_secs(4) };
    happens(&mut small, CallEvent::Server(lost));
    hears(
        &mut small,
        "Hubert Blaine Wolfeschlegelstein",
        "https://example.org/averyveryveryveryverylongaddress/without/a/place/to/break",
        Protection::RoomKeyOnly,
    );
    let size = iced::Size::new(720.0, 520.0);
    let pixels = testing::drawn(small.view(false), &theme::light(), size, 1.0, testing::SOFTWARE);
    testing::keep(&pixels, "meeting-smallest");
    for dialog in [Dialog::Invite, Dialog::Shortcuts] {
        let mut meeting = scene(&names[..2]);
        meeting.dialog = Some(dialog);
        let size = iced::Size::new(1200.0, 760.0);
        let pixels =
            testing::drawn(meeting.view(true), &theme::dark(), size, 1.0, testing::SOFTWARE);
        testing::keep(&pixels, &format!("dialog-{dialog:?}"));
    }
}

/// A meeting with pictures and a conversation.
fn scene(names: &[&str]) -> Meeting {
    let mut meeting = company(names);
    let mut tiles = vec![picture_of(None, Source::Camera, pattern(7, "Ana"))];
    for (index, name) in names.iter().enumerate() {
        if index % 3 != 1 {
            let frame = pattern(index as u32 * 1000, name);
            tiles.push(picture_of(Some(name), Source::Camera, frame));
        }
    }
    meeting.set_tiles(tiles);
    let Some(first) = names.first() else {
        return meeting;
    };
    hears(&mut meeting, first, "Good morning! Shall we begin?", Protection::Sealed);
    hears(&mut meeting, first, "I put the agenda into the folder.", Protection::Sealed);
    let id = says(&mut meeting, "Morning. Give me a minute, I look for the figures of last week.");
    happens(&mut meeting, CallEvent::Sent { id });
    happens(
        &mut meeting,
        CallEvent::Unreadable { from: user(first), why: UnreadableReason::WrongKey },
    );
    hears(&mut meeting, first, "An old client says this in the open.", Protection::Plain);
    let id = says(&mut meeting, "This did not go through.");
    happens(&mut meeting, CallEvent::NotSent { id, why: "the server did not answer".to_owned() });
    let (from, id) = (user(first), TransferId::random());
    let name = "whiteboard.jpg".to_owned();
    happens(&mut meeting, CallEvent::ImageIncoming { from, id: id.clone(), name, size: 2_400_000 });
    happens(
        &mut meeting,
        CallEvent::ImageProgress { id, peer: None, done: 1_100_000, total: 2_400_000 },
    );
    says(&mut meeting, "Thanks!");
    happens(&mut meeting, CallEvent::Typing { from: user(first), typing: true });
    if names.len() > 2 {
        let state = PeerState::Reconnecting;
        happens(&mut meeting, CallEvent::Peer { peer: user(names[2]), state });
        let what = "No speaker was found, so nothing can be heard.".to_owned();
        happens(&mut meeting, CallEvent::Problem { what });
    }
    if names.len() > 3 {
        meeting.hear(|peer| if peer.as_str() == names[3] { -20.0 } else { -90.0 });
        let state = PeerState::Failed;
        happens(&mut meeting, CallEvent::Peer { peer: user(names[1]), state });
    }
    meeting
}
