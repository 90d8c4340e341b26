//! Buttons, fields and labels as this app has them.

use std::time::Duration;

use iced::widget::{
    Button, Container, Scrollable, Text, button, column, container, row, scrollable, text,
    text_input, tooltip,
};
use iced::{Alignment, Element, Length, Padding, Theme};

use crate::i18n;
use crate::icon::{Icon, icon};
use crate::theme::{self, Tint, gap, size};

/// The sides of an icon in a control, in logical pixels.
const ICON: f32 = 18.0;
/// The height of fields and of the buttons beside them, in logical pixels.
pub const CONTROL_HEIGHT: f32 = 40.0;
/// How long the pointer rests on a button before the word beside it appears.
const TOOLTIP_DELAY: Duration = Duration::from_millis(400);

/// How a button looks.
pub type ButtonStyle = fn(&Theme, button::Status) -> button::Style;

/// A word on a button.
#[must_use]
pub fn label(words: &str) -> Text<'_> {
    text(words).size(size::BODY).font(theme::SEMIBOLD)
}

/// A small, muted remark.
pub fn remark<'a>(words: impl text::IntoFragment<'a>) -> Text<'a> {
    text(words).size(size::SMALL).style(theme::muted)
}

/// A button with an icon and a word.
pub fn icon_button<'a, Message: Clone + 'a>(
    shown: Icon,
    tint: Tint,
    words: &'a str,
    style: ButtonStyle,
) -> Button<'a, Message> {
    let content =
        row![icon(shown, ICON, tint), label(words)].spacing(gap::S).align_y(Alignment::Center);
    button(container(content).center_y(Length::Fill))
        .height(CONTROL_HEIGHT)
        .padding(Padding::ZERO.horizontal(gap::L))
        .style(style)
}

/// A button with nothing but a word.
pub fn word_button<'a, Message: Clone + 'a>(
    words: &'a str,
    style: ButtonStyle,
) -> Button<'a, Message> {
    button(container(label(words)).center_y(Length::Fill))
        .height(CONTROL_HEIGHT)
        .padding(Padding::ZERO.horizontal(gap::L))
        .style(style)
}

/// A square button with nothing but an icon; `words` appear beside it, and are its id.
pub fn glyph_button<'a, Message: Clone + 'a>(
    shown: Icon,
    words: &'static str,
    on_press: Option<Message>,
) -> Element<'a, Message> {
    let tint = if on_press.is_some() { Tint::Muted } else { Tint::Text };
    let button = button(container(icon(shown, ICON, tint)).id(words).center(Length::Fill))
        .width(CONTROL_HEIGHT)
        .height(CONTROL_HEIGHT)
        .padding(0)
        .style(theme::ghost_button)
        .on_press_maybe(on_press);
    hint(button, words, tooltip::Position::Bottom)
}

/// Switches between dark and light; it shows what one gets.
pub fn theme_button<'a, Message: Clone + 'a>(
    dark: bool,
    on_press: Message,
) -> Element<'a, Message> {
    let (shown, words) =
        if dark { (Icon::Sun, i18n::meeting::LIGHT) } else { (Icon::Moon, i18n::meeting::DARK) };
    glyph_button(shown, words, Some(on_press))
}

/// Says `words` beside `content` while the pointer rests on it.
pub fn hint<'a, Message: 'a>(
    content: impl Into<Element<'a, Message>>,
    words: &'a str,
    position: tooltip::Position,
) -> Element<'a, Message> {
    let words = container(text(words).size(size::SMALL))
        .padding(Padding::from([gap::XS + 2.0, gap::S + 2.0]))
        .max_width(280)
        .style(theme::tooltip);
    tooltip(content, words, position).gap(6).delay(TOOLTIP_DELAY).into()
}

/// A field with its name above and what is wrong, or what to know, beneath.
pub struct Field<'a, Message> {
    /// Above.
    pub name: &'a str,
    /// The field itself, without height and style.
    pub input: text_input::TextInput<'a, Message>,
    /// Beside it.
    pub buttons: Vec<Element<'a, Message>>,
    /// Beneath, in red.
    pub wrong: Option<String>,
    /// Beneath, when nothing is wrong.
    pub remark: Option<&'a str>,
}

impl<'a, Message: Clone + 'a> Field<'a, Message> {
    /// The whole of it.
    #[must_use]
    pub fn view(self) -> Element<'a, Message> {
        let style = if self.wrong.is_some() { theme::wrong_field } else { theme::field };
        let input = self
            .input
            .size(size::BODY)
            .padding(Padding::from([(CONTROL_HEIGHT - size::BODY * 1.3) / 2.0, gap::M]))
            .style(style);
        let line = row![input].extend(self.buttons).spacing(gap::XS).align_y(Alignment::Center);
        let beneath: Option<Element<'a, Message>> = match (self.wrong, self.remark) {
            (Some(wrong), _) => Some(text(wrong).size(size::SMALL).style(theme::danger).into()),
            (None, Some(words)) => Some(remark(words).into()),
            (None, None) => None,
        };
        column![text(self.name).size(size::SMALL).font(theme::SEMIBOLD), line]
            .push(beneath)
            .spacing(gap::XS + 2.0)
            .into()
    }
}

/// A strip across the page that says something.
pub fn strip<'a, Message: Clone + 'a>(
    shown: Icon,
    tint: Tint,
    words: impl text::IntoFragment<'a>,
    on_close: Option<(&'a str, Message)>,
) -> Container<'a, Message> {
    let close = on_close.map(|(words, message)| {
        let button = button(icon(Icon::Close, 14.0, Tint::Muted))
            .padding(gap::XS)
            .style(theme::ghost_button)
            .on_press(message);
        hint(button, words, tooltip::Position::Left)
    });
    let style = match tint {
        Tint::Danger => theme::danger_strip,
        Tint::Warning => theme::warning_strip,
        _ => theme::accent_strip,
    };
    let words = text(words).size(size::BODY).width(Length::Fill);
    let content =
        row![icon(shown, ICON, tint), words].push(close).spacing(gap::S).align_y(Alignment::Center);
    container(content).padding(Padding::from([gap::S, gap::M])).width(Length::Fill).style(style)
}

/// Scrolls up and down beside a thin bar.
pub fn scroll<'a, Message: 'a>(
    content: impl Into<Element<'a, Message>>,
) -> Scrollable<'a, Message> {
    let bar = scrollable::Scrollbar::new().width(6).scroller_width(6).margin(2);
    scrollable(content)
        .direction(scrollable::Direction::Vertical(bar))
        .width(Length::Fill)
        .style(theme::scroll)
}

/// A thin horizontal line.
#[must_use]
pub fn line<'a, Message: 'a>() -> Element<'a, Message> {
    container(iced::widget::space()).width(Length::Fill).height(1).style(theme::line).into()
}
