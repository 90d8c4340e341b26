//! The one icon set: 24 × 24, strokes of 2, in the colour of their surroundings.

use std::sync::LazyLock;

use iced::widget::{Svg, svg};

use crate::theme::{self, Tint};

macro_rules! icons {
    ($($(#[$doc:meta])* $name:ident = $file:literal,)+) => {
        /// One icon; its file is in `assets/icons/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Icon {
            $($(#[$doc])* $name,)+
        }

        impl Icon {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            fn file(self) -> &'static [u8] {
                match self {
                    $(Self::$name => include_bytes!(concat!("../../assets/icons/", $file, ".svg")),)+
                }
            }
        }
    };
}

icons! {
    /// A microphone that is on.
    Mic = "mic",
    /// A microphone that is off.
    MicOff = "mic-off",
    /// A camera that is on.
    Camera = "camera",
    /// A camera that is off.
    CameraOff = "camera-off",
    /// Show one's screen.
    Screen = "screen",
    /// Stop showing one's screen.
    ScreenOff = "screen-off",
    /// Leave the meeting.
    Leave = "leave",
    /// Send what was written.
    Send = "send",
    /// A picture.
    Image = "image",
    /// Copy to the clipboard.
    Copy = "copy",
    /// Make something up.
    Dice = "dice",
    /// The chat.
    Chat = "chat",
    /// The people in the room.
    People = "people",
    /// Closed to others.
    Lock = "lock",
    /// Open to others.
    LockOpen = "lock-open",
    /// Close, dismiss, cancel.
    Close = "close",
    /// Done.
    Check = "check",
    /// Needs a look.
    Warning = "warning",
    /// Try again.
    Retry = "retry",
    /// The light appearance.
    Sun = "sun",
    /// The dark appearance.
    Moon = "moon",
    /// Settings.
    Settings = "settings",
    /// Show what is hidden.
    Eye = "eye",
    /// Hide what is shown.
    EyeOff = "eye-off",
    /// Save to a file.
    Save = "save",
    /// Keyboard shortcuts.
    Keyboard = "keyboard",
    /// An invite link.
    Link = "link",
}

/// The icon with sides of `size` logical pixels.
pub fn icon<'a>(icon: Icon, size: f32, tint: Tint) -> Svg<'a> {
    // Hashing the files at each view would be a waste.
    static HANDLES: LazyLock<Vec<svg::Handle>> = LazyLock::new(|| {
        Icon::ALL.iter().map(|icon| svg::Handle::from_memory(icon.file())).collect()
    });
    svg(HANDLES[icon as usize].clone())
        .width(size)
        .height(size)
        .style(move |theme, _status| theme::icon(theme, tint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_icon_keeps_to_the_one_style() {
        for icon in Icon::ALL {
            let file = std::str::from_utf8(icon.file()).unwrap();
            for part in [
                r#"viewBox="0 0 24 24""#,
                r#"stroke="currentColor""#,
                r#"stroke-width="2""#,
                r#"stroke-linecap="round""#,
                r#"fill="none""#,
            ] {
                assert!(file.contains(part), "{icon:?} lacks {part}");
            }
            assert!(!file.contains('#'), "{icon:?} names a colour");
        }
    }
}
