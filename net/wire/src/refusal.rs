//! The server's refusals, with the exact texts that old clients show.

/// Why the server did not act on a message; sent as `general.error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The connection's token bucket is empty.
    RateLimited,
    /// The type is not one of the protocol's.
    InvalidType,
    /// A message that needs a room has none.
    RoomRequired,
    /// More than [`crate::limits::ROOM_ID_CHARS`].
    RoomTooLong,
    /// The server has no place for the message now.
    Busy,
    /// Chat to a room that the sender is not in.
    ChatNotAllowed,
    /// `data` is not `{"message": string}`.
    InvalidChat,
    /// Nothing is left of the message after trimming.
    ChatEmpty,
    /// More than [`crate::limits::MESSAGE_CHARS`].
    ChatTooLong,
    /// Typing in a room that the sender is not in.
    TypingNotAllowed,
    /// `data` is not `{"typing": bool}`.
    InvalidTyping,
    /// Signals in a room that the sender is not in.
    SignalNotAllowed,
    /// `data` of an offer is not `{"sdp": string, "to": string}`.
    InvalidOffer,
    /// `data` of an answer is not `{"sdp": string, "to": string}`.
    InvalidAnswer,
    /// `data` of a candidate is not `{"candidate": string, "to": string}`.
    InvalidCandidate,
    /// `to` is missing or blank.
    MissingRecipient,
    /// Version 2: `peer.auth` in a room that the sender is not in.
    PeerAuthNotAllowed,
    /// Version 2: `data` of a `peer.auth` is not `{"to": string, "m": object}`, or too large.
    InvalidPeerAuth,
    /// Version 2: `peer.state` in a room that the sender is not in.
    PeerStateNotAllowed,
    /// Version 2: `data` of a `peer.state` is not what it should be, or too large.
    InvalidPeerState,
}

impl Refusal {
    /// All of them, in the order of `PROTOCOL.md`.
    pub const ALL: &'static [Self] = &[
        Self::RateLimited,
        Self::InvalidType,
        Self::RoomRequired,
        Self::RoomTooLong,
        Self::Busy,
        Self::ChatNotAllowed,
        Self::InvalidChat,
        Self::ChatEmpty,
        Self::ChatTooLong,
        Self::TypingNotAllowed,
        Self::InvalidTyping,
        Self::SignalNotAllowed,
        Self::InvalidOffer,
        Self::InvalidAnswer,
        Self::InvalidCandidate,
        Self::MissingRecipient,
        Self::PeerAuthNotAllowed,
        Self::InvalidPeerAuth,
        Self::PeerStateNotAllowed,
        Self::InvalidPeerState,
    ];

    /// The text of the `general.error`; clients match on it, so it never changes.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::RateLimited => "Rate limit exceeded",
            Self::InvalidType => "Invalid message type",
            Self::RoomRequired => "Room ID is required",
            Self::RoomTooLong => "Room ID too long (maximum is 128 characters)",
            Self::Busy => "Server busy",
            Self::ChatNotAllowed => "You can't send a message to this room",
            Self::InvalidChat => "Invalid chat message payload",
            Self::ChatEmpty => "Message cannot be empty",
            Self::ChatTooLong => "Message is too long",
            Self::TypingNotAllowed => "You can't send typing notifications to this room",
            Self::InvalidTyping => "Invalid typing payload",
            Self::SignalNotAllowed => "You can't send WebRTC messages to this room",
            Self::InvalidOffer => "Invalid WebRTC offer payload",
            Self::InvalidAnswer => "Invalid WebRTC answer payload",
            Self::InvalidCandidate => "Invalid WebRTC ICE candidate payload",
            Self::MissingRecipient => "Missing WebRTC recipient",
            Self::PeerAuthNotAllowed => "You can't send peer authentication to this room",
            Self::InvalidPeerAuth => "Invalid peer authentication payload",
            Self::PeerStateNotAllowed => "You can't send peer states to this room",
            Self::InvalidPeerState => "Invalid peer state payload",
        }
    }

    /// Whether it counts towards [`crate::limits::REFUSALS_BEFORE_CLOSE`].
    #[must_use]
    pub fn is_counted(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::InvalidType
                | Self::RoomRequired
                | Self::RoomTooLong
                | Self::Busy
        )
    }
}
