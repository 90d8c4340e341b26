//! Processor time as the kernel accounts it (`/proc`, Linux only).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Ticks a second of `/proc/*/stat`; fixed at 100 on every Linux that we measure on.
const TICKS_PER_SECOND: u64 = 100;

/// The name between the parentheses, and user plus system time, of one line of `stat`
/// (proc(5): fields 2, 14 and 15; the name may hold spaces and parentheses).
fn parse_stat(line: &str) -> Option<(&str, Duration)> {
    let (before, after) = line.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND)))
}

/// User plus system time of a process, all threads, since it started.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub fn of_process(id: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{id}/stat");
    let line = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_stat(&line).map(|(_, time)| time).context("an unknown form of /proc/…/stat")
}

/// User plus system time of this process's living threads, summed by thread name.
///
/// # Errors
/// When there is no `/proc`.
pub fn by_thread() -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut sums = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").context("cannot list threads")? {
        // A thread may end between the listing and the reading.
        let Ok(line) = fs::read_to_string(task?.path().join("stat")) else { continue };
        if let Some((name, time)) = parse_stat(&line) {
            *sums.entry(name.to_owned()).or_default() += time;
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c) S 1 1 1 0 -1 4 0 0 0 0 150 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(parse_stat(line), Some(("a) b (c", Duration::from_secs(2))));
    }

    #[test]
    fn this_process_has_threads() {
        assert!(!by_thread().unwrap().is_empty());
        assert!(of_process(std::process::id()).is_ok());
    }
}
