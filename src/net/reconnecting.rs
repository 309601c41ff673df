//! A client that keeps a connection: [`Reconnecting`], and what it is set up with and says.
//!
//! It stands on [`Connector`] and [`WebSocket`] alone and knows nothing of what is said. All of its state, an attempt
//! under way included, lies in the struct: no task, and nothing in a future that may be dropped.

mod backoff;
mod cause;
mod event;
mod options;
mod queue;
mod sending;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream as _;
use futures_sink::Sink as _;
use tokio::time::{Instant, Sleep};

use super::connect::Connector;
use super::error::Error;
use super::websocket::WebSocket;
use crate::handshake::Negotiated;
use crate::proto::CloseFrame;
use queue::Queue;
use sending::{Hold, Open};

pub use backoff::Backoff;
pub use cause::{Cause, Verdict};
pub use event::{Ended, Event};
pub use options::{Classify, Options};
pub use queue::Unsent;

/// A client that connects again when its connection ends.
///
/// [`Reconnecting::recv`] does all the work: it connects, waits, hands out messages, and says in between what happens
/// to the connection. So keep receiving. What is sent meanwhile waits in a queue with an end to it.
///
/// Dropped without [`Reconnecting::close`] it leaves its queue unsent, and its connection as one that is dropped.
///
/// ```
/// use switchboard::reconnecting::{Event, Options};
/// use switchboard::{CloseCode, CloseFrame, Config, Connector, Reconnecting, WebSocket};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let url = format!("ws://{}/", listener.local_addr()?);
/// # tokio::spawn(async move {
/// #     for _ in 0..2 {
/// #         let mut ws = WebSocket::accept(listener.accept().await?.0).await?;
/// #         let topic = ws.recv().await?;
/// #         ws.send("news").await?;
/// #         ws.close(CloseFrame::from(CloseCode::SERVICE_RESTART)).await?;
/// #     }
/// #     Ok::<_, switchboard::Error>(())
/// # });
/// let mut options = Options::default();
/// options.backoff.first = std::time::Duration::from_millis(10);
/// let mut client = Reconnecting::with_options(Connector::new(Config::default()), url, options);
/// let mut news = 0;
/// while let Some(event) = client.recv().await? {
///     match event {
///         // Ahead of whatever waits in the queue, on each new connection.
///         Event::Connected { .. } => client.send_first("subscribe").await?,
///         Event::Message(message) => {
///             println!("{}", message.as_text().unwrap_or_default());
///             news += 1;
/// #           if news == 2 { break }
///         }
///         Event::Disconnected { cause, retry_in, .. } => println!("{cause}; again in {retry_in:?}"),
///         _ => {}
///     }
/// }
/// # assert_eq!(news, 2);
/// # Ok(())
/// # }
/// ```
///
/// # What arrives
///
/// Each message arrives at most once, and those that arrive are in order. What [`Reconnecting::send`] took without a
/// connection waits for the next one; but what a connection took and didn't get across before it died is lost, since
/// nobody can tell what the server had read. Who needs more numbers the messages and has the server acknowledge them.
///
/// # Connections that are dead but don't say so
///
/// The heartbeats of the connection find them: by default after 45 s without a sign of life
/// ([`Timeouts`](crate::net::Timeouts)), as long as somebody receives.
///
/// # What it needs
///
/// A runtime with time. Waits go by tokio's clock, so a paused one works; only a `Retry-After` that is a date looks at
/// the system's, and only if the server sent no `Date` with it.
pub struct Reconnecting {
    connector: Connector,
    url: String,
    options: Options,
    queue: Queue,
    state: State,
    /// Whether there was a connection.
    was_connected: bool,
    /// Whether we have begun to close, so that whatever comes is the end.
    is_closing: bool,
    /// The Close that goes out once the queue has.
    farewell: Option<Option<CloseFrame>>,
    run: Run,
    last_cause: Option<Arc<Cause>>,
}

/// What happened since the last connection that lasted.
#[derive(Debug, Default)]
struct Run {
    attempts: u32,
    waits: u32,
    /// When it began.
    since: Option<Instant>,
}

type Attempt = Pin<Box<dyn Future<Output = Result<(WebSocket, http::Response<()>), Error>> + Send>>;

enum State {
    /// The next attempt begins as soon as somebody receives.
    Due,
    Connecting(Attempt),
    Open(Open),
    Waiting(Pin<Box<Sleep>>),
    Ended(Result<(), Ended>),
}

/// Longer than anybody waits, and still a time that a clock can show.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

impl Reconnecting {
    /// A client of `url` with the default [`Options`]. It connects when it is first received from.
    pub fn new(connector: Connector, url: impl Into<String>) -> Self {
        Self::with_options(connector, url, Options::default())
    }

    /// As [`Reconnecting::new`], with options.
    pub fn with_options(connector: Connector, url: impl Into<String>, options: Options) -> Self {
        Self {
            connector,
            url: url.into(),
            queue: Queue::new(options.max_queued_messages, options.max_queued_bytes),
            options,
            state: State::Due,
            was_connected: false,
            is_closing: false,
            farewell: None,
            run: Run::default(),
            last_cause: None,
        }
    }

    /// Goes on until something happens, and says what; `None` once the client was closed, by us or by the server with
    /// 1000, and the closing handshake is done.
    ///
    /// # Errors
    ///
    /// [`Ended`] if there will be no further attempt; from then on the same each time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if it is dropped before it is ready: an attempt or a wait goes on with the next call. Nothing
    /// goes on between the calls, but the connection's own heartbeats and writes.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Event>, Ended>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Ended>> {
        loop {
            match &mut self.state {
                State::Due => self.connect(),
                State::Connecting(attempt) => {
                    return Poll::Ready(match ready!(attempt.as_mut().poll(cx)) {
                        Ok((ws, response)) => Ok(Some(self.on_connected(ws, response))),
                        Err(error) => self.on_disconnected(Cause::Connect(error)),
                    });
                }
                State::Open(open) => {
                    if open.hold == Hold::UntilReceive {
                        open.hold = Hold::Released;
                    }
                    // If it fails, the reader says why.
                    if open.poll_send_queue(cx, &mut self.queue).is_ready()
                        && let Some(frame) = self.farewell.take()
                    {
                        let _ = open.ws.sender().close(frame);
                    }
                    let cause = match ready!(Pin::new(&mut open.ws).poll_next(cx)) {
                        Some(Ok(message)) => return Poll::Ready(Ok(Some(Event::Message(message)))),
                        Some(Err(error)) => Cause::Failed(error),
                        None => {
                            let cause = Cause::Closed(open.ws.close_frame().cloned());
                            let is_end = self.is_closing || (self.options.classify)(&cause) == Verdict::End;
                            // Whoever ends with us may end the process too: not before the server has our answer.
                            let closed =
                                if is_end { ready!(Pin::new(&mut open.ws).poll_close(cx)) } else { Ok(()) };
                            closed.map_or_else(Cause::Failed, |()| cause)
                        }
                    };
                    return Poll::Ready(self.on_disconnected(cause));
                }
                State::Waiting(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    self.state = State::Due;
                }
                State::Ended(ended) => return Poll::Ready(ended.clone().map(|()| None)),
            }
        }
    }

    fn connect(&mut self) {
        self.run.attempts = self.run.attempts.saturating_add(1);
        self.run.since.get_or_insert_with(Instant::now);
        let (connector, url) = (self.connector.clone(), self.url.clone());
        self.state = State::Connecting(Box::pin(async move { connector.connect(&url).await }));
    }

    fn on_connected(&mut self, ws: WebSocket, response: http::Response<()>) -> Event {
        self.state = State::Open(Open { ws, since: Instant::now(), hold: Hold::UntilReceive });
        let is_first = !std::mem::replace(&mut self.was_connected, true);
        Event::Connected { is_first, response: Box::new(response) }
    }

    /// Decides what follows. A connection that is left over is wound up as any that is dropped.
    fn on_disconnected(&mut self, cause: Cause) -> Result<Option<Event>, Ended> {
        if let State::Open(open) = &self.state
            && open.since.elapsed() >= self.options.backoff.lasting
        {
            self.run = Run { since: Some(Instant::now()), ..Run::default() };
        }
        let verdict = if self.is_closing { Verdict::End } else { (self.options.classify)(&cause) };
        let cause = Arc::new(cause);
        self.last_cause = Some(cause.clone());
        let wait = match verdict {
            Verdict::Retry => self.next_wait(None),
            Verdict::RetryAfter(floor) => self.next_wait(Some(floor)),
            Verdict::Fail => return self.end(Err(Ended::Final(cause))),
            Verdict::End => return self.end(Ok(())),
        };
        let attempts = self.run.attempts;
        let Some(retry_in) = wait else { return self.end(Err(Ended::GivenUp { attempts, cause })) };
        self.run.waits = self.run.waits.saturating_add(1);
        let until = Instant::now() + retry_in.min(FOREVER);
        self.state = State::Waiting(Box::pin(tokio::time::sleep_until(until)));
        Ok(Some(Event::Disconnected { cause, attempts, retry_in }))
    }

    /// How long to wait for the next attempt, if there is to be one.
    fn next_wait(&self, floor: Option<Duration>) -> Option<Duration> {
        let Options { backoff, max_attempts, max_outage, .. } = &self.options;
        if max_attempts.is_some_and(|max| self.run.attempts >= max) {
            return None;
        }
        let wait = backoff.wait(self.run.waits, floor);
        let whole = wait.floor.saturating_add(wait.jitter);
        let Some(max_outage) = max_outage else { return Some(whole) };
        let so_far = self.run.since.map_or(Duration::ZERO, |since| since.elapsed());
        let left = max_outage.saturating_sub(so_far);
        // One last attempt at the end of the time, unless the server doesn't want it.
        (left > Duration::ZERO && wait.floor <= left).then(|| whole.min(left))
    }

    fn end(&mut self, ended: Result<(), Ended>) -> Result<Option<Event>, Ended> {
        self.state = State::Ended(ended.clone());
        ended.map(|()| None)
    }

    /// Ends the wait for the next attempt: the network is back, the user wants it so. Else it does nothing.
    ///
    /// The waits after it grow on.
    pub fn reconnect_now(&mut self) {
        if matches!(self.state, State::Waiting(_)) {
            self.state = State::Due;
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// How many attempts there were since the last connection that lasted, the present one included.
    pub fn attempts(&self) -> u32 {
        self.run.attempts
    }

    /// How long it is until the next attempt, while one is waited for.
    pub fn retry_in(&self) -> Option<Duration> {
        match &self.state {
            State::Waiting(timer) => Some(timer.deadline().saturating_duration_since(Instant::now())),
            _ => None,
        }
    }

    /// Why the last connection ended, or the last attempt failed.
    pub fn last_cause(&self) -> Option<&Cause> {
        self.last_cause.as_deref()
    }

    /// What was agreed on with the server, while there is a connection.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.open().map(|open| open.ws.negotiated())
    }

    /// The round-trip time of the newest heartbeat that was answered on this connection.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.open()?.ws.round_trip_time()
    }

    /// Queues a Ping of at most 125 bytes. Heartbeats go by themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] without a connection; otherwise as [`WebSocket::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        match &mut self.state {
            State::Open(open) => open.ws.ping(payload),
            _ => Err(Error::Closed),
        }
    }

    /// What the next attempts connect with: a header may hold a token that has to be renewed.
    pub fn connector(&mut self) -> &mut Connector {
        &mut self.connector
    }

    /// Where the next attempts lead.
    pub fn url(&mut self) -> &mut String {
        &mut self.url
    }

    fn open(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }
}

impl fmt::Debug for Reconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Due => "due",
            State::Connecting(_) => "connecting",
            State::Open(_) => "open",
            State::Waiting(_) => "waiting",
            State::Ended(_) => "ended",
        };
        // The URL may hold a token.
        f.debug_struct("Reconnecting")
            .field("state", &state)
            .field("attempts", &self.run.attempts)
            .field("queued_messages", &self.queue.len())
            .finish_non_exhaustive()
    }
}
