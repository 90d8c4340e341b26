//! Every text that people read in the window, in one place, grouped by where it stands.
//!
//! English for now. Sentences end with a full stop, names of things and buttons don't.

/// The home screen.
pub mod home {
    use net::{InvalidId, limits};

    /// The heading.
    pub const TITLE: &str = "Private Meet";
    /// Beneath it.
    pub const SUBTITLE: &str = "Encrypted meetings, on your own server";
    /// The name field.
    pub const NAME: &str = "Your name";
    /// In the empty name field.
    pub const NAME_HINT: &str = "How the others see you";
    /// The server field.
    pub const SERVER: &str = "Server";
    /// In the empty server field.
    pub const SERVER_HINT: &str = "meet.example.org, or paste an invite link";
    /// The room field.
    pub const ROOM: &str = "Room";
    /// In the empty room field.
    pub const ROOM_HINT: &str = "Everybody with this name meets here";
    /// Makes a room name up.
    pub const NEW_ROOM: &str = "Make up a room that nobody can guess";
    /// The passphrase field.
    pub const PASSPHRASE: &str = "Passphrase";
    /// In the empty passphrase field.
    pub const PASSPHRASE_HINT: &str = "Only people who know it can read the chat";
    /// Makes a passphrase up.
    pub const NEW_PASSPHRASE: &str = "Make up six words";
    /// Shows the passphrase.
    pub const SHOW: &str = "Show the passphrase";
    /// Hides the passphrase.
    pub const HIDE: &str = "Hide the passphrase";
    /// Beneath the empty passphrase field.
    pub const NO_PASSPHRASE: &str =
        "Without a passphrase the server could read the chat. You can still join.";
    /// Beneath the server field, when a link brought a certificate along.
    pub const PINNED: &str =
        "The invitation names this server's certificate; no other is accepted.";
    /// After a link was taken apart.
    pub const FILLED: &str = "Filled in from the invite link.";
    /// Joins.
    pub const JOIN: &str = "Join the meeting";
    /// While joining.
    pub const JOINING: &str = "Joining…";
    /// Stops joining.
    pub const CANCEL: &str = "Cancel";
    /// No name.
    pub const NAME_EMPTY: &str = "Please say who you are.";
    /// No server.
    pub const SERVER_EMPTY: &str = "Which server? The person who invited you knows.";
    /// No room.
    pub const ROOM_EMPTY: &str = "Which room? Roll the dice for a new one.";
    /// Rooms joined before.
    pub const RECENT: &str = "Recent rooms";

    /// The certificate question.
    pub const CERTIFICATE: &str = "Do you trust this server?";
    /// What it is about.
    pub const CERTIFICATE_WHY: &str = "It made its certificate itself, so this computer can’t \
        know whose server it is. Compare the fingerprint with what the server’s owner sees:";
    /// Yes.
    pub const TRUST: &str = "Trust and remember";
    /// Where the same server showed another certificate before.
    pub const CERTIFICATE_CHANGED: &str = "This server showed another certificate before. Either it was renewed, or somebody \
         stands between you and the server.";

    /// A name beyond the limit.
    #[must_use]
    pub fn name_too_long() -> String {
        format!("At most {} characters, please.", limits::USERNAME_CHARS)
    }

    /// Why a room's name can’t be used.
    #[must_use]
    pub fn room(error: InvalidId) -> String {
        match error {
            InvalidId::Empty => ROOM_EMPTY.to_owned(),
            InvalidId::TooLong(limit) => format!("At most {limit} characters, please."),
        }
    }
}

/// The meeting screen.
pub mod meeting {
    /// Chat sealed with the passphrase.
    pub const SEALED: &str = "Chat end-to-end encrypted";
    /// What that means.
    pub const SEALED_WHY: &str = "Only people with the passphrase can read the chat. Sound and \
        pictures are encrypted between the computers.";
    /// No passphrase.
    pub const NOT_PRIVATE: &str = "Not private from the server";
    /// What that means.
    pub const NOT_PRIVATE_WHY: &str = "There is no passphrase, so whoever runs the server could \
        read the chat.";
    /// Copies the link.
    pub const INVITE: &str = "Invite";
    /// The link with the secret.
    pub const COPY_WITH: &str = "Copy link with passphrase";
    /// About it.
    pub const COPY_WITH_WHY: &str = "Opens everything: send it only to people you trust.";
    /// The link without the secret.
    pub const COPY_WITHOUT: &str = "Copy link without passphrase";
    /// About it.
    pub const COPY_WITHOUT_WHY: &str = "Tell them the passphrase in another way.";
    /// The link of a room without a passphrase.
    pub const COPY: &str = "Copy invite link";
    /// About it.
    pub const COPY_WHY: &str = "Whoever has it can join.";
    /// Done.
    pub const COPIED: &str = "Invite link copied.";
    /// The dark appearance.
    pub const DARK: &str = "Dark colours";
    /// The light appearance.
    pub const LIGHT: &str = "Light colours";
    /// The list of shortcuts.
    pub const SHORTCUTS: &str = "Keyboard shortcuts";
    /// Shows it.
    pub const SHOW_SHORTCUTS: &str = "Keyboard shortcuts (Ctrl+/)";
    /// Closes a dialog, dismisses a notice.
    pub const CLOSE: &str = "Close";

    /// Nobody else is here.
    pub const ALONE: &str = "You are the only one here";
    /// What to do about it.
    pub const ALONE_WHY: &str = "Send somebody the invite link.";
    /// Somebody whose name is not known.
    pub const SOMEBODY: &str = "Somebody";
    /// On one's own tile.
    pub const YOU: &str = "You";
    /// A peer's connection is being made.
    pub const CONNECTING: &str = "Connecting…";
    /// A peer's connection is being made again.
    pub const RECONNECTING: &str = "Reconnecting…";
    /// A peer can’t be reached.
    pub const FAILED: &str = "No connection";

    /// The microphone is on.
    pub const MUTE: &str = "Mute the microphone (Ctrl+D)";
    /// The microphone is off.
    pub const UNMUTE: &str = "Turn the microphone on (Ctrl+D)";
    /// The camera is on.
    pub const CAMERA_OFF: &str = "Turn the camera off (Ctrl+E)";
    /// The camera is off.
    pub const CAMERA_ON: &str = "Turn the camera on (Ctrl+E)";
    /// The screen is not shown.
    pub const SHARE: &str = "Share the screen (Ctrl+Shift+S)";
    /// The screen is shown.
    pub const UNSHARE: &str = "Stop sharing the screen (Ctrl+Shift+S)";
    /// The chat.
    pub const CHAT: &str = "Chat";
    /// Shows or hides it.
    pub const TOGGLE_CHAT: &str = "Chat (Ctrl+T)";
    /// Shows or hides the list of people.
    pub const TOGGLE_PEOPLE: &str = "People (Ctrl+P)";
    /// The way out.
    pub const LEAVE: &str = "Leave";

    /// The call is over, and nobody said why.
    pub const ENDED: &str = "The meeting has ended.";
    /// A picture is about to be dropped.
    pub const DROP: &str = "Drop the picture to send it to everybody";
    /// The call's queue is full.
    pub const BUSY: &str = "The meeting is busy; please try again.";

    /// How many people.
    #[must_use]
    pub fn people(count: usize) -> String {
        match count {
            1 => "1 person".to_owned(),
            count => format!("{count} people"),
        }
    }

    /// Our own shared screen.
    pub const YOUR_SCREEN: &str = "Your screen";
    /// Somebody's shared screen.
    #[must_use]
    pub fn screen_of(name: &str) -> String {
        format!("{name}’s screen")
    }

    /// The connection to the server is lost.
    #[must_use]
    pub fn server_lost(seconds: u64) -> String {
        let when = match seconds {
            0 => "now".to_owned(),
            1 => "in a second".to_owned(),
            seconds => format!("in {seconds} seconds"),
        };
        format!("The server can’t be reached; trying again {when}. The call goes on.")
    }
}

/// The chat.
pub mod chat {
    use std::fmt::Display;
    use std::path::Path;

    use net::{UnreadableReason, limits};

    /// In the empty input.
    pub const HINT: &str = "Write to everybody";
    /// Nothing was said yet.
    pub const EMPTY: &str = "Nothing has been said yet.";
    /// Sends.
    pub const SEND: &str = "Send";
    /// Picks a picture.
    pub const PICTURE: &str = "Send a picture";
    /// On its way to the server.
    pub const SENDING: &str = "Sending…";
    /// In the room.
    pub const SENT: &str = "Sent";
    /// Not in the room.
    pub const FAILED: &str = "Not sent";
    /// Tries again.
    pub const RETRY: &str = "Try again";
    /// Not sealed.
    pub const PLAIN: &str = "not encrypted";
    /// Saves a picture.
    pub const SAVE: &str = "Save";
    /// Stops a transfer.
    pub const CANCEL: &str = "Cancel";
    /// Why a picture could not be saved.
    pub const TOO_MANY: &str = "too many files have this name";
    /// A picture that can’t be shown, only saved.
    pub const NO_PREVIEW: &str = "No preview";
    /// Nothing but these can be sent.
    pub const NOT_A_PICTURE: &str = "Only PNG, JPEG, GIF and WebP pictures can be sent.";
    /// The name of a picture from the clipboard.
    pub const PASTED: &str = "pasted.png";
    /// In the file dialog.
    pub const PICTURES: &str = "Pictures";
    /// Shows what was said before.
    pub const EARLIER: &str = "Show earlier messages";
    /// Takes a picture out of the draft.
    pub const DETACH: &str = "Don’t send the picture";
    /// Nobody to send a picture to.
    pub const NOBODY: &str = "Nobody is here to receive it.";

    /// Messages that did not reach us.
    #[must_use]
    pub fn missed(name: &str, count: u64) -> String {
        let messages = if count == 1 { "message" } else { "messages" };
        format!("{count} {messages} from {name} did not arrive.")
    }

    /// Somebody's message that does not open.
    #[must_use]
    pub fn unreadable(name: &str) -> String {
        format!("Protected message from {name}")
    }

    /// Why.
    #[must_use]
    pub fn unreadable_why(why: UnreadableReason) -> &'static str {
        match why {
            UnreadableReason::WrongKey => "It was sealed with another passphrase.",
            UnreadableReason::UnknownVersion => "It needs a newer version of Private Meet.",
            UnreadableReason::Malformed => "It was damaged on the way.",
        }
    }

    /// Who types.
    #[must_use]
    pub fn typing(names: &[&str]) -> String {
        match names {
            [] => String::new(),
            [one] => format!("{one} is typing…"),
            [one, two] => format!("{one} and {two} are typing…"),
            _ => "Several people are typing…".to_owned(),
        }
    }

    /// A picture beyond the limit.
    #[must_use]
    pub fn too_large() -> String {
        format!("Pictures may have at most {} MB.", limits::IMAGE_BYTES / (1024 * 1024))
    }

    /// A file that can’t be read.
    #[must_use]
    pub fn cannot_read(path: &Path, error: &dyn Display) -> String {
        format!("Cannot read {}: {error}.", path.display())
    }

    /// A file that can’t be written.
    #[must_use]
    pub fn cannot_save(path: &Path, error: &dyn Display) -> String {
        format!("Cannot save {}: {error}.", path.display())
    }

    /// Where a picture was saved.
    #[must_use]
    pub fn saved(path: &Path) -> String {
        format!("Saved as {}", path.display())
    }

    /// Received by so many.
    #[must_use]
    pub fn delivered(count: usize) -> String {
        match count {
            1 => "Received by 1 person".to_owned(),
            count => format!("Received by {count} people"),
        }
    }

    /// How far a picture is.
    #[must_use]
    pub fn progress(done: u64, size: u64) -> String {
        format!("{} of {}", bytes(done), bytes(size))
    }

    /// A size for people.
    #[must_use]
    pub fn bytes(bytes: u64) -> String {
        match bytes {
            0..1_000 => format!("{bytes} B"),
            1_000..1_000_000 => format!("{} kB", bytes / 1_000),
            _ => format!("{:.1} MB", bytes as f64 / 1e6),
        }
    }
}

/// The shortcuts, with what they do.
pub const SHORTCUTS: &[(&str, &str)] = &[
    ("Ctrl + D", "Microphone on or off"),
    ("Ctrl + E", "Camera on or off"),
    ("Ctrl + Shift + S", "Share the screen or stop"),
    ("Ctrl + T", "Show or hide the chat"),
    ("Ctrl + P", "Show or hide the people"),
    ("Ctrl + I", "Invite"),
    ("Ctrl + V", "Send the picture on the clipboard"),
    ("Ctrl + /", "This list"),
    ("Escape", "Close what is open"),
    ("Ctrl + Shift + L", "Leave"),
];
