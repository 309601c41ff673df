//! Plain HTTP, a request a connection.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::within;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the fields.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body, which is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks for a path with more header lines and a body.
pub async fn ask(
    server: SocketAddr,
    (method, path): (&str, &str),
    fields: &[&str],
    body: Option<&str>,
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: chat.example\r\n");
    for field in fields {
        request += &format!("{field}\r\n");
    }
    if let Some(body) = body {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += body.unwrap_or_default();
    ask_raw(server, request.as_bytes()).await
}

/// Sends these bytes, and reads until the end.
pub async fn ask_raw(server: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = within(TcpStream::connect(server)).await.expect("the server is there");
    within(stream.write_all(request)).await.expect("the server reads");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("the server answers and closes");
    let answer = String::from_utf8(answer).expect("the answer is a text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("a head: {answer:?}"));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Asks for a path.
pub async fn get(server: SocketAddr, path: &str) -> Answer {
    ask(server, ("GET", path), &[], None).await
}
