//! The room's members and its publisher: a process of its own, on the core that the servers don't have.
//!
//! It is told on standard input how many messages to say at once and for how many milliseconds; when everybody has
//! heard them it says them again. Each such window is answered by a line: deliveries, and the median of their
//! latencies in nanoseconds.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::{HEARD_BYTES, NAME, masked, said};

/// How the room is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// By connecting.
    Raw,
    /// By a handshake and a name.
    Chat,
}

/// Nothing takes so long unless something is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long nobody may hear of anybody's coming before the first window.
const QUIET: Duration = Duration::from_secs(1);

/// So many come in together.
const COMING_AT_ONCE: usize = 500;

struct Members {
    poll: Poll,
    events: Events,
    sockets: Vec<mio::net::TcpStream>,
    buffer: Vec<u8>,
}

/// Comes in, and then does what standard input says.
pub(crate) fn run(address: &str, count: usize, door: Door) -> io::Result<()> {
    let mut members = Members {
        poll: Poll::new()?,
        events: Events::with_capacity(4_096),
        sockets: Vec::new(),
        buffer: vec![0; 256 << 10],
    };
    for first in (0..count).step_by(COMING_AT_ONCE) {
        let mut newcomers = Vec::new();
        for _ in first..count.min(first + COMING_AT_ONCE) {
            newcomers.push(enter(address, door)?);
            members.hear(Duration::ZERO, |_, _| {})?;
        }
        // All names together: a server may tell of many who come at once.
        for (number, mut socket) in (first..).zip(newcomers) {
            if door == Door::Chat {
                socket.write_all(&masked(format!("m{number}").as_bytes()))?;
            }
            members.add(socket)?;
        }
    }
    let mut publisher = enter(address, door)?;
    if door == Door::Chat {
        publisher.write_all(&masked(NAME.as_bytes()))?;
        // What it hears itself, its welcome that is, stays where it is.
    }
    while members.hear(QUIET, |_, _| {})? > 0 {}
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (burst, millis) = line.split_once(' ').ok_or(ErrorKind::InvalidInput)?;
        let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
        let (deliveries, median) = members.window(
            &mut publisher,
            number(burst)? as usize,
            Duration::from_millis(number(millis)?),
        )?;
        println!("{deliveries} {}", median.as_nanos());
    }
    Ok(())
}

fn enter(address: &str, door: Door) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    if door == Door::Chat {
        stream.write_all(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
    }
    Ok(stream)
}

impl Members {
    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut socket = mio::net::TcpStream::from_std(stream);
        let token = Token(self.sockets.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        self.sockets.push(socket);
        Ok(())
    }

    /// Says bursts for a while, each when all have heard the one before.
    fn window(
        &mut self,
        publisher: &mut TcpStream,
        burst: usize,
        duration: Duration,
    ) -> io::Result<(usize, Duration)> {
        let burst_bytes = said().repeat(burst);
        let expected = self.sockets.len() * burst * HEARD_BYTES;
        let mut latencies = Vec::new();
        let start = Instant::now();
        while start.elapsed() < duration {
            let mut heard = vec![0; self.sockets.len()];
            let mut all = 0;
            let sent = Instant::now();
            publisher.write_all(&burst_bytes)?;
            while all < expected {
                let more = self.hear(PATIENCE, |member, len| {
                    let latency = sent.elapsed();
                    let before = heard[member] / HEARD_BYTES;
                    heard[member] += len;
                    let messages = heard[member] / HEARD_BYTES - before;
                    latencies.extend(std::iter::repeat_n(latency, messages));
                })?;
                if more == 0 {
                    return Err(io::Error::other(format!("{all} of {expected} bytes came: some were lost")));
                }
                all += more;
            }
        }
        let deliveries = latencies.len();
        let (_, median, _) = latencies.select_nth_unstable(deliveries / 2);
        Ok((deliveries, *median))
    }

    /// Reads what has come, or comes within `patience`; how many bytes.
    fn hear(&mut self, patience: Duration, mut each: impl FnMut(usize, usize)) -> io::Result<usize> {
        self.poll.poll(&mut self.events, Some(patience))?;
        let mut all = 0;
        for event in &self.events {
            let Token(member) = event.token();
            loop {
                match self.sockets[member].read(&mut self.buffer) {
                    Ok(0) => return Err(io::Error::other("the server closed a connection")),
                    Ok(len) => {
                        each(member, len);
                        all += len;
                        // Less than there was room for: whatever comes later is an event of its own.
                        if len < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(all)
    }
}
