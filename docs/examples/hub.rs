//! A chat of one room, without names: what anybody sends, everybody else gets.
//!
//! ```sh
//! cargo run --release --features hub --example hub
//! ```
//!
//! Then open several clients on ws://127.0.0.1:9000/, such as `switchboard connect ws://127.0.0.1:9000/`.

use std::sync::Arc;

use switchboard::hub::{Form, Hub, Policy, Settings};
use switchboard::{Error, Prepared, SocketMember, WebSocket};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // Who is too slow is told what it missed instead of being disconnected: by `notice`, below.
    let settings = Settings { policy: Policy::DropOldest, ..Settings::default() };
    let hub = Arc::new(Hub::new(settings));
    let listener = TcpListener::bind("127.0.0.1:9000").await?;
    println!("listening on ws://{}/", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let hub = hub.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(&hub, stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// One connection, until it ends.
async fn serve(hub: &Hub, stream: TcpStream) -> Result<(), Error> {
    let (sender, mut receiver) = WebSocket::accept(stream).await?.split();
    let notice = |missed: &switchboard::hub::Missed| {
        Prepared::new(format!("you missed {} messages: your connection is too slow", missed.count))
    };
    let outlet = Arc::new(SocketMember::with_notice(sender, notice));
    // From here on the room's shards write to the connection: this task only reads. It is a member until this is
    // dropped, at the end of the function.
    let member = hub.room("lobby").join(outlet, Form::default());
    while let Some(message) = receiver.recv().await? {
        // Encoded once, whoever gets it. It waits while the room has much to deliver.
        member.publish(Prepared::from(message)).await;
    }
    Ok(())
}
