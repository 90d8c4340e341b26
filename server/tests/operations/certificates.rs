//! Certificates in files that change while the server runs.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::program::{Program, connect_tls, fingerprint, shown, soon, until};

/// Writes a new certificate and key into `folder`; the fingerprint.
fn renew(folder: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    fingerprint(certificate.der())
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not_and_no_connection_notices() {
    let folder = tempfile::tempdir().unwrap();
    let first = renew(folder.path());
    let mut command = Program::command(folder.path());
    command.args(["--tls-certificate", "certificate.pem", "--tls-key", "key.pem"]);
    command.args(["--http-rate-limit", "false"]);
    let program = Program::start(&mut command, folder.path(), 2);
    assert_eq!(program.lines[1], format!("certificate fingerprint {first}"));
    let current = async || {
        let stream = connect_tls(program.address, "localhost", &[]).await.unwrap();
        fingerprint(&shown(&stream))
    };
    let mut old = connect_tls(program.address, "localhost", &[]).await.unwrap();
    assert_eq!(fingerprint(&shown(&old)), first);

    let second = renew(folder.path());
    until("the new certificate is shown", async || current().await == second).await;

    fs::write(folder.path().join("certificate.pem"), "half a fi").unwrap();
    program.signal("HUP");
    let says_so = || program.log().contains("the old certificate stays");
    until("it says that it keeps the old one", async || says_so()).await;
    assert_eq!(current().await, second);
    let log = program.log();
    assert!(log.contains("certificate.pem") && !log.contains("BEGIN"), "{log}");

    // The first connection lives through all of it.
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
    old.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    soon(old.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    let third = renew(folder.path());
    program.signal("HUP");
    until("a good one is shown again", async || current().await == third).await;
}

#[tokio::test]
async fn a_key_of_another_certificate_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    renew(folder.path());
    fs::copy(folder.path().join("certificate.pem"), folder.path().join("other.pem")).unwrap();
    renew(folder.path());
    let mut command = Program::command(folder.path());
    command.args(["--tls-certificate", "other.pem", "--tls-key", "key.pem"]);
    assert!(!command.status().unwrap().success());
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("cannot serve TLS with this certificate and key"), "{log}");
}
