//! Clients that speak JSON. Whatever goes either way has to be as the published schema says.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use switchboard::{Config, Connector, Error, WebSocket};
use tokio::net::TcpSocket;

use super::server::{Server, within};

/// The subprotocol that chooses this form.
pub const SUBPROTOCOL: &str = "switchboard.v1.json";

static FROM_CLIENT: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("fromClient"));
static FROM_SERVER: LazyLock<jsonschema::Validator> = LazyLock::new(|| validator("fromServer"));

/// The schema of one direction, with nothing in a message that it doesn't name.
fn validator(direction: &str) -> jsonschema::Validator {
    let mut schema: Value =
        serde_json::from_str(include_str!("../../docs/chat-protocol.schema.json")).expect("it is JSON");
    jsonschema::meta::validate(&schema).expect("it is a schema");
    close(&mut schema);
    schema["anyOf"] = json!([{"$ref": format!("#/$defs/{direction}")}]);
    jsonschema::validator_for(&schema).expect("it is a schema")
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("properties").is_some_and(Value::is_object)
                && object.get("type") == Some(&json!("object"))
            {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(array) => array.iter_mut().for_each(close),
        _ => {}
    }
}

/// A client.
pub struct Json {
    pub ws: WebSocket,
    /// The same connection, for losing it.
    socket: std::net::TcpStream,
    /// What came before what was waited for.
    passed: VecDeque<Value>,
    /// The answers to its hello.
    pub welcome: Value,
    pub joined: Value,
}

/// How a client connects.
#[derive(Clone, Debug, Default)]
pub struct Opening<'a> {
    pub path: &'a str,
    /// Names and values.
    pub fields: &'a [(&'static str, &'a str)],
    /// Beside our own.
    pub subprotocols: &'a [&'a str],
    /// As many bytes as the kernel keeps of what isn't read.
    pub receive_buffer: Option<u32>,
}

impl Json {
    /// Connects to a path.
    pub async fn connect(server: &Server, path: &str) -> Self {
        Self::open(server.address(), Opening { path, ..Opening::default() }).await.expect("it is let in")
    }

    /// Connects.
    pub async fn open(server: SocketAddr, opening: Opening<'_>) -> Result<Self, Error> {
        let socket = TcpSocket::new_v4().unwrap();
        let mut config = Config::default();
        if let Some(bytes) = opening.receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
            // Compressed, texts without sense are too short to fill it.
            config.deflate = None;
        }
        let stream = within(socket.connect(server)).await.expect("the server is there").into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        config.limits.max_message_bytes = 16 << 20;
        config.limits.max_frame_bytes = 16 << 20;
        config.subprotocols = vec![SUBPROTOCOL.to_owned()];
        config.subprotocols.extend(opening.subprotocols.iter().map(|&other| other.to_owned()));
        for (name, value) in opening.fields {
            if *name == "origin" {
                config.origin = Some(HeaderValue::from_str(value).unwrap());
                continue;
            }
            config.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let url = format!("ws://{server}{}", opening.path);
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let (ws, _) = within(Connector::new(config).connect_on(&url, stream)).await?;
        assert_eq!(ws.negotiated().subprotocol.as_deref(), Some(SUBPROTOCOL));
        Ok(Self { ws, socket, passed: VecDeque::new(), welcome: Value::Null, joined: Value::Null })
    }

    /// Joins the lobby.
    pub async fn join(server: &Server, name: &str) -> Self {
        Self::join_at(server, "/", name).await
    }

    /// Joins the room of a path.
    pub async fn join_at(server: &Server, path: &str, name: &str) -> Self {
        let mut client = Self::connect(server, path).await;
        client.greet(json!({"name": name})).await;
        client
    }

    /// Connects to the lobby and goes on with a session.
    pub async fn resume(server: &Server, name: &str, session: &Value, more: Value) -> Self {
        let mut client = Self::connect(server, "/").await;
        let mut hello = json!({"name": name, "session": session});
        hello.as_object_mut().unwrap().extend(more.as_object().expect("an object").clone());
        client.greet(hello).await;
        client
    }

    /// Says hello, which is welcome, and joins.
    pub async fn greet(&mut self, mut hello: Value) {
        hello["type"] = json!("hello");
        self.welcome = self.ask(hello).await;
        assert_eq!(self.welcome["type"], "welcome", "{}", self.welcome);
        self.joined = self.recv().await;
        assert_eq!(self.joined["type"], "joined", "{}", self.joined);
    }

    /// Its session, with the secret.
    pub fn session(&self) -> Value {
        self.welcome["session"].clone()
    }

    /// Sends a request.
    pub async fn send(&mut self, request: Value) {
        if let Err(error) = FROM_CLIENT.validate(&request) {
            panic!("{error}: {request}");
        }
        self.send_text(&request.to_string()).await;
    }

    /// Sends a text, whatever it is.
    pub async fn send_text(&mut self, text: &str) {
        within(self.ws.send(text)).await.expect("the connection is open");
    }

    /// The next message.
    pub async fn recv(&mut self) -> Value {
        match self.passed.pop_front() {
            Some(message) => message,
            None => self.recv_new().await,
        }
    }

    async fn recv_new(&mut self) -> Value {
        let message = within(self.ws.recv()).await.expect("the connection is well");
        read(message.expect("a message, not a close").as_text().expect("a text"))
    }

    /// Sends a request and returns its answer. What others do meanwhile comes later.
    pub async fn ask(&mut self, request: Value) -> Value {
        self.send(request).await;
        self.answer().await
    }

    /// The same with a text, whatever it is.
    pub async fn ask_text(&mut self, text: &str) -> Value {
        self.send_text(text).await;
        self.answer().await
    }

    /// The next message that is an answer.
    pub async fn answer(&mut self) -> Value {
        loop {
            let message = self.recv_new().await;
            match message["type"].as_str().expect("a type") {
                "message" | "presence" | "signal" | "deleted" | "kicked" | "missed" | "notice" => {
                    self.passed.push_back(message);
                }
                _ => return message,
            }
        }
    }

    /// The next message of a type; others are passed over.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.recv().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Says something in the lobby, and returns the offset that it got.
    pub async fn say(&mut self, text: &str) -> u64 {
        let ack = self.ask(json!({"type": "publish", "room": "lobby", "id": text, "text": text})).await;
        assert_eq!((&ack["type"], &ack["id"]), (&json!("ack"), &json!(text)), "{ack}");
        ack["offset"].as_u64().expect("a number")
    }

    /// What others did before, as far as it has come within a moment.
    pub async fn settle(&mut self) -> Vec<Value> {
        for _ in 0..2 {
            let pong = self.ask(json!({"type": "ping", "id": "settled"})).await;
            assert_eq!((&pong["type"], &pong["id"]), (&json!("pong"), &json!("settled")), "{pong}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.passed.drain(..).collect()
    }

    /// Waits for the server's Close, and returns its code and its reason.
    pub async fn closed(&mut self) -> (u16, String) {
        while let Some(message) = within(self.ws.recv()).await.expect("the connection is well") {
            read(message.as_text().expect("a text"));
        }
        let frame = self.ws.close_frame().expect("a close with a code");
        (frame.code().get(), frame.reason().to_owned())
    }

    /// Closes in order.
    pub async fn close(mut self) {
        within(self.ws.close(None)).await.expect("the server answers the close");
    }

    /// Loses the connection, without a word.
    pub fn lose(self) {
        self.socket.shutdown(Shutdown::Both).expect("it is connected");
    }
}

/// Reads a message of the server's.
fn read(text: &str) -> Value {
    let message = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if let Err(error) = FROM_SERVER.validate(&message) {
        panic!("{error}: {message}");
    }
    message
}
