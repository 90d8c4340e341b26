//! What a setting is: its names, what it takes, what would be right. All of them stand in one
//! table, [`settings`], from which the command line, the environment, `docs/server.md` and
//! `.env.example` come, so that none of these can part from the others.

use std::fmt::Write as _;
use std::path::PathBuf;

use thiserror::Error;

use super::cluster_table::Others;
use super::turn_table::Relays;
use super::{Acme, Config, Origins, Tls, Web};
pub use crate::config::table::{OF_OTHERS, settings};

/// What a setting belongs to; a heading in the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Where the server is found.
    Listening,
    /// How connections are protected.
    Tls,
    /// Who is let in, and for how long.
    SignIn,
    /// Which pages, proxies and crowds are welcome.
    Doors,
    /// Rooms and what clients are told about them.
    Rooms,
    /// The relay for media.
    Turn,
    /// Several servers as one.
    Servers,
    /// Folders.
    Files,
    /// What operators see.
    Watching,
}

impl Group {
    /// In the order of the documents.
    pub const ALL: [Self; 9] = [
        Self::Listening,
        Self::Tls,
        Self::SignIn,
        Self::Doors,
        Self::Rooms,
        Self::Turn,
        Self::Servers,
        Self::Files,
        Self::Watching,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Listening => "Where it listens",
            Self::Tls => "Certificates",
            Self::SignIn => "Sign-in and tokens",
            Self::Doors => "Who may come, and how many",
            Self::Rooms => "Rooms",
            Self::Turn => "Media relay (STUN and TURN)",
            Self::Servers => "More than one server",
            Self::Files => "Folders",
            Self::Watching => "Logs and metrics",
        }
    }
}

/// One setting. Made by [`Setting::new`] and the methods that follow it.
#[derive(Debug)]
pub struct Setting {
    /// The variable in the environment or in `.env`.
    pub name: &'static str,
    /// The flag without its dashes; secrets have none, because other users see command lines.
    pub flag: Option<&'static str>,
    /// What stands behind the flag, like `FILE`.
    pub takes: &'static str,
    /// What holds when it is not set, in words.
    pub default: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether the flag may be repeated; the values are joined with commas.
    pub many: bool,
    /// What would be right, to follow "it must be".
    pub expected: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Where it stands in the documents.
    pub group: Group,
    /// Puts a value into the draft; `None` if it makes no sense.
    pub(super) read: fn(&mut Draft, &str) -> Option<()>,
}

impl Setting {
    pub(super) const fn new(
        group: Group,
        name: &'static str,
        help: &'static str,
        expected: &'static str,
        read: fn(&mut Draft, &str) -> Option<()>,
    ) -> Self {
        let (flag, takes, default, secret, many) = (None, "", "", false, false);
        Self { name, flag, takes, default, secret, many, expected, help, group, read }
    }

    pub(super) const fn flag(self, flag: &'static str, takes: &'static str) -> Self {
        Self { flag: Some(flag), takes, ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) const fn many(self) -> Self {
        Self { many: true, ..self }
    }
}

/// Settings that the server can't start with.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum WrongSetting {
    /// A value that makes no sense.
    #[error("{name} is {value:?}, but it must be {expected}")]
    Value {
        /// The variable or flag.
        name: String,
        /// What it says.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A secret that is not good enough; it is not shown.
    #[error("{name} has {bytes} bytes, but it must be {expected}")]
    Secret {
        /// The variable.
        name: &'static str,
        /// Its length.
        bytes: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Together(&'static str),
}

/// How connections are to be protected, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Off,
    SelfSigned,
    Files,
    Acme,
}

/// A configuration on its way, from values that may stand in any order.
#[derive(Debug, Default)]
pub struct Draft {
    pub(super) config: Config,
    pub(super) local_tls: Option<bool>,
    pub(super) mode: Option<Mode>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) acme: Acme,
    pub(super) development: bool,
    pub(super) web_root: Option<PathBuf>,
    pub(super) web_csp: Option<String>,
    pub(super) relays: Relays,
    pub(super) others: Others,
}

impl Draft {
    /// What stands in `config` until a setting says otherwise.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes a value that was given under `name`, the variable's or the flag's. An empty one
    /// counts as none.
    ///
    /// # Errors
    /// [`WrongSetting`], which shows the value unless it is a secret.
    pub fn take(&mut self, setting: &Setting, name: &str, value: &str) -> Result<(), WrongSetting> {
        let value = value.trim();
        if value.is_empty() || (setting.read)(self, value).is_some() {
            return Ok(());
        }
        let expected = setting.expected;
        if setting.secret {
            let bytes = value.len();
            return Err(WrongSetting::Secret { name: setting.name, bytes, expected });
        }
        Err(WrongSetting::Value { name: name.to_owned(), value: value.to_owned(), expected })
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`WrongSetting::Together`] when settings contradict each other.
    pub fn finish(self) -> Result<Config, WrongSetting> {
        let together = |text| Err(WrongSetting::Together(text));
        let mut config = self.config;
        let asked_for_acme = self.mode == Some(Mode::Acme) || !self.acme.domains.is_empty();
        config.tls = match (self.mode, self.certificate, self.key) {
            (_, Some(_), None) => return together("--tls-certificate needs --tls-key, too"),
            (_, None, Some(_)) => return together("--tls-key needs --tls-certificate, too"),
            (Some(Mode::Files), None, None) => {
                return together("--tls files needs --tls-certificate and --tls-key");
            }
            (None | Some(Mode::Files), Some(certificate), Some(key)) => {
                if asked_for_acme {
                    return together("--acme-domain and --tls-certificate exclude each other");
                }
                Tls::Files { certificate, key }
            }
            (Some(_), Some(_), Some(_)) => {
                return together("--tls-certificate goes with --tls files only");
            }
            (None | Some(Mode::Acme), None, None) if asked_for_acme => {
                if self.acme.domains.is_empty() {
                    return together("--tls acme needs --acme-domain");
                }
                if config.state_dir.is_none() {
                    return together("--tls acme needs --state-dir, to keep the certificate in");
                }
                Tls::Acme(self.acme)
            }
            (Some(_), None, None) if asked_for_acme => {
                return together("--acme-domain goes with --tls acme only");
            }
            (Some(Mode::Off), None, None) => Tls::Off,
            (Some(Mode::SelfSigned), None, None) => Tls::SelfSigned,
            (None | Some(Mode::Acme), None, None) => match self.local_tls {
                Some(true) => Tls::SelfSigned,
                Some(false) => Tls::Off,
                None => config.tls,
            },
        };
        if self.development {
            config.origins = Origins::Any;
        }
        config.web = match (self.web_root, self.web_csp) {
            (Some(root), csp) => Web::Folder { root, csp },
            (None, Some(_)) => return together("--web-csp goes with --web-root only"),
            (None, None) => config.web,
        };
        self.relays.finish(&mut config)?;
        self.others.finish(&mut config)?;
        Ok(config)
    }
}

/// The tables of `docs/server.md`.
#[must_use]
pub fn documentation() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let settings: Vec<&Setting> = settings().filter(|s| s.group == group).collect();
        if settings.is_empty() {
            continue;
        }
        let title = group.title();
        let head = "| Variable | Flag | Default | What it does |\n|---|---|---|---|";
        let _ = write!(text, "\n### {title}\n\n{head}\n");
        for setting in settings {
            let flag = match setting.flag {
                Some(flag) => format!("`--{flag} {}`", setting.takes.replace('|', "\\|")),
                None => "–".to_owned(),
            };
            let (name, default, help) = (setting.name, setting.default, setting.help);
            let takes = setting.expected;
            let _ = writeln!(text, "| `{name}` | {flag} | {default} | {help}. Takes {takes}. |");
        }
    }
    text
}

/// The whole of `.env.example`.
#[must_use]
pub fn example() -> String {
    let mut text = "\
# Settings of private-meet-server; copy this file to .env in the folder that it starts in. All
# are optional. Flags win over the environment, and the environment over this file.
"
    .to_owned();
    for group in Group::ALL {
        let settings: Vec<&Setting> = settings().filter(|s| s.group == group).collect();
        if settings.is_empty() {
            continue;
        }
        let _ = write!(text, "\n# --- {}\n", group.title());
        for Setting { name, default, help, expected, .. } in settings {
            let _ = write!(text, "\n# {help}. Takes {expected}.\n# Default: {default}\n#{name}=\n");
        }
    }
    text.push_str("\n# --- Read by other software of such a deployment, and ignored here\n\n");
    for name in OF_OTHERS {
        let _ = writeln!(text, "#{name}=");
    }
    text
}
