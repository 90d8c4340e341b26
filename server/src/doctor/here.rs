//! What can be seen on this computer alone.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Uri;
use tokio::net::{TcpListener, lookup_host};
use tokio::time::timeout;

use super::visit::{PATIENCE, Visit};
use super::{Finding, name_of, own_address};
use crate::config::{Acme, Config, Origins, Tls};
use crate::lan;
use crate::metrics::files_allowed;
use crate::tls::{Facts, Fingerprint, Identity};

/// 2026-01-01: this program did not exist before.
const EARLIEST: u64 = 1_767_225_600;
/// 2100-01-01.
const LATEST: u64 = 4_102_444_800;
/// Fewer files than this are few for a server with guests.
const FILES_ADVISED: u64 = 4_096;
/// A certificate with less left than this should have been renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Tokens, credentials and certificates go by the clock.
pub(super) fn clock(now: SystemTime) -> Finding {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if (EARLIEST..LATEST).contains(&seconds) {
        return Finding::ok("clock", "this computer's date is plausible");
    }
    let mend = "set the clock, for instance with `timedatectl set-ntp true`";
    Finding::wrong("clock", "this computer's date can't be right", mend)
}

/// Each guest is an open file.
pub(super) fn files() -> Finding {
    const CHECK: &str = "open files";
    match files_allowed() {
        None => Finding::ok(CHECK, "this system sets no limit that we know"),
        Some(files) if files < FILES_ADVISED => Finding::note(
            CHECK,
            format!("at most {files}: about as many guests, then newcomers get 503"),
            "raise it: LimitNOFILE=65536 in a systemd unit, `ulimit -n 65536` in a shell",
        ),
        Some(files) => Finding::ok(CHECK, format!("up to {files}")),
    }
}

/// The folder where certificate and token secret stay.
pub(super) fn state_folder(config: &Config) -> Finding {
    const CHECK: &str = "state folder";
    let Some(folder) = &config.state_dir else {
        let mend = "set STATE_DIR or --state-dir";
        return Finding::wrong(CHECK, "there is none: every restart signs everybody out", mend);
    };
    let shown = folder.display();
    // The folder may not be there yet; then its nearest ancestor must take it.
    let Some(there) = folder.ancestors().find(|ancestor| ancestor.exists()) else {
        return Finding::wrong(CHECK, format!("{shown} can't exist"), "set another --state-dir");
    };
    match tempfile_in(there) {
        Ok(()) if there == folder => Finding::ok(CHECK, format!("{shown} can be written")),
        Ok(()) => Finding::ok(CHECK, format!("{shown} will be made at the first start")),
        Err(error) => Finding::wrong(
            CHECK,
            format!("{} can't be written: {error}", there.display()),
            format!("give {shown} to the user that runs the server, or set another --state-dir"),
        ),
    }
}

fn tempfile_in(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".doctor.{}", uuid::Uuid::new_v4()));
    fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

/// The certificate that the server would show.
pub(super) async fn certificate(config: &Config, now: SystemTime) -> Vec<Finding> {
    const CHECK: &str = "certificate";
    match &config.tls {
        Tls::Off if config.listen.ip().is_loopback() || !config.trusted_proxies.is_empty() => {
            vec![Finding::ok(CHECK, "none: plain HTTP, for this computer or a proxy")]
        }
        Tls::Off => vec![Finding::note(
            CHECK,
            "none: browsers give pages without HTTPS neither camera nor microphone",
            "use --tls self, --tls files or --tls acme, or name your proxy with --trusted-proxy",
        )],
        Tls::SelfSigned => {
            let file = config.state_dir.as_ref().map(|folder| folder.join("certificate.pem"));
            if file.is_none_or(|file| !file.exists()) {
                return vec![Finding::ok(CHECK, "will be made at the first start")];
            }
            match Identity::self_signed(config.state_dir.as_deref(), now) {
                Ok(identity) => {
                    identity.facts().map(|facts| judge(&facts, now)).into_iter().collect()
                }
                Err(error) => vec![unusable(&error)],
            }
        }
        Tls::Files { .. } => match Identity::new(&config.tls, None, now) {
            Ok(identity) => {
                let facts = identity.and_then(|(identity, _)| identity.facts());
                facts.map(|facts| judge(&facts, now)).into_iter().collect()
            }
            Err(error) => vec![unusable(&error)],
        },
        Tls::Acme(acme) => by_acme(config, acme).await,
    }
}

fn unusable(error: &dyn std::error::Error) -> Finding {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Finding::wrong(
        "certificate",
        format!("{error}{cause}"),
        "give it the chain (the server's own certificate first) and the key that belongs to it, \
         both in PEM form and readable by the server's user",
    )
}

/// Judges a certificate by its times.
pub(super) fn judge(facts: &Facts, now: SystemTime) -> Finding {
    const CHECK: &str = "certificate";
    if let Some(trouble) = facts.trouble_at(now) {
        return Finding::wrong(CHECK, format!("it {trouble}"), "renew it, and check the clock");
    }
    let names: Vec<String> = facts
        .names
        .iter()
        .cloned()
        .chain(facts.addresses.iter().map(ToString::to_string))
        .collect();
    let names = names.join(", ");
    if facts.trouble_at(now + SOON).is_some() {
        let mend = "renew it; does whatever renews it still run?";
        return Finding::note(CHECK, format!("for {names}, it ends within 14 days"), mend);
    }
    Finding::ok(CHECK, format!("good for {names}"))
}

async fn by_acme(config: &Config, acme: &Acme) -> Vec<Finding> {
    const CHECK: &str = "authority";
    let mut findings = Vec::new();
    for domain in &acme.domains {
        findings.push(match lookup(domain, 443).await {
            Ok(_) => Finding::ok("name", format!("{domain} has an address")),
            Err(error) => Finding::wrong(
                "name",
                format!("{domain} has no address: {error}"),
                "add an A or AAAA record for it that leads to this computer",
            ),
        });
    }
    if config.listen.port() != 443 {
        findings.push(Finding::note(
            "port 443",
            format!(
                "the authority will connect to it, and the server listens on {}",
                config.listen.port()
            ),
            "listen on 443, or forward 443 to that port as it is (TCP, not HTTP)",
        ));
    }
    let reached = async {
        let url: Uri = acme.directory.parse().map_err(io::Error::other)?;
        let host = url.host().unwrap_or_default();
        let address = lookup(host, url.port_u16().unwrap_or(443)).await?;
        Visit::new(address, true, host).get(url.path()).await
    };
    findings.push(match reached.await {
        Ok(answer) if answer.status == 200 && answer.body.contains("newOrder") => {
            Finding::ok(CHECK, "its directory answers")
        }
        Ok(answer) => Finding::wrong(
            CHECK,
            format!("its directory answers {} and is none", answer.status),
            "check --acme-directory",
        ),
        Err(error) => Finding::wrong(
            CHECK,
            format!("its directory can't be reached: {error}"),
            "let this computer reach it by HTTPS, or check --acme-directory",
        ),
    });
    findings
}

/// Whether the port is free; and whether our server has it already.
pub(super) async fn port(config: &Config) -> (Finding, bool) {
    const CHECK: &str = "port";
    let (listen, address) = (config.listen, own_address(config));
    let error = match TcpListener::bind(listen).await {
        Ok(_) => {
            return (Finding::ok(CHECK, format!("{listen} is free: no server runs yet")), false);
        }
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::AddrInUse {
        let (tls, name) = (config.tls != Tls::Off, name_of(config));
        let answer = Visit::new(address, tls, &name).get("/client-config").await;
        if answer.is_ok_and(|answer| answer.body.contains("roomPrefix")) {
            return (Finding::ok(CHECK, format!("a server answers on {listen}")), true);
        }
        let mend = "stop that program, or choose another port with --port";
        return (Finding::wrong(CHECK, format!("another program has {listen}"), mend), false);
    }
    let mend = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a right: AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd \
             unit, or `setcap cap_net_bind_service=+ep` on the program"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this computer does not have that address: use 0.0.0.0 or [::] for all it has"
        }
        _ => "choose another address or port with --listen",
    };
    (Finding::wrong(CHECK, format!("cannot listen on {listen}: {error}"), mend), false)
}

/// Whether guests from elsewhere find the server, and pages may talk to it.
pub(super) fn origins(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "guests";
    let mut findings = Vec::new();
    if config.listen.ip().is_loopback() && config.trusted_proxies.is_empty() {
        findings.push(Finding::note(
            CHECK,
            "only this computer reaches the server",
            "listen on 0.0.0.0 or [::], or name your proxy with --trusted-proxy",
        ));
    } else if lan::addresses().is_empty() && !config.listen.ip().is_loopback() {
        let mend = "connect this computer to a network";
        findings.push(Finding::note(CHECK, "this computer has no way to the world", mend));
    }
    if config.origins == Origins::Any {
        findings.push(Finding::note(
            CHECK,
            "pages of any origin may connect",
            "for production, unset GO_ENV=development and list ALLOWED_ORIGINS",
        ));
    }
    findings
}

/// The first address of a name.
pub(super) async fn lookup(host: &str, port: u16) -> io::Result<std::net::SocketAddr> {
    let host = host.trim_matches(['[', ']']).to_owned();
    let found = timeout(PATIENCE, lookup_host((host, port)));
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the name service does not answer");
    let mut found = found.await.map_err(|_| late())??;
    found.next().ok_or_else(|| io::Error::other("the name service knows no address"))
}

/// How people compare certificates.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    Fingerprint::of(certificate).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_stands_still_is_wrong() {
        assert_eq!(clock(UNIX_EPOCH).verdict, Verdict::Wrong);
        assert_eq!(clock(at(1_800_000_000)).verdict, Verdict::Ok);
        assert_eq!(clock(at(LATEST)).verdict, Verdict::Wrong);
    }

    #[test]
    fn a_certificate_is_judged_by_its_times() {
        let facts = Facts {
            names: vec!["meet.example".to_owned()],
            addresses: Vec::new(),
            not_before: 1_800_000_000,
            not_after: 1_810_000_000,
        };
        let check = |now: u64, expected: Verdict| {
            let finding = judge(&facts, at(now));
            assert_eq!(finding.verdict, expected, "{finding}");
            assert_eq!(finding.mend.is_none(), expected == Verdict::Ok, "{finding}");
        };
        check(1_800_000_001, Verdict::Ok);
        check(1_809_900_000, Verdict::Note);
        check(1_810_000_001, Verdict::Wrong);
        check(1_799_999_999, Verdict::Wrong);
    }

    #[test]
    fn a_state_folder_must_take_files() {
        let folder = tempfile::tempdir().unwrap();
        let config = |path: &Path| Config { state_dir: Some(path.into()), ..Config::default() };
        let check = |config: &Config| state_folder(config).verdict;
        assert_eq!(check(&config(folder.path())), Verdict::Ok);
        assert_eq!(check(&config(&folder.path().join("deep/er"))), Verdict::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it only looks");
        assert_eq!(check(&config(Path::new("/proc/nobody/writes"))), Verdict::Wrong);
        assert_eq!(check(&Config::default()), Verdict::Wrong);
    }
}
