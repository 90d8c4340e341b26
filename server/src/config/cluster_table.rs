//! The part of the table that is about several servers as one.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::Config;
use super::setting::{Draft, Group, Setting, WrongSetting};
use super::table::{FILE, SECRET, put, secret};
use crate::auth::Secret;
use crate::backplane::ClusterConfig;

/// What settings say about the other servers. An address may hold a password, so that it is never
/// shown.
#[derive(Debug, Default)]
pub struct Others {
    nats: Option<Zeroizing<String>>,
    secret: Option<Secret>,
    ca: Option<PathBuf>,
}

/// The settings for several servers.
pub static CLUSTER: &[Setting] = &[
    Setting::new(
        Group::Servers,
        "NATS_URL",
        "The NATS brokers over which several servers work as one; a user and a password, or a \
         token, may stand in front of the host",
        "addresses like nats://broker:4222 or tls://broker:4222, with commas between them",
        |draft, text| put(text.to_owned().into(), |nats| others(draft).nats = Some(nats)),
    )
    .flag("nats", "URL")
    .default("none: one server alone"),
    Setting::new(
        Group::Servers,
        "CLUSTER_SECRET",
        "What the servers know one another by; the same on all of them, and needed with NATS_URL",
        SECRET,
        |draft, text| put(secret(text)?, |secret| others(draft).secret = Some(secret)),
    )
    .secret()
    .default("none"),
    Setting::new(
        Group::Servers,
        "CLUSTER_SECRET_FILE",
        "A file that holds the CLUSTER_SECRET",
        "the path of a file with at least 32 bytes, like those of `openssl rand -hex 32`",
        |draft, text| {
            let held = Zeroizing::new(std::fs::read_to_string(text).ok()?);
            put(secret(held.trim())?, |secret| others(draft).secret = Some(secret))
        },
    )
    .flag("cluster-secret-file", "FILE")
    .default("none"),
    Setting::new(
        Group::Servers,
        "NATS_CA",
        "Root certificates, PEM, that vouch for the brokers of tls://, besides the public ones",
        FILE,
        |draft, text| put(text.into(), |path| others(draft).ca = Some(path)),
    )
    .flag("nats-ca", "FILE")
    .default("none"),
];

fn others(draft: &mut Draft) -> &mut Others {
    &mut draft.others
}

impl Others {
    pub(super) fn finish(self, config: &mut Config) -> Result<(), WrongSetting> {
        let together = |text| Err(WrongSetting::Together(text));
        let Some(nats) = self.nats else {
            return match (self.secret, self.ca) {
                (None, None) => Ok(()),
                (Some(_), _) => together("CLUSTER_SECRET goes with --nats only"),
                (None, Some(_)) => together("--nats-ca goes with --nats only"),
            };
        };
        let Some(servers) = ClusterConfig::servers(&nats) else {
            return together(
                "--nats (or NATS_URL) must be addresses like nats://broker:4222 or \
                 tls://user:password@broker, with commas between them",
            );
        };
        let Some(secret) = self.secret else {
            return together(
                "--nats needs CLUSTER_SECRET (or --cluster-secret-file), the same on all servers",
            );
        };
        config.cluster = Some(ClusterConfig { servers, secret, ca: self.ca });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::settings;

    fn config(values: &[(&str, &str)]) -> Result<Config, String> {
        let mut draft = Draft::new(Config::default());
        for (name, value) in values {
            let setting = settings().find(|setting| setting.name == *name).unwrap();
            draft.take(setting, name, value).map_err(|error| error.to_string())?;
        }
        draft.finish().map_err(|error| error.to_string())
    }

    const GUESS: &str = "0f1e2d3c4b5a6978";
    const GOOD: &str = "nats://meet:s3cret@broker:4222";

    #[test]
    fn a_cluster_needs_a_broker_and_a_secret() {
        let secret = GUESS.repeat(4);
        assert!(config(&[]).unwrap().cluster.is_none());
        let good = config(&[("NATS_URL", GOOD), ("CLUSTER_SECRET", &secret)]).unwrap();
        assert_eq!(good.cluster.unwrap().servers.len(), 1);
        for (values, named) in [
            (&[("NATS_URL", GOOD)][..], "CLUSTER_SECRET"),
            (&[("CLUSTER_SECRET", secret.as_str())], "--nats"),
            (&[("NATS_CA", "file")], "--nats"),
            (&[("CLUSTER_SECRET", "short")], "32 bytes"),
            (&[("CLUSTER_SECRET_FILE", "/nowhere")], "32 bytes"),
            (&[("NATS_URL", "http://meet:s3cret@broker")], "nats://"),
        ] {
            let error = config(values).unwrap_err();
            assert!(error.contains(named) && !error.contains("s3cret"), "{values:?}: {error}");
        }
    }

    #[test]
    fn the_secret_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, format!("{}\n", GUESS.repeat(4))).unwrap();
        let file = file.to_str().unwrap();
        assert!(config(&[("NATS_URL", GOOD), ("CLUSTER_SECRET_FILE", file)]).is_ok());
    }
}
