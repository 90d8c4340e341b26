//! The native desktop client of Private Meet: a window or, without one, a headless peer.
//!
//! The law of this crate: [`call`] joins `media` to `net` and knows no window; everything that
//! is drawn lives in the window's rooms, and pictures are pulled from slots, never sent.

pub mod call;
pub mod cli;
pub mod clock;
pub mod headless;
pub mod i18n;
pub mod icon;
pub mod screen;
pub mod settings;
#[cfg(test)]
mod testing;
pub mod theme;
pub mod widget;
pub mod window;

/// Opens the window and returns when it is closed.
///
/// # Errors
/// When no window can be opened.
pub fn run(start: cli::Start) -> anyhow::Result<()> {
    Ok(window::run(start)?)
}
