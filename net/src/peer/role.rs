//! Which end is the DTLS client. The first answer decides it for the life of the connection, and
//! later answers must say the same (RFC 8842 §5.3). The library answers `a=setup:active` every
//! time, whatever was decided, and browsers then refuse the answer.

const SETUP: &str = "a=setup:";

/// Our end's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The client: sends the first DTLS message.
    Active,
    /// The server.
    Passive,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// The role of a connection of ours, once it is known.
#[derive(Debug, Default)]
pub(super) struct DtlsRole(Option<Role>);

impl DtlsRole {
    /// Learns from an answer that the peer gave and the library accepted.
    pub(super) fn heard(&mut self, answer: &str) {
        let ours = match setup(answer) {
            Some("active") => Role::Passive,
            Some("passive") => Role::Active,
            _ => return,
        };
        self.0.get_or_insert(ours);
    }

    /// An answer of ours as it must be sent: the first one decides, the others repeat it.
    pub(super) fn kept_in(&mut self, answer: &str) -> String {
        let said = match setup(answer) {
            Some("passive") => Role::Passive,
            _ => Role::Active,
        };
        let role = *self.0.get_or_insert(said);
        answer
            .split_inclusive('\n')
            .flat_map(|line| match line.strip_prefix(SETUP) {
                Some(_) => [SETUP, role.name(), "\r\n"],
                None => [line, "", ""],
            })
            .collect()
    }
}

/// The first `a=setup` of a description; with BUNDLE all are alike.
fn setup(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix(SETUP)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str =
        "v=0\r\nm=audio 9 x 0\r\na=setup:active\r\na=mid:0\r\nm=video 9 x 0\r\na=setup:active\r\n";

    #[test]
    fn who_answered_first_stays_active() {
        let mut role = DtlsRole::default();
        assert_eq!(role.kept_in(ANSWER), ANSWER);
        role.heard(ANSWER);
        assert_eq!(role.kept_in(ANSWER), ANSWER);
    }

    #[test]
    fn who_was_answered_active_stays_passive() {
        let mut role = DtlsRole::default();
        role.heard(ANSWER);
        assert_eq!(role.kept_in(ANSWER), ANSWER.replace("active", "passive"));
    }

    #[test]
    fn an_answer_without_a_role_teaches_nothing() {
        let mut role = DtlsRole::default();
        role.heard("v=0\r\n");
        assert_eq!(role.kept_in(ANSWER), ANSWER);
    }
}
