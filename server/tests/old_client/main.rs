//! The server as clients in the field meet it: raw HTTP and WebSockets against a real server on
//! this computer, written from `PROTOCOL.md` alone.

// The attribute tells clippy that helpers, too, are tests.
#[cfg(test)]
mod house;
#[cfg(test)]
mod http;
#[cfg(test)]
mod process;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upgrade;
