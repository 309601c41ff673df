//! Where the load goes, and by which connections.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue};
use tokio::net::{TcpSocket, TcpStream};

use crate::cli::connect::parse_header;
use crate::handshake::Url;
use crate::net::{Config, Connector, Error, Timeout, Timeouts, WebSocket};

/// What every benchmark asks about its connections.
#[derive(Args)]
pub(super) struct Target {
    /// The server, such as ws://127.0.0.1:9001
    #[arg(value_parser = parse_url)]
    pub(super) url: String,
    /// Another header field for each request, as 'Name: value'
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A subprotocol to offer, the preferred one first
    #[arg(long = "subprotocol", value_name = "PROTOCOL")]
    subprotocols: Vec<String>,
    /// Offer permessage-deflate
    #[arg(long)]
    deflate: bool,
    /// Local addresses to connect from in turn, such as 127.0.1.1-64: each has some 28,000 ports
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', value_parser = parse_source)]
    source: Vec<Source>,
    /// How many threads make the load; one a core without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Write one JSON object instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

impl Target {
    pub(super) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }
}

/// Says what is wrong with a URL before anything is connected.
fn parse_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{error}; write it like ws://127.0.0.1:9001 or ws://example.com/path"))?;
    if url.is_secure() {
        return Err(Error::NoTls.to_string());
    }
    Ok(text.to_owned())
}

/// One local address, or several that differ in the last number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source(Vec<IpAddr>);

/// Reads `127.0.1.1`, `127.0.1.1-64` or `::1`.
fn parse_source(text: &str) -> Result<Source, String> {
    let explain =
        || format!("{text:?} is no local address: write one like 127.0.1.1, or several like 127.0.1.1-64");
    let Some((first, last)) = text.split_once('-') else {
        return Ok(Source(vec![text.parse().map_err(|_| explain())?]));
    };
    let [a, b, c, first] = first.parse::<std::net::Ipv4Addr>().map_err(|_| explain())?.octets();
    let last: u8 = last.parse().map_err(|_| explain())?;
    if last < first {
        return Err(explain());
    }
    Ok(Source((first..=last).map(|last| IpAddr::from([a, b, c, last])).collect()))
}

/// What makes the connections.
#[derive(Debug)]
pub(super) struct Dialer {
    connector: Connector,
    url: String,
    addresses: Vec<SocketAddr>,
    sources: Vec<IpAddr>,
    next_source: AtomicUsize,
}

/// From the first packet to the end of the opening handshake, of which the second half is the library's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Dialer {
    /// Resolves the name of the server, once for all connections.
    pub(super) fn new(target: &Target) -> Result<Self, String> {
        let url = Url::parse(&target.url).map_err(|error| error.to_string())?;
        let addresses: Vec<_> = (url.host(), url.port())
            .to_socket_addrs()
            .map_err(|error| {
                format!("the address of {} can't be found: {error}; check the URL's host", url.host())
            })?
            .collect();
        let mut config = Config { subprotocols: target.subprotocols.clone(), ..Config::default() };
        config.headers.extend(target.headers.iter().cloned());
        config.deflate = config.deflate.filter(|_| target.deflate);
        // Nothing goes out but the load, and a server may stall as long as it likes: that is measured.
        config.timeouts =
            Timeouts { handshake: Some(CONNECT_TIMEOUT), close: Some(CLOSE_TIMEOUT), ..Timeouts::none() };
        let sources = target.source.iter().flat_map(|source| source.0.iter().copied()).collect();
        Ok(Self {
            connector: Connector::new(config),
            url: target.url.clone(),
            addresses,
            sources,
            next_source: AtomicUsize::new(0),
        })
    }

    /// Asks for another path of the same server.
    pub(super) fn set_url(&mut self, url: String) {
        self.url = url;
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<WebSocket, Error> {
        let stream =
            tokio::time::timeout(CONNECT_TIMEOUT, self.dial()).await.map_err(|_| Timeout::Handshake)??;
        Ok(self.connector.connect_on(&self.url, stream).await?.0)
    }

    /// Tries the server's addresses in turn.
    async fn dial(&self) -> std::io::Result<TcpStream> {
        let mut failed = std::io::ErrorKind::AddrNotAvailable.into();
        for &address in &self.addresses {
            match self.dial_one(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn dial_one(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        if self.sources.is_empty() {
            return TcpStream::connect(address).await;
        }
        let at = self.next_source.fetch_add(1, Ordering::Relaxed) % self.sources.len();
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(self.sources[at], 0))?;
        socket.connect(address).await
    }
}

/// How long a server may take to answer our Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_addresses_and_ranges_of_them() {
        let addresses = |text| parse_source(text).map(|source| source.0.len());
        assert_eq!(addresses("127.0.1.1"), Ok(1));
        assert_eq!(addresses("127.0.1.1-64"), Ok(64));
        assert_eq!(addresses("::1"), Ok(1));
        assert_eq!(parse_source("127.0.1.254-255").unwrap().0[1], IpAddr::from([127, 0, 1, 255]));
        for wrong in ["", "127.0.1", "127.0.1.5-4", "127.0.1.5-256", "::1-5", "localhost"] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }
}
