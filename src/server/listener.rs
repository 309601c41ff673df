//! Listening: a socket that takes a crowd at once, and an accept loop that nothing stops.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// How many connections the kernel may hold until they are accepted.
const BACKLOG: i32 = 4096;

/// How long to wait when there is no file descriptor left for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens on `address`.
///
/// # Errors
///
/// What the system says, most often that the port is in use.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(cfg!(unix))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection. A connection that fails, or a lack of file descriptors, doesn't end the listening.
///
/// # Cancel safety
///
/// No connection is lost if it is dropped before it is ready.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted at the moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Stops listening, and returns whoever is in the backlog: they were let in and wait for an answer.
pub fn close(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut backlog = Vec::new();
    // Asked directly: tokio may not have heard of the last ones yet.
    let Ok(listener) = listener.into_std() else { return backlog };
    // Bounded: others may come as fast as these are taken.
    while backlog.len() < BACKLOG as usize {
        match listener.accept() {
            Ok((stream, peer)) => {
                let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                backlog.extend(stream.map(|stream| (stream, peer)));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => break,
        }
    }
    backlog
}

/// Whether the error is that of a connection which ended before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
