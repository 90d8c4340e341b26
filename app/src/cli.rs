//! The command line: what may be written there and what it means.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Parser;
use media::{Processing, SoundSink, SoundSource, VideoSource};
use net::{Fingerprint, InvalidInvite, Invite, Passphrase, RawRoomId, ServerUrl, limits};
use thiserror::Error;

use crate::call::{CallConfig, Sources};

/// Exit code: the call ended because it was asked to.
pub const EXIT_LEFT: u8 = 0;
/// Exit code: the room could not be joined, or the call ended by itself.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the command line, or a file it names, is not usable.
pub const EXIT_USAGE: u8 = 2;

/// A passphrase file above this is not one.
const PASSPHRASE_BYTES: u64 = 4 * 1024;
/// The server's own name for people who give none.
const GUEST: &str = "Guest";

/// Encrypted meetings with voice, pictures and chat.
#[derive(Debug, Parser)]
#[command(name = "private-meet", version, after_help = AFTER_HELP, args_override_self = true)]
pub struct Arguments {
    /// An invite link: https://HOST/#/room/ID or privatemeet://HOST/room/ID
    // Parsed later: clap would repeat a link that it can't read, and with it the passphrase.
    #[arg(value_name = "LINK")]
    pub link: Option<String>,

    /// The server, for example https://meet.example.org or 192.168.1.5:8443
    #[arg(long, value_name = "URL")]
    pub server: Option<ServerUrl>,

    /// Accept exactly the server certificate with this SHA-256, 64 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub fingerprint: Option<Fingerprint>,

    /// The room
    #[arg(long, value_name = "ID", value_parser = parse_room)]
    pub room: Option<RawRoomId>,

    /// Your name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// A file whose only line is the passphrase that protects the chat
    #[arg(long, value_name = "PATH")]
    pub passphrase_file: Option<PathBuf>,

    /// Join at once, without the home screen
    #[arg(long)]
    pub join: bool,

    /// pattern, none, default, file:PATH or a camera's name
    #[arg(long, value_name = "CAMERA")]
    pub camera: Option<VideoSource>,

    /// tone, tone:HERTZ, none, default, file:PATH or a microphone's name
    #[arg(long, value_name = "MICROPHONE")]
    pub microphone: Option<SoundSource>,

    /// none, default, file:PATH or a speaker's name
    #[arg(long, value_name = "SPEAKER")]
    pub speaker: Option<SoundSink>,

    /// Send the microphone as it is: no echo cancellation, no noise suppression, no automatic gain
    #[arg(long)]
    pub raw_sound: bool,

    /// No window: one JSON object a line for each event on standard output, and for each command
    /// on standard input
    #[arg(long)]
    pub headless: bool,

    /// Where a headless call saves the images it receives [default: a new temporary folder]
    #[arg(long, value_name = "DIR", requires = "headless")]
    pub downloads: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 left as asked, 1 could not join or the call broke down, 2 a wrong command line.
RUST_LOG=info shows more on standard error.";

/// Why a command line can't be followed.
#[derive(Debug, Error)]
pub enum CliError {
    /// The link is none.
    #[error(transparent)]
    Link(#[from] InvalidInvite),
    /// The passphrase file can't be read.
    #[error("cannot read the passphrase file {}: {source}", path.display())]
    PassphraseFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The passphrase file holds something else.
    #[error("the passphrase file {} {what}", path.display())]
    Passphrase {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A blank `--name` where one is needed.
    #[error("the name is empty: to join, give one with --name")]
    NameEmpty,
    /// More than the server takes.
    #[error("the name is too long (maximum is {} characters)", limits::USERNAME_CHARS)]
    NameTooLong,
    /// `--headless` without knowing where to.
    #[error("a headless call needs {0}: give an invite link, or --server and --room")]
    Where(&'static str),
}

/// What the command line asks for. What is missing is remembered, asked for on the home screen,
/// or has a default.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The server.
    pub server: Option<ServerUrl>,
    /// The server's certificate, if it is pinned.
    pub fingerprint: Option<Fingerprint>,
    /// The room.
    pub room: Option<RawRoomId>,
    /// The user's name, trimmed, not empty.
    pub name: Option<String>,
    /// The secret that protects the chat.
    pub passphrase: Option<Passphrase>,
    /// Skip the home screen where everything needed is known.
    pub join: bool,
    /// The camera, if it was chosen.
    pub camera: Option<VideoSource>,
    /// The microphone, if it was chosen.
    pub microphone: Option<SoundSource>,
    /// The speaker, if it was chosen.
    pub speaker: Option<SoundSink>,
    /// What is done to our sound, if it was chosen.
    pub processing: Option<Processing>,
}

impl Arguments {
    /// Checks what clap can't check alone and reads the passphrase file. What stands in an option
    /// of its own wins over the same part of the link.
    ///
    /// # Errors
    /// [`CliError`], a sentence for the user.
    pub fn into_start(self) -> Result<Start, CliError> {
        let name = self.name.as_deref().map(str::trim);
        if name == Some("") && (self.join || self.headless) {
            return Err(CliError::NameEmpty);
        }
        if name.is_some_and(|name| name.chars().count() > limits::USERNAME_CHARS) {
            return Err(CliError::NameTooLong);
        }
        let passphrase = self.passphrase_file.as_deref().map(read_passphrase).transpose()?;
        let mut start = Start {
            server: self.server,
            fingerprint: self.fingerprint,
            room: self.room,
            name: name.filter(|name| !name.is_empty()).map(str::to_owned),
            passphrase,
            join: self.join,
            camera: self.camera,
            microphone: self.microphone,
            speaker: self.speaker,
            processing: self.raw_sound.then_some(Processing::NONE),
        };
        if let Some(link) = self.link {
            let link: Invite = link.parse()?;
            // The link's certificate belongs to the link's server.
            if start.server.is_none() {
                start.fingerprint = start.fingerprint.or(link.fingerprint);
            }
            start.server.get_or_insert(link.server);
            start.room.get_or_insert(link.room);
            start.passphrase = start.passphrase.or(link.passphrase);
        }
        Ok(start)
    }
}

impl Start {
    /// A call that needs nobody to answer questions.
    ///
    /// # Errors
    /// [`CliError::Where`] when server or room are missing.
    pub fn into_call(self) -> Result<CallConfig, CliError> {
        Ok(CallConfig {
            server: self.server.ok_or(CliError::Where("a server"))?,
            fingerprint: self.fingerprint,
            room: self.room.ok_or(CliError::Where("a room"))?,
            name: self.name.unwrap_or_else(|| GUEST.to_owned()),
            passphrase: self.passphrase.unwrap_or_default(),
            sources: Sources {
                camera: self.camera.unwrap_or_default(),
                microphone: self.microphone.unwrap_or_default(),
                speaker: self.speaker.unwrap_or_default(),
                processing: self.processing,
                ..Sources::default()
            },
            camera_on: true,
            microphone_on: true,
        })
    }
}

fn parse_room(text: &str) -> Result<RawRoomId, String> {
    RawRoomId::new(text).map_err(|error| match error {
        net::InvalidId::Empty => "the room's id is empty".to_owned(),
        net::InvalidId::TooLong(most) => {
            format!("the room's id is too long (maximum is {most} characters)")
        }
    })
}

/// The file's only line, without its line break and otherwise exactly as typed.
fn read_passphrase(path: &Path) -> Result<Passphrase, CliError> {
    let unreadable = |source| CliError::PassphraseFile { path: path.to_owned(), source };
    let wrong = |what| CliError::Passphrase { path: path.to_owned(), what };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    file.take(PASSPHRASE_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > PASSPHRASE_BYTES {
        return Err(wrong("is too long for a passphrase"));
    }
    let text = String::from_utf8(text).map_err(|_| wrong("is not UTF-8 text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(wrong("is empty"));
    }
    if line.contains(['\n', '\r']) {
        return Err(wrong("has more than one line"));
    }
    Ok(Passphrase::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LINK: &str = "https://h:8443/#/room/demo&k=secret&fp=\
        0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn start(arguments: &[&str]) -> Result<Start, String> {
        let all = ["private-meet"].iter().chain(arguments);
        let arguments = Arguments::try_parse_from(all).map_err(|error| error.to_string())?;
        arguments.into_start().map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_link_says_where() {
        let start = start(&[LINK]).unwrap();
        assert_eq!(start.server.unwrap().origin(), "https://h:8443");
        assert_eq!(start.room.unwrap().as_str(), "demo");
        assert_eq!(start.passphrase.unwrap().expose(), "secret");
        assert!(start.fingerprint.is_some());
        assert!(!start.join);
    }

    #[test]
    fn options_win_over_the_link_and_its_certificate_stays_with_its_server() {
        let start = start(&[LINK, "--server", "other", "--room", "42", "--name", " Ana "]).unwrap();
        assert_eq!(start.server.unwrap().origin(), "https://other");
        assert_eq!(start.room.unwrap().as_str(), "42");
        assert_eq!(start.name.unwrap(), "Ana");
        assert_eq!(start.fingerprint, None);
    }

    #[test]
    fn sources_are_read() {
        let start =
            start(&["--camera", "pattern", "--microphone", "tone:660", "--speaker", "none"]);
        let start = start.unwrap();
        assert_eq!(start.camera, Some(VideoSource::Pattern));
        assert_eq!(start.microphone, Some(SoundSource::Tone(660.0)));
        assert_eq!(start.speaker, Some(SoundSink::None));
    }

    #[test]
    fn a_headless_call_needs_a_server_and_a_room_but_no_name() {
        let missing = |arguments: &[&str]| {
            start(arguments).unwrap().into_call().expect_err("incomplete").to_string()
        };
        assert!(missing(&["--headless"]).contains("a server"));
        assert!(missing(&["--headless", "--server", "h"]).contains("a room"));
        let config = start(&["--headless", LINK]).unwrap().into_call().unwrap();
        assert_eq!(config.name, GUEST);
    }

    #[test]
    fn bad_input_gets_a_sentence_that_names_it() {
        let long_room = "x".repeat(limits::ROOM_ID_CHARS + 1);
        let long_name = "x".repeat(limits::USERNAME_CHARS + 1);
        for (arguments, sentence) in [
            (&["--server", "ftp://h"][..], "not with ftp://"),
            (&["--server", "https://"], "--server"),
            (&["--room", &long_room], "too long (maximum is 128 characters)"),
            (&["--room", " "], "the room's id is empty"),
            (&["--name", &long_name], "too long (maximum is 32 characters)"),
            (&["--name", " ", "--join"], "the name is empty"),
            (&["--name", "", "--headless"], "the name is empty"),
            (&["--fingerprint", "12"], "64 hexadecimal digits"),
            (&["--camera", "file:"], "needs a path"),
            (&["--microphone", "tone:loud"], "50 to 4000 Hz"),
            (&["https://h/"], "not an invite link"),
            (&["--downloads", "/tmp"], "--headless"),
            (&["--passphrase-file", "/does/not/exist"], "/does/not/exist: No such file"),
            (&["--passphrase-file", "/"], "the passphrase file /: Is a directory"),
        ] {
            let error = start(arguments).expect_err(arguments[0]);
            assert!(error.contains(sentence), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_damaged_link_is_not_repeated_because_of_the_passphrase_in_it() {
        let error = start(&["https://h/#/room/%zz&k=secret"]).expect_err("damaged");
        assert!(error.contains("damaged") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_passphrase_is_the_only_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_passphrase(&path).map_err(|error| error.to_string())
        };
        for text in [" sécret 1 ", " sécret 1 \n", " sécret 1 \r\n"] {
            assert_eq!(read(text.as_bytes()).unwrap().expose(), " sécret 1 ");
        }
        for (bytes, what) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"a\nb", "more than one line"),
            (b"\xff\xfe", "not UTF-8"),
            (&[b'x'; 5000], "too long"),
        ] {
            let error = read(bytes).expect_err(what);
            assert!(error.contains(what) && error.contains("passphrase"), "{error}");
        }
    }
}
