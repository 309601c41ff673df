//! What an echoed message costs a server on each of several WebSocket libraries, ours among them.
//!
//! `cargo run --release` here. Each server is a process of its own: one thread, one core, the same runtime, the same
//! allocator, and the loop that its library's documentation shows, without compression. A window of each and one of a
//! raw TCP echo are measured in turn; the median ratios of CPU time a message are printed. `PEERS_ROUNDS` and
//! `PEERS_CELLS` (`16x1,125x16`: bytes x depth) change what is measured. `peers serve NAME` is one of the servers.

#[path = "../../load/mod.rs"]
mod load;

use std::io;

use futures_util::{SinkExt, StreamExt};
use load::{DEPTHS, Load, SIZES, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NAMES: [&str; 6] =
    ["switchboard", "fastwebsockets", "tokio-websockets", "sockudo-ws", "yawc", "tokio-tungstenite"];

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", "raw"] => load::raw_server(),
        ["serve", name] => serve(name),
        _ => compare(),
    }
}

fn compare() -> io::Result<()> {
    let rounds = std::env::var("PEERS_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let chosen = std::env::var("PEERS_CELLS").ok();
    let raw = start("raw")?;
    let servers = NAMES.iter().map(|name| start(name)).collect::<io::Result<Vec<_>>>()?;
    println!("| bytes × depth | {} |", NAMES.join(" | "));
    println!("|---|{}", "--:|".repeat(NAMES.len()));
    for size in SIZES {
        for depth in DEPTHS {
            let cell = format!("{size}x{depth}");
            if chosen.as_ref().is_none_or(|chosen| chosen.split(',').any(|name| name == cell)) {
                let ratios = measure(&raw, &servers, size, depth, rounds)?;
                println!("| {size} × {depth} | {} |", ratios.join(" | "));
            }
        }
    }
    Ok(())
}

fn start(name: &str) -> io::Result<Server> {
    let mut command = load::pinned(std::env::current_exe()?);
    command.args(["serve", name]);
    Server::start(command, name != "raw")
}

/// The ratios to the raw echo, one a server, each with its 95 % interval.
fn measure(
    raw: &Server,
    servers: &[Server],
    size: usize,
    depth: usize,
    rounds: usize,
) -> io::Result<Vec<String>> {
    let raw_load = Load::start(raw, size, depth)?;
    let loads =
        servers.iter().map(|server| Load::start(server, size, depth)).collect::<io::Result<Vec<_>>>()?;
    let mut ratios = vec![Vec::new(); servers.len()];
    for round in 0..rounds {
        let raw_cost = raw_load.window(raw);
        // Every other round goes the other way round.
        let order: Vec<usize> =
            if round % 2 == 0 { (0..servers.len()).collect() } else { (0..servers.len()).rev().collect() };
        for at in order {
            ratios[at].push(loads[at].window(&servers[at]) / raw_cost);
        }
    }
    raw_load.stop();
    loads.into_iter().for_each(Load::stop);
    Ok(ratios
        .into_iter()
        .map(|mut ratios| {
            let (low, high) = load::interval(&mut ratios);
            format!("{:.2} ({low:.2}–{high:.2})", load::median(&mut ratios))
        })
        .collect())
}

fn serve(name: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on ws://{}", listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            shake_hands(&mut stream).await?;
            match name {
                "switchboard" => drop(tokio::spawn(switchboard(stream))),
                "fastwebsockets" => drop(tokio::spawn(fastwebsockets(stream))),
                "tokio-websockets" => drop(tokio::spawn(tokio_websockets(stream))),
                "sockudo-ws" => drop(tokio::spawn(sockudo_ws(stream))),
                "yawc" => drop(tokio::spawn(yawc(stream))),
                "tokio-tungstenite" => drop(tokio::spawn(tokio_tungstenite(stream))),
                _ => return Err(io::Error::other(format!("there is no server {name:?}: {NAMES:?}"))),
            }
        }
    })
}

/// The same handshake for all: the load always sends the RFC's sample key.
async fn shake_hands(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    stream
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .await
}

async fn switchboard(stream: TcpStream) -> Result<(), Failed> {
    use switchboard::{Config, Role, WebSocket};
    let mut config = Config::default();
    // The load answers no Ping while it is the others' turn, which can be long.
    config.timeouts.silence = None;
    let mut ws = WebSocket::from_parts(stream, Role::Server, Default::default(), &config, Vec::new())?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn fastwebsockets(stream: TcpStream) -> Result<(), Failed> {
    use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
    let mut ws = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn tokio_websockets(stream: TcpStream) -> Result<(), Failed> {
    let mut ws = tokio_websockets::ServerBuilder::new().serve(stream);
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}

async fn sockudo_ws(stream: TcpStream) -> Result<(), Failed> {
    use sockudo_ws::protocol::Message;
    let mut ws = sockudo_ws::WebSocketStream::server(stream, sockudo_ws::Config::default());
    while let Some(message) = ws.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => ws.send(message).await?,
            Message::Close(_) => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

async fn yawc(stream: TcpStream) -> Result<(), Failed> {
    use yawc::{OpCode, Options, Role, WebSocket};
    let mut ws = WebSocket::from_stream(stream, Role::Server, Options::default())?;
    while let Some(frame) = ws.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            ws.send(frame).await?;
        }
    }
    Ok(())
}

async fn tokio_tungstenite(stream: TcpStream) -> Result<(), Failed> {
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
    let mut ws = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(message) = ws.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}
