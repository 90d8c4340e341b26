//! Whether a socket on this computer belongs to this process.

use std::net::SocketAddr;

/// Whether this process has a UDP socket with that port. Where the system does not tell, any
/// socket on this computer counts: it can't use a relay without our credentials anyway.
pub(super) fn is_ours(source: SocketAddr) -> bool {
    is_ours_by_inode(source).unwrap_or(true)
}

/// Linux lists all UDP sockets with their inodes, and each process's files (proc(5)).
#[cfg(target_os = "linux")]
fn is_ours_by_inode(source: SocketAddr) -> Option<bool> {
    let table = std::fs::read_to_string("/proc/self/net/udp").ok()?;
    let inodes: Vec<&str> = table.lines().skip(1).filter_map(|line| inode(line, source)).collect();
    let files = std::fs::read_dir("/proc/self/fd").ok()?;
    let links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    let mut links = links.filter_map(|link| link.to_str().map(str::to_owned));
    Some(links.any(|link| {
        let own = link.strip_prefix("socket:[").and_then(|link| link.strip_suffix(']'));
        own.is_some_and(|own| inodes.contains(&own))
    }))
}

#[cfg(not(target_os = "linux"))]
fn is_ours_by_inode(_: SocketAddr) -> Option<bool> {
    None
}

/// The inode of the socket in this line, if it has that port.
#[cfg(target_os = "linux")]
fn inode(line: &str, source: SocketAddr) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.split_once(':')?;
    let is_it = u16::from_str_radix(port, 16).ok()? == source.port();
    fields.nth(7).filter(|_| is_it)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn our_own_sockets_are_known() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(is_ours(socket.local_addr().unwrap()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn sockets_of_nobody_are_not_ours() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        assert!(!is_ours(address));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_of_the_table_is_read() {
        let line = " 2391: 0100007F:0CE4 00000000:0000 07 00000000:00000000 00:00000000 00000000   \
                    997        0 21364 2 0000000000000000 0";
        assert_eq!(inode(line, "127.0.0.1:3300".parse().unwrap()), Some("21364"));
        assert_eq!(inode(line, "127.0.0.1:3301".parse().unwrap()), None);
        assert_eq!(inode("junk", "127.0.0.1:3300".parse().unwrap()), None);
    }
}
