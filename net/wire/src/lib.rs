//! What crosses the server: ids, messages, limits and error texts.
//!
//! The law of this crate: it holds data and its rules, nothing that runs. No socket, no clock,
//! no cryptography; whoever wants to speak the protocol needs this crate and a WebSocket.
//! `PROTOCOL.md` beside it says the same in prose.

pub mod config;
pub mod envelope;
pub mod id;
pub mod limits;
pub mod message;
pub mod refusal;
pub mod sign_in;
pub mod transfer;

pub use config::{ClientConfig, Limits};
pub use envelope::{Envelope, MalformedEnvelope, Outgoing};
pub use id::{InvalidId, RawRoomId, RoomId, UserId};
pub use message::{ClientMessage, Member, MessageType, ServerMessage, Unexpected};
pub use refusal::Refusal;
pub use sign_in::{SignInRequest, SignInResponse};
pub use transfer::{MalformedTransfer, TransferMessage};
