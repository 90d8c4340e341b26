//! Random histories against the relay in virtual time: joins, leaves, chat, slow readers, broken
//! connections, comings back. What must hold however they go:
//!
//! - nobody gets a message of a room that they are not in;
//! - messages of one sender come in their order, and none twice;
//! - a message that was acknowledged has reached every member who was there throughout;
//! - in the end everybody sees the same people in a room, and those are the people in it.
//!
//! [`history`] and [`device`] know nothing of where they run, so that the same histories can run
//! against real servers. `MODEL_SEEDS=100000` runs more of them, `MODEL_SEED=7` a single one.

// The attribute tells clippy that helpers, too, are tests.
#[cfg(test)]
mod device;
#[cfg(test)]
mod history;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod relay;

#[cfg(test)]
mod tests {
    use super::history::History;
    use super::relay::run;

    /// Enough to find what was ever found, and over in seconds.
    const SEEDS: u64 = 2_000;

    fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    #[test]
    fn whatever_happens_rooms_keep_their_promises() {
        let seeds = match number("MODEL_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("MODEL_SEEDS").unwrap_or(SEEDS),
        };
        let (mut acknowledged, mut resumed) = (0, 0);
        for seed in seeds {
            let judged = run(&History::new(seed));
            for fault in &judged.faults {
                eprintln!("seed {seed}: {fault}");
            }
            assert!(judged.faults.is_empty(), "run MODEL_SEED={seed} for this one alone");
            acknowledged += judged.acknowledged;
            resumed += judged.resumed;
        }
        // A history in which nothing happens proves nothing.
        assert!(acknowledged > 0 && (resumed > 0 || number("MODEL_SEED").is_some()));
    }
}
