//! Clients of a server: one that speaks WebSocket by the library, one whose bytes are written by hand.

use switchboard::handshake::Negotiated;
use switchboard::{CloseFrame, Config, Role, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::server::{Server, within};
use super::wire::Wire;

/// A client that says text and hears text.
pub struct Client {
    pub ws: WebSocket,
}

impl Client {
    /// Connects to a path.
    pub async fn connect(server: &Server, path: &str) -> Self {
        let ws = within(WebSocket::connect(&server.url(path))).await.expect("the server accepts");
        Self { ws }
    }

    /// Connects to the lobby and joins it.
    pub async fn join(server: &Server, name: &str) -> Self {
        Self::join_at(server, "/", name).await
    }

    /// Connects to a path and joins its room.
    pub async fn join_at(server: &Server, path: &str, name: &str) -> Self {
        let mut client = Self::connect(server, path).await;
        assert_eq!(client.ask(name).await, format!("Welcome, {name}!"));
        client
    }

    /// Says something.
    pub async fn say(&mut self, text: &str) {
        within(self.ws.send(text)).await.expect("the connection is open");
    }

    /// The next message, which has to be a text.
    pub async fn recv_text(&mut self) -> String {
        let message = within(self.ws.recv()).await.expect("the connection is well");
        let message = message.expect("a message, not a close");
        message.as_text().expect("a text").to_owned()
    }

    /// Says something and returns what comes next.
    pub async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        self.recv_text().await
    }

    /// Waits for the server's Close, and returns its code and its reason.
    pub async fn closed(&mut self) -> (u16, String) {
        assert_eq!(within(self.ws.recv()).await.expect("the connection is well"), None);
        let frame = self.ws.close_frame().expect("a close with a code");
        (frame.code().get(), frame.reason().to_owned())
    }

    /// Passes over lines until the server's Close, and returns its code.
    pub async fn closed_after_lines(&mut self) -> u16 {
        while within(self.ws.recv()).await.expect("the connection is well").is_some() {}
        self.ws.close_frame().expect("a close with a code").code().get()
    }

    /// Closes in order.
    pub async fn close(mut self) {
        let frame: Option<CloseFrame> = None;
        within(self.ws.close(frame)).await.expect("the server answers the close");
    }
}

/// A client that has done its opening handshake, and from then on does only what it is told.
pub struct RawClient {
    pub stream: TcpStream,
}

/// Little enough that a server notices soon that nobody reads.
const RECEIVE_BUFFER_BYTES: u32 = 4096;

impl RawClient {
    /// Connects to the lobby and gives a name.
    pub async fn join(server: &Server, name: &str) -> Self {
        let mut client = Self::connect(server).await;
        client.send(0x81, name.as_bytes()).await;
        let welcome = format!("Welcome, {name}!");
        assert_eq!(client.recv().await, (0x81, welcome.into_bytes()));
        client
    }

    /// Connects to the lobby.
    pub async fn connect(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        let mut stream = within(socket.connect(server.address())).await.unwrap();
        stream.write_all(request("/", &[]).as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { stream }
    }

    /// Sends a frame with this first byte.
    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut wire = Wire::client();
        wire.frame(first, payload);
        within(self.stream.write_all(&wire.bytes)).await.unwrap();
    }

    /// The next frame of at most 125 bytes: its first byte and its payload.
    pub async fn recv(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        within(self.stream.read_exact(&mut header)).await.expect("a frame");
        let mut payload = vec![0; usize::from(header[1])];
        within(self.stream.read_exact(&mut payload)).await.expect("a whole frame");
        (header[0], payload)
    }

    /// Begins to read like any other client.
    pub fn into_client(self) -> Client {
        let Self { stream } = self;
        let ws = WebSocket::from_parts(
            stream,
            Role::Client,
            Negotiated::default(),
            &Config::default(),
            Vec::new(),
        );
        Client { ws: ws.expect("this is a runtime") }
    }
}

/// A request for a WebSocket at a path, with more header lines.
pub fn request(path: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// Asks for a WebSocket, and returns the head of what is answered.
pub async fn answer_to(server: &Server, path: &str, fields: &[&str]) -> String {
    let mut stream = ask(server, path, fields).await;
    read_head(&mut stream).await
}

/// Asks for a WebSocket.
pub async fn ask(server: &Server, path: &str, fields: &[&str]) -> TcpStream {
    let mut stream = within(TcpStream::connect(server.address())).await.unwrap();
    stream.write_all(request(path, fields).as_bytes()).await.unwrap();
    stream
}

/// Reads the head of an answer, and nothing behind it.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.expect("a whole head"));
    }
    String::from_utf8(head).expect("a head is ASCII")
}
