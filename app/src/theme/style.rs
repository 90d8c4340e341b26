//! Styles made from the colours: of text, buttons, fields, surfaces.

use iced::border::Radius;
use iced::widget::{button, container, progress_bar, scrollable, svg, text, text_input};
use iced::{Background, Border, Color, Shadow, Theme, border};

use super::{Colors, ON_DARK, OVER_PICTURE, RING, avatar_hue, colors, radius};

// Text

/// What one may overlook.
pub fn muted(theme: &Theme) -> text::Style {
    text::Style { color: Some(colors(theme).muted) }
}

/// It is well.
pub fn positive(theme: &Theme) -> text::Style {
    text::Style { color: Some(colors(theme).positive) }
}

/// It needs a look.
pub fn warning(theme: &Theme) -> text::Style {
    text::Style { color: Some(colors(theme).warning) }
}

/// It is wrong.
pub fn danger(theme: &Theme) -> text::Style {
    text::Style { color: Some(colors(theme).danger) }
}

/// It can be pressed, or belongs to what can.
pub fn accent(theme: &Theme) -> text::Style {
    text::Style { color: Some(colors(theme).accent) }
}

/// Over a picture.
pub fn over_picture(_theme: &Theme) -> text::Style {
    text::Style { color: Some(ON_DARK) }
}

/// What an icon is coloured like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tint {
    /// [`Colors::text`].
    Text,
    /// [`Colors::muted`].
    Muted,
    /// [`Colors::accent`].
    Accent,
    /// [`Colors::on_accent`].
    OnAccent,
    /// [`Colors::positive`].
    Positive,
    /// [`Colors::warning`].
    Warning,
    /// [`Colors::danger`].
    Danger,
    /// [`ON_DARK`].
    OnDark,
}

/// An icon in the given tint.
pub fn icon(theme: &Theme, tint: Tint) -> svg::Style {
    let colors = colors(theme);
    let color = match tint {
        Tint::Text => colors.text,
        Tint::Muted => colors.muted,
        Tint::Accent => colors.accent,
        Tint::OnAccent => colors.on_accent,
        Tint::Positive => colors.positive,
        Tint::Warning => colors.warning,
        Tint::Danger => colors.danger,
        Tint::OnDark => ON_DARK,
    };
    svg::Style { color: Some(color) }
}

// Buttons

/// The one thing that one should do next.
pub fn primary_button(theme: &Theme, status: button::Status) -> button::Style {
    let colors = colors(theme);
    filled(status, colors.accent, colors.on_accent, colors)
}

/// What ends something.
pub fn danger_button(theme: &Theme, status: button::Status) -> button::Style {
    let colors = colors(theme);
    filled(status, colors.danger, ON_DARK, colors)
}

/// Anything else.
pub fn secondary_button(theme: &Theme, status: button::Status) -> button::Style {
    let colors = colors(theme);
    let mut style = filled(status, colors.raised, colors.text, colors);
    style.border = border::rounded(radius::CONTROL).width(1).color(colors.border);
    style
}

/// A button that is part of its surroundings until the pointer comes.
pub fn ghost_button(theme: &Theme, status: button::Status) -> button::Style {
    let colors = colors(theme);
    let background = match status {
        button::Status::Active | button::Status::Disabled => None,
        button::Status::Hovered => Some(colors.raised.into()),
        button::Status::Pressed => Some(colors.border.into()),
    };
    let text_color = if status == button::Status::Disabled { colors.muted } else { colors.text };
    button::Style { background, text_color, border: border::rounded(radius::CONTROL), ..plain() }
}

/// A button among words.
pub fn link_button(theme: &Theme, status: button::Status) -> button::Style {
    let colors = colors(theme);
    let text_color = match status {
        button::Status::Active => colors.accent,
        button::Status::Hovered => mix(colors.accent, colors.text, 0.3),
        button::Status::Pressed => mix(colors.accent, colors.background, 0.3),
        button::Status::Disabled => colors.muted,
    };
    button::Style { text_color, ..plain() }
}

/// A switch in the toolbar that is on.
pub fn tool_on(theme: &Theme, status: button::Status) -> button::Style {
    let mut style = secondary_button(theme, status);
    style.border.radius = Radius::new(radius::CARD);
    style
}

/// A switch in the toolbar that is off, so that others don't hear or see its owner.
pub fn tool_off(theme: &Theme, status: button::Status) -> button::Style {
    let colors = colors(theme);
    let base = mix(colors.surface, colors.danger, 0.16);
    let mut style = filled(status, base, colors.danger, colors);
    style.border =
        border::rounded(radius::CARD).width(1).color(mix(colors.surface, colors.danger, 0.45));
    style
}

/// A switch in the toolbar that does something extraordinary.
pub fn tool_active(theme: &Theme, status: button::Status) -> button::Style {
    let mut style = primary_button(theme, status);
    style.border.radius = Radius::new(radius::CARD);
    style
}

/// The way out, in the toolbar.
pub fn tool_leave(theme: &Theme, status: button::Status) -> button::Style {
    let mut style = danger_button(theme, status);
    style.border.radius = Radius::new(radius::CARD);
    style
}

fn filled(status: button::Status, base: Color, text: Color, colors: &Colors) -> button::Style {
    let (background, text_color) = match status {
        button::Status::Active => (base, text),
        button::Status::Hovered => (mix(base, colors.text, 0.08), text),
        button::Status::Pressed => (mix(base, colors.background, 0.2), text),
        button::Status::Disabled => (colors.raised, colors.muted),
    };
    button::Style {
        background: Some(background.into()),
        text_color,
        border: border::rounded(radius::CONTROL),
        ..plain()
    }
}

fn plain() -> button::Style {
    button::Style { shadow: Shadow::default(), ..button::Style::default() }
}

// Fields

/// A field that one writes into.
pub fn field(theme: &Theme, status: text_input::Status) -> text_input::Style {
    let colors = colors(theme);
    let line = match status {
        text_input::Status::Active | text_input::Status::Disabled => colors.border,
        text_input::Status::Hovered => mix(colors.border, colors.text, 0.25),
        text_input::Status::Focused { .. } => colors.accent,
    };
    outlined(colors, line, status)
}

/// A field whose content can't be used.
pub fn wrong_field(theme: &Theme, status: text_input::Status) -> text_input::Style {
    let colors = colors(theme);
    outlined(colors, colors.danger, status)
}

fn outlined(colors: &Colors, line: Color, status: text_input::Status) -> text_input::Style {
    let disabled = status == text_input::Status::Disabled;
    text_input::Style {
        background: if disabled { colors.surface } else { colors.background }.into(),
        border: border::rounded(radius::CONTROL).width(1.5).color(line),
        icon: colors.muted,
        placeholder: mix(colors.background, colors.muted, 0.75),
        value: if disabled { colors.muted } else { colors.text },
        selection: Color { a: 0.35, ..colors.accent },
    }
}

// Surfaces

/// A card on the page.
pub fn card(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    container::Style {
        background: Some(colors.surface.into()),
        border: border::rounded(radius::CARD).width(1).color(colors.border),
        ..container::Style::default()
    }
}

/// A card over everything else. It has no shadow: iced's software renderer draws shadows again
/// and again over what has not changed, which gets darker and darker.
pub fn dialog(theme: &Theme) -> container::Style {
    card(theme)
}

/// What lies between a dialog and the page.
pub fn veil(_theme: &Theme) -> container::Style {
    container::background(Color { a: 0.5, ..Color::BLACK })
}

/// A bar or a panel at the window's edge.
pub fn bar(theme: &Theme) -> container::Style {
    container::background(colors(theme).surface)
}

/// A thin line.
pub fn line(theme: &Theme) -> container::Style {
    container::background(colors(theme).border)
}

/// A tile without a picture; the line around it is bold when its owner speaks.
pub fn empty_tile(theme: &Theme, speaking: bool) -> container::Style {
    let colors = colors(theme);
    let line = border::rounded(radius::CARD);
    container::Style {
        background: Some(colors.surface.into()),
        border: if speaking {
            line.width(RING).color(colors.positive)
        } else {
            line.width(1).color(colors.border)
        },
        ..container::Style::default()
    }
}

/// The circle with somebody's initials; each name has its own hue, always the same.
pub fn avatar(theme: &Theme, name: &str, diameter: f32) -> container::Style {
    let colors = colors(theme);
    let hue = avatar_hue(name);
    let share = if theme.extended_palette().is_dark { 0.34 } else { 0.2 };
    container::Style {
        background: Some(mix(colors.surface, hue, share).into()),
        text_color: Some(mix(colors.text, hue, 0.25)),
        border: border::rounded(diameter / 2.0),
        ..container::Style::default()
    }
}

/// A chip over a picture: a name, a state.
pub fn chip(_theme: &Theme) -> container::Style {
    container::Style {
        background: Some(OVER_PICTURE.into()),
        text_color: Some(ON_DARK),
        border: border::rounded(radius::CONTROL - 2.0),
        ..container::Style::default()
    }
}

/// A label on a bar: a number of people, a way of encryption.
pub fn pill(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    container::Style {
        background: Some(colors.raised.into()),
        border: border::rounded(radius::CARD),
        ..container::Style::default()
    }
}

/// The number of unread messages.
pub fn badge(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    container::Style {
        background: Some(colors.accent.into()),
        text_color: Some(colors.on_accent),
        border: border::rounded(9),
        ..container::Style::default()
    }
}

/// A number that asks for nothing.
pub fn quiet_badge(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    container::Style {
        background: Some(colors.border.into()),
        text_color: Some(colors.text),
        border: border::rounded(9),
        ..container::Style::default()
    }
}

/// A strip that says what needs a look.
pub fn warning_strip(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    strip(colors, colors.warning)
}

/// A strip that says what went wrong.
pub fn danger_strip(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    strip(colors, colors.danger)
}

/// A strip that says something worth knowing.
pub fn accent_strip(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    strip(colors, colors.accent)
}

fn strip(colors: &Colors, hue: Color) -> container::Style {
    container::Style {
        background: Some(mix(colors.surface, hue, 0.12).into()),
        text_color: Some(colors.text),
        border: border::rounded(radius::CONTROL).width(1).color(mix(colors.surface, hue, 0.4)),
        ..container::Style::default()
    }
}

/// What others said.
pub fn their_bubble(theme: &Theme) -> container::Style {
    bubble(colors(theme).raised)
}

/// What we said.
pub fn our_bubble(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    bubble(mix(colors.surface, colors.accent, 0.22))
}

/// What could not be read.
pub fn hollow_bubble(theme: &Theme) -> container::Style {
    container::Style {
        border: border::rounded(radius::CONTROL).width(1).color(colors(theme).border),
        ..container::Style::default()
    }
}

fn bubble(color: Color) -> container::Style {
    container::Style {
        background: Some(color.into()),
        border: border::rounded(radius::CONTROL),
        ..container::Style::default()
    }
}

/// The word beside a button that the pointer rests on.
pub fn tooltip(theme: &Theme) -> container::Style {
    let colors = colors(theme);
    container::Style {
        background: Some(colors.text.into()),
        text_color: Some(colors.background),
        border: border::rounded(radius::CONTROL - 2.0),
        ..container::Style::default()
    }
}

// Others

/// A thin bar that shows how far something is.
pub fn progress(theme: &Theme) -> progress_bar::Style {
    let colors = colors(theme);
    progress_bar::Style {
        background: colors.border.into(),
        bar: colors.accent.into(),
        border: border::rounded(2),
    }
}

/// A thin scroll bar that fades into its surroundings.
pub fn scroll(theme: &Theme, status: scrollable::Status) -> scrollable::Style {
    let colors = colors(theme);
    let mut style = scrollable::default(theme, status);
    let busy = !matches!(
        status,
        scrollable::Status::Active { .. }
            | scrollable::Status::Hovered {
                is_horizontal_scrollbar_hovered: false,
                is_vertical_scrollbar_hovered: false,
                ..
            }
    );
    style.container = container::Style::default();
    for rail in [&mut style.vertical_rail, &mut style.horizontal_rail] {
        rail.background = None;
        rail.border = Border::default();
        rail.scroller.background =
            Background::Color(if busy { colors.muted } else { colors.border });
        rail.scroller.border = border::rounded(3);
    }
    style
}

/// `share` of `top` over `bottom`; both opaque.
fn mix(bottom: Color, top: Color, share: f32) -> Color {
    let blend = |bottom: f32, top: f32| bottom + (top - bottom) * share;
    Color::from_rgb(blend(bottom.r, top.r), blend(bottom.g, top.g), blend(bottom.b, top.b))
}
