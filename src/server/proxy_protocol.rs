//! The PROXY protocol, versions 1 and 2: what a TCP proxy writes in front of a connection to say whose it is.
//!
//! Only bytes of the header are ever read from the stream, so whatever follows it (TLS or HTTP) is still there, and the
//! stream is still the one that it was. Type-length-value fields are read past; their checksum isn't looked at.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The proxy's own, such as a health check, or somebody's whom it doesn't know: the socket's address holds.
    Local,
    /// A client's.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// The address that it connected to.
        destination: SocketAddr,
    },
}

/// Reads one header as its bytes come.
#[derive(Debug, Default)]
pub struct Reader {
    /// At most `MAX_V1_BYTES` or `MAX_V2_BYTES`.
    header: Vec<u8>,
}

/// The longest line of version 1, CR LF included.
const MAX_V1_BYTES: usize = 107;

/// The longest header of version 2 that is taken: addresses of any kind, and some TLVs.
const MAX_V2_BYTES: usize = 536;

const V1: &[u8] = b"PROXY ";
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const V2_HEAD_BYTES: usize = 16;

impl Reader {
    /// How many more bytes certainly belong to the header; reading no more leaves what follows it alone.
    pub fn wanted(&self) -> usize {
        let len = self.header.len();
        if len < V2.len() {
            // No header is shorter than that.
            return V2.len() - len;
        }
        if self.header.starts_with(V1) {
            let least = if self.header.ends_with(b"\r") { 1 } else { 2 };
            return least.min(MAX_V1_BYTES.saturating_sub(len));
        }
        match self.header.get(14..V2_HEAD_BYTES) {
            Some(&[high, low]) => V2_HEAD_BYTES + usize::from(u16::from_be_bytes([high, low])) - len,
            _ => V2_HEAD_BYTES - len,
        }
    }

    /// Takes the header's bytes from the front of `input`, and returns what it says once it is complete.
    ///
    /// `Ok(None)` means that all of `input` was taken.
    ///
    /// # Errors
    ///
    /// [`ProxyError`], after which nothing more can be read.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
        while !input.is_empty() {
            let (taken, rest) = input.split_at(self.wanted().min(input.len()));
            *input = rest;
            self.header.extend_from_slice(taken);
            if let Some(header) = self.parse()? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn parse(&self) -> Result<Option<ProxyHeader>, ProxyError> {
        let begins = |with: &[u8]| self.header.iter().zip(with).all(|(byte, expected)| byte == expected);
        if begins(V1) {
            return self.parse_line();
        }
        if !begins(V2) {
            return Err(ProxyError::NotProxy);
        }
        if self.header.len() < V2_HEAD_BYTES {
            return Ok(None);
        }
        match self.wanted() {
            wanted if self.header.len() + wanted > MAX_V2_BYTES => Err(ProxyError::TooLong),
            0 => parse_v2(&self.header).map(Some),
            _ => Ok(None),
        }
    }

    /// Version 1: a line that ends with its first CR and LF.
    fn parse_line(&self) -> Result<Option<ProxyHeader>, ProxyError> {
        let place = |wanted| self.header.iter().position(|&byte| byte == wanted);
        let len = self.header.len();
        match (place(b'\r'), place(b'\n')) {
            (Some(cr), Some(lf)) if cr + 2 == len && lf + 1 == len => parse_v1(&self.header).map(Some),
            (Some(cr), None) if cr + 1 < len => Err(ProxyError::Invalid),
            (_, Some(_)) => Err(ProxyError::Invalid),
            _ if len >= MAX_V1_BYTES => Err(ProxyError::TooLong),
            _ => Ok(None),
        }
    }
}

/// Reads the header in front of `stream` and not a byte more.
///
/// The caller has a deadline, and has made sure that the peer is a proxy that it trusts.
///
/// # Errors
///
/// [`ReadError`].
///
/// # Cancel safety
///
/// Not cancel-safe: what was read of the header is lost.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<ProxyHeader, ReadError> {
    let mut reader = Reader::default();
    let mut buffer = [0; MAX_V2_BYTES];
    loop {
        let wanted = reader.wanted().min(MAX_V2_BYTES);
        let len = stream.read(&mut buffer[..wanted]).await?;
        if len == 0 {
            return Err(ReadError::Ended);
        }
        if let Some(header) = reader.receive(&mut &buffer[..len])? {
            return Ok(header);
        }
    }
}

/// `PROXY TCP4 SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT`, or `PROXY UNKNOWN` and anything.
fn parse_v1(line: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let line = std::str::from_utf8(&line[V1.len()..line.len() - 2]).map_err(|_| ProxyError::Invalid)?;
    let fields: Vec<&str> = line.split(' ').collect();
    match fields[..] {
        ["UNKNOWN", ..] => Ok(ProxyHeader::Local),
        ["TCP4", source, destination, from, to] => {
            proxied(address::<Ipv4Addr>(source, from)?, address::<Ipv4Addr>(destination, to)?)
        }
        ["TCP6", source, destination, from, to] => {
            proxied(address::<Ipv6Addr>(source, from)?, address::<Ipv6Addr>(destination, to)?)
        }
        _ => Err(ProxyError::Invalid),
    }
}

fn proxied(source: SocketAddr, destination: SocketAddr) -> Result<ProxyHeader, ProxyError> {
    Ok(ProxyHeader::Proxied { source, destination })
}

fn address<A: FromStr + Into<IpAddr>>(address: &str, port: &str) -> Result<SocketAddr, ProxyError> {
    let address: A = address.parse().map_err(|_| ProxyError::Invalid)?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
    let port = if is_number { port.parse().ok() } else { None };
    Ok(SocketAddr::new(address.into(), port.ok_or(ProxyError::Invalid)?))
}

fn parse_v2(header: &[u8]) -> Result<ProxyHeader, ProxyError> {
    let (version_and_command, family, body) = (header[12], header[13], &header[V2_HEAD_BYTES..]);
    match version_and_command {
        // LOCAL: whatever the rest says is to be skipped.
        0x20 => return Ok(ProxyHeader::Local),
        0x21 => {}
        _ => return Err(ProxyError::Invalid),
    }
    match family {
        // Unspecified, and sockets of Unix, which have no address that anybody could count.
        0x00 | 0x31 | 0x32 => Ok(ProxyHeader::Local),
        0x11 => {
            let (addresses, fields) = body.split_first_chunk::<12>().ok_or(ProxyError::Invalid)?;
            check_fields(fields)?;
            let [a, b, c, d, e, f, g, h, from, from_low, to, to_low] = *addresses;
            let at = |address: [u8; 4], port| {
                SocketAddr::new(Ipv4Addr::from(address).into(), u16::from_be_bytes(port))
            };
            proxied(at([a, b, c, d], [from, from_low]), at([e, f, g, h], [to, to_low]))
        }
        0x21 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(ProxyError::Invalid)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(ProxyError::Invalid)?;
            let (&[from, from_low, to, to_low], fields) =
                rest.split_first_chunk::<4>().ok_or(ProxyError::Invalid)?;
            check_fields(fields)?;
            let at = |address: [u8; 16], port| {
                SocketAddr::new(Ipv6Addr::from(address).into(), u16::from_be_bytes(port))
            };
            proxied(at(*source, [from, from_low]), at(*destination, [to, to_low]))
        }
        _ => Err(ProxyError::Invalid),
    }
}

/// The fields behind the addresses have a type, a length and so many bytes.
fn check_fields(mut fields: &[u8]) -> Result<(), ProxyError> {
    while !fields.is_empty() {
        let (&[_, high, low], rest) = fields.split_first_chunk::<3>().ok_or(ProxyError::Invalid)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        fields = rest.get(len..).ok_or(ProxyError::Invalid)?;
    }
    Ok(())
}

/// Bytes that are no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Something else came.
    #[error(
        "the connection doesn't begin with the PROXY protocol: have the proxy send it, or don't ask for it here"
    )]
    NotProxy,
    /// It begins like one, but isn't.
    #[error("the header of the PROXY protocol is invalid")]
    Invalid,
    /// It is longer than any that is taken.
    #[error(
        "the header of the PROXY protocol is too long: {MAX_V1_BYTES} bytes in version 1, {MAX_V2_BYTES} in version 2"
    )]
    TooLong,
}

/// Why no header could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What came is none.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The connection ended before it was complete.
    #[error("the connection ended before the header of the PROXY protocol did")]
    Ended,
    /// Reading failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes of bytes that arrive in parts of `part` bytes, and how many of them are left.
    fn read_in_parts(bytes: &[u8], part: usize) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
        let mut reader = Reader::default();
        for (at, mut input) in bytes.chunks(part).enumerate() {
            let len = input.len();
            if let Some(header) = reader.receive(&mut input)? {
                return Ok(Some((header, bytes.len() - at * part - (len - input.len()))));
            }
        }
        Ok(None)
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u16).to_be_bytes();
        [&V2[..], &[command, family], &len, body].concat()
    }

    fn from(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    const V4_BODY: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0, 80];

    #[test]
    fn both_versions_are_read_and_the_rest_is_left() {
        let mut v6_body = [0; 36];
        (v6_body[15], v6_body[31], v6_body[33], v6_body[35]) = (1, 2, 5, 80);
        let cases = [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 80\r\n".to_vec(),
                from("192.0.2.1:12345", "198.51.100.2:80"),
            ),
            (b"PROXY TCP6 ::1 ::2 5 0\r\n".to_vec(), from("[::1]:5", "[::2]:0")),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Local),
            (b"PROXY UNKNOWN whatever it is\r\n".to_vec(), ProxyHeader::Local),
            (v2(0x21, 0x11, &V4_BODY), from("192.0.2.1:12345", "198.51.100.2:80")),
            (v2(0x21, 0x21, &v6_body), from("[::1]:5", "[::2]:80")),
            (
                v2(0x21, 0x11, &[&V4_BODY[..], &[4, 0, 2, 9, 9, 1, 0, 0]].concat()),
                from("192.0.2.1:12345", "198.51.100.2:80"),
            ),
            (v2(0x20, 0x00, b""), ProxyHeader::Local),
            (v2(0x20, 0xff, b"anything"), ProxyHeader::Local),
            (v2(0x21, 0x31, &[0; 216]), ProxyHeader::Local),
        ];
        for (mut bytes, expected) in cases {
            bytes.extend_from_slice(b"\r\nGET");
            for part in 1..bytes.len() {
                assert_eq!(read_in_parts(&bytes, part), Ok(Some((expected, 5))), "{bytes:?} by {part}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let cases = [
            (b"GET / HTTP/1.1\r\n".to_vec(), ProxyError::NotProxy),
            (b"PROXYTCP4 ".to_vec(), ProxyError::NotProxy),
            (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), ProxyError::NotProxy),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n\n\n".to_vec(), ProxyError::Invalid),
            (b"PROXY TCP4 192.0.2.1\r 198.51.100.2 1 2\r\n".to_vec(), ProxyError::Invalid),
            (b"PROXY \r\0\0\0\0\0\0\0\0\0".to_vec(), ProxyError::Invalid),
            (b"PROXY UNKNOWN ".iter().copied().chain([b'x'; 94]).collect(), ProxyError::TooLong),
            (v2(0x11, 0x11, &V4_BODY), ProxyError::Invalid),
            (v2(0x22, 0x11, &V4_BODY), ProxyError::Invalid),
            (v2(0x21, 0x12, &V4_BODY), ProxyError::Invalid),
            (v2(0x21, 0x11, &V4_BODY[..11]), ProxyError::Invalid),
            (v2(0x21, 0x11, &[&V4_BODY[..], &[4, 0, 1]].concat()), ProxyError::Invalid),
            (v2(0x21, 0x11, &[0; 521]), ProxyError::TooLong),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read_in_parts(&bytes, bytes.len()), Err(expected), "{bytes:?}");
            assert_eq!(read_in_parts(&bytes, 1), Err(expected), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn the_bytes_behind_it_stay_in_the_stream() {
        let bytes = [&v2(0x21, 0x11, &V4_BODY)[..], b"GET"].concat();
        let mut stream = &bytes[..];
        assert_eq!(read(&mut stream).await.unwrap(), from("192.0.2.1:12345", "198.51.100.2:80"));
        assert_eq!(stream, b"GET");
        assert!(matches!(read(&mut &b"PROXY TCP4"[..]).await, Err(ReadError::Ended)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(
            start in prop_oneof![Just(V1.to_vec()), Just(V2.to_vec()), Just(Vec::new())],
            rest in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(0x21), any::<u8>()], 0..80),
            part in 1_usize..20,
        ) {
            let bytes = [start, rest].concat();
            prop_assert_eq!(read_in_parts(&bytes, part), read_in_parts(&bytes, bytes.len().max(1)));
        }
    }
}
