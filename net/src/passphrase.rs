//! The secret that protects a meeting's chat.

use std::fmt;

use diceware_wordlists::EFF_LONG_WORDLIST;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Words in a passphrase that we make up.
const WORDS: usize = 6;

/// What the members typed, or what we made up for them. Wiped from memory when dropped; its
/// `Debug` shows nothing.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(String);

impl Passphrase {
    /// Exactly as typed: not trimmed, not normalised.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Makes one up: six words of the EFF's long list (CC BY 3.0 US, <https://eff.org/dice>), 77
    /// bits, with a hyphen between them.
    ///
    /// # Panics
    /// When the system has no randomness to give; then nothing secret can be made at all.
    #[must_use]
    pub fn generate() -> Self {
        let mut text = Zeroizing::new(String::with_capacity(WORDS * 10));
        for place in 0..WORDS {
            if place > 0 {
                text.push('-');
            }
            text.push_str(random_word());
        }
        Self::new(std::mem::take(&mut *text))
    }

    /// Whether there is none; the chat is then sealed with the room id only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself: for the key derivation, an invite link, or the field it is shown in.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Passphrase {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Passphrase(none)" } else { "Passphrase(***)" })
    }
}

/// Draws anew where the remainder would favour the first words.
fn random_word() -> &'static str {
    let words = EFF_LONG_WORDLIST.len() as u32;
    let fair = u32::MAX - u32::MAX % words;
    loop {
        let drawn = getrandom::u32().expect("the system gives random numbers");
        if drawn < fair {
            return EFF_LONG_WORDLIST[(drawn % words) as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_passphrase_has_six_words_and_is_never_the_same() {
        let (one, two) = (Passphrase::generate(), Passphrase::generate());
        assert_eq!(EFF_LONG_WORDLIST.len(), 7776);
        assert!(one.expose().split('-').count() >= WORDS);
        assert_ne!(one, two);
    }

    #[test]
    fn its_debug_shows_nothing() {
        let secret = Passphrase::new("correct horse".to_owned());
        assert_eq!(format!("{secret:?}"), "Passphrase(***)");
    }
}
