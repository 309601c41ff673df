//! `switchboard echo`: sends every message back.
//!
//! It is the public `recv`/`send` loop and nothing else, so that what is measured is what users write.

use bytes::{BufMut, BytesMut};
use tokio::net::TcpListener;

use crate::net::{Acceptor, Error, WebSocket};
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
            match acceptor.accept(stream).await {
                // Tasks of their own, so that an idle connection keeps no room for its handshake. How a
                // connection ends is its peer's business: echo has nothing to do about it.
                Ok(ws) => match prefix {
                    None => drop(tokio::spawn(echo(ws))),
                    Some(prefix) => drop(tokio::spawn(echo_with(ws, prefix))),
                },
                Err(error) => tracing::debug!(%peer, %error, "a handshake failed"),
            }
        });
    }
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` would keep `ws` twice")]
fn echo(mut ws: WebSocket) -> impl Future<Output = Result<(), Error>> + Send {
    async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    }
}

async fn echo_with(mut ws: WebSocket, prefix: Utf8Bytes) -> Result<(), Error> {
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
