//! `switchboard connect`, the real binary, on pipes: lines in, messages out, exit codes.

#![cfg(feature = "cli")]

mod common;

use std::process::{Output, Stdio};

use common::client::Client;
use common::server::{PATIENCE, Server, run, switchboard, within};
use switchboard::{Acceptor, CloseFrame, Config, WebSocket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout};

/// `switchboard connect` with somebody at its pipes.
struct Talk {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talk {
    fn start(arguments: &[&str]) -> Self {
        let mut command = switchboard(&[&["connect"], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    async fn write(&mut self, line: &str) {
        within(self.input.write_all(format!("{line}\n").as_bytes())).await.unwrap();
    }

    async fn read(&mut self) -> String {
        let mut line = String::new();
        within(self.output.read_line(&mut line)).await.unwrap();
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    /// Waits for it to end by itself: its exit code and what it said on standard error.
    async fn end(mut self) -> (Option<i32>, String) {
        let status = within(self.child.wait()).await.unwrap();
        drop(self.input);
        let mut errors = String::new();
        within(self.child.stderr.take().unwrap().read_to_string(&mut errors)).await.unwrap();
        (status.code(), errors)
    }

    /// Ends its input and waits for it to end.
    async fn finish(self) -> Output {
        let Self { child, input, output } = self;
        drop(input);
        let rest = async {
            let (mut output, mut text) = (output, Vec::new());
            output.read_to_end(&mut text).await.unwrap();
            text
        };
        let (ended, stdout) = within(async { tokio::join!(child.wait_with_output(), rest) }).await;
        Output { stdout, ..ended.unwrap() }
    }
}

/// A server of one connection, which `serve` serves; returns its URL.
async fn one_connection<F: Future<Output = ()> + Send>(
    serve: impl FnOnce(WebSocket, http::HeaderMap) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut config = Config::default();
        config.deflate = None;
        config.subprotocols = vec!["b".into()];
        config.origins = switchboard::handshake::OriginPolicy::any();
        let request = Acceptor::new(config).read(stream).await.unwrap();
        let headers = request.headers().clone();
        serve(request.accept().await.unwrap(), headers).await;
    });
    url
}

#[tokio::test]
async fn lines_go_out_and_messages_come_in() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Talk::start(&[&server.url("/"), "--name", "bob"]);
    assert_eq!(bob.read().await, "Welcome, bob!");
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    ann.say("hi bob").await;
    assert_eq!(bob.read().await, "[ann] hi bob");
    bob.write("hi ann").await;
    assert_eq!(ann.recv_text().await, "[bob] hi ann");
    assert_eq!(bob.finish().await.status.code(), Some(0));
    assert_eq!(ann.recv_text().await, "[system] >>> bob left the chat");
}

#[tokio::test]
async fn quit_ends_it_though_there_is_more_input() {
    let server = Server::start(&["chat"]).await;
    let mut bob = Talk::start(&[&server.url("/"), "--name", "bob"]);
    bob.write("/quit").await;
    assert_eq!(bob.end().await, (Some(0), String::new()));
}

#[tokio::test]
async fn what_is_on_its_way_when_the_input_ends_is_shown() {
    let server = Server::start(&["echo", "--prefix", "> "]).await;
    let mut talk = Talk::start(&[&server.url("/")]);
    talk.write("one\n\ntwo").await;
    let ended = talk.finish().await;
    assert_eq!((ended.status.code(), &ended.stdout[..]), (Some(0), &b"> one\n> \n> two\n"[..]));
}

#[tokio::test]
async fn it_goes_on_receiving_while_the_server_takes_nothing() {
    // More than the kernel holds, both ways: the server reads nothing before it has sent everything.
    let (count, lines, line) = (2048, 256, "x".repeat(64 << 10));
    let url = one_connection(move |mut ws, _| async move {
        for _ in 0..count {
            ws.send("y".repeat(64 << 10)).await.unwrap();
        }
        while ws.recv().await.unwrap().is_some() {}
        ws.close(None).await.unwrap();
    })
    .await;
    let Talk { mut child, mut input, mut output } = Talk::start(&[&url]);
    let write = async move {
        for _ in 0..lines {
            input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        }
    };
    let mut received = Vec::new();
    let talk = async { tokio::join!(write, output.read_to_end(&mut received)) };
    // Many bytes for a busy machine.
    let (_, read) = tokio::time::timeout(6 * PATIENCE, talk).await.expect("nobody waits for ever");
    assert_eq!(read.unwrap(), count * ((64 << 10) + 1));
    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn with_wait_it_goes_on_receiving_when_the_input_has_ended() {
    let mut server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut bob = Talk::start(&[&server.url("/"), "--name", "bob", "--wait", "1h"]);
    assert_eq!(bob.read().await, "Welcome, bob!");
    bob.write("the last").await;
    bob.input.shutdown().await.unwrap();
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
    assert_eq!(ann.recv_text().await, "[bob] the last");
    ann.say("late").await;
    assert_eq!(bob.read().await, "[ann] late");
    // A server that goes down in order is no fault.
    server.signal("TERM").await;
    drop(ann);
    assert_eq!(bob.end().await, (Some(0), String::new()));
    assert_eq!(server.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_room_is_a_part_of_the_url() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join_at(&server, "/rooms/rust", "ann").await;
    for (name, path) in [("bob", "/"), ("eve", ""), ("joe", "/?from=afar")] {
        let mut talk = Talk::start(&[&server.url(path), "--room", "rust", "--name", name]);
        assert_eq!(talk.read().await, format!("Welcome, {name}!"));
        assert_eq!(ann.recv_text().await, format!("[system] >>> {name} joined the chat"));
        assert_eq!(talk.finish().await.status.code(), Some(0));
        assert_eq!(ann.recv_text().await, format!("[system] >>> {name} left the chat"));
    }
    let output = run(&["connect", &server.url("/"), "--room", "a?b"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("\"a?b\" is no room"));
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error() {
    let server = Server::start(&["chat"]).await;
    let url = server.url("/");
    let mut bob = Talk::start(&[&url, "--name", "bob"]);
    assert_eq!(bob.read().await, "Welcome, bob!");
    drop(server);
    let lost = "switchboard: the connection was lost: it ended without a close frame\n";
    assert_eq!(bob.end().await, (Some(1), lost.to_owned()));
    let (code, error) = Talk::start(&[&url]).end().await;
    assert_eq!(code, Some(1));
    assert!(error.starts_with(&format!("switchboard: can't connect to {url}: ")), "{error}");
}

#[tokio::test]
async fn a_refused_connection_is_an_error_with_its_status() {
    let server = Server::start(&["chat", "--max-connections", "0"]).await;
    let (code, error) = Talk::start(&[&server.url("/")]).end().await;
    assert_eq!(code, Some(1));
    assert!(error.contains("503"), "{error}");
    let server = Server::start(&["chat"]).await;
    let elsewhere = ["--origin", "http://evil.example"];
    for (path, options, status) in [("/nowhere", &[][..], "404"), ("/", &elsewhere, "403")] {
        let (code, error) = Talk::start(&[&[server.url(path).as_str()], options].concat()).end().await;
        assert_eq!(code, Some(1));
        assert!(error.contains(status), "{error}");
    }
}

#[tokio::test]
async fn a_refused_name_is_an_error_and_no_line_becomes_a_name() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    for name in ["ann", "system"] {
        let mut talk = Talk::start(&[&server.url("/"), "--name", name]);
        talk.write("a line, not a name").await;
        assert!(talk.read().await.starts_with("[system] error: this name is "));
        let error = format!("switchboard: the name {name:?} was refused: choose another --name\n");
        assert_eq!(talk.end().await, (Some(1), error));
    }
    Client::join(&server, "bob").await;
    assert_eq!(ann.recv_text().await, "[system] >>> bob joined the chat");
}

#[tokio::test]
async fn a_close_with_an_error_is_an_error() {
    let server = Server::start(&["chat"]).await;
    let mut talk = Talk::start(&[&server.url("/")]);
    talk.write("[\n[\n[").await;
    let (code, error) = talk.end().await;
    assert_eq!(code, Some(1));
    assert!(error.contains("1008") && error.contains("three names were refused"), "{error}");
}

#[tokio::test]
async fn verbose_tells_how_it_began_and_how_it_ended() {
    let server = Server::start(&["echo"]).await;
    let (code, errors) = {
        let mut talk = Talk::start(&[&server.url("/"), "-v"]);
        talk.write("/quit").await;
        talk.end().await
    };
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines, ["connected: 101 Switching Protocols (compressed)", "ended: closed with 1000"]);
    let mut talk = Talk::start(&[&server.url("/"), "-v"]);
    talk.write("here").await;
    assert_eq!(talk.read().await, "here");
    drop(server);
    let (code, errors) = talk.end().await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("\nended: the connection was lost"), "{errors}");
}

#[tokio::test]
async fn headers_origin_and_subprotocols_are_sent_as_given() {
    let url = one_connection(|mut ws, headers| async move {
        let sent = ["x-one", "origin", "sec-websocket-protocol"].map(|name| headers[name].to_str().unwrap());
        ws.send(sent.join("|")).await.unwrap();
        ws.close(None).await.unwrap();
    })
    .await;
    let options = ["-v", "-H", "X-One: 1 2", "--origin", "http://a.example"];
    let offers = ["--subprotocol", "a", "--subprotocol", "b"];
    let mut talk = Talk::start(&[&[url.as_str()], &options[..], &offers].concat());
    assert_eq!(talk.read().await, "1 2|http://a.example|a, b");
    let (code, errors) = talk.end().await;
    assert_eq!(code, Some(0));
    assert!(
        errors.contains("subprotocol b") && errors.ends_with("ended: closed without a code\n"),
        "{errors}"
    );
}

#[tokio::test]
async fn with_binary_lines_are_binary_messages() {
    let server = Server::start(&["echo"]).await;
    let mut talk = Talk::start(&[&server.url("/"), "--binary"]);
    talk.write("abc").await;
    assert_eq!(talk.read().await, "(3 bytes of binary data)");
}

#[tokio::test]
async fn input_that_is_no_text_is_an_error_unless_binary() {
    let server = Server::start(&["echo"]).await;
    for (flags, expected) in [(&[][..], None), (&["--binary", "--raw"], Some(&b"\xff\xfe\r\n"[..]))] {
        let mut talk = Talk::start(&[&[server.url("/").as_str()], flags].concat());
        talk.input.write_all(b"\xff\xfe\r\n").await.unwrap();
        let ended = talk.finish().await;
        assert_eq!(ended.status.success(), expected.is_some());
        assert_eq!(ended.stdout, expected.unwrap_or_default());
        let error = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(error.contains("the input is no text: send it with --binary"), expected.is_none());
    }
}

#[tokio::test]
async fn what_strangers_write_stays_text_on_a_terminal() {
    let server = Server::start(&["chat"]).await;
    let mut ann = Client::join(&server, "ann").await;
    let mut careful = Talk::start(&[&server.url("/"), "--name", "careful"]);
    assert_eq!(careful.read().await, "Welcome, careful!");
    let mut raw = Talk::start(&[&server.url("/"), "--name", "raw", "--raw"]);
    assert_eq!(raw.read().await, "Welcome, raw!");
    assert_eq!(careful.read().await, "[system] >>> raw joined the chat");
    ann.say("a\u{1b}[31m\u{7}\u{9b}\u{202e}b\r\n[bob] c").await;
    assert_eq!(careful.read().await, "[ann] a[31mb");
    assert_eq!(careful.read().await, "    [bob] c");
    assert_eq!(raw.read().await, "[ann] a\u{1b}[31m\u{7}\u{9b}\u{202e}b\r");
}

#[tokio::test]
async fn what_a_server_says_at_the_end_stays_text_too() {
    let close = |mut ws: WebSocket, _| async move {
        let frame = CloseFrame::new(4000.try_into().unwrap(), "\u{1b}[31mred\nline").unwrap();
        ws.close(frame).await.unwrap();
    };
    for flags in [&[][..], &["-v"]] {
        let url = one_connection(close).await;
        let (code, errors) = Talk::start(&[&[url.as_str()], flags].concat()).end().await;
        assert_eq!(code, Some(1));
        assert!(
            errors.contains("4000") && errors.contains("[31mred") && !errors.contains('\u{1b}'),
            "{errors:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_websocket_is_said_so() {
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 500 \u{1b}[31mred\r\n\r\n",
        "",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let output = run(&["connect", &url]).await;
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.starts_with("switchboard: can't connect to ") && !error.contains('\u{1b}'),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_url_that_leads_nowhere_is_said_so() {
    for (url, why) in [
        ("http://127.0.0.1/", "ws://"),
        ("wss://127.0.0.1/", "TLS"),
        ("ws://127.0.0.1/#here", "fragment"),
        ("nonsense", "ws://"),
    ] {
        let output = run(&["connect", url]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}: {error}");
        assert!(error.contains(why), "{url}: {error}");
    }
}
