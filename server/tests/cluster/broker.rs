//! A NATS server of the test's own.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No program takes longer to start, unless something is broken.
const START: Duration = Duration::from_secs(20);

/// A running broker; it is killed with this value.
pub struct Broker {
    child: Child,
    port: u16,
    options: Vec<String>,
}

impl Broker {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Another program may take the port in the moment between; then the next one is tried.
        for _ in 0..5 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            if let Some(child) = spawn(port, &options) {
                return Self { child, port, options };
            }
        }
        panic!("nats-server finds no port");
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// As `kill -9` does it.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// At the same place as before.
    pub fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + START;
        loop {
            if let Some(child) = spawn(self.port, &self.options) {
                self.child = child;
                return;
            }
            assert!(Instant::now() < deadline, "the broker's port is taken");
        }
    }

    /// Stops it without ending it, as a partition does, or lets it go on.
    #[cfg(unix)]
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "STOP" } else { "CONT" };
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Sends bytes to it as any program on the network could.
    pub fn inject(&self, lines: &[u8]) {
        let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        tcp.write_all(b"CONNECT {\"verbose\":false}\r\n").unwrap();
        tcp.write_all(lines).unwrap();
        tcp.write_all(b"PING\r\n").unwrap();
        // The answer shows that all before it was taken.
        let mut answer = Vec::new();
        while !answer.windows(4).any(|word| word == b"PONG") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut tcp, &mut byte).unwrap();
            answer.push(byte[0]);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, options: &[String]) -> Option<Child> {
    let program = ["/usr/sbin/nats-server", "/usr/bin/nats-server"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())
        .unwrap_or("nats-server");
    let mut child = Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server is installed (`./dev setup test` does it)");
    let deadline = Instant::now() + START;
    loop {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Some(child);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("nats-server does not answer");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
