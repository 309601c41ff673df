//! The two kinds of stream that a connection stands on.
//!
//! A `TcpStream` is split into its owned halves: its reader needs no lock then, and a write is tried at once. Any
//! other stream lies whole inside the connection's lock, where both sides poll it with the connection's own waker.

use std::any::Any;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use super::waker::OwnWaker;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What a [`WebSocket`](super::WebSocket) may stand on.
///
/// Everything that can be read, written and moved between threads is one: there is nothing to implement.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// The side of a stream that lies inside the lock.
#[derive(Debug)]
pub(super) enum Transport<S> {
    /// The writing half of a `TcpStream`.
    Tcp(OwnedWriteHalf),
    /// All of any other stream; boxed, since every `TcpStream` would keep room for it.
    Other(Box<S>),
}

/// Splits off the reading half, if the stream is a `TcpStream`.
pub(super) fn split<S: Stream>(stream: S) -> (Option<OwnedReadHalf>, Transport<S>) {
    let mut stream = Some(stream);
    let Some(tcp) = (&mut stream as &mut dyn Any).downcast_mut::<Option<TcpStream>>() else {
        return (None, Transport::Other(Box::new(stream.expect("it was just put there"))));
    };
    let tcp = tcp.take().expect("it was just put there");
    // A frame must not wait for the answer to the last one. A socket that can't do that works all the same.
    let _ = tcp.set_nodelay(true);
    let (read, write) = tcp.into_split();
    (Some(read), Transport::Tcp(write))
}

/// Writing with a waker of the connection's, whoever the caller is.
impl<S: Stream> Transport<S> {
    /// Writes the front of `slices`; on `Pending` the waker is registered.
    ///
    /// TCP doesn't go by `poll_write`: it says `Pending` too when the task's budget is spent, which is not a full
    /// socket.
    pub(super) fn poll_write(
        &mut self,
        waker: &mut OwnWaker<'_, S>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => loop {
                let written = match slices {
                    [one] => half.try_write(one),
                    many => half.try_write_vectored(many),
                };
                match written {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let tcp: &TcpStream = (*half).as_ref();
                        ready!(unconstrained(waker.get(), |cx| tcp.poll_write_ready(cx)))?;
                    }
                    written => return Poll::Ready(written),
                }
            },
            Self::Other(stream) => unconstrained(waker.get(), |cx| {
                let stream = Pin::new(&mut **stream);
                match slices {
                    [one] => stream.poll_write(cx, one),
                    many if stream.is_write_vectored() => stream.poll_write_vectored(cx, many),
                    // Not joined: what the stream doesn't take of it would be copied again and again.
                    [first, ..] if first.len() >= MAX_JOINED_BYTES => stream.poll_write(cx, first),
                    many => stream.poll_write(cx, &many.concat_front()),
                }
            }),
        }
    }

    /// Hands on what the stream itself buffers, as TLS does.
    pub(super) fn poll_flush(&mut self, waker: &mut OwnWaker<'_, S>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Other(stream) => unconstrained(waker.get(), |cx| Pin::new(&mut **stream).poll_flush(cx)),
        }
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn poll_shutdown(&mut self, waker: &mut OwnWaker<'_, S>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(&mut Context::from_waker(waker.get())),
            Self::Other(stream) => unconstrained(waker.get(), |cx| Pin::new(&mut **stream).poll_shutdown(cx)),
        }
    }

    /// Reads from a stream that isn't TCP; TCP is read by its other half.
    pub(super) fn poll_read_other(
        &mut self,
        waker: &mut OwnWaker<'_, S>,
        into: ReadInto<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Self::Other(stream) => {
                let mut into = Some(into);
                unconstrained(waker.get(), |cx| match into.take() {
                    Some(into) => poll_read(Pin::new(&mut **stream), cx, into),
                    None => Poll::Pending,
                })
            }
        }
    }

    /// Makes the socket's end a reset: the peer took nothing for so long that nothing is worth keeping for it.
    pub(super) fn abort(&self) {
        if let Self::Tcp(half) = self {
            let tcp: &TcpStream = half.as_ref();
            // A socket that is gone already needs no reset.
            let _ = tcp.set_zero_linger();
            let _ = socket2::SockRef::from(tcp).shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Whether there may be something to read; on `Pending` the reader's waker is registered.
pub(super) fn poll_readable(half: &OwnedReadHalf, cx: &mut Context<'_>) -> Poll<()> {
    let tcp: &TcpStream = half.as_ref();
    // An error shows at the read.
    tcp.poll_read_ready(cx).map(drop)
}

/// Where a read puts its bytes.
pub(super) enum ReadInto<'a> {
    /// A buffer that is initialised already.
    Buffer(&'a mut [u8]),
    /// The rest of a message's own buffer.
    Spare(bytes::buf::Limit<&'a mut Vec<u8>>),
}

/// Reads once from `stream`; 0 is the end.
pub(super) fn poll_read<R: AsyncRead + Unpin>(
    mut stream: Pin<&mut R>,
    cx: &mut Context<'_>,
    into: ReadInto<'_>,
) -> Poll<io::Result<usize>> {
    match into {
        ReadInto::Buffer(bytes) => {
            let mut buf = ReadBuf::new(bytes);
            ready!(stream.poll_read(cx, &mut buf))?;
            Poll::Ready(Ok(buf.filled().len()))
        }
        ReadInto::Spare(mut spare) => pin!(stream.read_buf(&mut spare)).poll(cx),
    }
}

/// Polls outside the task's budget, whose end would look like a full socket.
fn unconstrained<T>(waker: &Waker, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    pin!(tokio::task::coop::unconstrained(std::future::poll_fn(poll))).poll(&mut Context::from_waker(waker))
}

/// How much is joined for such a stream: a TLS record's worth.
const MAX_JOINED_BYTES: usize = 16 << 10;

/// For a stream that takes only one slice at a time.
trait ConcatFront {
    fn concat_front(&self) -> Vec<u8>;
}

impl ConcatFront for [IoSlice<'_>] {
    /// As many whole slices as `MAX_JOINED_BYTES` hold, the first in any case.
    fn concat_front(&self) -> Vec<u8> {
        let mut joined = Vec::new();
        for slice in self {
            if !joined.is_empty() && joined.len() + slice.len() > MAX_JOINED_BYTES {
                break;
            }
            joined.extend_from_slice(slice);
        }
        joined
    }
}
