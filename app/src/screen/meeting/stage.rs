//! Header, tiles, people and the switches beneath.

use iced::widget::{button, column, container, responsive, row, space, stack, text, tooltip};
use iced::{Alignment, Element, Length, Padding, Theme};
use net::{PeerState, Source};

use super::{Dialog, Meeting, Message, Panel, Person, Shown};
use crate::i18n::meeting as words;
use crate::icon::{Icon, icon};
use crate::theme::{self, Tint, gap, radius, size};
use crate::widget::control::{self, ButtonStyle, glyph_button, hint, icon_button, label, remark};
use crate::widget::mosaic::mosaic;
use crate::widget::tile::{Fill, tile};

/// The height of the header, in logical pixels.
const HEADER: f32 = 56.0;
/// The width of the panel beside the tiles, in logical pixels.
pub(super) const PANEL: f32 = 320.0;
/// The sides of a switch in the toolbar, in logical pixels.
const TOOL: f32 = 48.0;
/// The longest room name in the header, in characters.
const ROOM_CHARS: usize = 28;

/// The longest name on a tile, in characters.
const NAME_CHARS: usize = 24;

/// Whose tile it is.
enum Of<'a> {
    Us,
    Person(&'a Person),
}

impl Meeting {
    pub(super) fn header(&self, dark: bool) -> Element<'_, Message> {
        let room = text(elided(self.invite.room.as_str(), ROOM_CHARS))
            .size(size::LARGE)
            .font(theme::SEMIBOLD)
            .wrapping(text::Wrapping::None);
        let content = row![
            room,
            self.protection(),
            space::horizontal(),
            icon_button(Icon::Link, Tint::Text, words::INVITE, theme::secondary_button)
                .on_press(Message::Dialog(Dialog::Invite)),
            glyph_button(
                Icon::Keyboard,
                words::SHOW_SHORTCUTS,
                Some(Message::Dialog(Dialog::Shortcuts)),
            ),
            control::theme_button(dark, Message::SwitchTheme),
        ]
        .spacing(gap::S)
        .align_y(Alignment::Center);
        container(content)
            .center_y(HEADER)
            .padding(Padding { left: gap::L, right: gap::S, ..Padding::ZERO })
            .style(theme::bar)
            .into()
    }

    fn protection(&self) -> Element<'_, Message> {
        let (shown, tint, what, why) = if self.is_sealed() {
            (Icon::Lock, Tint::Positive, words::SEALED, words::SEALED_WHY)
        } else {
            (Icon::LockOpen, Tint::Warning, words::NOT_PRIVATE, words::NOT_PRIVATE_WHY)
        };
        let pill = row![icon(shown, size::BODY, tint), text(what).size(size::SMALL)]
            .spacing(gap::XS + 2.0)
            .align_y(Alignment::Center);
        let pill =
            container(pill).padding(Padding::from([gap::XS, gap::S + 2.0])).style(theme::pill);
        hint(pill, why, tooltip::Position::Bottom)
    }

    pub(super) fn stage(&self) -> Element<'_, Message> {
        let screens = self.tiles.iter().filter(|tile| tile.info.source == Source::Screen);
        let mut tiles: Vec<Element<'_, Message>> =
            screens.map(|tile| self.screen_tile(tile)).collect();
        for person in &self.people {
            let picture = self.camera_of(Some(person));
            tiles.push(self.person_tile(&Of::Person(person), picture));
        }
        tiles.push(self.person_tile(&Of::Us, self.camera_of(None)));
        let tiles = container(mosaic(tiles, gap::M)).padding(gap::M);
        if !self.people.is_empty() {
            return tiles.into();
        }
        let alone = column![
            text(words::ALONE).size(size::LARGE).font(theme::SEMIBOLD),
            remark(words::ALONE_WHY),
        ]
        .spacing(gap::XS)
        .align_x(Alignment::Center);
        let alone = container(alone)
            .center_x(Length::Fill)
            .padding(Padding { bottom: gap::L, ..Padding::ZERO });
        column![tiles, alone].into()
    }

    fn camera_of(&self, person: Option<&Person>) -> Option<&Shown> {
        self.tiles.iter().find(|tile| {
            tile.info.source == Source::Camera
                && tile.info.peer.as_ref() == person.map(|person| &person.id)
        })
    }

    fn person_tile<'a>(&'a self, of: &Of<'a>, picture: Option<&'a Shown>) -> Element<'a, Message> {
        let (name, ours) = match of {
            Of::Us => (self.name.as_str(), true),
            Of::Person(person) => (person.name.as_str(), false),
        };
        let picture = picture.filter(|shown| !ours || self.on.camera || !shown.alive);
        let speaking = matches!(of, Of::Person(person) if person.speaking);
        let empty = picture.is_none_or(|shown| !shown.alive).then(|| placeholder(name, speaking));
        let picture = picture.map(|shown| {
            tile(&shown.info.frames)
                .mirrored(ours)
                .radius(radius::CARD)
                .ring(speaking)
                .scale_factor(self.scale_factor)
        });
        let muted = match of {
            Of::Us => !self.on.microphone,
            Of::Person(person) => person.muted,
        };
        let name = elided(name, NAME_CHARS);
        let name = if ours { format!("{name} ({})", words::YOU) } else { name };
        let name = container(chip(name, muted.then_some(Icon::MicOff)))
            .align_bottom(Length::Fill)
            .padding(gap::S);
        let state = match of {
            Of::Us => None,
            Of::Person(person) => state(person.state),
        };
        stack![empty, picture, name, state].into()
    }

    fn screen_tile<'a>(&'a self, shown: &'a Shown) -> Element<'a, Message> {
        let name = match &shown.info.peer {
            Some(peer) => words::screen_of(&self.name_of(peer)),
            None => words::YOUR_SCREEN.to_owned(),
        };
        let empty = (!shown.alive).then(|| {
            container(icon(Icon::Screen, 40.0, Tint::Muted))
                .center(Length::Fill)
                .style(|theme| theme::empty_tile(theme, false))
        });
        let picture = tile(&shown.info.frames)
            .fill(Fill::Contain)
            .radius(radius::CARD)
            .scale_factor(self.scale_factor);
        let name =
            container(chip(name, Some(Icon::Screen))).align_bottom(Length::Fill).padding(gap::S);
        stack![empty, picture, name].into()
    }

    pub(super) fn people_panel(&self) -> Element<'_, Message> {
        let us = person_row(&self.name, words::YOU, false, !self.on.microphone);
        let others = self.people.iter().map(|person| {
            let state = match person.state {
                PeerState::Connecting => words::CONNECTING,
                PeerState::Reconnecting => words::RECONNECTING,
                PeerState::Failed | PeerState::Closed => words::FAILED,
                PeerState::Connected => "",
            };
            person_row(&person.name, state, person.speaking, person.muted)
        });
        let people = column![us].extend(others).spacing(gap::XS).padding(gap::M);
        panel(
            words::people(self.people.len() + 1),
            Panel::People,
            control::scroll(people).height(Length::Fill),
        )
    }

    pub(super) fn toolbar(&self) -> Element<'_, Message> {
        let on = self.on;
        let microphone = if on.microphone {
            tool(Icon::Mic, Tint::Text, words::MUTE, theme::tool_on, Message::Microphone)
        } else {
            tool(Icon::MicOff, Tint::Danger, words::UNMUTE, theme::tool_off, Message::Microphone)
        };
        let camera = if on.camera {
            tool(Icon::Camera, Tint::Text, words::CAMERA_OFF, theme::tool_on, Message::Camera)
        } else {
            tool(Icon::CameraOff, Tint::Danger, words::CAMERA_ON, theme::tool_off, Message::Camera)
        };
        let screen = if on.screen {
            let style = theme::tool_active;
            tool(Icon::ScreenOff, Tint::OnAccent, words::UNSHARE, style, Message::Screen)
        } else {
            tool(Icon::Screen, Tint::Text, words::SHARE, theme::tool_on, Message::Screen)
        };
        let leave = row![icon(Icon::Leave, 20.0, Tint::OnDark), label(words::LEAVE)]
            .spacing(gap::S)
            .align_y(Alignment::Center);
        let leave = button(container(leave).center_y(Length::Fill))
            .height(TOOL)
            .padding(Padding::ZERO.horizontal(gap::L))
            .style(theme::tool_leave)
            .on_press(Message::Leave);
        let content = row![
            microphone,
            camera,
            screen,
            apart(),
            self.panel_tool(Icon::Chat, words::TOGGLE_CHAT, Panel::Chat, self.chat.unread),
            self.panel_tool(
                Icon::People,
                words::TOGGLE_PEOPLE,
                Panel::People,
                self.people.len() + 1
            ),
            apart(),
            leave,
        ]
        .spacing(gap::S)
        .align_y(Alignment::Center);
        container(content).center_x(Length::Fill).padding(gap::M).style(theme::bar).into()
    }

    fn panel_tool<'a>(
        &self,
        shown: Icon,
        what: &'static str,
        panel: Panel,
        count: usize,
    ) -> Element<'a, Message> {
        let open = self.panel == Some(panel);
        let tint = if open { Tint::Accent } else { Tint::Text };
        let tool = tool(shown, tint, what, theme::tool_on, Message::Panel(panel));
        if count == 0 {
            return tool;
        }
        let count = if count > 99 { "99+".to_owned() } else { count.to_string() };
        let style: fn(&Theme) -> container::Style =
            if panel == Panel::Chat { theme::badge } else { theme::quiet_badge };
        let badge = container(text(count).size(11).font(theme::SEMIBOLD))
            .padding(Padding::ZERO.horizontal(5))
            .center_y(18)
            .style(style);
        let badge = container(badge).align_right(TOOL + 6.0).height(TOOL);
        stack![container(tool).padding(Padding { right: 6.0, ..Padding::ZERO }), badge].into()
    }
}

fn apart<'a>() -> Element<'a, Message> {
    space().width(gap::M).into()
}

fn tool<'a>(
    shown: Icon,
    tint: Tint,
    what: &'static str,
    style: ButtonStyle,
    message: Message,
) -> Element<'a, Message> {
    let tool = button(container(icon(shown, 22.0, tint)).id(what).center(Length::Fill))
        .width(TOOL)
        .height(TOOL)
        .padding(0)
        .style(style)
        .on_press(message);
    hint(tool, what, tooltip::Position::Top)
}

/// A panel beside the tiles with its name and a way to close it.
pub(super) fn panel<'a>(
    name: impl text::IntoFragment<'a>,
    which: Panel,
    content: impl Into<Element<'a, Message>>,
) -> Element<'a, Message> {
    let name = row![
        text(name).size(size::LARGE).font(theme::SEMIBOLD),
        space::horizontal(),
        glyph_button(Icon::Close, words::CLOSE, Some(Message::Panel(which))),
    ]
    .align_y(Alignment::Center);
    let name = container(name).padding(Padding {
        top: gap::S,
        right: gap::S,
        bottom: gap::S,
        left: gap::L,
    });
    let content = container(column![name, control::line(), content.into()])
        .width(PANEL)
        .height(Length::Fill)
        .style(theme::bar);
    let edge = container(space()).width(1).height(Length::Fill).style(theme::line);
    row![edge, content].into()
}

fn person_row<'a>(
    name: &'a str,
    remark_on: &'a str,
    speaking: bool,
    muted: bool,
) -> Element<'a, Message> {
    let mut content = row![avatar(name, 36.0), text(name).size(size::BODY), space::horizontal()]
        .spacing(gap::M)
        .align_y(Alignment::Center);
    if muted {
        content = content.push(icon(Icon::MicOff, size::LARGE, Tint::Muted));
    } else if speaking {
        content = content.push(icon(Icon::Mic, size::LARGE, Tint::Positive));
    }
    if !remark_on.is_empty() {
        content = content.push(remark(remark_on));
    }
    container(content).padding(gap::XS).into()
}

fn chip<'a>(words: String, shown: Option<Icon>) -> Element<'a, Message> {
    let words = text(words).size(size::SMALL).wrapping(text::Wrapping::None);
    let shown = shown.map(|shown| icon(shown, size::BODY, Tint::OnDark));
    let content = row![shown, words].spacing(gap::XS + 2.0).align_y(Alignment::Center);
    container(content)
        .padding(Padding::from([gap::XS, gap::S]))
        .style(theme::chip)
        .clip(true)
        .into()
}

fn state<'a>(state: PeerState) -> Option<Element<'a, Message>> {
    let (shown, what) = match state {
        PeerState::Connected => return None,
        PeerState::Connecting => (None, words::CONNECTING),
        PeerState::Reconnecting => (Some(Icon::Retry), words::RECONNECTING),
        PeerState::Failed | PeerState::Closed => (Some(Icon::Warning), words::FAILED),
    };
    let chip = container(chip(what.to_owned(), shown)).align_right(Length::Fill);
    Some(chip.padding(gap::S).into())
}

/// What is seen where there is no picture.
fn placeholder<'a>(name: &'a str, speaking: bool) -> Element<'a, Message> {
    let content = responsive(move |space| {
        let diameter = (space.width.min(space.height) * 0.4).clamp(32.0, 128.0).round();
        container(avatar(name, diameter)).center(Length::Fill).into()
    });
    container(content).style(move |theme| theme::empty_tile(theme, speaking)).into()
}

fn avatar<'a>(name: &'a str, diameter: f32) -> Element<'a, Message> {
    let letters = text(initials(name))
        .size((diameter * 0.38).round())
        .font(theme::SEMIBOLD)
        .wrapping(text::Wrapping::None);
    container(letters)
        .center(diameter)
        .style(move |theme| theme::avatar(theme, name, diameter))
        .into()
}

/// The first letters of the first and the last word.
fn initials(name: &str) -> String {
    let mut words = name.split_whitespace();
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    let letters: String = first.into_iter().chain(last).flat_map(char::to_uppercase).collect();
    if letters.is_empty() { "?".to_owned() } else { letters }
}

fn elided(words: &str, chars: usize) -> String {
    if words.chars().count() <= chars {
        return words.to_owned();
    }
    words.chars().take(chars - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_those_of_the_first_and_the_last_word() {
        for (name, letters) in [
            ("alice", "A"),
            ("Ana Maria Sousa", "AS"),
            ("  ", "?"),
            ("ßeta", "SS"),
            ("李 小龙", "李小"),
        ] {
            assert_eq!(initials(name), letters);
        }
    }
}
