//! How the chat looks.

use iced::widget::text::Wrapping;
use iced::widget::{
    button, column, container, hover, image, progress_bar, row, space, text, text_input, tooltip,
};
use iced::{Alignment, Element, Length, Padding, Theme};
use net::{Protection, UserId, limits};

use super::chat::log::{Body, Delivery, Entry, Picture, Transfer};
use super::chat::{self, INPUT, Message as Said};
use super::{Meeting, Message, Panel};
use crate::i18n::chat as words;
use crate::icon::{Icon, icon};
use crate::theme::{self, Tint, gap, size};
use crate::widget::control::{self, CONTROL_HEIGHT, hint, remark};

/// The widest bubble, in logical pixels.
const BUBBLE: f32 = 252.0;
/// The highest preview of a picture, in logical pixels.
const PREVIEW: f32 = 220.0;
/// From here on one sees how many characters are left.
const SHOW_COUNT_BELOW: isize = 200;

impl Meeting {
    pub(super) fn chat_panel(&self) -> Element<'_, Message> {
        let content = column![self.said_so_far(), self.typing(), self.composer()]
            .width(Length::Fill)
            .height(Length::Fill);
        super::stage::panel(crate::i18n::meeting::CHAT, Panel::Chat, content)
    }

    fn said_so_far(&self) -> Element<'_, Message> {
        let log = &self.chat.log;
        if log.is_empty() {
            return container(remark(words::EMPTY)).center(Length::Fill).into();
        }
        let earlier = log.has_earlier().then(|| {
            let earlier = button(remark(words::EARLIER))
                .style(theme::ghost_button)
                .on_press(Message::Chat(Said::Earlier));
            container(earlier).center_x(Length::Fill)
        });
        let mut lines = column![earlier].padding(gap::M);
        let mut before: Option<&Entry> = None;
        for entry in log.shown_entries() {
            let goes_on = before.is_some_and(|before| before.from == entry.from);
            if before.is_some() {
                lines = lines.push(space().height(if goes_on { gap::XS } else { gap::L }));
            }
            lines = lines.push(line(entry, goes_on));
            before = Some(entry);
        }
        control::scroll(lines).anchor_bottom().height(Length::Fill).into()
    }

    fn typing(&self) -> Element<'_, Message> {
        let names: Vec<&str> = self
            .people
            .iter()
            .filter(|person| person.typing)
            .map(|person| person.name.as_str())
            .collect();
        let words = text(words::typing(&names)).size(size::SMALL).style(theme::muted);
        container(words.wrapping(Wrapping::None))
            .padding(Padding::ZERO.horizontal(gap::L))
            .height(20)
            .clip(true)
            .into()
    }

    fn composer(&self) -> Element<'_, Message> {
        let chat = &self.chat;
        let complaint = chat.complaint.as_ref().map(|what| {
            let close = (crate::i18n::meeting::CLOSE, Said::Dismiss);
            control::strip(Icon::Warning, Tint::Danger, what, Some(close))
        });
        let attached = chat.attached.as_ref().map(|picture| {
            let what = format!("{}, {}", picture.name, words::bytes(picture.bytes.len() as u64));
            control::strip(Icon::Image, Tint::Accent, what, Some((words::DETACH, Said::Detach)))
        });
        let left = chat.room_left();
        let count = (left < SHOW_COUNT_BELOW).then(|| {
            let used = limits::CHAT_TEXT_UNITS as isize - left;
            let count = format!("{used} / {}", limits::CHAT_TEXT_UNITS);
            let style = if left < 0 { theme::danger } else { theme::muted };
            container(text(count).size(size::SMALL).style(style)).align_right(Length::Fill)
        });
        let input = text_input(words::HINT, &chat.draft)
            .id(INPUT)
            .on_input(Said::Draft)
            .on_submit(Said::Send)
            .size(size::BODY)
            .padding(Padding::from([(CONTROL_HEIGHT - size::BODY * 1.3) / 2.0, gap::M]))
            .style(if left < 0 { theme::wrong_field } else { theme::field });
        let can_send = chat.can_send();
        let tint = if can_send { Tint::OnAccent } else { Tint::Muted };
        let send = button(container(icon(Icon::Send, 18.0, tint)).center(Length::Fill))
            .width(CONTROL_HEIGHT)
            .height(CONTROL_HEIGHT)
            .padding(0)
            .style(theme::primary_button)
            .on_press_maybe(can_send.then_some(Said::Send));
        let send = hint(send, words::SEND, tooltip::Position::Top);
        let line = row![
            control::glyph_button(Icon::Image, words::PICTURE, Some(Said::Pick)),
            input,
            send,
        ]
        .spacing(gap::XS)
        .align_y(Alignment::Center);
        let content: Element<'_, chat::Message> = column![complaint, attached, line, count]
            .spacing(gap::S)
            .padding(Padding { top: gap::XS, ..Padding::new(gap::M) })
            .into();
        content.map(Message::Chat)
    }
}

fn line(entry: &Entry, goes_on: bool) -> Element<'_, Message> {
    let ours = entry.from.is_none();
    let bubble: Element<'_, chat::Message> = match &entry.body {
        Body::Text { text: said, protection, .. } => words_bubble(said, *protection, ours),
        Body::Unreadable(why) => unreadable(&entry.name, words::unreadable_why(*why)),
        Body::Picture(picture) => picture_bubble(picture, ours),
    };
    let who = (!goes_on).then(|| who(entry.from.as_ref(), &entry.name, &entry.time));
    let side = if ours { Alignment::End } else { Alignment::Start };
    let content = column![who, bubble, delivery(&entry.body)].spacing(gap::XS).align_x(side);
    let content: Element<'_, chat::Message> =
        container(content).width(Length::Fill).align_x(side).into();
    content.map(Message::Chat)
}

fn who<'a>(from: Option<&UserId>, name: &'a str, time: &'a str) -> Element<'a, chat::Message> {
    let time = remark(time);
    if from.is_none() {
        return time.into();
    }
    let name = text(name).size(size::SMALL).font(theme::SEMIBOLD).wrapping(Wrapping::None);
    let name = container(name).max_width(BUBBLE - 48.0).clip(true);
    row![name, time].spacing(gap::S).align_y(Alignment::Center).into()
}

fn bubble_style(ours: bool) -> fn(&Theme) -> container::Style {
    if ours { theme::our_bubble } else { theme::their_bubble }
}

fn words_bubble(content: &str, protection: Protection, ours: bool) -> Element<'_, chat::Message> {
    let said = text(content).size(size::BODY).wrapping(Wrapping::WordOrGlyph);
    let open = (protection == Protection::Plain).then(|| {
        row![
            icon(Icon::LockOpen, size::SMALL, Tint::Warning),
            text(words::PLAIN).size(size::SMALL).style(theme::warning),
        ]
        .spacing(gap::XS)
        .align_y(Alignment::Center)
    });
    let bubble = container(column![said, open].spacing(gap::XS))
        .padding(Padding::from([gap::S, gap::M]))
        .max_width(BUBBLE)
        .style(bubble_style(ours));
    let copy = button(icon(Icon::Copy, size::BODY, Tint::Muted))
        .padding(gap::XS)
        .style(theme::secondary_button)
        .on_press(Said::Copy(content.to_owned()));
    let copy = container(copy).align_right(Length::Fill).padding(gap::XS);
    hover(bubble, copy)
}

fn unreadable<'a>(name: &str, why: &'a str) -> Element<'a, chat::Message> {
    let what = text(words::unreadable(name)).size(size::BODY).style(theme::muted);
    let what = row![icon(Icon::Lock, size::BODY, Tint::Muted), what]
        .spacing(gap::XS + 2.0)
        .align_y(Alignment::Center);
    container(column![what, remark(why)].spacing(gap::XS))
        .padding(Padding::from([gap::S, gap::M]))
        .max_width(BUBBLE)
        .style(theme::hollow_bubble)
        .into()
}

fn picture_bubble(picture: &Picture, ours: bool) -> Element<'_, chat::Message> {
    let preview: Option<Element<'_, chat::Message>> = picture.preview.as_ref().map(|preview| {
        let inner = BUBBLE - 2.0 * gap::XS;
        let scale = (inner / preview.width).min(PREVIEW / preview.height).min(1.0);
        image(preview.handle.clone())
            .width(preview.width * scale)
            .height(preview.height * scale)
            .border_radius(theme::radius::CONTROL - gap::XS)
            .into()
    });
    let name = text(&picture.name).size(size::SMALL).wrapping(Wrapping::WordOrGlyph);
    let what = match &picture.transfer {
        Transfer::Moving => words::progress(picture.done, picture.size),
        Transfer::Done | Transfer::Failed(_) => words::bytes(picture.size),
    };
    let bar = (picture.transfer == Transfer::Moving).then(|| {
        progress_bar(0.0..=picture.size.max(1) as f32, picture.done as f32)
            .girth(4)
            .style(theme::progress)
    });
    let does = match &picture.transfer {
        Transfer::Moving => Some((words::CANCEL, Said::Cancel(picture.id.clone()))),
        Transfer::Done if !ours && picture.bytes.is_some() && picture.saved.is_none() => {
            Some((words::SAVE, Said::Save(picture.id.clone())))
        }
        Transfer::Done | Transfer::Failed(_) => None,
    };
    let does = does.map(|(what, message)| {
        button(text(what).size(size::SMALL).font(theme::SEMIBOLD))
            .padding(0)
            .style(theme::link_button)
            .on_press(message)
    });
    let about = row![remark(what), space::horizontal(), does].align_y(Alignment::Center);
    let saved = picture.saved.as_ref().map(|path| {
        remark(words::saved(path)).wrapping(Wrapping::WordOrGlyph).style(theme::positive)
    });
    let below = column![name, bar, about, saved].spacing(gap::XS).padding(Padding {
        top: gap::XS,
        right: gap::S,
        bottom: gap::XS,
        left: gap::S,
    });
    container(column![preview, below])
        .padding(gap::XS)
        .width(BUBBLE)
        .style(bubble_style(ours))
        .into()
}

/// Whether the room has what we said.
fn delivery(body: &Body) -> Option<Element<'_, chat::Message>> {
    match body {
        Body::Text { delivery: Delivery::Sending, .. } => Some(remark(words::SENDING).into()),
        Body::Text { id: Some(id), delivery: Delivery::Failed(why), .. } => {
            let again = button(text(words::RETRY).size(size::SMALL).font(theme::SEMIBOLD))
                .padding(0)
                .style(theme::link_button)
                .on_press(Said::Retry(*id));
            let failed = text(words::FAILED).size(size::SMALL).style(theme::danger);
            let failed = row![icon(Icon::Warning, size::SMALL, Tint::Danger), failed, again]
                .spacing(gap::XS + 2.0)
                .align_y(Alignment::Center);
            Some(hint(failed, why, tooltip::Position::Top))
        }
        Body::Picture(Picture { transfer: Transfer::Failed(why), .. }) => {
            Some(text(why).size(size::SMALL).style(theme::danger).into())
        }
        Body::Picture(Picture { received_by: count @ 1.., .. }) => {
            Some(remark(words::delivered(*count)).into())
        }
        _ => None,
    }
}
