//! Sign-in and the tokens it gives: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256, the one
//! algorithm that is accepted.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use uuid::Uuid;
use wire::sign_in::{GUEST, INVALID_BODY, USERNAME_TOO_LONG};
use wire::{UserId, limits};
use zeroize::Zeroizing;

use crate::name;

/// What tokens are signed with. Its `Debug` hides it and its memory is wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Random bytes that [`Secret::random`] takes.
    const BYTES: usize = 32;

    /// A secret that somebody chose.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// A fresh one.
    ///
    /// # Panics
    /// When the system has no randomness, without which no server may run.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new(vec![0; Self::BYTES]);
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        Self(bytes)
    }

    /// Bytes in a key for HS256 at least (RFC 7518 §3.2): 256 bits.
    pub const MIN_BYTES: usize = 32;

    /// Whether it is long enough, and more than one letter typed over and over.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        /// Random bytes have more, 32 hexadecimal digits nearly always have more than 8.
        const DIFFERENT: usize = 6;
        let mut seen = [false; 256];
        self.0.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        self.0.len() >= Self::MIN_BYTES && seen.iter().filter(|seen| **seen).count() >= DIFFERENT
    }

    /// Whether `other` is the same, in a time that tells nothing about where they differ.
    #[must_use]
    pub fn equals(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Who a connection belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Made anew at every sign-in.
    pub id: UserId,
    /// As the user gave it, trimmed.
    pub name: String,
}

impl User {
    /// A newcomer with a fresh id.
    ///
    /// # Panics
    /// Never: the text of a UUID is an id.
    #[must_use]
    pub fn new(name: String) -> Self {
        let id = UserId::new(Uuid::new_v4().to_string()).expect("a UUID is an id");
        Self { id, name }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User(***)")
    }
}

/// Why nobody was signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignInError {
    /// Not the JSON asked for.
    #[error("the body is not the JSON asked for")]
    InvalidBody,
    /// More than [`limits::USERNAME_CHARS`].
    #[error("the name is too long")]
    NameTooLong,
}

impl SignInError {
    /// The text that clients show.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::InvalidBody => INVALID_BODY,
            Self::NameTooLong => USERNAME_TOO_LONG,
        }
    }
}

/// Reads the name from the body of a sign-in.
///
/// # Errors
/// [`SignInError`] when the body is neither empty nor JSON of the right shape, or the name is too
/// long.
pub fn requested_name(body: &[u8]) -> Result<String, SignInError> {
    if body.trim_ascii().is_empty() {
        return Ok(GUEST.to_owned());
    }
    let body: Option<Map<String, Value>> =
        serde_json::from_slice(body).map_err(|_| SignInError::InvalidBody)?;
    let name = match body.as_ref().and_then(|body| body.get("username")) {
        None | Some(Value::Null) => "",
        Some(Value::String(name)) => name,
        Some(_) => return Err(SignInError::InvalidBody),
    };
    let name = name::clean(name);
    if name.chars().count() > limits::USERNAME_CHARS {
        return Err(SignInError::NameTooLong);
    }
    Ok(if name.is_empty() { GUEST.to_owned() } else { name })
}

/// Why a token opens nothing. For the log and for tests: clients are told no more than
/// "Unauthorized", so that nobody learns from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidToken {
    /// Not three parts of base64url, or not the JSON of a token.
    #[error("the token can't be read")]
    Malformed,
    /// Signed with no key of ours.
    #[error("the token is not signed by us")]
    Signature,
    /// Not HS256, or with extensions that a reader must understand.
    #[error("the token asks for another algorithm")]
    Algorithm,
    /// Issued by somebody else with the same key.
    #[error("the token has another issuer")]
    Issuer,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Issued later than now: a clock is wrong.
    #[error("the token is from the future")]
    FromTheFuture,
    /// No name, no id, or the server's own id.
    #[error("the token names nobody")]
    Nobody,
}

/// Makes and checks tokens.
#[derive(Debug)]
pub struct Tokens {
    /// The `iss` of every token.
    pub issuer: String,
    /// What signs them.
    pub secret: Secret,
    /// What signed them before; such tokens are still good.
    pub previous: Option<Secret>,
    /// How long they open the door.
    pub lifetime: Duration,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
    /// Extensions that a reader must understand (RFC 7515 §4.1.11); we understand none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: u64,
    iat: u64,
    username: String,
}

const ALGORITHM: &str = "HS256";

impl Tokens {
    /// The token of `user`, given out at `now`.
    ///
    /// Its payload is pure ASCII: old clients read it with a Latin-1 decoder.
    #[must_use]
    pub fn issue(&self, user: &User, now: SystemTime) -> String {
        let iat = unix_seconds(now);
        let header = Header { alg: ALGORITHM.to_owned(), typ: "JWT".to_owned(), crit: None };
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: user.id.to_string(),
            exp: iat.saturating_add(self.lifetime.as_secs()),
            iat,
            username: user.name.clone(),
        };
        let mut token = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(mac(&self.secret, &token).finalize().into_bytes());
        token.push('.');
        token.push_str(&signature);
        token
    }

    /// Whom the token was given to.
    ///
    /// # Errors
    /// [`InvalidToken`] when it is not ours, too old, from the future or without a name.
    pub fn check(&self, token: &str, now: SystemTime) -> Result<User, InvalidToken> {
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken::Malformed)?;
        let signs = |secret| mac(secret, signed).verify_slice(&signature).is_ok();
        if !signs(&self.secret) && !self.previous.as_ref().is_some_and(signs) {
            return Err(InvalidToken::Signature);
        }
        let (header, claims) = signed.split_once('.').ok_or(InvalidToken::Malformed)?;
        let header: Header = read(header)?;
        if header.alg != ALGORITHM || header.crit.is_some() {
            return Err(InvalidToken::Algorithm);
        }
        let claims: Claims = read(claims)?;
        let now = unix_seconds(now);
        if claims.iss != self.issuer {
            return Err(InvalidToken::Issuer);
        }
        if claims.exp <= now {
            return Err(InvalidToken::Expired);
        }
        if claims.iat > now {
            return Err(InvalidToken::FromTheFuture);
        }
        // Others may sign with the same key, and need not clean names.
        let name = name::clean(&claims.username);
        let id = UserId::new(claims.sub).map_err(|_| InvalidToken::Nobody)?;
        if name.is_empty() || id.is_system() {
            return Err(InvalidToken::Nobody);
        }
        Ok(User { id, name })
    }
}

fn mac(secret: &Secret, signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(secret.bytes()).expect("HMAC takes any key");
    mac.update(signed.as_bytes());
    mac
}

fn part(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("strings and numbers serialise");
    URL_SAFE_NO_PAD.encode(ascii_json(&json))
}

fn read<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, InvalidToken> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| InvalidToken::Malformed)
}

/// The same JSON with everything beyond ASCII escaped. Such characters stand in strings only, so
/// escaping them wherever they are is right.
fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn tokens() -> Tokens {
        Tokens {
            issuer: "house".to_owned(),
            secret: Secret::new(*b"a secret for the tests"),
            previous: None,
            lifetime: Duration::from_secs(60),
        }
    }

    fn signed(header: &str, claims: &str) -> String {
        let token =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mac = URL_SAFE_NO_PAD.encode(mac(&tokens().secret, &token).finalize().into_bytes());
        format!("{token}.{mac}")
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
    const CLAIMS: &str =
        r#"{"iss":"house","sub":"u1","exp":1800000060,"iat":1800000000,"username":"Ana"}"#;

    #[test]
    fn a_name_is_trimmed_and_a_missing_one_makes_a_guest() {
        let check = |body: &str, name: &str| {
            assert_eq!(requested_name(body.as_bytes()).as_deref(), Ok(name), "{body}");
        };
        check("", "Guest");
        check(" \n", "Guest");
        check("null", "Guest");
        check("{}", "Guest");
        check(r#"{"username":null}"#, "Guest");
        check(r#"{"username":" \u2003 "}"#, "Guest");
        check(r#"{"username":" alice\u00a0","more":[1]}"#, "alice");
        check(&format!(r#"{{"username":"  {}  "}}"#, "🔐".repeat(32)), &"🔐".repeat(32));
    }

    #[test]
    fn a_body_of_another_shape_is_refused() {
        for body in [
            "{",
            "[]",
            r#"["bob"]"#,
            "7",
            r#""bob""#,
            "{}x",
            r#"{"username":7}"#,
            r#"{"username":["bob"]}"#,
            r#"{"username":"\ud800"}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(requested_name(body.as_bytes()), Err(SignInError::InvalidBody), "{body}");
        }
        assert_eq!(requested_name(b"{\"username\":\"\xff\"}"), Err(SignInError::InvalidBody));
        let long = format!(r#"{{"username":"{}"}}"#, "é".repeat(33));
        assert_eq!(requested_name(long.as_bytes()), Err(SignInError::NameTooLong));
    }

    #[test]
    fn a_token_names_its_user_until_it_expires() {
        let (tokens, user) = (tokens(), User::new("Zoë 🔐".to_owned()));
        let token = tokens.issue(&user, at(NOW));
        assert_eq!(tokens.check(&token, at(NOW)), Ok(user.clone()));
        assert_eq!(tokens.check(&token, at(NOW + 59)), Ok(user));
        assert_eq!(tokens.check(&token, at(NOW + 60)), Err(InvalidToken::Expired));
        assert_eq!(tokens.check(&token, at(NOW - 1)), Err(InvalidToken::FromTheFuture));
    }

    #[test]
    fn the_payload_is_pure_ascii_and_has_the_documented_claims() {
        let user = User { id: UserId::new("u1").unwrap(), name: "Zoë \"🔐\"".to_owned() };
        let token = tokens().issue(&user, at(NOW));
        let parts: Vec<Vec<u8>> =
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0], HEADER.as_bytes());
        assert!(parts[1].is_ascii());
        let claims: Value = serde_json::from_slice(&parts[1]).unwrap();
        assert_eq!(
            claims,
            serde_json::json!({"iss": "house", "sub": "u1", "exp": NOW + 60, "iat": NOW,
                "username": "Zoë \"🔐\""})
        );
        let escaped = r#"Zo\u00eb \"\ud83d\udd10\""#;
        assert!(String::from_utf8_lossy(&parts[1]).contains(escaped));
    }

    #[test]
    fn a_token_of_our_making_by_hand_is_accepted() {
        assert_eq!(tokens().check(&signed(HEADER, CLAIMS), at(NOW)).unwrap().name, "Ana");
    }

    #[test]
    fn forged_and_odd_tokens_are_refused() {
        use InvalidToken::{
            Algorithm, Expired, FromTheFuture, Issuer, Malformed, Nobody, Signature,
        };
        let check = |header: &str, claims: &str, why: InvalidToken| {
            let token = signed(header, claims);
            assert_eq!(tokens().check(&token, at(NOW)), Err(why), "{header} {claims}");
        };
        check(r#"{"alg":"none"}"#, CLAIMS, Algorithm);
        check(r#"{"alg":"HS384","typ":"JWT"}"#, CLAIMS, Algorithm);
        check(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, CLAIMS, Algorithm);
        for (from, to, why) in [
            ("house", "shed", Issuer),
            ("1800000060", "1800000000", Expired),
            (r#""iat":1800000000"#, r#""iat":1800000001"#, FromTheFuture),
            ("1800000060", "1800000060.5", Malformed),
            (r#""iat":1800000000,"#, "", Malformed),
            ("Ana", " ", Nobody),
            ("Ana", r"\u200b", Nobody),
            (r#""u1""#, r#""""#, Nobody),
            (r#""u1""#, r#""system""#, Nobody),
            (r#""u1""#, "7", Malformed),
        ] {
            check(HEADER, &CLAIMS.replace(from, to), why);
        }
        let good = signed(HEADER, CLAIMS);
        for token in ["", ".", "..", "a.b.c", &good[1..], &good[..good.len() - 2]] {
            let refused = tokens().check(token, at(NOW)).unwrap_err();
            assert!(matches!(refused, Malformed | Signature), "{token}: {refused}");
        }
        let other = Tokens { secret: Secret::new(*b"another"), ..tokens() };
        assert_eq!(other.check(&good, at(NOW)), Err(Signature));
    }

    #[test]
    fn after_a_rotation_old_tokens_are_good_and_new_ones_have_the_new_signature() {
        let (old, user) = (tokens(), User::new("Ana".to_owned()));
        let new = Secret::new(*b"the next secret");
        let both = Tokens { secret: new.clone(), previous: Some(old.secret.clone()), ..tokens() };
        let only_new = Tokens { secret: new, ..tokens() };
        assert_eq!(both.check(&old.issue(&user, at(NOW)), at(NOW)), Ok(user.clone()));
        let token = both.issue(&user, at(NOW));
        assert_eq!(only_new.check(&token, at(NOW)), Ok(user));
        assert_eq!(old.check(&token, at(NOW)), Err(InvalidToken::Signature));
    }

    #[test]
    fn a_secret_is_strong_when_it_is_long_and_no_single_letter() {
        assert!(Secret::random().is_strong());
        assert!(Secret::new(*b"0123456789abcdef0123456789abcdef").is_strong());
        assert!(!Secret::new(*b"0123456789abcdef0123456789abcde").is_strong());
        assert!(!Secret::new([b'x'; 64]).is_strong());
    }

    #[test]
    fn secrets_and_users_do_not_show_in_debug_output() {
        let shown = format!("{:?} {:?}", tokens(), User::new("Ana".to_owned()));
        assert!(!shown.contains("tests") && !shown.contains("Ana"), "{shown}");
        assert_ne!(Secret::random().bytes(), Secret::random().bytes());
    }
}
