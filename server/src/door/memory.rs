//! Whether there is memory for newcomers: by the operator's word, by the control group's limit,
//! and by what the whole system has left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Door;
use crate::metrics::resident_bytes;

/// How often memory is looked at: a few small files of the kernel's each time.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Of the control group's limit, in percent; the rest is for those who are inside.
const GROUP_PERCENT: u64 = 90;
/// What the system must have left.
const SYSTEM_BYTES: u64 = 32 * 1024 * 1024;

/// Looks as long as the server runs.
pub(crate) async fn watch(door: Arc<Door>) {
    let group = own_group(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = door.limits.memory_bytes;
        let own = asked.is_some_and(|most| resident_bytes().is_some_and(|used| used > most));
        let group = asked.is_none() && group.as_deref().is_some_and(is_group_full);
        door.set_short_of_memory(own || group || is_system_full(Path::new("/proc/meminfo")));
    }
}

/// The folder of this process's control group (version 2), if there is one.
fn own_group(membership: &Path, root: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(membership).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = root.join(path);
    folder.is_dir().then_some(folder)
}

/// Whether what can't be given back comes near the limit of the group.
fn is_group_full(folder: &Path) -> bool {
    let limit = || fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse::<u64>().ok();
    // "max" is no number: there is no limit.
    let Some(limit) = limit() else { return false };
    let Ok(stat) = fs::read_to_string(folder.join("memory.stat")) else { return false };
    let kept = ["anon", "sock", "slab_unreclaimable", "kernel_stack", "pagetables"];
    let lines = stat.lines().filter_map(|line| line.split_once(' '));
    let used: u64 = lines
        .filter(|(name, _)| kept.contains(name))
        .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
        .sum();
    used > limit / 100 * GROUP_PERCENT
}

fn is_system_full(meminfo: &Path) -> bool {
    let available = || {
        let text = fs::read_to_string(meminfo).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    available().is_some_and(|kib| kib * 1024 < SYSTEM_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_full_when_what_it_can_not_give_back_nears_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let group = folder.path().join("meet.service");
        fs::create_dir(&group).unwrap();
        write("cgroup", "0::/meet.service\n");
        let found = own_group(&folder.path().join("cgroup"), folder.path()).unwrap();
        assert_eq!(found, group);
        assert!(!is_group_full(&group));
        write("meet.service/memory.max", "1000000\n");
        write("meet.service/memory.stat", "anon 800000\nfile 900000\nsock 99000\n");
        assert!(!is_group_full(&group), "the page cache can be given back");
        write("meet.service/memory.stat", "anon 800000\nfile 900000\nsock 101000\n");
        assert!(is_group_full(&group));
        write("meet.service/memory.max", "max\n");
        assert!(!is_group_full(&group));
    }

    #[test]
    fn a_system_with_nothing_left_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meminfo");
        fs::write(&file, "MemTotal:       8000000 kB\nMemAvailable:   40000 kB\n").unwrap();
        assert!(!is_system_full(&file));
        fs::write(&file, "MemTotal:       8000000 kB\nMemAvailable:   30000 kB\n").unwrap();
        assert!(is_system_full(&file));
        assert!(!is_system_full(Path::new("/nowhere")));
    }
}
