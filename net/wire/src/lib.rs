//! What crosses the server: ids, messages, limits and error texts.
//!
//! The law of this crate: it holds data and its rules, nothing that runs. No socket, no clock,
//! no cryptography; whoever wants to speak the protocol needs this crate and a WebSocket.
//! `PROTOCOL.md` beside it says the same in prose.

pub mod close;
pub mod config;
pub mod envelope;
pub mod ice;
pub mod id;
pub mod limits;
pub mod message;
pub mod refusal;
pub mod session;
pub mod sign_in;
pub mod state;
pub mod transfer;

pub use config::{ClientConfig, Limits};
pub use envelope::{Envelope, MalformedEnvelope, Numbered, Outgoing};
pub use ice::{IceServer, IceServers};
pub use id::{InvalidId, RawRoomId, RoomId, UserId};
pub use message::{ClientMessage, Member, MessageType, ServerMessage, Unexpected};
pub use refusal::Refusal;
pub use session::{Hello, LeftReason, SessionLimits, Welcome};
pub use sign_in::{SignInRequest, SignInResponse};
pub use state::{MediaState, TrackUse};
pub use transfer::{MalformedTransfer, TransferMessage};
