//! The limit: an epoll loop that knows no WebSocket and sends the same bytes to the same sockets.
//!
//! Whoever says anything is the publisher. Of what one read brings, all messages go to each member in one write.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::{HEARD_BYTES, SAID_BYTES, heard};

const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 << 10;

/// Serves, and says on its first line where.
pub(crate) fn serve() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = listen()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on tcp://{}", listener.local_addr()?);
    let mut members: Vec<TcpStream> = Vec::new();
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; READ_BYTES];
    let batch = heard().repeat(READ_BYTES / SAID_BYTES);
    let mut unsaid = 0;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(members.len()), Interest::READABLE)?;
                    members.push(stream);
                }
                continue;
            }
            let publisher = event.token().0;
            let Ok(len @ 1..) = members[publisher].read(&mut buffer) else { continue };
            unsaid += len;
            let messages = unsaid / SAID_BYTES;
            unsaid %= SAID_BYTES;
            for (at, member) in members.iter_mut().enumerate() {
                if at != publisher {
                    // A burst is far smaller than what a socket takes.
                    member.write_all(&batch[..messages * HEARD_BYTES])?;
                }
            }
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    TcpListener::bind(address)
}
