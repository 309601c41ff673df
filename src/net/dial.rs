//! A TCP connection to a host that may have several addresses: both families are raced (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long an attempt is alone before the next address is tried too (RFC 8305 §8).
const STAGGER: Duration = Duration::from_millis(250);

/// Whether a runtime has time to stagger attempts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempts {
    /// One after the other, each a little after the one before, whichever connects first.
    Raced,
    /// One after the other, each when the one before has failed.
    InTurn,
}

/// Connects to `host`, whichever of its addresses answers first.
///
/// # Errors
///
/// What the last attempt failed with, or that the name has no address.
///
/// # Cancel safety
///
/// Dropped before it is ready it gives up all attempts.
pub(super) async fn dial(host: &str, port: u16, attempts: Attempts) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host, port)).await?.collect();
    race(interleaved(addresses), attempts).await
}

async fn race(addresses: Vec<SocketAddr>, attempts: Attempts) -> io::Result<TcpStream> {
    // Dropped it aborts whoever came second.
    let mut running = JoinSet::new();
    let mut addresses = addresses.into_iter().peekable();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    loop {
        if let Some(address) = addresses.next() {
            running.spawn(TcpStream::connect(address));
        }
        let ended = if attempts == Attempts::Raced && addresses.peek().is_some() {
            let Ok(ended) = tokio::time::timeout(STAGGER, running.join_next()).await else { continue };
            ended
        } else {
            running.join_next().await
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failed = error,
            Some(Err(error)) => failed = io::Error::other(error),
            None => return Err(failed),
        }
    }
}

/// The system's order, but the families by turns (RFC 8305 §4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    while first.len() + second.len() > 0 {
        all.extend(first.next());
        all.extend(second.next());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let sorted = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(address).to_vec();
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(address);
        assert_eq!(interleaved(sorted), expected);
        assert!(interleaved(Vec::new()).is_empty());
    }

    async fn listen() -> (tokio::net::TcpListener, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_over() {
        let (gone, refusing) = listen().await;
        drop(gone);
        let (_listener, live) = listen().await;
        for attempts in [Attempts::Raced, Attempts::InTurn] {
            let stream = race(vec![refusing, live], attempts).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), live);
        }
        assert!(race(vec![refusing, refusing], Attempts::Raced).await.is_err());
        assert_eq!(race(Vec::new(), Attempts::Raced).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// Its queue is full, so the system answers nothing to whoever tries to connect.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_says_nothing_holds_nobody_up() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let silent = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queue = JoinSet::new();
        for _ in 0..4 {
            queue.spawn(TcpStream::connect(silent));
        }
        let _in_queue = queue.join_next().await.unwrap().unwrap().unwrap();
        let (_listener, live) = listen().await;
        let stream = race(vec![silent, live], Attempts::Raced).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
    }
}
