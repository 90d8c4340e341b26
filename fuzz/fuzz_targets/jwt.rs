//! Tokens: as they come, and then with a signature of ours under the first two lines, so that
//! what stands behind it is reached, too.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use libfuzzer_sys::fuzz_target;
use server::auth::{Secret, Tokens};
use sha2::Sha256;

const SECRET: &[u8; 32] = b"a secret of thirty-two bytes, no";

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens {
    issuer: "house".to_owned(),
    secret: Secret::new(*SECRET),
    previous: Some(Secret::new(*b"another, which was the first one")),
    lifetime: Duration::from_secs(60),
});

fuzz_target!(|text: &str| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    // Nobody guesses a signature of 256 bits.
    assert!(TOKENS.check(text, now).is_err());

    let mut lines = text.splitn(2, '\n').map(|line| URL_SAFE_NO_PAD.encode(line));
    let (header, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut token = format!("{header}.{claims}");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("any key");
    mac.update(token.as_bytes());
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    if let Ok(user) = TOKENS.check(&token, now) {
        assert!(text.contains("HS256") && text.contains("house"));
        assert!(!user.name.trim().is_empty() && !user.id.is_system());
        let ours = TOKENS.issue(&user, now);
        assert!(ours.is_ascii());
        assert_eq!(TOKENS.check(&ours, now).ok(), Some(user));
    }
});
