//! What the port answers to plain HTTP: page, health, metrics; and the administrators' own address.

use serde_json::json;

use crate::common::client::{answer_to, read_head, request};
use crate::common::http::{self, get};
use crate::common::json::Json;
use crate::common::server::{Folder, Server, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn the_page_has_a_strict_policy_and_nothing_of_anybody_elses() {
    let server = Server::start(&["chat"]).await;
    let page = get(server.address(), "/").await;
    assert_eq!(page.status, 200);
    assert!(page.field("content-type").unwrap().starts_with("text/html"));
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    // A room's page is the same; who asks with the page's tag is told that it is still so.
    let tag = format!("If-None-Match: {}", page.field("etag").unwrap());
    let known = http::ask(server.address(), ("GET", "/"), &[&tag], None).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
}

#[tokio::test]
async fn health_readiness_and_metrics_are_answered_head_too() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    ada.say("hello").await;
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        let (got, head) =
            (get(server.address(), path).await, http::ask(server.address(), ("HEAD", path), &[], None).await);
        assert_eq!((got.status, head.status, head.body.as_str()), (200, 200, ""), "{path}");
        assert_eq!(http::ask(server.address(), ("POST", path), &[], None).await.status, 405, "{path}");
    }
    let metrics = get(server.address(), "/metrics").await.body;
    // Neither names of people nor of rooms, which anybody can make.
    assert!(!metrics.contains("Ada") && !metrics.contains("lobby"), "{metrics}");
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{name}: {metrics}"))
    };
    assert_eq!(value("switchboard_members"), 1.0);
}

#[tokio::test]
async fn nothing_is_where_nothing_is() {
    let server = Server::start(&["chat"]).await;
    for path in ["/ws", "/nothing", "/rooms/a/b", "/..%2f..%2fetc/passwd", "//", "/index.php"] {
        let answer = get(server.address(), path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    }
}

#[tokio::test]
async fn administration_has_an_address_of_its_own() {
    let folder = Folder::new();
    let keys = folder.write("keys", "key-of-some-backend-0123456789");
    let log = folder.path("log");
    let arguments = ["chat", "--admin-listen", "127.0.0.1:0", "--api-key-file", &keys];
    let server = Server::start_logged(&arguments, "warn", log.as_ref()).await;
    let line = loop {
        let said = std::fs::read_to_string(&log).unwrap();
        if let Some(line) = said.lines().find_map(|line| line.strip_prefix("administration: http://")) {
            break line.trim_end_matches("/metrics").to_owned();
        }
        tokio::task::yield_now().await;
    };
    let admin = line.parse().unwrap();
    let bearer = ["Authorization: Bearer key-of-some-backend-0123456789"];
    for path in ["/metrics", "/readyz", "/api/rooms", "/api/openapi.json"] {
        assert_eq!(http::ask(admin, ("GET", path), &bearer, None).await.status, 200, "{path}");
        assert_eq!(http::ask(server.address(), ("GET", path), &bearer, None).await.status, 404, "{path}");
    }
    for (address, page) in [(admin, 404), (server.address(), 200)] {
        assert_eq!(get(address, "/healthz").await.status, 200);
        assert_eq!(get(address, "/").await.status, page);
    }
    let mut stream = within(tokio::net::TcpStream::connect(admin)).await.unwrap();
    stream.write_all(request("/", &[]).as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(!head.starts_with("HTTP/1.1 101"), "nobody chats there: {head}");
}

#[tokio::test]
async fn a_connection_that_was_upgraded_has_no_deadline_of_the_handshake_left() {
    let server = Server::start(&["chat"]).await;
    let mut ada = Json::join(&server, "Ada").await;
    // Longer than a handshake or a hello may take.
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert_eq!(ada.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_second_request_on_a_connection_is_never_answered() {
    let server = Server::start(&["chat"]).await;
    let mut stream = within(tokio::net::TcpStream::connect(server.address())).await.unwrap();
    let both = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let head = answer_to(&server, "/", &[]).await;
    assert!(head.starts_with("HTTP/1.1 101"));
}
