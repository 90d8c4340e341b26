//! The codes with which a server closes a connection, and the wait that a reason may tell.

use std::time::Duration;

/// The server, or the page, goes away.
pub const GOING_AWAY: u16 = 1001;
/// A frame breaks RFC 6455.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A message is no UTF-8, or no JSON object.
pub const BAD_DATA: u16 = 1007;
/// A rule was broken; the reason says which.
pub const POLICY: u16 = 1008;
/// A message is too big.
pub const TOO_BIG: u16 = 1009;
/// The server restarts: come back soon.
pub const RESTART: u16 = 1012;
/// Too slow, or too many: come back after the wait that the reason tells.
pub const TRY_LATER: u16 = 1013;
/// This session goes on over another connection.
pub const MOVED: u16 = 4001;
/// The token is not valid any more: sign in again.
pub const SIGN_IN: u16 = 4002;

/// What stands in front of the seconds at the end of a reason.
const WAIT_MARK: &str = "retry-after=";
/// Bytes in the reason of a close frame (RFC 6455 §5.5: 125 with the code).
pub const REASON_BYTES: usize = 123;

/// A reason that ends with how long to wait: `too slow; retry-after=5`. Whole seconds, rounded up.
/// What does not fit into [`REASON_BYTES`] is cut from `text`.
#[must_use]
pub fn reason_with_wait(text: &str, wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mark = format!("; {WAIT_MARK}{seconds}");
    let mut end = text.len().min(REASON_BYTES - mark.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

/// How long the reason asks to wait, if it does.
#[must_use]
pub fn wait_in(reason: &str) -> Option<Duration> {
    let (_, seconds) = reason.rsplit_once(WAIT_MARK)?;
    seconds.trim().parse().ok().map(|seconds: u32| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_survives_the_reason() {
        let reason = reason_with_wait("too slow", Duration::from_millis(4_200));
        assert_eq!(reason, "too slow; retry-after=5");
        assert_eq!(wait_in(&reason), Some(Duration::from_secs(5)));
        let long = reason_with_wait(&"ä".repeat(200), Duration::from_secs(3_600));
        assert!(long.len() <= REASON_BYTES);
        assert_eq!(wait_in(&long), Some(Duration::from_secs(3_600)));
    }

    #[test]
    fn a_reason_without_a_wait_has_none() {
        for reason in ["", "too slow", "retry-after=", "retry-after=soon", "retry-after=-1"] {
            assert_eq!(wait_in(reason), None, "{reason}");
        }
    }
}
