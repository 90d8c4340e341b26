//! Whether a text that arrives in pieces is UTF-8, told as soon as it can be.

use super::Broken;

/// The end of what came so far, where it is the beginning of a character.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    begun: [u8; 4],
    bytes: usize,
}

impl Utf8 {
    /// Checks the next piece; the last one must end with a whole character.
    pub(super) fn check(&mut self, mut piece: &[u8], is_last: bool) -> Result<(), Broken> {
        while self.bytes > 0 {
            let Some((&first, rest)) = piece.split_first() else { break };
            self.begun[self.bytes] = first;
            self.bytes += 1;
            piece = rest;
            match std::str::from_utf8(&self.begun[..self.bytes]) {
                Ok(_) => self.bytes = 0,
                Err(error) if error.error_len().is_some() => return Err(Broken::NotUtf8),
                Err(_) => {}
            }
        }
        if self.bytes == 0
            && let Err(error) = std::str::from_utf8(piece)
        {
            if error.error_len().is_some() {
                return Err(Broken::NotUtf8);
            }
            let begun = &piece[error.valid_up_to()..];
            self.begun[..begun.len()].copy_from_slice(begun);
            self.bytes = begun.len();
        }
        if is_last && self.bytes > 0 { Err(Broken::NotUtf8) } else { Ok(()) }
    }
}
