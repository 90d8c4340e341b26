//! The headless peer as others use it: real processes, a real server, lines in and lines out.

// Integration tests are always built for tests; saying so lets clippy know, too.
#![cfg(test)]

mod bad_input;
mod calls;
mod ending;
mod harness;
mod threads;
