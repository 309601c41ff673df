//! `switchboard echo`.

use std::net::SocketAddr;

use clap::Args;
use clap::builder::FalseyValueParser;

use crate::handshake::OriginPolicy;
use crate::net::{Acceptor, Config};
use crate::proto::deflate::DeflateConfig;
use crate::server::echo;

use super::Logging;
use super::config;
use super::units::parse_size;

/// The flags of `switchboard echo`.
#[derive(Args)]
pub(super) struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// How many worker threads; one a core without it
    #[arg(long, env = "SWITCHBOARD_THREADS", value_name = "N")]
    threads: Option<usize>,
    /// Don't compress
    #[arg(long, env = "SWITCHBOARD_NO_DEFLATE", value_parser = FalseyValueParser::new())]
    no_deflate: bool,
    /// Keep compression windows from one message to the next: smaller messages, some 450 KiB a connection
    #[arg(long, env = "SWITCHBOARD_DEFLATE_TAKEOVER", value_parser = FalseyValueParser::new(), conflicts_with = "no_deflate")]
    deflate_takeover: bool,
    /// The longest message to accept, after inflation
    #[arg(long, env = "SWITCHBOARD_MAX_MESSAGE_BYTES", default_value = "64MiB", value_name = "SIZE", value_parser = parse_size)]
    max_message_bytes: usize,
    /// What to write in front of every echo, such as 'Echo: '
    #[arg(long, env = "SWITCHBOARD_PREFIX", value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    config: config::ConfigFlags,
    #[command(flatten)]
    logging: Logging,
}

pub(super) fn run(flags: Flags) -> Result<(), String> {
    flags.logging.start("warn");
    let runtime =
        super::runtime(flags.threads).map_err(|error| format!("the runtime can't start: {error}"))?;
    runtime.block_on(async {
        let listener = super::listen(flags.listen)?;
        let mut signals = super::Signals::catch()?;
        super::announce(&listener)?;
        let mut config = Config::default();
        config.limits.max_message_bytes = flags.max_message_bytes;
        config.limits.max_frame_bytes = flags.max_message_bytes as u64;
        // There is nothing here that a page of another site could do in its visitor's name.
        config.origins = OriginPolicy::any();
        let deflate = DeflateConfig { takeover: flags.deflate_takeover, ..DeflateConfig::default() };
        config.deflate = (!flags.no_deflate).then_some(deflate);
        tokio::select! {
            () = echo::serve(listener, Acceptor::new(config), flags.prefix.map(Into::into)) => {}
            () = signals.stopped() => {}
        }
        Ok(())
    })
}
