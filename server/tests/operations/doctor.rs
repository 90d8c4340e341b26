//! `private-meet-server doctor`: what it says when all is well, and when something is wrong.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::program::Program;

/// Its findings, and whether it ended well.
fn doctor(folder: &Path, args: &[&str]) -> (bool, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_private-meet-server"));
    command.current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
    let output = command.arg("doctor").args(args).arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.success(), findings.collect())
}

/// A port that is free for UDP and TCP, a moment ago at least.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// What it says about one thing.
fn about<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("nothing about {check}: {findings:?}"))
}

#[track_caller]
fn is_wrong(findings: &[Value], check: &str, word: &str) {
    let finding = about(findings, check);
    assert_eq!(finding["verdict"], "wrong", "{finding}");
    assert!(finding["found"].as_str().unwrap().contains(word), "{finding}");
    assert!(finding["mend"].as_str().unwrap().len() > 10, "{finding}");
}

#[tokio::test]
async fn a_running_server_is_well_from_inside_and_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let turn = free_port().to_string();
    let mut command = Program::command(folder.path());
    command.args(["--turn-port", &turn]);
    let program = Program::start(&mut command, folder.path(), 2);
    let (listen, url) = (program.address.to_string(), format!("https://{}", program.address));
    let args = ["--listen", &listen, "--turn-port", &turn, "--url", &url];
    let (well, findings) = doctor(folder.path(), &args);
    assert!(well, "{findings:#?}");
    for check in [
        "clock",
        "state folder",
        "certificate",
        "port",
        "STUN by UDP",
        "TURN by UDP",
        "TURN by TCP",
        "address",
        "certificate there",
        "clocks",
        "WebSocket",
    ] {
        assert_eq!(about(&findings, check)["verdict"], "ok", "{findings:#?}");
    }
    let (well, findings) = doctor(folder.path(), &["--health", "--listen", &listen]);
    assert!(well && findings.len() == 1, "{findings:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_with_a_way_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["meet.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    write("old.pem", params.self_signed(&key).unwrap().pem());
    write("key.pem", key.serialize_pem());
    write("other.pem", KeyPair::generate().unwrap().serialize_pem());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();

    let args = ["--listen", &listen, "--tls-certificate", "old.pem", "--tls-key", "key.pem"];
    let (well, findings) =
        doctor(folder.path(), &[&args[..], &["--state-dir", "/proc/x"]].concat());
    assert!(!well);
    is_wrong(&findings, "certificate", "expired");
    is_wrong(&findings, "port", "another program");
    is_wrong(&findings, "state folder", "can't be written");

    let args = ["--tls-certificate", "old.pem", "--tls-key", "other.pem", "--port", "0"];
    let (_, findings) = doctor(folder.path(), &args);
    is_wrong(&findings, "certificate", "cannot serve TLS with this certificate and key");

    drop(taken);
    let url = format!("http://{listen}");
    let args = ["--tls", "off", "--listen", &listen];
    let (_, findings) = doctor(folder.path(), &[&args[..], &["--url", &url]].concat());
    is_wrong(&findings, "address", "no answer");
    let (well, findings) = doctor(folder.path(), &[&args[..], &["--health"]].concat());
    assert!(!well);
    is_wrong(&findings, "health", "no answer");

    let acme = ["--acme-domain", "nobody.invalid", "--acme-directory", "https://127.0.0.1:9/d"];
    let (well, findings) = doctor(folder.path(), &[&acme[..], &["--port", "0"]].concat());
    assert!(!well);
    is_wrong(&findings, "name", "nobody.invalid");
    is_wrong(&findings, "authority", "can't be reached");
}
