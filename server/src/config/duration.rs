//! Durations as people write them: `1h30m`, `15s`, `250ms`.

use std::time::Duration;

/// Reads a sequence of numbers with units `h`, `m`, `s` or `ms`; a bare `0` is no time at all.
/// `None` when the text is anything else.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, after) = UNITS.iter().find_map(|(name, unit)| {
            let after = rest[digits..].strip_prefix(name)?;
            Some((unit, after))
        })?;
        seconds += number * unit;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Longer names first: `ms` is not `m`.
const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("h", 3_600.0), ("m", 60.0), ("s", 1.0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let check = |text: &str, millis: u64| {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        };
        check("1h", 3_600_000);
        check("30m", 1_800_000);
        check("15s", 15_000);
        check(" 1h30m5s ", 5_405_000);
        check("1.5h", 5_400_000);
        check("250ms", 250);
        check("0", 0);
        check("0s", 0);
    }

    #[test]
    fn anything_else_is_no_duration() {
        for text in ["", "h", "1", "15", "-1s", "1 h", "1d", "1h30", "1..5h", "1e99h", "soon", "9é"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("{}h", "9".repeat(40))), None);
    }
}
