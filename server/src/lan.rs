//! What this computer is called by others in its network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses from which this computer reaches the rest of the world, one of each family at
/// most. Nothing is sent: connecting a UDP socket only asks the routing table.
#[must_use]
pub fn addresses() -> Vec<IpAddr> {
    let families: [(IpAddr, IpAddr); 2] = [
        // Addresses set aside for documentation (RFC 5737, RFC 3849).
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let own = families.into_iter().filter_map(|(any, world)| {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(SocketAddr::new(world, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    own.filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

/// The computer's name and that name with `.local`, as far as they are host names.
#[must_use]
pub fn host_names() -> Vec<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .ok()
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if !is_host_name(&name) || name == "localhost" {
        return Vec::new();
    }
    if name.contains('.') { vec![name] } else { vec![format!("{name}.local"), name] }
}

fn is_host_name(name: &str) -> bool {
    let is_odd = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    name.len() <= 200 && name.split('.').all(|label| !label.is_empty() && !label.contains(is_odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_for_others_are_never_this_computer_itself() {
        assert!(addresses().iter().all(|address| !address.is_loopback()));
        assert!(host_names().iter().all(|name| is_host_name(name)));
    }

    #[test]
    fn odd_names_are_not_put_into_certificates() {
        for name in ["", ".", "a..b", "a_b", "a b", "ä", "a/b"] {
            assert!(!is_host_name(name), "{name}");
        }
        assert!(is_host_name("meet-1.example"));
    }
}
