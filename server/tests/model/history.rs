//! What happens in a history, drawn from a seed.

/// A small generator of numbers (SplitMix64), the same on every machine for ever.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}

/// One thing that happens. Devices and rooms are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The device opens a connection, over an old one if there is one.
    Connect(usize),
    /// Its connection breaks; what was on the way is lost.
    Cut(usize),
    /// It says goodbye.
    Goodbye(usize),
    Join(usize, usize),
    Leave(usize, usize),
    /// It writes to a room; large messages fill outboxes.
    Chat(usize, usize, bool),
    /// It types in a room.
    Type(usize, usize),
    /// It reads so many bytes.
    Read(usize, usize),
    /// So many milliseconds pass.
    Wait(u64),
}

/// Who there is, and what happens.
#[derive(Debug)]
pub struct History {
    /// Whether each device speaks version 2.
    pub devices: Vec<bool>,
    pub steps: Vec<Step>,
}

/// Rooms of a history.
pub const ROOMS: usize = 2;

impl History {
    /// The history of a seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let count = 2 + dice.below(4) as usize;
        let devices = (0..count).map(|_| dice.below(4) > 0).collect();
        // Some histories are of people with bad connections, some of people who write books.
        let (cuts, books) = (dice.below(3), dice.below(3) == 0);
        let mut steps = Vec::new();
        for device in 0..count {
            steps.push(Step::Connect(device));
            steps.push(Step::Join(device, dice.below(ROOMS as u64) as usize));
        }
        for _ in 0..40 + dice.below(80) {
            let device = dice.below(count as u64) as usize;
            let room = dice.below(ROOMS as u64) as usize;
            steps.push(match dice.below(40) {
                0..=12 => Step::Chat(device, room, books && dice.below(2) == 0),
                13..=14 => Step::Type(device, room),
                15..=24 => Step::Read(device, 1 << dice.below(18)),
                25..=27 => Step::Join(device, room),
                28 => Step::Leave(device, room),
                29 => Step::Goodbye(device),
                30..=32 if cuts > 0 => Step::Cut(device),
                33..=36 => Step::Connect(device),
                37 => Step::Wait(1_000 * dice.below(20)),
                38 if cuts > 1 => Step::Wait(1_000 * dice.below(70)),
                _ => Step::Wait(dice.below(1_000)),
            });
        }
        Self { devices, steps }
    }
}
