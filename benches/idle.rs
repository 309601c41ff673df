//! What an idle connection costs the server in memory: ours against a raw tokio TCP echo.
//!
//! `cargo bench --bench idle --features cli`. Each server is a process with one thread. Up to 10,000 connections, as
//! many as the limit of open files allows, echo one message each and stay. Printed is the server's private memory
//! (Linux counts it) a connection, by the difference between the first 500 and all of them: ours without and with
//! permessage-deflate, and beside it the raw echo, whose tasks hold 512 bytes each to read into. Last come members of
//! the chat, a hundred a room, who negotiated permessage-deflate, gave a name and said one thing: they are weighed
//! when nothing has happened for 30 s. The kernel's memory isn't in any of it. `IDLE_KINDS=member` chooses.

#[path = "load/files.rs"]
mod files;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The raw echo has the same allocator.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MAX_CONNECTIONS: usize = 10_000;

/// Those that come before the first look: by then whatever the server holds only once is there.
const FIRST: usize = 500;

/// Files that either process opens besides its connections, generously.
const OTHER_FILES: usize = 100;

/// How long a server has to come to rest.
const REST: Duration = Duration::from_secs(1);

/// How long a member of the chat has said nothing.
const MEMBERS_REST: Duration = Duration::from_secs(30);

/// Every member is told of everybody who comes after it.
const MEMBERS_A_ROOM: usize = 100;

/// What each connection echoes.
const MESSAGE: [u8; 125] = [7; 125];

/// What the raw echo's tasks read into.
const RAW_BUFFER_BYTES: usize = 512;

fn main() -> io::Result<()> {
    if !cfg!(target_os = "linux") {
        println!("what a process holds for itself alone is read from Linux's /proc");
        return Ok(());
    }
    if std::env::var_os("IDLE_RAW_SERVER").is_some() {
        return raw_server();
    }
    // `cargo test --benches` only checks that it runs.
    let is_check = !std::env::args().any(|arg| arg == "--bench");
    let (first, connections) = if is_check {
        (10, 50)
    } else {
        if std::env::var_os(files::LIFTED).is_none() {
            let status = files::again_with_more()?;
            std::process::exit(status.code().unwrap_or(1));
        }
        (FIRST, MAX_CONNECTIONS.min(files::most()?.saturating_sub(OTHER_FILES)).max(2 * FIRST))
    };
    println!("{connections} connections, bytes each:");
    let chosen = std::env::var("IDLE_KINDS").ok();
    for kind in [Kind::Plain, Kind::Deflate, Kind::Raw, Kind::Member] {
        if chosen.as_ref().is_none_or(|chosen| kind.name().contains(chosen.as_str())) {
            let rest = if kind == Kind::Member && !is_check { MEMBERS_REST } else { REST };
            println!("{:>24}  {:.0}", kind.name(), bytes_each(kind, first, connections, rest)?);
        }
    }
    Ok(())
}

/// What the server is, and what is agreed on with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Deflate,
    Raw,
    Member,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "switchboard",
            Self::Deflate => "with permessage-deflate",
            Self::Raw => "raw echo",
            Self::Member => "a member of the chat",
        }
    }
}

/// What the server holds for each of the connections that come after the `first`.
fn bytes_each(kind: Kind, first: usize, connections: usize, rest: Duration) -> io::Result<f64> {
    let server = Server::start(kind)?;
    let mut open = Vec::with_capacity(connections);
    for number in 0..first {
        open.push(server.connect(number)?);
    }
    std::thread::sleep(rest);
    let before = server.private_bytes()?;
    for number in first..connections {
        open.push(server.connect(number)?);
    }
    std::thread::sleep(rest);
    let after = server.private_bytes()?;
    Ok((after as f64 - before as f64) / (connections - first) as f64)
}

/// A server in a process of its own.
struct Server {
    child: Child,
    address: String,
    kind: Kind,
}

impl Server {
    fn start(kind: Kind) -> io::Result<Self> {
        let mut command = if kind == Kind::Raw {
            let mut command = Command::new(std::env::current_exe()?);
            command.env("IDLE_RAW_SERVER", "1");
            command
        } else {
            let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
            command.arg(if kind == Kind::Member { "chat" } else { "echo" }).stderr(Stdio::null());
            command.args(["--listen", "127.0.0.1:0", "--threads", "1"]);
            command
        };
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self { child, address, kind })
    }

    /// The memory that is this process's alone.
    fn private_bytes(&self) -> io::Result<u64> {
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let kib =
            maps.lines().find_map(|line| line.strip_prefix("Private_Dirty:")?.split_whitespace().next());
        let kib: Option<u64> = kib.and_then(|kib| kib.parse().ok());
        Ok(1024 * kib.ok_or_else(|| io::Error::other("no Private_Dirty in smaps_rollup"))?)
    }

    /// A connection that has echoed one message, or has said it in its room.
    fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        if self.kind == Kind::Raw {
            stream.write_all(&MESSAGE)?;
            stream.read_exact(&mut MESSAGE.clone())?;
            return Ok(stream);
        }
        let offer = match self.kind {
            Kind::Deflate | Kind::Member => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            _ => "",
        };
        // One write: what follows a first one would wait for its acknowledgement.
        let path = match self.kind {
            Kind::Member => format!("/rooms/r{}", number / MEMBERS_A_ROOM),
            _ => "/".to_owned(),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let was_accepted = head.windows(18).any(|window| window == b"permessage-deflate");
        assert_eq!(was_accepted, !offer.is_empty(), "it does what is measured");
        let (first_byte, said) = match self.kind {
            Kind::Member => (0x81, format!("member{number}").into_bytes()),
            _ => (0x82, MESSAGE.to_vec()),
        };
        // A mask of zeros changes nothing.
        let frame =
            |payload: &[u8]| [&[first_byte, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat();
        stream.write_all(&frame(&said))?;
        let mut header = [0; 2];
        stream.read_exact(&mut header)?;
        let mut answer = vec![0; usize::from(header[1])];
        stream.read_exact(&mut answer)?;
        if self.kind == Kind::Member {
            // Small messages aren't compressed.
            assert!(answer.starts_with(b"Welcome, "), "it is in");
            stream.write_all(&frame(b"hello, everybody who is here"))?;
        }
        Ok(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The limit's neighbour: what tokio needs for a connection, and a small buffer.
fn raw_server() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on tcp://{}", listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = [0; RAW_BUFFER_BYTES];
                while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..len]).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}
