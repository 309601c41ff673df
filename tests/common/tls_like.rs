//! A stream that behaves as TLS does: records, nothing sent before a flush, and a write that first has to read.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// One side of it. A record is its length in two bytes and so many more; an empty one is the hello that each side
/// needs of the other before it may write.
pub struct TlsLike {
    inner: DuplexStream,
    has_hello: bool,
    /// Records on their way out.
    out: VecDeque<u8>,
    /// Of the record that is coming in.
    raw: Vec<u8>,
    /// Read and not yet taken.
    plain: VecDeque<u8>,
    is_ended: bool,
}

const MAX_RECORD_BYTES: usize = 100;

impl TlsLike {
    /// Two sides, with a pipe of `pipe_bytes` between them.
    pub fn pair(pipe_bytes: usize) -> (Self, Self) {
        let (a, b) = tokio::io::duplex(pipe_bytes);
        (Self::new(a), Self::new(b))
    }

    fn new(inner: DuplexStream) -> Self {
        Self {
            inner,
            has_hello: false,
            out: VecDeque::from([0, 0]),
            raw: Vec::new(),
            plain: VecDeque::new(),
            is_ended: false,
        }
    }

    /// Reads once from the pipe and takes whole records out of that.
    fn poll_records(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 77];
        let mut buf = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
        self.is_ended = buf.filled().is_empty();
        self.raw.extend(buf.filled());
        while let [a, b, rest @ ..] = &self.raw[..] {
            let len = usize::from(u16::from_be_bytes([*a, *b]));
            let Some(record) = rest.get(..len) else { break };
            self.has_hello |= record.is_empty();
            self.plain.extend(record);
            self.raw.drain(..2 + len);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let (front, _) = self.out.as_slices();
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, front))?;
            self.out.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsLike {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // A read may have to write: our hello.
        let _ = this.poll_out(cx)?;
        while this.plain.is_empty() && !this.is_ended {
            ready!(this.poll_records(cx))?;
        }
        let (front, _) = this.plain.as_slices();
        let len = front.len().min(buf.remaining());
        buf.put_slice(&front[..len]);
        this.plain.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsLike {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while !this.has_hello {
            let _ = this.poll_out(cx)?;
            if this.is_ended {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            ready!(this.poll_records(cx))?;
        }
        if this.out.len() >= 2 * MAX_RECORD_BYTES {
            ready!(this.poll_out(cx))?;
        }
        let len = buf.len().min(MAX_RECORD_BYTES);
        this.out.extend((len as u16).to_be_bytes());
        this.out.extend(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
