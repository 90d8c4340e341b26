//! What the app remembers between two starts: choices, trusted certificates, recent rooms.
//!
//! One JSON file in the user's configuration folder, written atomically. Passphrases are never
//! written. Fields this version does not know are kept, so that an older version does not lose
//! what a newer one wrote; a file that can't be read is moved aside, never overwritten.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fmt, fs};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Rooms that are remembered; the oldest is forgotten first.
pub const RECENT_ROOMS: usize = 12;
/// A larger settings file is not ours.
const FILE_BYTES: u64 = 1024 * 1024;
/// Names tried for a file moved aside before giving up.
const ASIDE_NAMES: u32 = 100;
const FILE_NAME: &str = "settings.json";

/// Which colours the window uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThemeChoice {
    /// As the desktop says.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
    /// A choice that a newer version wrote; treated as `System`.
    #[serde(other)]
    Unknown,
}

/// A room that was joined before. Its passphrase is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentRoom {
    /// The server's address as `https://host:port`.
    pub server: String,
    /// The room as people know it.
    pub room: String,
    /// When it was joined last, in seconds since 1970.
    #[serde(default)]
    pub joined_at: u64,
}

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The user's name.
    pub name: String,
    /// The server joined last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The camera as it stands on the command line (`default`, `none`, a name, …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<String>,
    /// The microphone, in the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub microphone: Option<String>,
    /// The speaker, in the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// Join with the camera on; on unless the user chose otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_on: Option<bool>,
    /// Join with the microphone on; on unless the user chose otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub microphone_on: Option<bool>,
    /// Dark, light or as the desktop says.
    pub theme: ThemeChoice,
    /// Self-made certificates the user accepted: server address to SHA-256 in hex.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trusted: BTreeMap<String, String>,
    /// Newest first, at most [`RECENT_ROOMS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<RecentRoom>,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

/// Why settings could not be written.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// This user has no home folder, or what stands in the place of the settings can't be read.
    #[error("settings are not kept: there is no place to write them to")]
    NoFolder,
    /// The file system refused.
    #[error("cannot write the settings to {}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What went wrong while reading settings, as a sentence for the user; reading always goes on
/// with the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadProblem {
    /// The file exists but could not be read; nothing will be lost as long as nothing is saved.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file was not understood and now stands under another name.
    MovedAside {
        /// The file as it was.
        path: PathBuf,
        /// Where it is now.
        aside: PathBuf,
        /// What was not understood.
        why: String,
    },
}

impl fmt::Display for LoadProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => {
                write!(f, "The settings in {} cannot be read: {why}", path.display())
            }
            Self::MovedAside { path, aside, why } => write!(
                f,
                "The settings in {} were not understood ({why}); they were kept as {}",
                path.display(),
                aside.display()
            ),
        }
    }
}

/// Where settings are kept, and whether they may be written there.
#[derive(Debug, Clone)]
pub struct SettingsFile {
    path: Option<PathBuf>,
}

impl SettingsFile {
    /// Reads the user's settings. They are always usable; a [`LoadProblem`] is a sentence to
    /// show. A file that could not even be moved aside is not written to either, so that nothing
    /// is lost.
    #[must_use]
    pub fn open() -> (Self, Settings, Option<LoadProblem>) {
        let folders = directories::ProjectDirs::from("", "", "private-meet");
        match folders.map(|folders| folders.config_dir().join(FILE_NAME)) {
            Some(path) => Self::open_at(path),
            None => (Self { path: None }, Settings::default(), None),
        }
    }

    /// Like [`SettingsFile::open`] for a file of the caller's.
    #[must_use]
    pub fn open_at(path: PathBuf) -> (Self, Settings, Option<LoadProblem>) {
        let (settings, problem) = Settings::load(&path);
        let writable = !matches!(problem, Some(LoadProblem::Unreadable { .. }));
        (Self { path: writable.then_some(path) }, settings, problem)
    }

    /// Writes the settings.
    ///
    /// # Errors
    /// [`SettingsError::NoFolder`] when there is no place for them, [`SettingsError::Write`] when
    /// the file system refuses.
    pub fn save(&self, settings: &Settings) -> Result<(), SettingsError> {
        settings.save(self.path.as_deref().ok_or(SettingsError::NoFolder)?)
    }
}

impl Settings {
    /// Reads the file at `path`. A missing file gives the defaults; one that is not understood is
    /// moved aside and gives the defaults and a [`LoadProblem`].
    #[must_use]
    pub fn load(path: &Path) -> (Self, Option<LoadProblem>) {
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
            Err(error) => {
                let problem =
                    LoadProblem::Unreadable { path: path.to_owned(), why: error.to_string() };
                return (Self::default(), Some(problem));
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(settings) => (settings, None),
            Err(error) => (Self::default(), Some(move_aside(path, error.to_string()))),
        }
    }

    /// Writes the file at `path`: first beside it, then in its place, so that a crash leaves
    /// either the old or the new settings. Creates the folder when it is missing.
    ///
    /// # Errors
    /// [`SettingsError::Write`] when the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), SettingsError> {
        let failed = |source| SettingsError::Write { path: path.to_owned(), source };
        let mut json = serde_json::to_vec_pretty(self).map_err(io::Error::from).map_err(failed)?;
        json.push(b'\n');
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let beside = path.with_extension(format!("json.{}.new", std::process::id()));
        let written = write_private(&beside, &json).and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.map_err(failed)
    }

    /// Puts a room in front of the recent ones.
    pub fn remember_room(&mut self, server: &str, room: &str) {
        self.recent.retain(|known| known.server != server || known.room != room);
        let joined_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since_epoch| since_epoch.as_secs());
        let joined = RecentRoom { server: server.to_owned(), room: room.to_owned(), joined_at };
        self.recent.insert(0, joined);
        self.recent.truncate(RECENT_ROOMS);
    }

    /// Remembers that the user accepted this certificate of `server`.
    pub fn trust(&mut self, server: &str, fingerprint: &str) {
        self.trusted.insert(server.to_owned(), fingerprint.to_owned());
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > FILE_BYTES {
        return Err(io::Error::other(format!("{size} bytes are too many")));
    }
    fs::read(path)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn move_aside(path: &Path, why: String) -> LoadProblem {
    let candidates =
        (1..=ASIDE_NAMES).map(|number| path.with_extension(format!("damaged-{number}.json")));
    for aside in candidates {
        if aside.exists() {
            continue;
        }
        return match fs::rename(path, &aside) {
            Ok(()) => LoadProblem::MovedAside { path: path.to_owned(), aside, why },
            Err(error) => LoadProblem::Unreadable {
                path: path.to_owned(),
                why: format!("{why}, and it cannot be moved aside: {error}"),
            },
        };
    }
    let why = format!("{why}, and {ASIDE_NAMES} damaged files are kept already");
    LoadProblem::Unreadable { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD_SAMPLES: &[&str] = &[
        include_str!("../testdata/settings-empty.json"),
        include_str!("../testdata/settings-0.1.json"),
        include_str!("../testdata/settings-newer.json"),
    ];

    #[test]
    fn old_samples_parse_for_ever_and_lose_nothing() {
        for sample in OLD_SAMPLES {
            let settings: Settings = serde_json::from_str(sample).unwrap();
            let written = serde_json::to_value(&settings).unwrap();
            let before: serde_json::Value = serde_json::from_str(sample).unwrap();
            for (key, value) in before.as_object().unwrap() {
                if key != "theme" {
                    assert_eq!(written.get(key), Some(value), "{key}");
                }
            }
        }
    }

    #[test]
    fn a_missing_file_gives_the_defaults_and_no_warning() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, problem) = Settings::load(&folder.path().join(FILE_NAME));
        assert_eq!((settings, problem), (Settings::default(), None));
    }

    #[test]
    fn what_is_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder").join(FILE_NAME);
        let mut settings = Settings { name: "Zoë".to_owned(), ..Settings::default() };
        settings.trust("https://192.168.0.2:8443", &"ab".repeat(32));
        settings.remember_room("https://192.168.0.2:8443", "demo");
        settings.save(&path).unwrap();
        assert_eq!(Settings::load(&path), (settings, None));
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file stays behind");
    }

    #[test]
    fn a_corrupted_file_is_moved_aside_each_time_and_never_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        for (round, garbage) in ["{\"name\":", "[]", "{\"name\":7}"].into_iter().enumerate() {
            fs::write(&path, garbage).unwrap();
            let (settings, problem) = Settings::load(&path);
            assert_eq!(settings, Settings::default());
            let Some(LoadProblem::MovedAside { aside, .. }) = problem else {
                panic!("round {round}: {problem:?}");
            };
            assert_eq!(fs::read_to_string(aside).unwrap(), garbage);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_reported_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (_, problem) = Settings::load(folder.path());
        assert!(matches!(problem, Some(LoadProblem::Unreadable { .. })));
        let (file, settings, _) = SettingsFile::open_at(folder.path().to_owned());
        assert!(matches!(file.save(&settings), Err(SettingsError::NoFolder)));
    }

    #[test]
    fn recent_rooms_are_unique_newest_first_and_bounded() {
        let mut settings = Settings::default();
        for number in 0..20 {
            settings.remember_room("https://a", &format!("room {number}"));
        }
        settings.remember_room("https://a", "room 15");
        assert_eq!(settings.recent.len(), RECENT_ROOMS);
        assert_eq!(settings.recent[0].room, "room 15");
        assert_eq!(settings.recent.iter().filter(|room| room.room == "room 15").count(), 1);
    }

    #[test]
    fn an_unknown_theme_follows_the_system_and_is_not_an_error() {
        let settings: Settings = serde_json::from_str(r#"{"theme":"sepia"}"#).unwrap();
        assert_eq!(settings.theme, ThemeChoice::Unknown);
    }
}
