//! The native desktop client of Private Meet: a window or, without one, a headless peer.
//!
//! The law of this crate: [`call`] joins `media` to `net` and knows no window; everything that
//! is drawn lives in the window's rooms, and pictures are pulled from slots, never sent.

pub mod call;
pub mod settings;
