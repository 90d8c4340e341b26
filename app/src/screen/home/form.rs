//! What is filled in, and whether it is enough to join.

use std::fmt;

use net::{Fingerprint, Invite, Passphrase, RawRoomId, ServerUrl, limits};

use super::sentence;
use crate::i18n::home as words;

/// Bytes of a passphrase field; more than anybody types, little enough to draw.
const PASSPHRASE_BYTES: usize = 1024;

/// What is filled in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// As typed.
    pub name: String,
    /// As typed.
    pub server: String,
    /// As typed.
    pub room: String,
    /// The certificate that the invitation names, or that was just accepted.
    pub fingerprint: Option<Fingerprint>,
    /// As typed; [`Form::set_passphrase`] bounds it.
    pub passphrase: Passphrase,
}

/// Where to go, once the form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Trimmed.
    pub name: String,
    /// Where.
    pub server: ServerUrl,
    /// The certificate to accept, if one was named.
    pub fingerprint: Option<Fingerprint>,
    /// Which room.
    pub room: RawRoomId,
    /// May be empty.
    pub passphrase: Passphrase,
}

/// What is wrong with each field, as sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slip {
    /// Of the name.
    pub name: Option<String>,
    /// Of the server.
    pub server: Option<String>,
    /// Of the room.
    pub room: Option<String>,
}

impl Form {
    /// Replaces what stands in the passphrase field. Text beyond all sense is cut.
    pub fn set_passphrase(&mut self, passphrase: Passphrase) {
        let text = passphrase.expose();
        self.passphrase = if text.len() > PASSPHRASE_BYTES {
            Passphrase::new(text[..text.floor_char_boundary(PASSPHRASE_BYTES)].to_owned())
        } else {
            passphrase
        };
    }

    /// Makes a passphrase up.
    pub fn generate_passphrase(&mut self) {
        self.passphrase = Passphrase::generate();
    }

    /// Replaces the address; the certificate that came with the one before means nothing for it.
    pub fn set_server(&mut self, server: String) {
        self.fingerprint = None;
        self.server = server;
    }

    /// Takes another place over.
    pub fn set_place(&mut self, server: String, room: String) {
        self.set_server(server);
        self.room = room;
    }

    /// Fills everything in from an invite link at the end of `text`; what stood in the field
    /// before the link was pasted behind it does not matter. Returns whether there was a link.
    pub fn fill_from_link(&mut self, text: &str) -> bool {
        let start = ["https://", "http://", "privatemeet://"]
            .iter()
            .filter_map(|scheme| text.rfind(scheme))
            .max();
        let link = start.map_or(text, |start| &text[start..]);
        let Ok(invite) = link.parse::<Invite>() else {
            return false;
        };
        self.fill(invite);
        true
    }

    /// Takes an invitation over.
    pub fn fill(&mut self, invite: Invite) {
        self.server = invite.server.to_string();
        self.room = invite.room.to_string();
        self.fingerprint = invite.fingerprint;
        if let Some(passphrase) = invite.passphrase {
            self.passphrase = passphrase;
        }
    }

    /// Where to go.
    ///
    /// # Errors
    /// What is wrong with each field.
    pub fn check(&self) -> Result<Destination, Slip> {
        let name = check_name(&self.name);
        let server = check_server(&self.server);
        let room = RawRoomId::new(&self.room).map_err(words::room);
        match (name, server, room) {
            (Ok(name), Ok(server), Ok(room)) => Ok(Destination {
                name,
                server,
                fingerprint: self.fingerprint,
                room,
                passphrase: self.passphrase.clone(),
            }),
            (name, server, room) => {
                Err(Slip { name: name.err(), server: server.err(), room: room.err() })
            }
        }
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("server", &self.server).finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.is_empty() {
        return Err(words::NAME_EMPTY.to_owned());
    }
    if name.chars().count() > limits::USERNAME_CHARS {
        return Err(words::name_too_long());
    }
    Ok(name.to_owned())
}

fn check_server(server: &str) -> Result<ServerUrl, String> {
    if server.trim().is_empty() {
        return Err(words::SERVER_EMPTY.to_owned());
    }
    server.parse::<ServerUrl>().map_err(|error| sentence(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, server: &str, room: &str) -> Form {
        Form {
            name: name.to_owned(),
            server: server.to_owned(),
            room: room.to_owned(),
            ..Form::default()
        }
    }

    #[test]
    fn a_complete_form_leads_somewhere() {
        let destination = form(" alice ", "meet.example.org", " demo ").check().unwrap();
        assert_eq!(destination.name, "alice");
        assert_eq!(destination.room.as_str(), "demo");
    }

    #[test]
    fn every_slip_has_its_own_sentence() {
        let slip = form("", "", "").check().unwrap_err();
        assert_eq!(slip.name.as_deref(), Some(words::NAME_EMPTY));
        assert_eq!(slip.server.as_deref(), Some(words::SERVER_EMPTY));
        assert_eq!(slip.room.as_deref(), Some(words::ROOM_EMPTY));
        let slip = form(&"x".repeat(33), "ftp://h", &"r".repeat(129)).check().unwrap_err();
        assert!(slip.name.unwrap().contains("32"));
        assert!(slip.server.unwrap().contains("ftp"));
        assert!(slip.room.unwrap().contains("128"));
    }

    #[test]
    fn a_link_fills_everything_but_the_name() {
        let fingerprint = "ab".repeat(32);
        let mut form = form("alice", "old.example.org", "old");
        let link = format!("oldhttps://h:8443/#/room/new&k=one%20two&fp={fingerprint}");
        assert!(form.fill_from_link(&link));
        assert_eq!((form.name.as_str(), form.room.as_str()), ("alice", "new"));
        assert!(form.server.contains("h:8443"));
        assert_eq!(form.passphrase.expose(), "one two");
        assert_eq!(form.fingerprint.unwrap().to_string(), fingerprint);
        assert!(!form.fill_from_link("https://meet.example.org"));
    }

    #[test]
    fn the_secret_is_not_in_the_debug_output() {
        let mut form = form("alice", "h", "demo");
        form.set_passphrase(Passphrase::new("swordfish".to_owned()));
        assert!(
            !format!("{:?}", super::super::Message::Passphrase(form.passphrase.clone()))
                .contains("sword")
        );
        assert!(!format!("{form:?} {:?}", form.check()).contains("swordfish"));
    }
}
