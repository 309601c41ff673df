//! `switchboard echo`: sends every message back.
//!
//! It is the public `recv`/`send` loop and nothing else, so that what is measured is what users write.

use bytes::{BufMut, BytesMut};
use tokio::net::{TcpListener, TcpStream};

use crate::net::{Acceptor, Error};
use crate::proto::{Message, Utf8Bytes};

use super::listener::accept;

/// Echoes on every connection of `listener`, each text with `prefix` in front.
///
/// # Cancel safety
///
/// Dropped it stops listening; the connections go on.
pub async fn serve(listener: TcpListener, acceptor: Acceptor, prefix: Option<Utf8Bytes>) {
    loop {
        let (stream, peer) = accept(&listener).await;
        let acceptor = acceptor.clone();
        let prefix = prefix.clone();
        tokio::spawn(async move {
            let ended = match prefix {
                None => echo(stream, acceptor).await,
                Some(prefix) => echo_with(stream, acceptor, &prefix).await,
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended");
            }
        });
    }
}

async fn echo(stream: TcpStream, acceptor: Acceptor) -> Result<(), Error> {
    let mut ws = acceptor.accept(stream).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn echo_with(stream: TcpStream, acceptor: Acceptor, prefix: &str) -> Result<(), Error> {
    let mut ws = acceptor.accept(stream).await?;
    while let Some(message) = ws.recv().await? {
        let answer = match message {
            Message::Text(text) => Message::text(format!("{prefix}{text}")),
            Message::Binary(bytes) => {
                let mut answer = BytesMut::with_capacity(prefix.len() + bytes.len());
                answer.put_slice(prefix.as_bytes());
                answer.put(bytes);
                Message::binary(answer.freeze())
            }
        };
        ws.send(answer).await?;
    }
    Ok(())
}
