//! The chat server that tutorials build: tokio-tungstenite, and tokio's broadcast channel.
//!
//! One subscription and one task a client; every client formats every text for itself. It says on its first line where
//! it listens. Nobody is told of comings and goings here: telling everybody of everybody would take it minutes before
//! anything could be measured.

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The allocator of our binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How far a client may be behind before it misses something.
const CAPACITY: usize = 1_024;

/// Who said what.
type Said = (String, String);

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener: TcpListener = socket.listen(4_096)?;
        println!("listening on ws://{}", listener.local_addr()?);
        let (room, _) = broadcast::channel::<Said>(CAPACITY);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(client(stream, room.clone()));
        }
    })
}

async fn client(stream: TcpStream, room: broadcast::Sender<Said>) -> Result<(), Error> {
    let (mut sink, mut messages) = tokio_tungstenite::accept_async(stream).await?.split();
    let Some(Message::Text(name)) = messages.next().await.transpose()? else { return Ok(()) };
    let name = name.to_string();
    let mut others = room.subscribe();
    sink.send(Message::text(format!("Welcome, {name}!"))).await?;
    loop {
        tokio::select! {
            message = messages.next() => match message.transpose()? {
                Some(Message::Text(text)) => {
                    // Nobody may be there.
                    let _ = room.send((name.clone(), text.to_string()));
                }
                Some(_) => {}
                None => return Ok(()),
            },
            said = others.recv() => match said {
                Ok((from, text)) if from != name => sink.send(Message::text(format!("[{from}] {text}"))).await?,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}
