//! Several servers as one, over a real broker. Needs the program `nats-server` (Debian's package
//! of that name).

// The attribute tells clippy that helpers, too, are tests.
#[cfg(test)]
mod broker;
#[cfg(test)]
mod deaths;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod house;
#[cfg(test)]
mod link;
