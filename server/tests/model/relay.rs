//! The relay under a history, in virtual time and without a socket.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use server::Metrics;
use server::auth::User;
use server::client::{Client, Desk};
use server::line::{End, Line};
use server::relay::{Relay, Settings};
use wire::{IceServers, SessionLimits, UserId};

use super::device::Device;
use super::history::{History, Step};
use super::judge::{Judged, judge};

/// Takes the name for the token.
#[derive(Debug)]
struct Reception;

impl Desk for Reception {
    fn check(&self, token: &str) -> Option<User> {
        Some(User { id: UserId::new(token).ok()?, name: token.to_owned() })
    }

    fn ice_servers(&self, _: &UserId, _: Option<&str>) -> IceServers {
        IceServers::default()
    }

    fn limits(&self) -> SessionLimits {
        SessionLimits::default()
    }
}

/// One connection: the server's end, and what is on the way to the device.
struct Connection {
    client: Client,
    line: Arc<Line>,
    bytes: Vec<u8>,
}

struct World {
    relay: Arc<Relay>,
    devices: Vec<Device>,
    connections: Vec<Option<Connection>>,
    now: Instant,
    step: u64,
}

/// Runs a history.
pub fn run(history: &History) -> Judged {
    let now = Instant::now();
    let settings = Settings { shards: 2, ..Settings::default() };
    let relay = Arc::new(Relay::new(&settings, Arc::new(Metrics::default()), now));
    let devices = history.devices.iter().enumerate();
    let devices: Vec<Device> = devices.map(|(n, is_v2)| Device::new(n, *is_v2)).collect();
    let connections = devices.iter().map(|_| None).collect();
    let mut world = World { relay, devices, connections, now, step: 0 };
    for step in &history.steps {
        world.step += 1;
        world.act(*step);
        world.wait(Duration::from_millis(25));
    }
    // In the end everybody is back, and reads what there is; ghosts go.
    for device in 0..world.devices.len() {
        if world.connections[device].is_none() {
            world.act(Step::Connect(device));
        }
    }
    for _ in 0..30 {
        world.wait(Duration::from_secs(5));
        for device in 0..world.devices.len() {
            world.act(Step::Read(device, usize::MAX));
            if world.connections[device].is_none() {
                world.act(Step::Connect(device));
                world.act(Step::Read(device, usize::MAX));
            }
        }
    }
    let mut judged = judge(&world.devices);
    for device in world.devices.iter().filter(|device| !device.is_settled()) {
        judged.faults.push(format!("{} still waits", device.user));
    }
    judged
}

impl World {
    fn act(&mut self, step: Step) {
        let clock = self.step;
        match step {
            Step::Connect(device) => self.connect(device),
            Step::Cut(device) => self.lose(device, End::Gone),
            Step::Goodbye(device) => {
                if self.connections[device].is_some() {
                    self.lose(device, End::Goodbye(Some(1000)));
                    self.devices[device].left();
                }
            }
            Step::Join(device, room) => self.say(device, |device| device.join(room, clock)),
            Step::Leave(device, room) => {
                // Without a connection it is said after coming back.
                self.say(device, |device| device.leave(room, clock));
            }
            Step::Chat(device, room, large) => {
                self.say(device, |device| device.chat(room, large, clock));
            }
            Step::Type(device, room) => self.say(device, |device| device.typing(room)),
            Step::Read(device, bytes) => self.read(device, bytes),
            Step::Wait(millis) => self.wait(Duration::from_millis(millis)),
        }
        for device in 0..self.devices.len() {
            let ending = self.connections[device].as_ref().and_then(|c| c.line.ending());
            if let Some(closing) = ending {
                self.lose(device, End::Close(closing));
            }
        }
    }

    fn connect(&mut self, device: usize) {
        // The old connection, if there is one, is one that the server still takes for alive.
        let old = self.connections[device].take();
        let user = self.devices[device].user.clone();
        let is_v2 = self.devices[device].is_v2;
        let user = User { id: UserId::new(user.clone()).unwrap(), name: user };
        let line = Line::new(None, self.now);
        let parts = (self.relay.clone(), line.clone());
        let desk = (Arc::new(Reception) as Arc<dyn Desk>, None);
        let client = Client::new((!is_v2).then_some(user), parts, desk, None, self.now);
        self.relay.watch(&line, !is_v2, self.now);
        self.connections[device] = Some(Connection { client, line, bytes: Vec::new() });
        if old.is_some() {
            self.devices[device].disconnected();
        }
        let first = self.devices[device].connected(self.step);
        self.send(device, first);
        if let Some(mut old) = old {
            let end = old.line.ending().map_or(End::Gone, End::Close);
            old.client.end(end, self.now);
        }
    }

    fn lose(&mut self, device: usize, end: End) {
        if let Some(mut connection) = self.connections[device].take() {
            connection.client.end(end, self.now);
            self.devices[device].disconnected();
        }
    }

    fn say(&mut self, device: usize, what: impl FnOnce(&mut Device) -> Vec<String>) {
        let texts = what(&mut self.devices[device]);
        self.send(device, texts);
    }

    fn send(&mut self, device: usize, texts: Vec<String>) {
        for text in texts {
            let Some(connection) = &mut self.connections[device] else { return };
            if let Err(closing) = connection.client.receive(text.as_bytes(), self.now) {
                return self.lose(device, End::Close(closing));
            }
        }
    }

    /// The server writes as much as the device takes, and the device reads whole frames.
    fn read(&mut self, device: usize, mut space: usize) {
        loop {
            let Some(connection) = &mut self.connections[device] else { return };
            let bytes = &mut connection.bytes;
            connection.client.session().outbox.flush(self.now, |slices| {
                let written = take(bytes, space, slices)?;
                space -= written;
                Ok(written)
            });
            let Some((is_text, payload)) = frame(bytes) else { return };
            if is_text {
                let text = String::from_utf8(payload).unwrap();
                let answers = self.devices[device].hear(&text, self.step);
                self.send(device, answers);
            } else {
                connection.client.session().outbox.confirm(&payload);
                connection.line.hear(self.now);
            }
        }
    }

    /// Time passes; every device answers pings, for its system does so.
    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_secs(1));
            self.relay.advance(self.now);
            for connection in self.connections.iter().flatten() {
                connection.line.hear(self.now);
            }
        }
    }
}

fn take(bytes: &mut Vec<u8>, space: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut left = space;
    for slice in slices {
        let part = slice.len().min(left);
        bytes.extend_from_slice(&slice[..part]);
        left -= part;
    }
    if left == space { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(space - left) }
}

/// The first whole frame: whether it is text, and its payload.
fn frame(bytes: &mut Vec<u8>) -> Option<(bool, Vec<u8>)> {
    let (&first, &short) = (bytes.first()?, bytes.get(1)?);
    let (head, length) = match short {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(head..head + length)?.to_vec();
    bytes.drain(..head + length);
    Some((first & 0x0f == 1, payload))
}
