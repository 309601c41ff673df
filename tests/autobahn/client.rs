//! The client that the Autobahn suite tests: echoes every case, with permessage-deflate.
//!
//! Usage: `autobahn_client ws://127.0.0.1:9002 [--deflate-takeover]`

use std::error::Error;

use switchboard::net::Connector;
use switchboard::{Config, WebSocket};

const AGENT: &str = "switchboard";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("give the suite's URL, such as ws://127.0.0.1:9002")?;
    let mut config = Config::default();
    if let (Some(deflate), Some("--deflate-takeover")) = (&mut config.deflate, args.next().as_deref()) {
        deflate.takeover = true;
    }
    let connector = Connector::new(config);
    let (mut ws, _) = connector.connect(&format!("{url}/getCaseCount")).await?;
    let count = ws.recv().await?.ok_or("the suite gave no count of its cases")?;
    let count: u32 = count.as_text().ok_or("the suite's count is not text")?.parse()?;
    drop(ws);
    for case in 1..=count {
        let case_url = format!("{url}/runCase?case={case}&agent={AGENT}");
        let (ws, _) = connector.connect(&case_url).await?;
        // Many cases end with an error on purpose: the suite judges what came of them.
        let _ = echo(ws).await;
    }
    let (mut ws, _) = connector.connect(&format!("{url}/updateReports?agent={AGENT}")).await?;
    ws.close(None).await?;
    Ok(())
}

async fn echo(mut ws: WebSocket) -> Result<(), switchboard::Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    ws.close(None).await
}
