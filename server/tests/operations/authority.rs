//! A small certificate authority that speaks ACME (RFC 8555) by HTTPS: every request is signed,
//! every nonce good once, every name checked by tls-alpn-01 (RFC 8737) with a real connection.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, alg_id};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::program::{connect_tls, shown};

const CHALLENGE: &str = "a-token-for-the-challenge";
/// In front of the 65 bytes of a P-256 key in any DER (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// id-pe-acmeIdentifier, critical, an octet string in an octet string (RFC 8737 §3).
const ACME_IDENTIFIER: [u8; 17] = [
    0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04,
    0x20,
];

/// The authority; it closes with this value.
pub struct Authority {
    books: Arc<Books>,
    _open: DropGuard,
}

struct Books {
    url: String,
    /// Where the names lead; the port is not 443, because tests need no root.
    subject: SocketAddr,
    root: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    nonces: HashSet<String>,
    account: Option<Value>,
    name: String,
    is_valid: bool,
    certificate: Option<String>,
    validated: usize,
    given: usize,
    faults: Vec<String>,
}

impl Authority {
    pub async fn open(subject: SocketAddr) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);

        let own_key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &issuer).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::try_from(own_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let books = Arc::new(Books { url, subject, root, issuer, entries: Mutex::default() });

        let (closing, acceptor) = (CancellationToken::new(), TlsAcceptor::from(Arc::new(tls)));
        let serving = {
            let books = books.clone();
            async move {
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    let (books, acceptor) = (books.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        if let Ok(tls) = acceptor.accept(tcp).await {
                            books.serve(tls).await;
                        }
                    });
                }
            }
        };
        tokio::spawn(closing.clone().run_until_cancelled_owned(serving));
        Self { books, _open: closing.drop_guard() }
    }

    pub fn directory(&self) -> String {
        format!("{}/directory", self.books.url)
    }

    pub fn root_pem(&self) -> String {
        self.books.root.pem()
    }

    pub fn root_der(&self) -> CertificateDer<'static> {
        self.books.root.der().clone()
    }

    /// How often a name was really checked.
    pub fn validated(&self) -> usize {
        self.books.entries.lock().unwrap().validated
    }

    /// How many certificates were given.
    pub fn given(&self) -> usize {
        self.books.entries.lock().unwrap().given
    }

    /// What was wrong with requests.
    pub fn faults(&self) -> Vec<String> {
        self.books.entries.lock().unwrap().faults.clone()
    }
}

/// Status, value of `Location`, body.
type Answer = (u16, Option<String>, String);

impl Books {
    async fn serve(&self, mut tls: TlsStream<TcpStream>) {
        let Some((method, path, body)) = read_request(&mut tls).await else { return };
        let answer = match (method.as_str(), path.as_str()) {
            ("GET", "/directory") => {
                let url = |path: &str| format!("{}{path}", self.url);
                let urls = json!({"newNonce": url("/nonce"), "newAccount": url("/account"),
                    "newOrder": url("/order")});
                Ok((200, None, urls.to_string()))
            }
            ("HEAD", "/nonce") => Ok((200, None, String::new())),
            ("POST", _) => match self.open_letter(&path, &body) {
                Ok(letter) => self.act(&path, &letter).await,
                Err(fault) => Err(fault),
            },
            _ => Err(format!("no {method} {path}")),
        };
        let (status, location, body) = answer.unwrap_or_else(|fault| {
            self.entries.lock().unwrap().faults.push(fault.clone());
            (
                400,
                None,
                json!({"type": "urn:ietf:params:acme:error:malformed", "detail": fault})
                    .to_string(),
            )
        });
        let nonce = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        self.entries.lock().unwrap().nonces.insert(nonce.clone());
        let location = location.map(|url| format!("Location: {url}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status} X\r\nReplay-Nonce: {nonce}\r\n{location}Connection: close\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let body = if method == "HEAD" { "" } else { &body };
        // A client that has gone will ask again.
        let _ = tls.write_all(format!("{head}{body}").as_bytes()).await;
        let _ = tls.shutdown().await;
    }

    /// Checks signature, nonce and address of a request (RFC 8555 §6); its payload.
    fn open_letter(&self, path: &str, body: &[u8]) -> Result<Value, String> {
        let letter: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let part = |name: &str| letter[name].as_str().unwrap_or_default();
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|e| e.to_string());
        let head: Value =
            serde_json::from_slice(&bytes(part("protected"))?).map_err(|e| e.to_string())?;
        let mut entries = self.entries.lock().unwrap();
        if !entries.nonces.remove(head["nonce"].as_str().unwrap_or_default()) {
            return Err("this nonce was never given, or used before".to_owned());
        }
        if head["url"] != format!("{}{path}", self.url) || head["alg"] != "ES256" {
            return Err(format!("signed for another address: {head}"));
        }
        if path == "/account" {
            entries.account = Some(head["jwk"].clone());
        } else if head["kid"] != format!("{}/account/1", self.url) {
            return Err("no account".to_owned());
        }
        let jwk = entries.account.as_ref().ok_or("no account yet")?;
        let signed = format!("{}.{}", part("protected"), part("payload"));
        check_signature(jwk, signed.as_bytes(), &bytes(part("signature"))?)?;
        let payload = bytes(part("payload"))?;
        if payload.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&payload).map_err(|e| e.to_string())
    }

    async fn act(&self, path: &str, letter: &Value) -> Result<Answer, String> {
        let url = |path: &str| format!("{}{path}", self.url);
        match path {
            "/account" => {
                if letter["termsOfServiceAgreed"] != true {
                    return Err("the terms were not agreed to".to_owned());
                }
                Ok((201, Some(url("/account/1")), json!({"status": "valid"}).to_string()))
            }
            "/order" => {
                let name = letter["identifiers"][0]["value"].as_str().ok_or("no name")?.to_owned();
                let mut entries = self.entries.lock().unwrap();
                (entries.name, entries.is_valid, entries.certificate) = (name, false, None);
                Ok((201, Some(url("/order/1")), self.order(&entries)))
            }
            "/order/1" => Ok((200, None, self.order(&self.entries.lock().unwrap()))),
            "/authorization/1" => {
                let entries = self.entries.lock().unwrap();
                let status = if entries.is_valid { "valid" } else { "pending" };
                let challenge = json!({"type": "tls-alpn-01", "url": url("/challenge/1"),
                    "token": CHALLENGE, "status": status});
                let identifier = json!({"type": "dns", "value": entries.name});
                let authorization = json!({"status": status, "identifier": identifier,
                    "challenges": [challenge]});
                Ok((200, None, authorization.to_string()))
            }
            "/challenge/1" => {
                self.validate().await?;
                Ok((200, None, json!({"status": "processing"}).to_string()))
            }
            "/finalize/1" => {
                self.certify(letter["csr"].as_str().unwrap_or_default())?;
                Ok((200, None, self.order(&self.entries.lock().unwrap())))
            }
            "/certificate/1" => {
                let entries = self.entries.lock().unwrap();
                Ok((200, None, entries.certificate.clone().ok_or("no certificate yet")?))
            }
            _ => Err(format!("no {path}")),
        }
    }

    fn order(&self, entries: &Entries) -> String {
        let url = |path: &str| format!("{}{path}", self.url);
        let mut order = json!({"authorizations": [url("/authorization/1")],
            "finalize": url("/finalize/1"), "identifiers": [{"type": "dns", "value": entries.name}]});
        order["status"] = json!(match (&entries.certificate, entries.is_valid) {
            (Some(_), _) => "valid",
            (None, true) => "ready",
            (None, false) => "pending",
        });
        if entries.certificate.is_some() {
            order["certificate"] = json!(url("/certificate/1"));
        }
        order.to_string()
    }

    /// Connects to the subject and looks for our token in what it shows (RFC 8737 §3).
    async fn validate(&self) -> Result<(), String> {
        let (name, jwk) = {
            let entries = self.entries.lock().unwrap();
            (entries.name.clone(), entries.account.clone().ok_or("no account")?)
        };
        let stream = connect_tls(self.subject, &name, &[b"acme-tls/1"]).await;
        let stream = stream.map_err(|error| format!("the subject can't be reached: {error}"))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"acme-tls/1") {
            return Err("the subject does not speak acme-tls/1".to_owned());
        }
        let (crv, kty, x, y) = (&jwk["crv"], &jwk["kty"], &jwk["x"], &jwk["y"]);
        let canonical = format!(r#"{{"crv":{crv},"kty":{kty},"x":{x},"y":{y}}}"#);
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        let authorization = Sha256::digest(format!("{CHALLENGE}.{thumbprint}"));
        let expected = [&ACME_IDENTIFIER[..], &authorization[..]].concat();
        let certificate = shown(&stream);
        if find(&certificate, &expected).is_none() || find(&certificate, name.as_bytes()).is_none()
        {
            return Err("the subject shows another certificate".to_owned());
        }
        let mut entries = self.entries.lock().unwrap();
        entries.is_valid = true;
        entries.validated += 1;
        Ok(())
    }

    fn certify(&self, request: &str) -> Result<(), String> {
        let der = URL_SAFE_NO_PAD.decode(request).map_err(|error| error.to_string())?;
        let mut entries = self.entries.lock().unwrap();
        if !entries.is_valid || find(&der, entries.name.as_bytes()).is_none() {
            return Err("this name was not checked".to_owned());
        }
        let key = find(&der, &P256).and_then(|at| der.get(at + P256.len()..at + P256.len() + 65));
        let key = PublicKey(key.ok_or("no P-256 key")?.to_vec());
        let params = CertificateParams::new(vec![entries.name.clone()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).map_err(|e| e.to_string())?;
        entries.certificate = Some(format!("{}{}", certificate.pem(), self.root.pem()));
        entries.given += 1;
        Ok(())
    }
}

/// A subject's key, out of its request.
struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// ES256 has the two numbers side by side (RFC 7518 §3.4), X.509 has them in DER.
fn check_signature(jwk: &Value, message: &[u8], signature: &[u8]) -> Result<(), String> {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap_or_default());
    let (x, y) = (number("x").map_err(|e| e.to_string())?, number("y").map_err(|e| e.to_string())?);
    let key = [&[4][..], &x, &y].concat();
    let (r, s) = signature.split_at_checked(32).ok_or("a short signature")?;
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
        let digits = &number[start..];
        let sign: &[u8] = if digits[0] & 0x80 != 0 { &[0] } else { &[] };
        [&[2, (sign.len() + digits.len()) as u8][..], sign, digits].concat()
    };
    let numbers = [integer(r), integer(s)].concat();
    let der = [&[0x30, numbers.len() as u8][..], &numbers].concat();
    let algorithms = default_provider().signature_verification_algorithms.all;
    let algorithm = algorithms.iter().find(|algorithm| {
        algorithm.public_key_alg_id() == alg_id::ECDSA_P256
            && algorithm.signature_alg_id() == alg_id::ECDSA_SHA256
    });
    let algorithm = algorithm.ok_or("no ES256 here")?;
    algorithm.verify_signature(&key, message, &der).map_err(|_| "a wrong signature".to_owned())
}

/// Method, path and body.
async fn read_request(tls: &mut TlsStream<TcpStream>) -> Option<(String, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        if tls.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head_end + length.unwrap_or(0);
    while bytes.len() < end {
        if tls.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((method, path, bytes[head_end..end].to_vec()))
}
