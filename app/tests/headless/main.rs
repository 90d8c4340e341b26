//! The headless peer as others use it: real processes, a real server, lines in and lines out.

mod bad_input;
mod calls;
mod ending;
mod harness;
