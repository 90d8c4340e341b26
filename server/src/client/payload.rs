//! What `data` must look like. Only what the protocol names is looked at; the rest is relayed as
//! it came.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;
use wire::limits::{MESSAGE_CHARS, PEER_AUTH_BYTES, PEER_STATE_BYTES, PEER_STATE_TRACKS};
use wire::{MediaState, MessageType, Refusal, UserId};

/// Objects and lists within one another in a payload. Members need not be able to read more than
/// is ever sent.
const DEPTH: usize = 32;

/// Checks the payload of a relayed message; for whom it is.
pub(super) fn check(kind: MessageType, data: &str) -> Result<Option<UserId>, Refusal> {
    match kind {
        MessageType::Chat => check_chat(data).map(|()| None),
        MessageType::Typing => check_typing(data).map(|()| None),
        MessageType::PeerAuth => check_peer_auth(data).map(Some),
        MessageType::PeerState => check_peer_state(data),
        _ => check_signal(kind, data).map(Some),
    }
}

/// The id of a chat message, if it has one.
pub(super) fn chat_id(data: &str) -> Result<Option<Uuid>, Refusal> {
    #[derive(Deserialize)]
    struct Chat<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    let Some(Chat { id: Some(id) }) = object(data) else { return Ok(None) };
    if id.get() == "null" {
        return Ok(None);
    }
    let text = serde_json::from_str::<Cow<'_, str>>(id.get()).ok();
    // The form with hyphens only, so that the acknowledgement has the same.
    let id = text.filter(|text| text.len() == 36).and_then(|text| Uuid::parse_str(&text).ok());
    id.map(Some).ok_or(Refusal::InvalidChat)
}

/// Reads an object; serde would take an array for a struct, too.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if json.starts_with('{') && is_shallow(json) { serde_json::from_str(json).ok() } else { None }
}

/// Whether nothing lies too deep. The text is JSON already.
fn is_shallow(json: &str) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > DEPTH {
                    return false;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

fn check_chat(data: &str) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Chat<'a> {
        #[serde(borrow)]
        message: Cow<'a, str>,
    }
    let chat: Chat<'_> = object(data).ok_or(Refusal::InvalidChat)?;
    if chat.message.trim().is_empty() {
        return Err(Refusal::ChatEmpty);
    }
    if chat.message.len() > MESSAGE_CHARS && chat.message.chars().count() > MESSAGE_CHARS {
        return Err(Refusal::ChatTooLong);
    }
    Ok(())
}

fn check_typing(data: &str) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Typing {
        #[serde(rename = "typing")]
        _typing: bool,
    }
    object::<Typing>(data).map(|_| ()).ok_or(Refusal::InvalidTyping)
}

/// Whom the signal is for.
fn check_signal(kind: MessageType, data: &str) -> Result<UserId, Refusal> {
    #[derive(Deserialize)]
    struct Sdp<'a> {
        #[serde(borrow, rename = "sdp")]
        _sdp: Cow<'a, str>,
        #[serde(borrow, default)]
        to: Option<Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    struct Candidate<'a> {
        #[serde(borrow, rename = "candidate")]
        _candidate: Cow<'a, str>,
        #[serde(borrow, default)]
        to: Option<Cow<'a, str>>,
    }
    let to = match kind {
        MessageType::IceCandidate => {
            object::<Candidate<'_>>(data).ok_or(Refusal::InvalidCandidate)?.to
        }
        MessageType::Answer => object::<Sdp<'_>>(data).ok_or(Refusal::InvalidAnswer)?.to,
        _ => object::<Sdp<'_>>(data).ok_or(Refusal::InvalidOffer)?.to,
    };
    recipient(to.as_deref())
}

fn recipient(to: Option<&str>) -> Result<UserId, Refusal> {
    UserId::new(to.map(str::trim).unwrap_or_default()).map_err(|_| Refusal::MissingRecipient)
}

fn check_peer_auth(data: &str) -> Result<UserId, Refusal> {
    #[derive(Deserialize)]
    struct PeerAuth<'a> {
        #[serde(borrow, default)]
        to: Option<Cow<'a, str>>,
        #[serde(borrow)]
        m: &'a RawValue,
    }
    if data.len() > PEER_AUTH_BYTES {
        return Err(Refusal::InvalidPeerAuth);
    }
    let auth: PeerAuth<'_> = object(data).ok_or(Refusal::InvalidPeerAuth)?;
    if !auth.m.get().starts_with('{') {
        return Err(Refusal::InvalidPeerAuth);
    }
    recipient(auth.to.as_deref())
}

fn check_peer_state(data: &str) -> Result<Option<UserId>, Refusal> {
    #[derive(Deserialize)]
    struct PeerState<'a> {
        #[serde(borrow, default)]
        to: Option<Cow<'a, str>>,
    }
    if data.len() > PEER_STATE_BYTES {
        return Err(Refusal::InvalidPeerState);
    }
    let state: MediaState = object(data).ok_or(Refusal::InvalidPeerState)?;
    let tracks = state.tracks.map_or(0, |tracks| tracks.len());
    let PeerState { to } = object(data).ok_or(Refusal::InvalidPeerState)?;
    if tracks > PEER_STATE_TRACKS || (tracks > 0 && to.is_none()) {
        return Err(Refusal::InvalidPeerState);
    }
    to.map(|to| recipient(Some(&to))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts_only() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_shallow(&nested(DEPTH)));
        assert!(!is_shallow(&nested(DEPTH + 1)));
        assert!(is_shallow(&format!(r#"{{"a":"\"{}","b":"\\"}}"#, nested(100))));
        assert!(is_shallow(&"[],".repeat(100)));
    }

    #[test]
    fn a_chat_id_is_a_uuid_or_missing() {
        let id = "6f1c8a52-0000-4000-8000-000000000001";
        let check = |id: &str| chat_id(&format!(r#"{{"message":"x"{id}}}"#));
        assert_eq!(check(&format!(r#","id":"{id}""#)).unwrap().unwrap().to_string(), id);
        assert_eq!(check(""), Ok(None));
        assert_eq!(check(r#","id":null"#), Ok(None));
        for bad in ["7", "\"\"", "\"x\"", "{}", r#""6f1c8a52000040008000000000000001""#] {
            assert_eq!(check(&format!(r#","id":{bad}"#)), Err(Refusal::InvalidChat), "{bad}");
        }
    }

    #[test]
    fn what_is_between_members_has_its_shape_and_its_size() {
        let auth = |data: &str| check(MessageType::PeerAuth, data);
        let bob = UserId::new("bob").unwrap();
        assert_eq!(auth(r#"{"to":"bob","m":{"t":"hello"}}"#), Ok(Some(bob.clone())));
        for bad in [r#"{"to":"bob"}"#, r#"{"to":"bob","m":7}"#, r#"["bob",{}]"#, "null"] {
            assert_eq!(auth(bad), Err(Refusal::InvalidPeerAuth), "{bad}");
        }
        assert_eq!(auth(r#"{"m":{}}"#), Err(Refusal::MissingRecipient));
        let sized = |bytes: usize| {
            let empty = r#"{"to":"bob","m":{"x":""}}"#;
            empty.replace(r#""""#, &format!("\"{}\"", "x".repeat(bytes - empty.len())))
        };
        assert!(auth(&sized(PEER_AUTH_BYTES)).is_ok());
        assert_eq!(auth(&sized(PEER_AUTH_BYTES + 1)), Err(Refusal::InvalidPeerAuth));

        let state = |data: &str| check(MessageType::PeerState, data);
        assert_eq!(state(r#"{"microphone":true,"later":[]}"#), Ok(None));
        assert_eq!(state(r#"{"to":"bob","tracks":{"0":"camera"}}"#), Ok(Some(bob)));
        for bad in [r#"{"microphone":7}"#, r#"{"tracks":{"0":"camera"}}"#, r#"{"to":7}"#, "[]"] {
            assert_eq!(state(bad), Err(Refusal::InvalidPeerState), "{bad}");
        }
        assert_eq!(state(r#"{"to":" "}"#), Err(Refusal::MissingRecipient));
    }
}
