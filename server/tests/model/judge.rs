//! Whether a history kept the promises.

use std::collections::BTreeSet;

use super::device::Device;
use super::history::ROOMS;

/// What came of a history.
#[derive(Debug, Default)]
pub struct Judged {
    /// Promises that were not kept.
    pub faults: Vec<String>,
    pub acknowledged: u64,
    pub resumed: u64,
}

/// Looks at the devices when everybody is connected again and everything was read.
pub fn judge(devices: &[Device]) -> Judged {
    let mut judged = Judged::default();
    for device in devices {
        judged.faults.extend(device.faults.iter().cloned());
        judged.acknowledged += device.acknowledged.len() as u64;
        judged.resumed += device.resumed;
        for (room, mark, step) in &device.heard {
            let (sent_to, sent_at) = devices[mark.0].sent[mark];
            if sent_to != *room || !device.was_in(*room, sent_at, *step) {
                judged.faults.push(format!("{} is no member and had {mark:?}", device.user));
            }
        }
        for mark in &device.acknowledged {
            let (room, sent_at) = device.sent[mark];
            for other in devices {
                let Some(view) = other.views.get(&room) else { continue };
                let throughout = view.since.is_some_and(|since| since < sent_at);
                if throughout && !view.had.contains(mark) {
                    let fault = format!("{mark:?} was acknowledged and {} lacks it", other.user);
                    judged.faults.push(fault);
                }
            }
        }
    }
    for room in 0..ROOMS {
        let inside = devices.iter().filter(|device| device.wanted.contains(&room));
        let expected: BTreeSet<String> = inside.clone().map(|device| device.user.clone()).collect();
        for device in inside {
            let seen = device.views.get(&room).map(|view| view.roster.clone()).unwrap_or_default();
            if seen != expected {
                let fault = format!("{} sees {seen:?} and not {expected:?}", device.user);
                judged.faults.push(format!("room {room}: {fault}"));
            }
        }
    }
    judged
}
