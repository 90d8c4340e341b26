//! What lies over the meeting: the invite link and the keyboard shortcuts.

use iced::widget::{column, container, mouse_area, opaque, row, space, text};
use iced::{Alignment, Element, Length, Padding};

use super::{Meeting, Message};
use crate::i18n::{SHORTCUTS, meeting as words};
use crate::icon::Icon;
use crate::theme::{self, Tint, gap, size};
use crate::widget::control::{glyph_button, icon_button, remark};

/// The width of a dialog, in logical pixels.
const WIDTH: f32 = 440.0;

impl Meeting {
    pub(super) fn invite_dialog(&self) -> Element<'_, Message> {
        let link = self.invite.to_link(false);
        let link = container(text(link).size(size::BODY).wrapping(text::Wrapping::Glyph))
            .padding(gap::M)
            .width(Length::Fill)
            .style(theme::their_bubble);
        let content = if self.is_sealed() {
            column![
                link,
                choice(words::COPY_WITHOUT, words::COPY_WITHOUT_WHY, false, true),
                choice(words::COPY_WITH, words::COPY_WITH_WHY, true, false),
            ]
        } else {
            column![link, choice(words::COPY, words::COPY_WHY, false, true)]
        };
        dialog(words::INVITE, content.spacing(gap::L).into())
    }
}

/// The list of keyboard shortcuts.
pub(super) fn shortcuts<'a>() -> Element<'a, Message> {
    let rows = SHORTCUTS.iter().map(|(keys, what)| {
        let keys = container(text(*keys).size(size::SMALL).font(theme::SEMIBOLD))
            .padding(Padding::from([gap::XS, gap::S]))
            .style(theme::pill);
        row![text(*what).size(size::BODY), space::horizontal(), keys]
            .align_y(Alignment::Center)
            .into()
    });
    dialog(words::SHORTCUTS, column(rows).spacing(gap::S).into())
}

fn choice<'a>(
    what: &'static str,
    why: &'static str,
    with_passphrase: bool,
    first: bool,
) -> Element<'a, Message> {
    let (style, tint): (crate::widget::control::ButtonStyle, _) = if first {
        (theme::primary_button, Tint::OnAccent)
    } else {
        (theme::secondary_button, Tint::Text)
    };
    let button = icon_button(Icon::Copy, tint, what, style)
        .width(Length::Fill)
        .on_press(Message::CopyInvite(with_passphrase));
    column![button, remark(why)].spacing(gap::XS).into()
}

/// A card over the page. Who presses beside it closes it.
fn dialog<'a>(name: &'static str, content: Element<'a, Message>) -> Element<'a, Message> {
    let name = row![
        text(name).size(size::TITLE).font(theme::SEMIBOLD),
        space::horizontal(),
        glyph_button(Icon::Close, words::CLOSE, Some(Message::Close)),
    ]
    .align_y(Alignment::Center);
    let card = container(column![name, content].spacing(gap::L))
        .padding(gap::XL)
        .max_width(WIDTH)
        .style(theme::dialog);
    let page = container(opaque(card)).center(Length::Fill).padding(gap::L).style(theme::veil);
    opaque(mouse_area(page).on_press(Message::Close))
}
