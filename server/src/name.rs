//! Names of people, cleaned of what would let one look like another or upset the lines around it.

/// The name without characters that can't be seen, without those that turn the direction of the
/// text, with one space wherever there was white space, and trimmed.
///
/// Joiners inside a name stay: families of emoji and several scripts need them.
#[must_use]
pub fn clean(name: &str) -> String {
    let mut clean = String::with_capacity(name.len());
    let mut gap = false;
    for character in name.chars() {
        if is_blank(character) {
            gap = true;
        } else if !is_hidden(character) {
            if gap && !clean.is_empty() {
                clean.push(' ');
            }
            gap = false;
            clean.push(character);
        }
    }
    clean.trim_matches(|c: char| is_joiner(c) || c == ' ').to_owned()
}

/// White space, and letters of some scripts that look like it.
fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// Controls, direction marks and embeddings (UAX #9), invisible operators and tags.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Zero-width joiner and non-joiner, and the choice between text and emoji.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_seen_makes_no_difference() {
        let check = |name: &str, expected: &str| assert_eq!(clean(name), expected, "{name:?}");
        check("alice", "alice");
        check("  alice\u{a0}\u{2003} b ", "alice b");
        check("ali\u{200b}ce\u{0}\u{7}\u{1b}", "alice");
        check("\u{202e}ecila\u{202c}", "ecila");
        check("\u{2067}alice\u{2069}\u{200f}", "alice");
        check("alice\u{200d}", "alice");
        check("a\u{2028}b\nc", "a b c");
        check("\u{3164}\u{2800}\u{200d} ", "");
        check("\u{feff}alice\u{e0041}", "alice");
    }

    #[test]
    fn names_of_the_world_stay_as_they_are() {
        for name in
            ["Zoë", "李雷", "مریم", "نیم\u{200c}فاصله", "👩\u{200d}👩\u{200d}👧", "❤\u{fe0f} Jo"]
        {
            assert_eq!(clean(name), name);
        }
    }
}
