//! What an idle connection costs the server in memory: ours against a raw tokio TCP echo.
//!
//! `cargo bench --bench idle --features cli`. Each server is a process with one thread. Up to 10,000 connections, as
//! many as the limit of open files allows, echo one message each and stay. Printed is the server's private memory
//! (Linux counts it) a connection, by the difference between the first 500 and all of them: ours without and with
//! permessage-deflate, and beside it the raw echo, whose tasks hold 512 bytes each to read into. The kernel's
//! memory isn't in it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
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
        if std::env::var_os("IDLE_LIFTED").is_none() {
            let status = again_with_more_files()?;
            std::process::exit(status.code().unwrap_or(1));
        }
        (FIRST, MAX_CONNECTIONS.min(max_files()?.saturating_sub(OTHER_FILES)).max(2 * FIRST))
    };
    println!("{connections} connections, bytes each:");
    for kind in [Kind::Plain, Kind::Deflate, Kind::Raw] {
        println!("{:>24}  {:.0}", kind.name(), bytes_each(kind, first, connections)?);
    }
    Ok(())
}

/// Runs this once more, with as many open files as the system lets us have.
fn again_with_more_files() -> io::Result<ExitStatus> {
    Command::new("sh")
        .args(["-c", "ulimit -S -n \"$(ulimit -H -n)\" && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("IDLE_LIFTED", "1")
        .status()
}

/// How many files this process may open.
fn max_files() -> io::Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    // Else it is `unlimited`.
    Ok(soft.and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX))
}

/// What the server is, and what is agreed on with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Deflate,
    Raw,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "switchboard",
            Self::Deflate => "with permessage-deflate",
            Self::Raw => "raw echo",
        }
    }
}

/// What the server holds for each of the connections that come after the `first`.
fn bytes_each(kind: Kind, first: usize, connections: usize) -> io::Result<f64> {
    let server = Server::start(kind)?;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..first {
        open.push(server.connect()?);
    }
    std::thread::sleep(REST);
    let before = server.private_bytes()?;
    for _ in first..connections {
        open.push(server.connect()?);
    }
    std::thread::sleep(REST);
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
            command.args(["echo", "--listen", "127.0.0.1:0", "--threads", "1"]);
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

    /// A connection that has echoed one message.
    fn connect(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        if self.kind == Kind::Raw {
            stream.write_all(&MESSAGE)?;
            stream.read_exact(&mut MESSAGE.clone())?;
            return Ok(stream);
        }
        let offer = match self.kind {
            Kind::Deflate => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            _ => "",
        };
        // One write: what follows a first one would wait for its acknowledgement.
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
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
        assert_eq!(was_accepted, self.kind == Kind::Deflate, "it does what is measured");
        // A mask of zeros changes nothing.
        stream.write_all(&[&[0x82, 0x80 | MESSAGE.len() as u8, 0, 0, 0, 0], &MESSAGE[..]].concat())?;
        let mut header = [0; 2];
        stream.read_exact(&mut header)?;
        stream.read_exact(&mut vec![0; usize::from(header[1])])?;
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
