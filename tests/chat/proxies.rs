//! Whose connection it is behind proxies.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::client::{answer_to, read_head, request};
use crate::common::http;
use crate::common::json::{Json, Opening};
use crate::common::server::{Folder, Server, within};

const KEY: &str = "key-of-some-backend-0123456789";

async fn server(more: &[&str]) -> Server {
    let folder = Folder::new();
    let keys = folder.write("keys", KEY);
    Server::start(&[&["chat", "--api-key-file", &keys][..], more].concat()).await
}

/// Where the server thinks that its connections come from.
async fn addresses(server: &Server, proxy: &[u8]) -> Vec<String> {
    let request = format!("GET /api/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n");
    let answer = http::ask_raw(server.address(), &[proxy, request.as_bytes()].concat()).await.json();
    let connections = answer["connections"].as_array().unwrap();
    connections.iter().map(|connection| connection["address"].as_str().unwrap().to_owned()).collect()
}

async fn forwarded(server: &Server, fields: &[(&'static str, &str)]) -> String {
    let opening = Opening { path: "/", fields, ..Opening::default() };
    let mut client = Json::open(server.address(), opening).await.unwrap();
    client.greet(json!({"name": "Ada"})).await;
    let address = addresses(server, b"").await.remove(0);
    client.close().await;
    while !addresses(server, b"").await.is_empty() {}
    address
}

#[tokio::test]
async fn nobody_is_believed_but_a_trusted_proxy() {
    let server = server(&[]).await;
    let fields = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")];
    assert_eq!(forwarded(&server, &fields).await, "127.0.0.1");
}

#[tokio::test]
async fn what_a_client_wrote_in_front_of_the_proxy_is_not_believed() {
    let server = server(&["--trusted-proxy", "127.0.0.0/8,10.0.0.0/8"]).await;
    for (value, address) in [
        ("203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("1.1.1.1, unknown", "127.0.0.1"),
        ("2001:db8::7", "2001:db8::7"),
        ("", "127.0.0.1"),
    ] {
        assert_eq!(forwarded(&server, &[("x-forwarded-for", value)]).await, address, "{value}");
    }
    // The other header is as the client sent it.
    assert_eq!(forwarded(&server, &[("forwarded", "for=1.1.1.1")]).await, "127.0.0.1");
}

#[tokio::test]
async fn rfc_7239_is_understood_where_it_is_asked_for() {
    let flags = ["--trusted-proxy", "127.0.0.1", "--forwarding-header", "forwarded"];
    let server = server(&flags).await;
    let value = "for=1.1.1.1, for=\"[2001:db8::7]:4711\";proto=https";
    assert_eq!(forwarded(&server, &[("forwarded", value)]).await, "2001:db8::7");
    assert_eq!(forwarded(&server, &[("x-forwarded-for", "1.1.1.1")]).await, "127.0.0.1");
}

/// Opens a WebSocket behind these bytes, and returns the status.
async fn upgrade(server: &Server, proxy: &[u8], fields: &[&str]) -> Option<(TcpStream, String)> {
    let mut stream = within(TcpStream::connect(server.address())).await.unwrap();
    stream.write_all(&[proxy, request("/", fields).as_bytes()].concat()).await.ok()?;
    let mut first = [0];
    if within(stream.peek(&mut first)).await.unwrap_or(0) == 0 {
        return None;
    }
    let head = read_head(&mut stream).await;
    Some((stream, head[9..12].to_owned()))
}

fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend(addresses);
    header
}

#[tokio::test]
async fn both_versions_of_the_proxy_protocol_say_where_a_client_is() {
    let server = server(&["--trusted-proxy", "127.0.0.1", "--proxy-protocol"]).await;
    let four = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0x00, 0x50];
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 9;
    for (header, address) in [
        (b"PROXY TCP4 203.0.113.8 10.0.0.1 4711 80\r\n".to_vec(), "203.0.113.8"),
        (b"PROXY TCP6 2001:db8::8 ::1 4711 80\r\n".to_vec(), "2001:db8::8"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x21, 0x11, &four), "203.0.113.9"),
        (version_2(0x21, 0x21, &six), "2001:db8::9"),
        (version_2(0x20, 0x00, &[]), "127.0.0.1"),
    ] {
        let (open, status) = upgrade(&server, &header, &[]).await.expect("an answer");
        assert_eq!(status, "101");
        // It is listed when its handshake is done, which is soon after the answer.
        let listed = loop {
            let listed = addresses(&server, b"PROXY UNKNOWN\r\n").await;
            if !listed.is_empty() {
                break listed;
            }
        };
        assert_eq!(listed, [address]);
        drop(open);
        while !addresses(&server, b"PROXY UNKNOWN\r\n").await.is_empty() {}
    }
}

#[tokio::test]
async fn whatever_is_no_proxy_header_is_cut_off() {
    let server = server(&["--trusted-proxy", "127.0.0.1", "--proxy-protocol"]).await;
    for header in [
        b"".to_vec(),
        b"PROXY TCP4 203.0.113.8 10.0.0.1 4711\r\n".to_vec(),
        b"PROXY TCP4 999.0.113.8 10.0.0.1 4711 80\r\n".to_vec(),
        [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(),
        version_2(0x31, 0x11, &[0; 12]),
        version_2(0x21, 0x11, &[0; 4]),
    ] {
        assert!(upgrade(&server, &header, &[]).await.is_none(), "{header:?}");
    }
    let untrusted = Server::start(&["chat", "--trusted-proxy", "10.0.0.1", "--proxy-protocol"]).await;
    assert!(upgrade(&untrusted, b"PROXY TCP4 203.0.113.8 10.0.0.1 4711 80\r\n", &[]).await.is_none());
}

#[tokio::test]
async fn the_limit_of_an_address_counts_clients_not_proxies() {
    let server = server(&["--trusted-proxy", "127.0.0.1", "--max-connections-per-ip", "2"]).await;
    let from = |address: &str| format!("X-Forwarded-For: {address}");
    let mut open = Vec::new();
    for _ in 0..2 {
        let (stream, status) = upgrade(&server, b"", &[&from("203.0.113.7")]).await.unwrap();
        assert_eq!(status, "101");
        open.push(stream);
    }
    let head = answer_to(&server, "/", &[&from("203.0.113.7")]).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
    // Another address isn't concerned, nor is this machine's own.
    for fields in [vec![from("203.0.113.8")], vec![], vec![], vec![]] {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (stream, status) = upgrade(&server, b"", &fields).await.unwrap();
        assert_eq!(status, "101");
        open.push(stream);
    }
    drop(open.remove(0));
    while !answer_to(&server, "/", &[&from("203.0.113.7")]).await.starts_with("HTTP/1.1 101") {}
}
