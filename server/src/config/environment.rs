//! Settings from environment variables and from a `.env` file, under the names that deployments
//! of the protocol have used all along.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Config;
use super::setting::{Draft, OF_OTHERS, WrongSetting, settings};

/// A `.env` file that can't be read. Its lines are not shown: they may hold secrets.
#[derive(Debug, Error)]
pub enum EnvFileError {
    /// The file is there but can't be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is not `NAME=value`.
    #[error("{} has a line after {last} settings that is not NAME=value", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// How many settings stand before the odd line.
        last: usize,
    },
}

/// Where settings are looked up: the process's environment, then a file.
#[derive(Debug, Default)]
pub struct Environment {
    own: bool,
    file: HashMap<String, String>,
}

impl Environment {
    /// The process's environment, completed by the file at `path` if there is one.
    ///
    /// # Errors
    /// [`EnvFileError`] when the file is there but unusable.
    pub fn load(path: &Path) -> Result<Self, EnvFileError> {
        let mut file = HashMap::new();
        let read = |source| EnvFileError::Read { path: path.to_owned(), source };
        let lines = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines,
            Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { own: true, file });
            }
            Err(dotenvy::Error::Io(error)) => return Err(read(error)),
            Err(_) => return Err(EnvFileError::Syntax { path: path.to_owned(), last: 0 }),
        };
        for line in lines {
            match line {
                Ok((name, value)) => file.insert(name, value),
                Err(dotenvy::Error::Io(error)) => return Err(read(error)),
                Err(_) => {
                    return Err(EnvFileError::Syntax { path: path.to_owned(), last: file.len() });
                }
            };
        }
        Ok(Self { own: true, file })
    }

    /// Settings given as text, for tests.
    #[must_use]
    pub fn of(settings: &[(&str, &str)]) -> Self {
        let file = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self { own: false, file: file.collect() }
    }

    /// The value of `name`; an empty one counts as none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let own = self.own.then(|| std::env::var_os(name)).flatten();
        own.map(|value| value.to_string_lossy().into_owned())
            .or_else(|| self.file.get(name).cloned())
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    /// The names that are set and mean nothing here.
    pub fn ignored(&self) -> impl Iterator<Item = &'static str> {
        OF_OTHERS.into_iter().filter(|name| self.get(name).is_some())
    }

    /// Puts the settings into `draft`; what is not set stays as it is.
    ///
    /// # Errors
    /// [`WrongSetting`] for the first value that makes no sense.
    pub fn fill(&self, draft: &mut Draft) -> Result<(), WrongSetting> {
        for setting in settings() {
            if let Some(value) = self.get(setting.name) {
                draft.take(setting, setting.name, &value)?;
            }
        }
        Ok(())
    }

    /// The configuration that these settings make of `config`, without any flags.
    ///
    /// # Errors
    /// [`WrongSetting`] for the first value that makes no sense.
    pub fn config(&self, config: Config) -> Result<Config, WrongSetting> {
        let mut draft = Draft::new(config);
        self.fill(&mut draft)?;
        draft.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Origins, Tls};
    use super::*;

    fn config_of(settings: &[(&str, &str)]) -> Result<Config, WrongSetting> {
        Environment::of(settings).config(Config::default())
    }

    /// Long enough, and known to everybody: for tests only.
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn nothing_is_required() {
        let config = config_of(&[("JWT_SECRET", " "), ("SERVER_PORT", "")]).unwrap();
        assert_eq!((config.listen.port(), config.tls), (3000, Tls::SelfSigned));
        assert!(config.sign_in.secret.is_none());
        assert_eq!(config.client.room_prefix, "pm_room:");
        assert_eq!(config.origins, Origins::Listed(Vec::new()));
    }

    #[test]
    fn every_documented_name_is_understood() {
        let config = config_of(&[
            ("GO_ENV", "production"),
            ("USE_LOCAL_TLS", "FALSE"),
            ("APP_NAME", "Our Meet"),
            ("SERVER_PORT", ":8080"),
            ("JWT_SECRET", SECRET),
            ("JWT_SECRET_PREVIOUS", &SECRET.to_uppercase()),
            ("JWT_EXPIRATION", "1h"),
            ("CONTEXT_TIMEOUT", "5s"),
            ("ALLOWED_ORIGINS", "https://a.example/, http://localhost:5173"),
            ("HUB_SHARDS_QUANTITY", "4"),
            ("ROOM_ID_PREFIX", "room"),
            ("E2EE_WIRE_PREFIX", "sealed"),
            ("WEBRTC_FILE_CHANNEL_LABEL", "files"),
            ("STATE_DIR", "/var/lib/meet"),
            ("TRUSTED_PROXIES", "127.0.0.1, ::1, 10.0.0.0/8"),
            ("HTTP_RATE_LIMIT", "off"),
        ])
        .unwrap();
        assert_eq!((config.tls, config.listen.port()), (Tls::Off, 8080));
        assert_eq!(config.sign_in.app_name, "Our Meet");
        assert_eq!(config.sign_in.secret.unwrap().bytes(), SECRET.as_bytes());
        assert!(config.sign_in.previous_secret.is_some());
        assert_eq!(config.sign_in.token_lifetime, Duration::from_secs(3_600));
        assert_eq!(config.sign_in.request_timeout, Duration::from_secs(5));
        let listed = ["https://a.example", "http://localhost:5173"].map(|o| o.parse().unwrap());
        assert_eq!(config.origins, Origins::Listed(listed.to_vec()));
        assert_eq!((config.room_shards, config.http_rate_limit), (4, false));
        assert_eq!(config.client.room_prefix, "room:");
        assert_eq!(config.client.wire_prefix, "sealed:");
        assert_eq!(config.client.file_channel_label, "files:");
        assert_eq!(config.trusted_proxies.len(), 3);
        assert_eq!(config.state_dir.unwrap(), Path::new("/var/lib/meet"));
    }

    #[test]
    fn development_and_a_star_let_any_origin_in() {
        let development = config_of(&[("GO_ENV", "development"), ("ALLOWED_ORIGINS", "https://a")]);
        assert_eq!(development.unwrap().origins, Origins::Any);
        assert_eq!(config_of(&[("ALLOWED_ORIGINS", "*")]).unwrap().origins, Origins::Any);
    }

    #[test]
    fn no_expiration_means_twelve_hours() {
        let config = config_of(&[("JWT_EXPIRATION", "0")]).unwrap();
        assert_eq!(config.sign_in.token_lifetime, Duration::from_secs(12 * 3_600));
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        for (name, value) in [
            ("GO_ENV", "developmnet"),
            ("USE_LOCAL_TLS", "maybe"),
            ("SERVER_PORT", "65536"),
            ("JWT_EXPIRATION", "soon"),
            ("JWT_EXPIRATION", "1ms"),
            ("CONTEXT_TIMEOUT", "0"),
            ("ALLOWED_ORIGINS", "https://a.example/path"),
            ("HUB_SHARDS_QUANTITY", "0"),
            ("ROOM_ID_PREFIX", "two words"),
            ("TRUSTED_PROXIES", "localhost"),
            ("HTTP_RATE_LIMIT", "5"),
            ("TLS", "maybe"),
            ("LISTEN", "3000"),
            ("ACME_DOMAIN", "https://meet.example"),
            ("ACME_CONTACT", "nobody"),
            ("ACME_DIRECTORY", "http://authority.example"),
            ("MAX_CONNECTIONS", "-1"),
            ("MAX_CONNECTIONS_PER_ADDRESS", "few"),
            ("MAX_MEMORY", "lots"),
            ("METRICS_LISTEN", "9090"),
            ("LOG_FORMAT", "xml"),
            ("RUST_LOG", "server=loud"),
        ] {
            let text = config_of(&[(name, value)]).unwrap_err().to_string();
            assert!(text.starts_with(&format!("{name} is {value:?}, but it must be ")), "{text}");
        }
    }

    #[test]
    fn a_weak_secret_stops_the_start_and_is_not_shown() {
        for name in ["JWT_SECRET", "JWT_SECRET_PREVIOUS", "METRICS_TOKEN"] {
            let wrong = config_of(&[(name, "hunter2-hunter")]).unwrap_err();
            let text = format!("{wrong} {wrong:?}");
            assert!(text.contains(name) && text.contains("14 bytes"), "{text}");
            assert!(!text.contains("hunter"), "{text}");
        }
        assert!(config_of(&[("JWT_SECRET", &"a".repeat(64))]).is_err(), "a guess of one letter");
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        for (settings, named) in [
            (&[("TLS", "files")][..], "--tls-key"),
            (&[("TLS_KEY", "k")], "--tls-certificate"),
            (&[("TLS_CERTIFICATE", "c")], "--tls-key"),
            (&[("TLS", "off"), ("TLS_CERTIFICATE", "c"), ("TLS_KEY", "k")], "--tls files"),
            (&[("TLS", "acme")], "--acme-domain"),
            (&[("ACME_DOMAIN", "meet.example")], "--state-dir"),
            (&[("ACME_DOMAIN", "meet.example"), ("TLS", "self")], "--tls acme"),
            (&[("WEB_CSP", "default-src *")], "--web-root"),
        ] {
            let text = config_of(settings).unwrap_err().to_string();
            assert!(text.contains(named), "{settings:?}: {text}");
        }
    }

    #[test]
    fn an_env_file_is_read_and_its_faults_do_not_show_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        assert!(Environment::load(&path).is_ok());
        std::fs::write(&path, "# ours\nAPP_NAME=\"Our Meet\"\nexport SERVER_PORT=8080\n").unwrap();
        let config = Environment::load(&path).unwrap().config(Config::default()).unwrap();
        assert_eq!((config.listen.port(), config.sign_in.app_name.as_str()), (8080, "Our Meet"));
        std::fs::write(&path, "APP_NAME=a\nJWT_SECRET hunter2\n").unwrap();
        let error = Environment::load(&path).unwrap_err();
        assert!(matches!(error, EnvFileError::Syntax { last: 1, .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn names_of_other_software_are_recognised() {
        let environment = Environment::of(&[("VITE_WS_API_URL", "wss://a"), ("PATH", "/bin")]);
        assert_eq!(environment.ignored().collect::<Vec<_>>(), ["VITE_WS_API_URL"]);
    }
}
