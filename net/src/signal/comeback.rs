//! When to come back to a server that is lost, and whether at all: by what it said when it went.

use std::time::{Duration, Instant};

use wire::close;

use crate::session::JoinError;

/// The first pause before a new attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// The longest it grows.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A server that restarts has all its clients back at once: they spread over this time.
const RESTART_FROM: Duration = Duration::from_millis(200);
const RESTART_TO: Duration = Duration::from_secs(2);
/// The wait where a server that is too busy tells none.
const BUSY: Duration = Duration::from_secs(5);
/// The longest wait that we believe.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// A rule broken twice within this time is one that we can't keep.
const BETWEEN_RULES: Duration = Duration::from_secs(60);

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Setback {
    /// In words and for programs.
    pub(crate) error: JoinError,
    /// The close code, where a socket was closed with one; else the HTTP status, or 0.
    pub(crate) code: u16,
    /// How long the server asks to wait.
    pub(crate) wait: Option<Duration>,
}

impl Setback {
    /// A socket was closed, or broke (code 0).
    pub(crate) fn closed(code: u16, reason: &str) -> Self {
        let text = if reason.is_empty() { "the connection was closed" } else { reason };
        let error = JoinError::Refused { status: code, text: text.to_owned() };
        Self { error, code, wait: close::wait_in(reason) }
    }
}

impl From<JoinError> for Setback {
    fn from(error: JoinError) -> Self {
        let code = if let JoinError::Refused { status, .. } = error { status } else { 0 };
        Self { error, code, wait: None }
    }
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after this pause.
    Retry(Duration),
    /// The same, as somebody new.
    SignIn(Duration),
    /// It is over.
    Stop {
        /// For programs.
        code: &'static str,
        /// For people.
        why: String,
    },
}

/// The attempts so far.
#[derive(Debug, Default)]
pub(crate) struct Comeback {
    attempt: u32,
    broke_rule_at: Option<Instant>,
}

impl Comeback {
    /// How many attempts have failed since we were last in.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// We are in.
    pub(crate) fn succeeded(&mut self) {
        self.attempt = 0;
    }

    /// An attempt is about to be made.
    pub(crate) fn begins(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
    }

    /// What to do after a setback; `fraction` is random, from 0 to 1.
    pub(crate) fn after(&mut self, setback: &Setback, now: Instant, fraction: f64) -> Next {
        let growing = pause(self.attempt, fraction);
        match setback.code {
            close::MOVED => Next::Stop {
                code: "session-moved",
                why: "this meeting goes on in another window".to_owned(),
            },
            close::SIGN_IN | 401 => Next::SignIn(growing),
            close::RESTART if self.attempt == 0 => {
                Next::Retry(RESTART_FROM + (RESTART_TO - RESTART_FROM).mul_f64(fraction))
            }
            close::TRY_LATER | 429 | 503 => {
                let wait = setback.wait.unwrap_or(BUSY).min(LONGEST_WAIT);
                Next::Retry(wait.mul_f64(1.0 + fraction / 4.0).max(growing))
            }
            close::POLICY => {
                let before = self.broke_rule_at.replace(now);
                if before.is_some_and(|before| now < before + BETWEEN_RULES) {
                    let JoinError::Refused { text, .. } = &setback.error else {
                        return Next::Retry(growing);
                    };
                    let why = format!("the server does not let us stay: {text}");
                    return Next::Stop { code: "server-refused", why };
                }
                Next::Retry(growing)
            }
            _ => Next::Retry(growing),
        }
    }
}

/// What the user should hear about a setback that waiting alone does not heal; for programs.
pub(crate) fn obstacle(setback: &Setback) -> &'static str {
    match (&setback.error, setback.code) {
        (JoinError::UnknownCertificate { .. } | JoinError::OtherCertificate { .. }, _) => {
            "certificate"
        }
        (_, close::POLICY) => "server-refused",
        (_, close::TOO_BIG) => "too-big",
        (_, close::TRY_LATER | 429 | 503) => "server-busy",
        // Any other end of a running connection is an accident, and so is an old token.
        (_, 1_000.. | 401) => "",
        (JoinError::Refused { .. }, 1..) => "server-refused",
        (JoinError::NotAServer { .. }, _) => "not-a-server",
        _ => "",
    }
}

/// Grows with each attempt; between half of it and all of it is random, so that a room full of
/// clients does not come back at once.
fn pause(attempt: u32, fraction: f64) -> Duration {
    let longest = FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(10));
    longest.min(LONGEST_PAUSE).mul_f64(0.5 + fraction / 2.0)
}

/// Between 0 and 1.
pub(crate) fn fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_vanish() {
        assert_eq!(pause(0, 1.0), FIRST_PAUSE);
        assert_eq!(pause(1, 1.0), FIRST_PAUSE * 2);
        assert_eq!(pause(1, 0.0), FIRST_PAUSE);
        for attempt in 6..100 {
            assert_eq!(pause(attempt, 1.0), LONGEST_PAUSE);
        }
        assert!((0.0..=1.0).contains(&fraction()));
    }

    fn next(code: u16, reason: &str, fraction: f64) -> Next {
        Comeback::default().after(&Setback::closed(code, reason), Instant::now(), fraction)
    }

    #[test]
    fn each_close_code_is_taken_by_its_meaning() {
        let seconds = |seconds| Next::Retry(Duration::from_secs(seconds));
        for code in [0, 1000, 1001, 1002, 1007, 1009, 4999] {
            assert_eq!(next(code, "", 1.0), Next::Retry(FIRST_PAUSE), "{code}");
        }
        assert_eq!(next(close::RESTART, "", 1.0), seconds(2));
        assert_eq!(next(close::RESTART, "", 0.0), Next::Retry(Duration::from_millis(200)));
        assert_eq!(next(close::TRY_LATER, "", 0.0), seconds(5));
        assert_eq!(next(close::TRY_LATER, "too slow; retry-after=20", 0.0), seconds(20));
        assert_eq!(next(close::TRY_LATER, "too slow; retry-after=20", 1.0), seconds(25));
        assert_eq!(next(close::TRY_LATER, "retry-after=4000000000", 0.0), seconds(600));
        assert!(matches!(next(close::MOVED, "", 0.5), Next::Stop { code: "session-moved", .. }));
        assert!(matches!(next(close::SIGN_IN, "", 0.5), Next::SignIn(_)));
    }

    #[test]
    fn a_rule_broken_twice_in_a_minute_ends_it() {
        let (mut comeback, now) = (Comeback::default(), Instant::now());
        let setback = Setback::closed(close::POLICY, "too many wrong messages");
        assert!(matches!(comeback.after(&setback, now, 0.5), Next::Retry(_)));
        let later = now + BETWEEN_RULES;
        assert!(matches!(comeback.after(&setback, later, 0.5), Next::Retry(_)));
        let Next::Stop { why, .. } = comeback.after(&setback, later + FIRST_PAUSE, 0.5) else {
            panic!("it is over");
        };
        assert!(why.contains("too many wrong messages"));
    }

    #[test]
    fn accidents_are_no_obstacles() {
        let of = |code| obstacle(&Setback::closed(code, "why"));
        for code in [0, 1001, 1012, 4001, 4002] {
            assert_eq!(of(code), "", "{code}");
        }
        assert_eq!(of(close::POLICY), "server-refused");
        let refused = |status| JoinError::Refused { status, text: "no".to_owned() };
        assert_eq!(obstacle(&refused(403).into()), "server-refused");
        assert_eq!(obstacle(&refused(401).into()), "");
        assert_eq!(obstacle(&refused(503).into()), "server-busy");
    }
}
