//! A certificate from an authority that speaks ACME and checks for real.

use std::fs;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use server::config::Acme;
use server::{Config, Server, Tls};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::program::{ask, soon, until};

const DOMAIN: &str = "meet.test";

#[tokio::test]
async fn an_authority_gives_a_certificate_and_a_restart_uses_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let authority = Authority::open(address).await;
    let root = folder.path().join("root.pem");
    fs::write(&root, authority.root_pem()).unwrap();

    let acme = Acme {
        domains: vec![DOMAIN.to_owned()],
        contacts: vec!["mailto:admin@meet.test".to_owned()],
        directory: authority.directory(),
        root: Some(root),
    };
    let state_dir = folder.path().join("state");
    let config = Config {
        tls: Tls::Acme(acme),
        state_dir: Some(state_dir.clone()),
        http_rate_limit: false,
        ..Config::default()
    };
    let mut roots = RootCertStore::empty();
    roots.add(authority.root_der()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let is_well = async || {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(DOMAIN).unwrap();
        // Before there is a certificate, the handshake fails.
        let Ok(tls) = soon(connector.connect(name, tcp)).await else { return false };
        let head = format!("GET /health HTTP/1.1\r\nHost: {DOMAIN}");
        ask(tls, &head, "").await.body == "OK"
    };

    let stop = CancellationToken::new();
    let server = Server::new(listener, config.clone()).unwrap();
    assert_eq!(server.fingerprint(), None);
    let running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
    let got = async || {
        let faults = authority.faults();
        assert!(faults.is_empty(), "{faults:?}");
        is_well().await
    };
    until("guests take the certificate", got).await;
    assert_eq!((authority.validated(), authority.given()), (1, 1));
    stop.cancel();
    soon(running).await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let kept = state_dir.join("acme");
        let mode = fs::metadata(kept).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
    }

    let listener = TcpListener::bind(address).await.unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(listener, config).unwrap();
    let running = tokio::spawn(server.run(stop.clone().cancelled_owned()));
    until("the kept certificate is shown", is_well).await;
    assert_eq!(authority.given(), 1, "a restart asks for no new certificate");
    stop.cancel();
    soon(running).await.unwrap();
}
