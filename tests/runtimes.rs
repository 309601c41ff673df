//! Any runtime: several threads, one, a `LocalSet`, many one after the other, and none.

use std::time::Duration;

use switchboard::{CloseCode, CloseFrame, Config, Error, Message, WebSocket};
use tokio::net::{TcpListener, TcpStream};

/// A client talks to an echo server over TCP.
async fn talk(config: Config) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = switchboard::Acceptor::new(config.clone());
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut ws = acceptor.accept(stream).await.unwrap();
        while let Some(message) = ws.recv().await.unwrap() {
            ws.send(message).await.unwrap();
        }
        ws.close(None).await
    };
    let client = async {
        let connector = switchboard::Connector::new(config.clone());
        let (mut ws, response) = connector.connect(&format!("ws://{address}/")).await.unwrap();
        assert_eq!(response.status(), 101);
        for len in [1, 1000, 300_000] {
            ws.send(vec![7; len]).await.unwrap();
            assert_eq!(ws.recv().await.unwrap(), Some(Message::binary(vec![7; len])));
        }
        ws.close(CloseFrame::from(CloseCode::NORMAL)).await
    };
    let (server, client) = tokio::join!(server, client);
    client.unwrap();
    server.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn several_threads() {
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(talk(Config::default()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn one_thread() {
    talk(Config::default()).await;
}

#[tokio::test]
async fn a_local_set() {
    let local = tokio::task::LocalSet::new();
    local.run_until(async { tokio::task::spawn_local(talk(Config::default())).await.unwrap() }).await;
}

#[tokio::test(start_paused = true)]
async fn real_sockets_under_a_paused_clock_without_timeouts() {
    let mut config = Config::default();
    config.timeouts = switchboard::Timeouts::none();
    talk(config).await;
}

#[test]
fn a_runtime_without_time_and_without_timeouts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let mut config = Config::default();
    config.timeouts = switchboard::Timeouts::none();
    runtime.block_on(talk(config.clone()));
    // A refusal has its own way, and no time either.
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let refused = tokio::spawn(async { switchboard::Acceptor::new(config).accept(ours).await });
        tokio::io::AsyncWriteExt::write_all(&mut theirs, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut theirs, &mut answer).await.unwrap();
        drop(theirs);
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        assert!(refused.await.unwrap().is_err());
    });
}

#[test]
fn a_hundred_runtimes_one_after_the_other_and_some_at_once() {
    for number in 0..100 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(talk(Config::default()));
        let left_open = runtime.block_on(async { switchboard::testing::pair().unwrap() });
        if number % 2 == 0 {
            // Dropped after its runtime: there is nobody left to say goodbye, and nothing to panic about.
            drop(runtime);
            drop(left_open);
        }
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                runtime.unwrap().block_on(talk(Config::default()));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn no_runtime_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stream, _other) = tokio::io::duplex(64);
    drop(runtime);
    let result = WebSocket::from_upgraded(stream, switchboard::Role::Server, Default::default());
    assert!(matches!(result, Err(Error::NoRuntime)));
}

/// The socket of a peer that never reads is freed although nobody polls the connection any more.
#[tokio::test]
async fn a_dropped_connection_to_a_peer_that_never_reads_is_freed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let peer = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut config = Config::default();
    config.limits.max_queued_bytes = 64 << 20;
    config.timeouts.write = Some(Duration::from_millis(200));
    config.timeouts.close = Some(Duration::from_millis(200));
    let mut ws =
        WebSocket::from_parts(stream, switchboard::Role::Server, Default::default(), &config, Vec::new())
            .unwrap();
    ws.send(vec![0; 32 << 20]).await.unwrap();
    drop(ws);
    // Once the socket is freed, what the peer writes is answered with a reset.
    let mut is_freed = false;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.writable().await.unwrap();
        if peer.try_write(b"anybody there?").is_err() {
            is_freed = true;
            break;
        }
    }
    assert!(is_freed, "the socket is kept");
}
