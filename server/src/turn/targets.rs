//! Whom the relay sends to. Whoever may use it sends from the server's own address, so that what
//! is private to the server's network must stay out of reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Below these are the ports of services; no peer of a call has one.
const FIRST_PORT: u16 = 1024;

/// How far the relay reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The public internet: a server with a public address.
    World,
    /// The networks that others can't see, too: a server in one of them.
    Lan,
    /// This computer, too: a server that only this computer reaches.
    Loopback,
    /// Anything, the server's own services included: for measurements and tests.
    Anything,
}

impl Reach {
    /// What suits a server that announces this address.
    #[must_use]
    pub fn of(announced: IpAddr) -> Self {
        if is_loopback(announced) {
            Self::Loopback
        } else if is_private(announced) {
            Self::Lan
        } else {
            Self::World
        }
    }
}

/// Decides whom the relay sends to.
#[derive(Debug, Clone)]
pub struct Targets {
    reach: Reach,
    announced: Vec<IpAddr>,
    is_ours: fn(IpAddr) -> bool,
}

impl Targets {
    /// `announced` are the addresses that allocations get; nothing is sent there through a socket.
    /// `is_ours` tells whether this computer has an address, and so services behind it.
    #[must_use]
    pub fn new(
        reach: Reach,
        announced: impl IntoIterator<Item = IpAddr>,
        is_ours: fn(IpAddr) -> bool,
    ) -> Self {
        let announced = announced.into_iter().map(|address| address.to_canonical()).collect();
        Self { reach, announced, is_ours }
    }

    /// Whether a peer at this address may be let in. Announced addresses count as allowed here:
    /// other allocations have them.
    #[must_use]
    pub fn may_permit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.reach == Reach::Anything || self.is_own(address) {
            return true;
        }
        self.reaches(address) && !(self.is_ours)(address)
    }

    /// Whether packets may be sent to somebody there who was let in.
    #[must_use]
    pub fn may_send(&self, address: SocketAddr) -> bool {
        if self.reach == Reach::Anything {
            return address.port() != 0;
        }
        address.port() >= FIRST_PORT && !self.is_own(address.ip()) && self.reaches(address.ip())
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.announced.contains(&address.to_canonical())
    }

    fn reaches(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.reach == Reach::Anything {
            return true;
        }
        if is_nobody(address) {
            return false;
        }
        match self.reach {
            Reach::World => !is_loopback(address) && !is_private(address),
            Reach::Lan => !is_loopback(address),
            Reach::Loopback | Reach::Anything => true,
        }
    }
}

/// Addresses that are nobody's, or everybody's: unspecified, multicast, broadcast, reserved,
/// link-local (where clouds keep their secrets), and those that hide another address.
fn is_nobody(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            first == 0 || first >= 224 || v4.is_link_local()
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                // Site-local (RFC 3879).
                || segments[0] & 0xFFC0 == 0xFEC0
                // Teredo (RFC 4380): the address inside is mixed.
                || segments[..2] == [0x2001, 0]
                || embedded(v6).is_some_and(|v4| is_nobody(v4.into()))
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || embedded(v6).is_some_and(|v4| v4.is_loopback()),
    }
}

/// Networks that the internet does not route to: RFC 1918, 6598, 2544, 6890, and 4193.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, third, _] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || (first == 100 && second & 0xC0 == 64)
                || (first == 198 && second & 0xFE == 18)
                || (first == 192 && second == 0 && third == 0)
        }
        IpAddr::V6(v6) => {
            v6.is_unique_local()
                || v6.is_unicast_link_local()
                || embedded(v6).is_some_and(|v4| is_private(v4.into()))
        }
    }
}

/// The IPv4 address that an IPv6 address stands for: NAT64 (RFC 6052, 8215), 6to4 (RFC 3056), and
/// the old compatible form (RFC 4291). The mapped form is undone before.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match s {
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x64, 0xFF9B, 1, ..] => v4(s[6], s[7]),
        [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "198.51.100.1";

    fn check(reach: Reach, allowed: bool, addresses: &[&str]) {
        let targets = Targets::new(reach, [OWN.parse().unwrap()], |_| false);
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(targets.may_permit(address), allowed, "{reach:?} {address}");
            assert_eq!(targets.may_send((address, 5000).into()), allowed, "{reach:?} {address}");
        }
    }

    const WORLD: &[&str] = &["203.0.113.5", "8.8.8.8", "2a00:1450::5", "::ffff:8.8.8.8"];
    const PRIVATE: &[&str] = &[
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.0.8",
        "::ffff:10.0.0.1",
        "::ffff:192.168.1.1",
        "fd00::1",
        "64:ff9b::10.0.0.1",
        "2002:c0a8:101::1",
        "::10.0.0.1",
    ];
    const LOOPBACK: &[&str] =
        &["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "::127.0.0.1"];
    const NEVER: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "224.0.0.251",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::ffff:0.0.0.0",
        "::ffff:169.254.169.254",
        "::ffff:224.0.0.1",
        "ff02::fb",
        "fe80::1",
        "fec0::1",
        "2001::1",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
    ];

    #[test]
    fn a_public_server_relays_to_the_public_only() {
        check(Reach::World, true, WORLD);
        check(Reach::World, false, PRIVATE);
        check(Reach::World, false, LOOPBACK);
        check(Reach::World, false, NEVER);
    }

    #[test]
    fn a_server_on_a_lan_relays_to_the_lan() {
        check(Reach::Lan, true, WORLD);
        check(Reach::Lan, true, PRIVATE);
        check(Reach::Lan, false, LOOPBACK);
        check(Reach::Lan, false, NEVER);
    }

    #[test]
    fn only_a_server_of_this_computer_alone_relays_to_this_computer() {
        check(Reach::Loopback, true, LOOPBACK);
        check(Reach::Loopback, false, NEVER);
        let reach = |text: &str| Reach::of(text.parse().unwrap());
        assert_eq!(reach("127.0.0.1"), Reach::Loopback);
        assert_eq!((reach("192.168.7.7"), reach("fd00::7")), (Reach::Lan, Reach::Lan));
        assert_eq!((reach("198.51.100.1"), reach("2a00::1")), (Reach::World, Reach::World));
    }

    #[test]
    fn the_servers_own_services_are_out_of_reach() {
        for reach in [Reach::World, Reach::Lan, Reach::Loopback] {
            let targets = Targets::new(reach, [OWN.parse().unwrap()], |_| true);
            let bridge = "172.17.0.1".parse().unwrap();
            assert!(!targets.may_permit(bridge), "another address of this computer");
            for own in [OWN, "::ffff:198.51.100.1"] {
                let own: IpAddr = own.parse().unwrap();
                assert!(targets.may_permit(own), "another allocation may be there");
                assert!(!targets.may_send((own, 3478).into()), "{reach:?}");
            }
            assert!(!targets.may_send("203.0.113.5:53".parse().unwrap()), "nor DNS servers");
        }
    }
}
