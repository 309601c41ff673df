//! The load of the echo benchmarks: connections that send batches and wait for the echo, and what that costs a server.

#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONNECTIONS: usize = 32;
const WINDOW: Duration = Duration::from_millis(300);
pub(crate) const SIZES: [usize; 5] = [16, 125, 1024, 16 << 10, 64 << 10];
pub(crate) const DEPTHS: [usize; 2] = [1, 16];

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The 95 % interval of the median, by the order statistics of the binomial distribution.
pub(crate) fn interval(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let reach = 0.98 * n.sqrt();
    let low = (n / 2.0 - reach).floor().max(0.0) as usize;
    let high = ((n / 2.0 + reach).ceil() as usize).min(values.len() - 1);
    (values[low], values[high])
}

/// A server in a process of its own, on core 0.
pub(crate) struct Server {
    child: Child,
    address: String,
    is_websocket: bool,
}

impl Server {
    /// Starts a server that says on its first line where it listens.
    pub(crate) fn start(mut command: Command, is_websocket: bool) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self { child, address, is_websocket })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The CPU time that it has used, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let mut nanos = 0u64;
        let tasks = format!("/proc/{}/task", self.child.id());
        for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += stat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
        }
        nanos as f64 / 1e9
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        if self.is_websocket {
            stream.write_all(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Core 0 is the servers', core 1 the load's.
pub(crate) fn pinned(program: impl AsRef<std::ffi::OsStr>) -> Command {
    pinned_to("0", program)
}

/// A program on one core, where that can be had.
pub(crate) fn pinned_to(core: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let has_taskset = Command::new("taskset").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !has_taskset || std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// Connections that send and wait for the echo while they are let.
pub(crate) struct Load {
    messages: Arc<AtomicU64>,
    is_on: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(server: &Server, size: usize, depth: usize) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for _ in 0..CONNECTIONS {
            let socket = server.connect()?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let batch = masked_frame(size).repeat(depth);
        // An echo of ours isn't masked.
        let answer = batch.len() - if server.is_websocket { 4 * depth } else { 0 };
        let load = Self {
            messages: Arc::default(),
            is_on: Arc::default(),
            is_over: Arc::default(),
            thread: std::thread::spawn(|| {}),
        };
        let (messages, is_on, is_over) = (load.messages.clone(), load.is_on.clone(), load.is_over.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut tasks = Vec::new();
                for socket in sockets {
                    let talk = talk(
                        socket,
                        batch.clone(),
                        (answer, depth as u64),
                        messages.clone(),
                        (is_on.clone(), is_over.clone()),
                    );
                    tasks.push(tokio::spawn(talk));
                }
                for task in tasks {
                    task.await.expect("the load doesn't panic").expect("the server answers");
                }
            });
        });
        Ok(Self { thread, ..load })
    }

    /// The server's CPU time a message, in µs, over a window.
    pub(crate) fn window(&self, server: &Server) -> f64 {
        self.is_on.store(true, Ordering::Relaxed);
        std::thread::sleep(WINDOW / 6);
        let (cpu, messages) = (server.cpu(), self.messages.load(Ordering::Relaxed));
        std::thread::sleep(WINDOW);
        let (cpu, messages) = (server.cpu() - cpu, self.messages.load(Ordering::Relaxed) - messages);
        self.is_on.store(false, Ordering::Relaxed);
        std::thread::sleep(WINDOW / 10);
        assert!(messages > 0, "nothing was echoed: the server has ended the connections");
        cpu * 1e6 / messages as f64
    }

    pub(crate) fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

async fn talk(
    socket: TcpStream,
    batch: Vec<u8>,
    (answer, depth): (usize, u64),
    messages: Arc<AtomicU64>,
    (is_on, is_over): (Arc<AtomicBool>, Arc<AtomicBool>),
) -> io::Result<()> {
    let mut socket = tokio::net::TcpStream::from_std(socket)?;
    let mut buffer = vec![0; 256 << 10];
    while !is_over.load(Ordering::Relaxed) {
        if !is_on.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let (mut read, mut write) = socket.split();
        let send = write.write_all(&batch);
        let receive = async {
            let mut left = answer;
            while left > 0 {
                match read.read(&mut buffer).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    // A heartbeat's Ping is more than the echo: then the next batch is done so many bytes earlier.
                    len => left = left.saturating_sub(len),
                }
            }
            Ok(())
        };
        tokio::try_join!(send, receive)?;
        messages.fetch_add(depth, Ordering::Relaxed);
    }
    Ok(())
}

fn masked_frame(size: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match size {
        0..=125 => frame.push(0x80 | size as u8),
        126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((size as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((size as u64).to_be_bytes());
        }
    }
    frame.extend([1, 2, 3, 4]);
    frame.resize(frame.len() + size, 7);
    frame
}

/// The limit: reads and writes the same bytes, with a buffer as large as ours, so that it needs no more reads.
pub(crate) fn raw_server() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on tcp://{}", listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = vec![0; 128 << 10];
                while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..len]).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}
