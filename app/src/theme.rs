//! How everything looks: colours, spacing, radii, type sizes and the styles made from them.
//!
//! **Invariant:** no screen and no widget names a colour, a font size or a gap of its own. The
//! web client has the same values as custom properties in `style.css`.

mod style;

use std::sync::LazyLock;

use iced::theme::Palette;
use iced::{Color, Font, Theme, font};

pub use style::*;

/// The text face, bundled with the app.
pub const REGULAR: Font = Font::with_name("Inter");
/// The face of headings, names and buttons.
pub const SEMIBOLD: Font = Font { weight: font::Weight::Semibold, ..REGULAR };
/// The face of fingerprints.
pub const MONOSPACE: Font = Font::MONOSPACE;
/// The files of [`REGULAR`] and [`SEMIBOLD`].
pub const FONT_FILES: [&[u8]; 2] = [
    include_bytes!("../../assets/fonts/Inter-Regular.otf"),
    include_bytes!("../../assets/fonts/Inter-SemiBold.otf"),
];

/// Gaps and paddings, in logical pixels.
pub mod gap {
    /// Between an icon and its word.
    pub const XS: f32 = 4.0;
    /// Between things that belong together.
    pub const S: f32 = 8.0;
    /// Inside controls, between tiles.
    pub const M: f32 = 12.0;
    /// Inside cards and panels.
    pub const L: f32 = 16.0;
    /// Between groups.
    pub const XL: f32 = 24.0;
    /// Around the page.
    pub const XXL: f32 = 32.0;
}

/// Type sizes, in logical pixels.
pub mod size {
    /// Hints, times, labels.
    pub const SMALL: f32 = 12.0;
    /// What one reads.
    pub const BODY: f32 = 14.0;
    /// What one looks for.
    pub const LARGE: f32 = 16.0;
    /// The name of a panel or card.
    pub const TITLE: f32 = 20.0;
    /// The name of a page.
    pub const DISPLAY: f32 = 28.0;
}

/// Rounding of corners, in logical pixels.
pub mod radius {
    /// Buttons, fields, bubbles.
    pub const CONTROL: f32 = 8.0;
    /// Cards and tiles.
    pub const CARD: f32 = 12.0;
}

/// The width of the line around somebody who speaks, in logical pixels.
pub const RING: f32 = 2.0;
/// The colour of that line over a picture, which is neither dark nor light.
pub const RING_COLOR: Color = DARK.positive;

/// The colours of one appearance, by their role.
///
/// **Invariant:** nothing as large as the page is ever filled with [`Colors::background`]: the
/// window itself has that colour. The software renderer would paint it anew for each new picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colors {
    /// Behind everything.
    pub background: Color,
    /// Cards, bars, panels.
    pub surface: Color,
    /// Buttons, bubbles and fields on a surface.
    pub raised: Color,
    /// Thin lines.
    pub border: Color,
    /// What one reads.
    pub text: Color,
    /// What one may overlook.
    pub muted: Color,
    /// What one should do next.
    pub accent: Color,
    /// Text on `accent`.
    pub on_accent: Color,
    /// It is well.
    pub positive: Color,
    /// It is lost, or will be.
    pub danger: Color,
    /// It needs a look.
    pub warning: Color,
}

/// The dark appearance.
pub const DARK: Colors = Colors {
    background: rgb(0x0f1216),
    surface: rgb(0x171b21),
    raised: rgb(0x1f252d),
    border: rgb(0x2b323c),
    text: rgb(0xe8ecf1),
    muted: rgb(0x98a3b1),
    accent: rgb(0x4f8cff),
    on_accent: rgb(0x0f1216),
    positive: rgb(0x35b37e),
    danger: rgb(0xe5484d),
    warning: rgb(0xf0a83a),
};

/// The light appearance.
pub const LIGHT: Colors = Colors {
    background: rgb(0xf6f7f9),
    surface: rgb(0xffffff),
    raised: rgb(0xeef1f5),
    border: rgb(0xd9dee6),
    text: rgb(0x12171d),
    muted: rgb(0x5b6675),
    accent: rgb(0x2563eb),
    on_accent: rgb(0xffffff),
    positive: rgb(0x15803d),
    danger: rgb(0xc92a2f),
    warning: rgb(0xb45309),
};

/// What is drawn over pictures is dark in both appearances: a picture is neither.
pub const OVER_PICTURE: Color = Color { r: 0.04, g: 0.05, b: 0.06, a: 0.68 };
/// Text on [`OVER_PICTURE`] and on [`Colors::danger`].
pub const ON_DARK: Color = Color::WHITE;

/// The dark theme.
#[must_use]
pub fn dark() -> Theme {
    static THEME: LazyLock<Theme> = LazyLock::new(|| theme("Private Meet Dark", &DARK));
    THEME.clone()
}

/// The light theme.
#[must_use]
pub fn light() -> Theme {
    static THEME: LazyLock<Theme> = LazyLock::new(|| theme("Private Meet Light", &LIGHT));
    THEME.clone()
}

/// The colours of a theme made by [`dark`] or [`light`]; of any other, those that suit it best.
#[must_use]
pub fn colors(theme: &Theme) -> &'static Colors {
    if theme.extended_palette().is_dark { &DARK } else { &LIGHT }
}

fn theme(name: &'static str, colors: &Colors) -> Theme {
    Theme::custom(
        name,
        Palette {
            background: colors.background,
            text: colors.text,
            primary: colors.accent,
            success: colors.positive,
            warning: colors.warning,
            danger: colors.danger,
        },
    )
}

const fn rgb(hex: u32) -> Color {
    let [_, r, g, b] = hex.to_be_bytes();
    Color::from_rgb8(r, g, b)
}

/// Each name has its own hue, always the same.
fn avatar_hue(name: &str) -> Color {
    AVATAR_HUES[hash(name) % AVATAR_HUES.len()]
}

fn hash(name: &str) -> usize {
    // FNV-1a: the same on every computer and in every version, unlike the standard hasher.
    name.bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
        as usize
}

/// The hues of avatars: far enough apart to tell people from each other, all legible.
const AVATAR_HUES: [Color; 8] = [
    rgb(0x4f8cff),
    rgb(0x35b37e),
    rgb(0xf0a83a),
    rgb(0xe5677b),
    rgb(0x9b7bff),
    rgb(0x22b8cf),
    rgb(0xd980e0),
    rgb(0x9cc24a),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2 relative luminance.
    fn luminance(color: Color) -> f32 {
        let [r, g, b, _] = color.into_linear();
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: Color, b: Color) -> f32 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_is_legible_on_every_surface_of_both_appearances() {
        for colors in [DARK, LIGHT] {
            for surface in [colors.background, colors.surface, colors.raised] {
                assert!(contrast(colors.text, surface) >= 7.0);
                assert!(
                    contrast(colors.muted, surface) >= 4.5,
                    "{:?}",
                    contrast(colors.muted, surface)
                );
            }
            assert!(contrast(colors.on_accent, colors.accent) >= 4.5);
            assert!(contrast(ON_DARK, colors.danger) >= 3.0, "an icon or a large word");
        }
    }

    #[test]
    fn a_name_keeps_its_hue() {
        assert_eq!(hash("alice") % AVATAR_HUES.len(), hash("alice") % AVATAR_HUES.len());
        assert_eq!(hash(""), 0x811c_9dc5);
    }

    #[test]
    fn the_themes_find_their_colours_again() {
        assert_eq!(colors(&dark()), &DARK);
        assert_eq!(colors(&light()), &LIGHT);
    }
}
