//! Version 2 as its clients meet it: over real sockets, written from `PROTOCOL.md` alone.

// The attribute tells clippy that helpers, too, are tests.
#[cfg(test)]
mod between;
#[cfg(test)]
#[path = "../old_client/house.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod house;
#[cfg(test)]
mod member;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod sessions;
