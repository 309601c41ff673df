//! A client that keeps a connection, against servers in this process that refuse, close, die and come back.

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use switchboard::handshake::{Answer, ServerHandshake, UpgradeConfig};
use switchboard::reconnecting::{Cause, Ended, Event, Options, Unsent, Verdict};
use switchboard::{
    CloseCode, CloseFrame, Config, Connector, Error, Message, Reconnecting, Timeout, Timeouts, WebSocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Longer than anything here takes.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes far less")
}

/// A server that does only what it is told, one connection after the other.
struct Server {
    listener: TcpListener,
}

impl Server {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.listener.local_addr().unwrap())
    }

    async fn accept(&self) -> WebSocket {
        WebSocket::accept(self.listener.accept().await.unwrap().0).await.unwrap()
    }

    /// Reads a request and gives an answer; returns the request.
    async fn answer(&self, answer: &str) -> String {
        let mut stream = self.listener.accept().await.unwrap().0;
        let request = read_head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0, "a whole request");
    }
    String::from_utf8(head).unwrap()
}

/// A URL where nobody listens.
async fn nowhere() -> String {
    Server::start().await.url()
}

/// A client that hardly waits, but otherwise as `set` says.
fn client(url: String, set: impl FnOnce(&mut Options)) -> Reconnecting {
    let mut options = Options::default();
    options.backoff.first = Duration::from_millis(2);
    options.backoff.max = Duration::from_millis(2);
    set(&mut options);
    Reconnecting::with_options(Connector::new(Config::default()), url, options)
}

async fn next(client: &mut Reconnecting) -> Event {
    within(client.recv()).await.expect("it goes on").expect("it goes on")
}

/// A connection: the server's side, and whether it is the client's first.
async fn connected(client: &mut Reconnecting, server: &Server) -> (WebSocket, bool) {
    let (event, ws) = within(async { tokio::join!(next(client), server.accept()) }).await;
    let Event::Connected { is_first, response, .. } = event else { panic!("{event:?}") };
    assert_eq!(response.status(), 101);
    (ws, is_first)
}

/// Why there is no connection, and for how long.
async fn disconnected(client: &mut Reconnecting) -> (Arc<Cause>, u32, Duration) {
    match next(client).await {
        Event::Disconnected { cause, attempts, retry_in, .. } => (cause, attempts, retry_in),
        event => panic!("{event:?}"),
    }
}

/// How the client is refused with `answer`.
async fn refused(client: &mut Reconnecting, server: &Server, answer: &str) -> (Arc<Cause>, u32, Duration) {
    within(async { tokio::join!(disconnected(client), server.answer(answer)).0 }).await
}

async fn ended(client: &mut Reconnecting) -> Ended {
    within(client.recv()).await.expect_err("it is the end")
}

/// The next text, from whichever side.
async fn text(ws: &mut WebSocket) -> String {
    within(ws.recv()).await.unwrap().expect("a message").as_text().expect("a text").to_owned()
}

/// Receives on the client's side too, where nothing is expected, so that its queue goes out.
async fn text_while(client: &mut Reconnecting, ws: &mut WebSocket) -> String {
    tokio::select! {
        text = text(ws) => text,
        event = client.recv() => panic!("{event:?}"),
    }
}

fn close(code: u16, reason: &str) -> CloseFrame {
    CloseFrame::new(CloseCode::try_from(code).unwrap(), reason).unwrap()
}

fn seconds(range: RangeInclusive<u64>) -> RangeInclusive<Duration> {
    Duration::from_secs(*range.start())..=Duration::from_secs(*range.end())
}

#[tokio::test]
async fn connects_again_and_says_what_happened_in_between() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    assert!(!client.is_connected() && client.attempts() == 0);

    let (mut ws, is_first) = connected(&mut client, &server).await;
    assert!(is_first && client.is_connected());
    ws.send("one").await.unwrap();
    assert!(matches!(next(&mut client).await, Event::Message(message) if message.as_text() == Some("one")));
    let (_, (cause, attempts, _)) =
        within(async { tokio::join!(ws.close(close(1012, "soon")), disconnected(&mut client)) }).await;
    assert_eq!(cause.to_string(), r#"the server closed the connection with 1012 "soon""#);
    assert_eq!(client.last_cause().unwrap().close_code(), Some(CloseCode::SERVICE_RESTART));
    assert!(attempts == 1 && !client.is_connected() && client.retry_in().is_some());

    let (mut ws, is_first) = connected(&mut client, &server).await;
    assert!(!is_first);
    client.send("two").await.unwrap();
    assert_eq!(text(&mut ws).await, "two");
}

/// A connection that the server's side hasn't read from yet, as bare TCP.
async fn connected_raw(client: &mut Reconnecting, server: &Server) -> TcpStream {
    let accept = async {
        let mut stream = server.listener.accept().await.unwrap().0;
        let head = read_head(&mut stream).await;
        let mut handshake = ServerHandshake::new(UpgradeConfig::default());
        let request = handshake.receive(head.as_bytes()).unwrap().unwrap();
        let accepted = request.upgrade().unwrap().accept(Answer::default()).unwrap();
        stream.write_all(&accepted.response).await.unwrap();
        stream
    };
    let (event, stream) = within(async { tokio::join!(next(client), accept) }).await;
    assert!(matches!(event, Event::Connected { .. }), "{event:?}");
    stream
}

/// A connection that ends without a word.
async fn lost(client: &mut Reconnecting, server: &Server) -> Arc<Cause> {
    drop(connected_raw(client, server).await);
    disconnected(client).await.0
}

#[tokio::test]
async fn a_connection_that_was_lost_comes_back() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let cause = lost(&mut client, &server).await;
    assert!(matches!(&*cause, Cause::Failed(Error::Lost)), "{cause:?}");
    // In the middle of the handshake too.
    let (cause, ..) = refused(&mut client, &server, "HTTP/1.1 101").await;
    assert!(matches!(&*cause, Cause::Connect(Error::Response(_))), "{cause:?}");
    assert!(!connected(&mut client, &server).await.1);
}

#[tokio::test]
async fn a_server_that_says_nothing_any_more_is_found_out() {
    let server = Server::start().await;
    let mut config = Config::default();
    config.timeouts.ping_interval = Some(Duration::from_millis(20));
    config.timeouts.silence = Some(Duration::from_millis(100));
    let mut client = Reconnecting::new(Connector::new(config), server.url());
    // It is there, but nobody reads it.
    let (_ws, _) = connected(&mut client, &server).await;
    let (cause, ..) = disconnected(&mut client).await;
    assert!(matches!(&*cause, Cause::Failed(Error::Timeout(Timeout::Silence))), "{cause:?}");
}

#[tokio::test]
async fn what_is_sent_first_goes_ahead_of_the_queue() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let early = client.send_first("early").await.unwrap_err();
    assert!(matches!(early, Unsent::NotConnected(message) if message.as_text() == Some("early")));
    client.send("queued").await.unwrap();
    let (mut ws, _) = connected(&mut client, &server).await;
    // Behind the queue, though there is a connection already.
    client.send("behind").await.unwrap();
    client.send_first("first").await.unwrap();
    assert_eq!((client.queued_messages(), client.queued_bytes()), (2, 12));
    assert_eq!(text(&mut ws).await, "first");
    assert_eq!(text_while(&mut client, &mut ws).await, "queued");
    assert_eq!(text_while(&mut client, &mut ws).await, "behind");
    assert_eq!(client.queued_bytes(), 0);
}

#[tokio::test]
async fn nobody_stumbles_over_a_connection_that_has_just_ended() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let stream = connected_raw(&mut client, &server).await;
    // A reset, which every write sees.
    stream.set_zero_linger().unwrap();
    drop(stream);
    for _ in 0..2 {
        client.send_first("subscribe").await.unwrap();
    }
    client.send("kept").await.unwrap();
    let _ = disconnected(&mut client).await;
    let (mut ws, _) = connected(&mut client, &server).await;
    assert_eq!(text_while(&mut client, &mut ws).await, "kept");
}

#[tokio::test]
async fn a_queue_that_is_held_waits_for_its_release() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    client.send("queued").await.unwrap();
    let (mut ws, _) = connected(&mut client, &server).await;
    client.hold_queue();
    client.send_first("who I am").await.unwrap();
    assert_eq!(text_while(&mut client, &mut ws).await, "who I am");
    ws.send("welcome").await.unwrap();
    assert!(matches!(next(&mut client).await, Event::Message(_)));
    client.send("behind").await.unwrap();
    assert_eq!(client.queued_messages(), 2);
    client.release_queue();
    assert_eq!(text_while(&mut client, &mut ws).await, "queued");
    assert_eq!(text_while(&mut client, &mut ws).await, "behind");
}

#[tokio::test]
async fn without_a_connection_the_queue_takes_so_much_and_keeps_its_order() {
    let server = Server::start().await;
    let mut client = client(server.url(), |options| {
        options.max_queued_messages = 3;
        options.max_queued_bytes = 10;
    });
    let too_long = client.send("eleven bytes").await.unwrap_err();
    assert!(
        matches!(&too_long, Unsent::Full(_)) && too_long.into_message().as_text() == Some("eleven bytes")
    );
    for message in ["a", "b", "c"] {
        client.send(message).await.unwrap();
    }
    assert!(matches!(client.send("d").await, Err(Unsent::Full(_))));
    let (mut ws, _) = connected(&mut client, &server).await;
    for message in ["a", "b", "c"] {
        assert_eq!(text_while(&mut client, &mut ws).await, message);
    }
    // With a connection neither bound is one.
    client.send("eleven bytes").await.unwrap();
    assert_eq!(text(&mut ws).await, "eleven bytes");
}

#[tokio::test]
async fn what_is_sent_between_two_connections_arrives_on_the_second() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let _ = lost(&mut client, &server).await;
    client.send("meanwhile").await.unwrap();
    let (mut ws, _) = connected(&mut client, &server).await;
    assert_eq!(text_while(&mut client, &mut ws).await, "meanwhile");
}

#[tokio::test]
async fn a_server_that_refuses_says_when_to_come_back() {
    let server = Server::start().await;
    let mut client = client(server.url(), |options| options.backoff.max = Duration::from_secs(60));
    let full = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 40\r\n\r\n";
    let (cause, attempts, wait) = refused(&mut client, &server, full).await;
    // Never before, and spread a little behind.
    assert!(seconds(40..=50).contains(&wait), "{wait:?}");
    assert!(client.retry_in().unwrap() <= wait);
    assert_eq!((cause.status().unwrap().as_u16(), attempts), (503, 1));
    // Whoever knows better doesn't wait.
    client.reconnect_now();
    let busy = "HTTP/1.1 429 Too Many Requests\r\nDate: Sun, 06 Nov 1994 08:49:30 GMT\r\n\
                Retry-After: Sun, 06 Nov 1994 08:49:50 GMT\r\n\r\n";
    let (_, attempts, wait) = refused(&mut client, &server, busy).await;
    assert!(seconds(20..=25).contains(&wait) && attempts == 2, "{wait:?}");
    client.reconnect_now();
    connected(&mut client, &server).await;
    assert_eq!(client.attempts(), 3);
}

#[tokio::test]
async fn a_server_that_goes_down_says_when_to_come_back() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let (mut ws, _) = connected(&mut client, &server).await;
    let going = ws.close(close(1001, "retry-after=5"));
    let (_, (_, _, wait)) = within(async { tokio::join!(going, disconnected(&mut client)) }).await;
    assert!(seconds(5..=6).contains(&wait), "{wait:?}");
}

#[tokio::test]
async fn what_is_final_ends_it_for_good() {
    let server = Server::start().await;
    let mut unauthorized = client(server.url(), |_| {});
    let no = "HTTP/1.1 401 Unauthorized\r\nRetry-After: 1\r\n\r\n";
    let (end, _) = within(async { tokio::join!(ended(&mut unauthorized), server.answer(no)) }).await;
    assert_eq!(end.cause().status().unwrap().as_u16(), 401);
    // It is told again, and nothing is taken any more.
    assert!(matches!(ended(&mut unauthorized).await, Ended::Final(_)));
    assert!(matches!(unauthorized.send("late").await, Err(Unsent::Ended(_))));
    assert!(matches!(unauthorized.send_first("late").await, Err(Unsent::Ended(_))));

    let mut nonsense = client("http://example.com".into(), |_| {});
    assert!(matches!(ended(&mut nonsense).await.cause(), Cause::Connect(Error::Url(_))));

    let mut banned = client(server.url(), |_| {});
    let (mut ws, _) = connected(&mut banned, &server).await;
    let (_, end) = within(async { tokio::join!(ws.close(close(1008, "banned")), ended(&mut banned)) }).await;
    assert_eq!(end.to_string(), r#"the server closed the connection with 1008 "banned""#);
}

#[tokio::test]
async fn a_server_that_closes_with_1000_ends_it_in_order() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let (mut ws, _) = connected(&mut client, &server).await;
    let (_, event) = within(async { tokio::join!(ws.close(close(1000, "")), client.recv()) }).await;
    assert!(event.unwrap().is_none());
    assert!(client.recv().await.unwrap().is_none());
    assert_eq!(client.last_cause().unwrap().close_code(), Some(CloseCode::NORMAL));
}

#[tokio::test]
async fn the_user_may_judge_and_renew_the_token() {
    let server = Server::start().await;
    let mut client = client(server.url(), |options| {
        options.classify = Arc::new(|cause| match (cause.status(), cause.close_code()) {
            (Some(status), _) if status == 401 => Verdict::RetryAfter(Duration::ZERO),
            (_, Some(CloseCode::GOING_AWAY)) => Verdict::Fail,
            _ => cause.verdict(),
        });
    });
    let (cause, ..) = refused(&mut client, &server, "HTTP/1.1 401 Unauthorized\r\n\r\n").await;
    assert_eq!(cause.verdict(), Verdict::Fail);
    client.connector().headers().insert(AUTHORIZATION, HeaderValue::from_static("Bearer new"));
    let again = server.answer("HTTP/1.1 401 Unauthorized\r\n\r\n");
    let (request, _) = within(async { tokio::join!(again, disconnected(&mut client)) }).await;
    assert!(request.to_lowercase().contains("\r\nauthorization: bearer new\r\n"), "{request}");
    let (mut ws, _) = connected(&mut client, &server).await;
    let (_, end) = within(async { tokio::join!(ws.close(close(1001, "")), ended(&mut client)) }).await;
    assert_eq!(end.cause().close_code(), Some(CloseCode::GOING_AWAY));
}

#[tokio::test]
async fn attempts_have_an_end_if_one_is_set() {
    let mut client = client(nowhere().await, |options| options.max_attempts = Some(3));
    for attempt in 1..3 {
        assert_eq!(disconnected(&mut client).await.1, attempt);
    }
    let end = ended(&mut client).await;
    assert!(matches!(end, Ended::GivenUp { attempts: 3, .. }), "{end:?}");
    assert!(end.to_string().starts_with("given up after 3 attempts: can't connect: "), "{end}");
}

#[tokio::test]
async fn a_connection_that_lasted_begins_the_count_anew() {
    let server = Server::start().await;
    for (lasting, expected) in [(Duration::ZERO, [0, 0, 0]), (Duration::MAX, [1, 2, 3])] {
        let mut client = client(server.url(), |options| options.backoff.lasting = lasting);
        for attempts in expected {
            let (mut ws, _) = connected(&mut client, &server).await;
            let going = ws.close(close(1012, ""));
            let (_, told) = within(async { tokio::join!(going, disconnected(&mut client)) }).await;
            assert_eq!(told.1, attempts);
        }
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_gives_up_no_attempt() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let accepted = async { server.listener.accept().await.unwrap().0 };
    let mut accepted = std::pin::pin!(accepted);
    let stream = within(async {
        loop {
            // Polled once and dropped, again and again.
            assert!(client.recv().now_or_never().is_none());
            tokio::select! {
                biased;
                stream = &mut accepted => return stream,
                () = tokio::task::yield_now() => {}
            }
        }
    })
    .await;
    assert!(client.recv().now_or_never().is_none());
    let (event, ws) = within(async { tokio::join!(next(&mut client), WebSocket::accept(stream)) }).await;
    assert!(matches!(event, Event::Connected { is_first: true, .. }));
    assert_eq!(client.attempts(), 1);
    assert!(server.listener.accept().now_or_never().is_none(), "there was one attempt only");
    drop(ws);
}

#[tokio::test]
async fn sends_wait_only_while_connection_and_queue_are_full() {
    let server = Server::start().await;
    let mut config = Config::default();
    config.limits.max_queued_bytes = 1000;
    config.deflate = None;
    let mut options = Options::default();
    options.max_queued_messages = 2;
    let mut client = Reconnecting::with_options(Connector::new(config), server.url(), options);
    let (mut ws, _) = connected(&mut client, &server).await;
    client.release_queue();
    let mut sent = 0;
    // Nobody reads, so it comes to an end; whatever is dropped while it waits isn't sent.
    while let Some(done) = client.send(numbered(sent)).now_or_never() {
        done.unwrap();
        sent += 1;
    }
    assert!(client.send("never").now_or_never().is_none());
    assert_eq!(client.queued_messages(), 2);
    let read = async {
        for number in 0..sent {
            assert_eq!(ws.recv().await.unwrap().unwrap(), numbered(number));
        }
        text(&mut ws).await
    };
    let send = async {
        client.send("at last").await.unwrap();
        client.recv().await
    };
    let last = tokio::select! {
        last = within(read) => last,
        event = send => panic!("{event:?}"),
    };
    assert_eq!(last, "at last");
}

/// A large message that can be told from others.
fn numbered(number: u32) -> Message {
    Message::binary([&number.to_be_bytes()[..], &[7; 100_000]].concat())
}

#[tokio::test]
async fn closing_sends_what_waits_and_then_the_close() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    for message in ["a", "b"] {
        client.send(message).await.unwrap();
    }
    let (mut ws, _) = connected(&mut client, &server).await;
    let read = async {
        assert_eq!((text(&mut ws).await, text(&mut ws).await), ("a".into(), "b".into()));
        assert!(ws.recv().await.unwrap().is_none());
        assert_eq!(ws.close_frame(), Some(&close(4000, "done")));
        ws.close(None).await.unwrap();
    };
    let (closed, ()) = within(async { tokio::join!(client.close(close(4000, "done")), read) }).await;
    closed.unwrap();
    assert!(client.recv().await.unwrap().is_none());
    assert!(client.queued_messages() == 0 && !client.is_connected());
}

#[tokio::test]
async fn a_close_that_is_given_up_is_still_the_end() {
    let server = Server::start().await;
    let mut client = client(server.url(), |_| {});
    let (mut ws, _) = connected(&mut client, &server).await;
    assert!(client.close(close(1001, "")).now_or_never().is_none());
    assert!(matches!(client.send("late").await, Err(Unsent::Ended(_))));
    // The server's answer bears 1001 too, but it was we who closed.
    let (_, event) = within(async { tokio::join!(ws.close(None), client.recv()) }).await;
    assert!(event.unwrap().is_none());
}

#[tokio::test]
async fn closing_without_a_connection_leaves_the_queue_to_the_user() {
    let mut client = client(nowhere().await, |_| {});
    client.send("unsent").await.unwrap();
    let _ = disconnected(&mut client).await;
    client.close(None).await.unwrap();
    assert!(client.recv().await.unwrap().is_none());
    assert_eq!(client.take_queued(), [Message::text("unsent")]);
}

/// Nothing is ever on its way here, so the clock may be paused.
#[tokio::test(start_paused = true)]
async fn waits_grow_and_go_on_whatever_is_dropped() {
    let mut config = Config::default();
    config.timeouts = Timeouts::none();
    let mut options = Options::default();
    options.max_outage = Some(Duration::from_secs(600));
    let mut client = Reconnecting::with_options(Connector::new(config), nowhere().await, options);
    let start = Instant::now();
    let mut waits = Vec::new();
    let end = loop {
        let retry_in = match client.recv().await {
            Ok(Some(Event::Disconnected { retry_in, .. })) => retry_in,
            Ok(event) => panic!("{event:?}"),
            Err(end) => break end,
        };
        let due = Instant::now() + retry_in;
        waits.push(retry_in);
        // Timers go by whole milliseconds.
        if retry_in < Duration::from_millis(4) {
            continue;
        }
        // Half of the wait in a future that is dropped.
        assert!(tokio::time::timeout(retry_in / 2, client.recv()).await.is_err());
        let left = client.retry_in().unwrap();
        assert!(left <= retry_in / 2 + Duration::from_millis(2), "{left:?} of {retry_in:?}");
        assert!(due >= Instant::now());
    };
    assert!(
        matches!(end, Ended::GivenUp { attempts, .. } if attempts as usize == waits.len() + 1),
        "{end:?}"
    );
    assert!(waits[0] < Duration::from_secs(1) && waits.iter().all(|wait| *wait <= Duration::from_secs(30)));
    assert!(waits.iter().any(|wait| *wait > Duration::from_secs(10)));
    // The last attempt was made when the time was up.
    assert!((600..602).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn who_begins_to_close_gets_what_still_comes() {
    let server = Server::start().await;
    let mut client = Reconnecting::new(Connector::new(Config::default()), server.url());
    let serve = async {
        let mut ws = server.accept().await;
        assert_eq!(ws.recv().await.unwrap(), Some("queued".into()));
        ws.send("on its way").await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), None);
        ws.close(None).await.unwrap();
    };
    let talk = async {
        assert!(matches!(client.recv().await, Ok(Some(Event::Connected { .. }))));
        client.send("queued").await.unwrap();
        client.begin_close(CloseFrame::from(CloseCode::NORMAL));
        assert!(matches!(client.send("too late").await, Err(Unsent::Ended(_))));
        let Ok(Some(Event::Message(message))) = client.recv().await else { panic!("no message") };
        assert_eq!(message.as_text(), Some("on its way"));
        assert!(matches!(client.recv().await, Ok(None)));
        assert!(matches!(client.last_cause(), Some(Cause::Closed(_))));
    };
    within(async { tokio::join!(serve, talk) }).await;
}
