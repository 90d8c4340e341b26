//! A certificate in files of the operator's, read again when they change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Facts, Shown, TlsError, from_pem};
use crate::metrics::{DoorMetrics, Outcome};

/// How often the files are looked at. Programs that renew certificates replace two files one
/// after another; in between they do not match, and the next look finds both.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Looks after two files.
#[derive(Debug)]
pub struct Watch {
    certificate: PathBuf,
    key: PathBuf,
    seen: Stamps,
}

/// What changes when a file changes; `None` for one that can't be found.
type Stamps = [Option<(SystemTime, u64, u64)>; 2];

impl Watch {
    /// Reads the files for the first time.
    pub(super) fn new(certificate: &Path, key: &Path) -> Result<(Self, CertifiedKey), TlsError> {
        let seen = [stamp(certificate), stamp(key)];
        let watch = Self { certificate: certificate.to_owned(), key: key.to_owned(), seen };
        let first = watch.load()?;
        watch.remark(&first);
        Ok((watch, first))
    }

    /// Looks every few seconds, and at once when `reload` says so.
    pub(super) async fn run(mut self, shown: &Shown, reload: &Notify, metrics: &DoorMetrics) {
        loop {
            let asked = timeout(LOOK_EVERY, reload.notified()).await.is_ok();
            let found = [stamp(&self.certificate), stamp(&self.key)];
            if found == self.seen && !asked {
                continue;
            }
            self.seen = found;
            match self.load() {
                Ok(new) => {
                    if let Some(facts) = new.cert.first().and_then(|der| Facts::of(der).ok()) {
                        metrics.certificate_ends.set(facts.not_after);
                    }
                    self.remark(&new);
                    shown.set(new);
                    metrics.certificate_loads.add(Outcome::Done);
                    tracing::info!("the certificate was read again");
                }
                Err(error) => {
                    metrics.certificate_loads.add(Outcome::Failed);
                    tracing::error!("{}; the old certificate stays", chain_of(&error));
                }
            }
        }
    }

    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        from_pem(&self.certificate, &certificate, &self.key, &key)
    }

    /// Says aloud what browsers would refuse.
    fn remark(&self, loaded: &CertifiedKey) {
        let Some(Ok(facts)) = loaded.cert.first().map(|der| Facts::of(der)) else { return };
        if let Some(trouble) = facts.trouble_at(SystemTime::now()) {
            tracing::error!("the certificate in {} {trouble}", self.certificate.display());
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let error = |source| TlsError::Read { path: path.to_owned(), source };
    fs::read(path).map(Zeroizing::new).map_err(error)
}

fn stamp(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let found: io::Result<_> = fs::metadata(path);
    let found = found.ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let number = 0;
    Some((found.modified().ok()?, found.len(), number))
}

/// The error and what caused it, in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
