//! The body of a sign-in, the first thing that a stranger sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use server::auth::requested_name;
use wire::limits::USERNAME_CHARS;

fuzz_target!(|body: &[u8]| {
    if let Ok(name) = requested_name(body) {
        assert!(!name.trim().is_empty() && name.chars().count() <= USERNAME_CHARS);
        let body = serde_json::json!({ "username": name }).to_string();
        assert_eq!(requested_name(body.as_bytes()).as_ref(), Ok(&name));
    }
});
