//! The time of day on this computer.

/// Hours and minutes, as `14:05`.
#[must_use]
pub fn now() -> String {
    jiff::Zoned::now().strftime("%H:%M").to_string()
}
