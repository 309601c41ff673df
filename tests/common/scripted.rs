//! A stream that does as it is told: takes, blocks, yields, fails or panics.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use switchboard::{Config, Role, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a write does.
#[derive(Clone, Copy, Debug, Default)]
pub enum Act {
    #[default]
    TakeAll,
    /// Takes so many bytes at most.
    Take(usize),
    /// Waits until something else is told.
    Block,
    /// So many times it wants to be asked again at once.
    Yield(u32),
    Fail,
    Panic,
}

/// The stream, as the test holds it and as the connection does.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    /// What writes do; set here it wakes nobody.
    pub act: Act,
    /// How often a write was tried.
    pub writes: usize,
    /// All that was taken.
    pub written: Vec<u8>,
    /// Where the bytes of each write lay, and how many there were.
    pub offered: Vec<std::ops::Range<usize>>,
    input: Vec<u8>,
    is_ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Done once, in the middle of the next write.
    pub during_write: Option<Box<dyn FnOnce() + Send>>,
}

impl Scripted {
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection on it.
    pub fn connect(&self, role: Role, config: &Config) -> WebSocket<Self> {
        WebSocket::from_parts(self.clone(), role, Default::default(), config, Vec::new()).unwrap()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on writes do this.
    pub fn act(&self, act: Act) {
        let mut state = self.state();
        state.act = act;
        let waker = state.writer.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The peer sends this.
    pub fn input(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.input.extend_from_slice(bytes);
        let waker = state.reader.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The peer sends nothing more.
    pub fn end(&self) {
        self.state().is_ended = true;
        self.input(&[]);
    }
}

impl AsyncRead for Scripted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.input.is_empty() && !state.is_ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = state.input.len().min(buf.remaining());
        buf.put_slice(&state.input[..len]);
        state.input.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        state.writes += 1;
        if let Some(during) = state.during_write.take() {
            drop(state);
            during();
            state = self.state();
        }
        let len = match state.act {
            Act::TakeAll => buf.len(),
            Act::Take(max) => buf.len().min(max),
            Act::Block => {
                state.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Act::Yield(0) => buf.len(),
            Act::Yield(more) => {
                state.act = Act::Yield(more - 1);
                drop(state);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Act::Fail => return Poll::Ready(Err(io::Error::other("told to fail"))),
            Act::Panic => panic!("told to panic"),
        };
        let start = buf.as_ptr() as usize;
        state.offered.push(start..start + buf.len());
        state.written.extend_from_slice(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Lets every other task of a current-thread runtime run as long as it has something to do.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
