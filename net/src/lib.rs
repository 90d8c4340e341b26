//! One encrypted meeting: the signalling client, chat encryption, the mesh of peer connections
//! and file transfer.
//!
//! The law of this crate: plain data goes in ([`Command`], [`EncodedFrame`]) and comes out
//! ([`Event`], [`RemoteFrame`]) over bounded channels; nobody outside `peer.rs` sees the WebRTC
//! library, and nothing that the network says can panic or grow without a bound.
//!
//! ```no_run
//! # async fn call() -> Result<(), net::JoinError> {
//! use net::{Command, Event, Invite, JoinConfig, MessageId, Publish};
//!
//! let invite: Invite = "https://localhost:8443/#/room/demo".parse().expect("a link");
//! let config = JoinConfig {
//!     server: invite.server,
//!     fingerprint: invite.fingerprint,
//!     room: invite.room,
//!     name: "alice".to_owned(),
//!     passphrase: invite.passphrase.unwrap_or_default(),
//!     publish: Publish { microphone: true, camera: true },
//! };
//! let (session, mut events) = net::join(config).await?;
//! session.try_command(Command::Chat { id: MessageId::random(), text: "hello".to_owned() }).ok();
//! while let Some(event) = events.recv().await {
//!     if let Event::Chat { text, .. } = event {
//!         assert!(!text.is_empty());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod address;
pub mod event;
mod ice;
pub mod invite;
pub mod media;
mod mesh;
pub mod passphrase;
mod peer;
mod rtp;
mod seal;
pub mod session;
mod signal;
pub mod stats;
mod tls;
mod transfer;
mod turn;

pub use address::{Fingerprint, InvalidAddress, InvalidFingerprint, ServerUrl};
pub use event::{
    Command, Event, MessageId, PeerState, Protection, ServerLink, TransferId, UnreadableReason,
};
pub use invite::{InvalidInvite, Invite, new_room_id};
pub use media::{Codec, EncodedFrame, MediaOut, RemoteFrame, RemoteTrack, Source, TrackId};
pub use passphrase::Passphrase;
pub use session::{Busy, JoinConfig, JoinError, Publish, Session, join};
pub use stats::{PeerStats, SourceStats, Stats, TrackStats};
pub use wire::{self, InvalidId, Member, RawRoomId, UserId, limits};
