//! `switchboard bench`, the real binary: against our servers, and against some that misbehave on purpose.

#![cfg(feature = "cli")]

mod common;

use std::future::Future;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::server::{Server, run};
use serde_json::Value;
use switchboard::{Sender, WebSocket};

/// Runs a benchmark with `--json`, and reads what it wrote: one object, and nothing else.
async fn bench(arguments: &[&str]) -> (Value, Output) {
    let output = run(&[&["bench"], arguments, &["--json", "--threads", "2"]].concat()).await;
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let object = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?}, and it said: {error}"));
    (object, output)
}

/// A server of the test's own; its URL.
async fn serve<F>(each: impl Fn(WebSocket) -> F + Send + 'static) -> String
where
    F: Future<Output = Result<(), switchboard::Error>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(ws) = WebSocket::accept(stream).await {
                tokio::spawn(each(ws));
            }
        }
    });
    url
}

#[tokio::test]
async fn every_echo_of_the_schedule_is_counted_once() {
    let server = Server::start(&["echo"]).await;
    let url = server.url("/");
    for more in [
        &[][..],
        &["--text", "--deflate"],
        &["--size", "1"],
        &["--size", "100000", "--source", "127.0.0.1-3"],
    ] {
        let usual =
            ["echo", &url, "--connections", "7", "--rate", "200", "--duration", "500ms", "--warmup", "100ms"];
        let (found, output) = bench(&[&usual, more].concat()).await;
        assert!(output.status.success(), "{more:?}: {found}");
        assert!(output.stderr.is_empty(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
        for (key, count) in [
            ("connections", 7),
            ("sent", 120),
            ("received", 120),
            ("lost", 0),
            ("doubled", 0),
            ("out_of_order", 0),
            ("others", 0),
        ] {
            assert_eq!(found[key], count, "{key}, {more:?}: {found}");
        }
        assert_eq!(found["loop"], "open");
        assert_eq!(found["latency_us"]["count"], 100, "those of the warm-up don't count: {found}");
    }
}

#[tokio::test]
async fn a_prefix_is_no_harm() {
    let server = Server::start(&["echo", "--prefix", "Echo: "]).await;
    let (found, _) = bench(&[
        "echo",
        &server.url("/"),
        "--text",
        "--rate",
        "100",
        "--duration",
        "300ms",
        "--warmup",
        "0s",
    ])
    .await;
    assert_eq!((&found["received"], &found["lost"]), (&30.into(), &0.into()), "{found}");
}

#[tokio::test]
async fn a_closed_loop_says_that_it_is_one() {
    let server = Server::start(&["echo"]).await;
    let usual = [
        "echo",
        &server.url("/"),
        "--depth",
        "3",
        "--connections",
        "2",
        "--duration",
        "300ms",
        "--warmup",
        "0s",
    ];
    let (found, output) = bench(&usual).await;
    assert!(output.status.success(), "{found}");
    assert_eq!((&found["loop"], &found["depth"]), (&"closed".into(), &3.into()));
    assert_eq!((&found["sent"], &found["lost"]), (&found["received"], &0.into()), "{found}");
    assert!(found["sent"].as_u64() >= Some(6), "{found}");
    let table = run(&[&["bench"], &usual[..]].concat()).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("a closed loop") && table.contains("p99.9"), "{table}");
    assert!(table.contains("it leaves out what a stalled server kept from being sent"), "{table}");
}

/// What coordinated omission would hide: a closed loop would see one slow message a stall, not all that were due.
#[tokio::test]
async fn a_stall_shows_in_every_message_that_was_meant_for_it() {
    let url = serve(async |mut ws: WebSocket| {
        let mut echoed = 0;
        while let Some(message) = ws.recv().await? {
            if echoed == 100 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            echoed += 1;
            ws.send(message).await?;
        }
        Ok(())
    })
    .await;
    let (found, output) =
        bench(&["echo", &url, "--connections", "1", "--rate", "200", "--duration", "1s", "--warmup", "0s"])
            .await;
    assert!(output.status.success(), "{found}");
    assert_eq!((&found["sent"], &found["received"]), (&200.into(), &200.into()), "{found}");
    // 60 of 200 were due while it stalled: 20 of them in its first 100 ms, and the slowest right at its beginning.
    let latency = |key: &str| found["latency_us"][key].as_f64().unwrap();
    assert!(latency("p99") >= 250_000.0, "{found}");
    assert!(latency("p90") >= 150_000.0, "{found}");
}

#[tokio::test]
async fn what_does_not_come_back_is_lost_and_the_run_fails() {
    let url = serve(async |mut ws: WebSocket| {
        let mut count = 0;
        while let Some(message) = ws.recv().await? {
            count += 1;
            match count % 10 {
                3 => {}
                7 => {
                    ws.send(message.clone()).await?;
                    ws.send(message).await?;
                }
                _ => ws.send(message).await?,
            }
        }
        Ok(())
    })
    .await;
    let (found, output) = bench(&[
        "echo",
        &url,
        "--connections",
        "2",
        "--rate",
        "200",
        "--duration",
        "500ms",
        "--warmup",
        "0s",
        "--wait",
        "200ms",
    ])
    .await;
    assert_eq!(output.status.code(), Some(1), "{found}");
    for (key, count) in [("sent", 100), ("received", 90), ("lost", 10), ("doubled", 10), ("out_of_order", 0)]
    {
        assert_eq!(found[key], count, "{key}: {found}");
    }
    assert!(String::from_utf8(output.stderr).unwrap().contains("10 messages did not come back"));
}

#[tokio::test]
async fn every_delivery_of_a_room_is_counted_once() {
    let server = Server::start(&["chat"]).await;
    for (burst, room) in [("1", "one"), ("5", "five")] {
        let (found, output) = bench(&[
            "fanout",
            &server.url("/"),
            "--room",
            room,
            "--members",
            "9",
            "--publishers",
            "2",
            "--rate",
            "50",
            "--burst",
            burst,
            "--duration",
            "400ms",
            "--warmup",
            "200ms",
        ])
        .await;
        assert!(output.status.success(), "{found}");
        for (key, count) in [
            ("members", 9),
            ("publishers", 2),
            ("sent", 30),
            ("expected", 270),
            ("received", 270),
            ("lost", 0),
            ("doubled", 0),
            ("out_of_order", 0),
        ] {
            assert_eq!(found[key], count, "{key}, bursts of {burst}: {found}");
        }
        assert_eq!(found["latency_us"]["count"], 180, "{found}");
    }
}

#[tokio::test]
async fn a_server_without_names_is_measured_too() {
    let others: Arc<Mutex<Vec<Sender>>> = Arc::default();
    let url = serve(move |mut ws: WebSocket| {
        let others = others.clone();
        async move {
            others.lock().unwrap().push(ws.sender());
            while let Some(message) = ws.recv().await? {
                for other in &*others.lock().unwrap() {
                    let _ = other.try_send(message.clone());
                }
            }
            Ok(())
        }
    })
    .await;
    let usual = [
        "fanout",
        &url,
        "--members",
        "4",
        "--publishers",
        "2",
        "--rate",
        "50",
        "--duration",
        "400ms",
        "--warmup",
        "0s",
    ];
    let (found, output) = bench(&[&usual[..], &["--no-names"]].concat()).await;
    assert!(output.status.success(), "{found}");
    assert_eq!(
        (&found["sent"], &found["received"], &found["lost"]),
        (&20.into(), &80.into(), &0.into()),
        "{found}"
    );
}

#[tokio::test]
async fn idle_connections_are_held_and_weighed() {
    let server = Server::start(&["chat", "--threads", "1"]).await;
    let pid = server.id().to_string();
    let (found, output) = bench(&[
        "idle",
        &server.url("/ws"),
        "--connections",
        "60",
        "--hold",
        "200ms",
        "--connect-rate",
        "500",
        "--say",
        "member%n",
        "--deflate",
        "--pid",
        &pid,
    ])
    .await;
    assert!(output.status.success(), "{found}");
    assert_eq!((&found["connections"], &found["held"]), (&60.into(), &60.into()), "{found}");
    assert_eq!(found["connecting_us"]["count"], 60, "{found}");
    if cfg!(target_os = "linux") {
        assert!(found["bytes_per_connection"].is_number(), "{found}");
    }
}

#[tokio::test]
async fn connections_that_end_early_are_told_of() {
    let url = serve(async |mut ws: WebSocket| {
        let frame = switchboard::CloseFrame::new(switchboard::CloseCode::GOING_AWAY, "so long").unwrap();
        ws.close(frame).await
    })
    .await;
    let (found, output) = bench(&["idle", &url, "--connections", "3", "--hold", "300ms"]).await;
    assert_eq!(output.status.code(), Some(1), "{found}");
    assert_eq!((&found["connections"], &found["held"]), (&3.into(), &0.into()), "{found}");
    assert_eq!(found["errors"][0]["count"], 3, "{found}");
    assert!(found["errors"][0]["what"].as_str().unwrap().contains("1001 so long"), "{found}");
}

#[tokio::test]
async fn what_can_not_be_measured_says_what_to_do() {
    let server = Server::start(&["chat"]).await;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("ws://{}", listener.local_addr().unwrap())
    };
    let silent = serve(async |mut ws: WebSocket| {
        while ws.recv().await?.is_some() {}
        Ok(())
    })
    .await;
    for (arguments, code, advice) in [
        (&["echo", "http://127.0.0.1:1"][..], 2, "write it like ws://"),
        (&["echo", "127.0.0.1:9001"], 2, "write it like ws://"),
        (&["echo", &gone], 1, "nothing listens there; start the server, or check host and port"),
        (&["idle", &server.url("/nowhere"), "--connections", "3"], 1, "check the URL's path"),
        (
            &["echo", &silent, "--duration", "100ms", "--warmup", "0s", "--wait", "100ms"],
            1,
            "no message came back",
        ),
        (&["fanout", &silent, "--size", "15"], 2, "16 bytes at least"),
        (&["echo", &gone, "--rate", "5", "--depth", "5"], 2, "cannot be used with"),
        (&["echo", &gone, "--source", "here"], 2, "write one like 127.0.1.1"),
        (&["idle", &gone, "--pid", "4294967295"], 1, "give --pid the server's process"),
    ] {
        let output = run(&[&["bench"], arguments].concat()).await;
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(advice), "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn help_fits_a_screen() {
    for what in ["echo", "fanout", "idle"] {
        let output = run(&["bench", what, "-h"]).await;
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.lines().count() <= 50, "{what}: {} lines", help.lines().count());
    }
}
