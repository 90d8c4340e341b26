//! One file a screen; which of them is shown is the window's affair ([`crate::window`]).

pub mod home;
pub mod meeting;
