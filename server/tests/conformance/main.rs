//! The WebSocket layer against the case list of the Autobahn test suite, ported: the real server
//! process, raw sockets. The suite wants an echo; here a chat message in a room of one is the
//! echo, and where a case sends what is no message of the protocol, the refusal or the close code
//! is the answer to look at. Numbers in comments are the suite's. Compression (12, 13) is never
//! offered.

#[cfg(test)]
mod closing;
#[cfg(test)]
mod control;
#[cfg(test)]
mod fragments;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod utf8;
