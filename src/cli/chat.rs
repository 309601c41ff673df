//! `switchboard chat`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use crate::chat::rate::Rates;
use crate::chat::rooms;
use crate::chat::sessions::Sessions;
use crate::chat::store::{self, Store};
use crate::handshake::OriginPolicy;
use crate::hub::{self, Policy};
use crate::net::Config;
use crate::proto::deflate::DeflateConfig;
use crate::server::chat::{self, Settings};
use crate::server::shutdown;

use super::Logging;
use super::access::Access;
use super::config;
use super::units::{parse_duration, parse_size};

/// The flags of `switchboard chat`.
#[derive(Args)]
pub(super) struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// How many worker threads; one a core without it
    #[arg(long, env = "SWITCHBOARD_THREADS", value_name = "N")]
    threads: Option<usize>,
    /// The longest message to accept
    #[arg(long, help_heading = "Limits", env = "SWITCHBOARD_MAX_MESSAGE_BYTES", default_value = "64KiB", value_name = "SIZE", value_parser = parse_size)]
    max_message_bytes: usize,
    /// The longest text to pass on, in characters; without it only the message's bytes count
    #[arg(long, help_heading = "Limits", env = "SWITCHBOARD_MAX_TEXT", value_name = "CHARS")]
    max_text: Option<usize>,
    /// How often to ping each client; 0s is never
    #[arg(long, help_heading = "Connections", env = "SWITCHBOARD_PING_INTERVAL", default_value = "15s", value_name = "DURATION", value_parser = parse_duration)]
    ping_interval: Duration,
    /// How long a client may be silent before it is gone; 0s is for ever
    #[arg(long, help_heading = "Connections", env = "SWITCHBOARD_PONG_TIMEOUT", default_value = "45s", value_name = "DURATION", value_parser = parse_duration)]
    pong_timeout: Duration,
    /// How many bytes may wait for a slow client
    #[arg(long, help_heading = "Limits", env = "SWITCHBOARD_QUEUE_BYTES", default_value = "1MiB", value_name = "SIZE", value_parser = parse_size)]
    queue_bytes: usize,
    /// What happens to a client that is slower than that
    #[arg(
        long,
        help_heading = "Limits",
        env = "SWITCHBOARD_SLOW_CONSUMER",
        default_value = "disconnect",
        value_name = "POLICY"
    )]
    slow_consumer: SlowConsumer,
    /// Messages a second that a client may send, with ten seconds' worth of burst; 0 is no limit
    #[arg(
        long,
        help_heading = "Limits",
        env = "SWITCHBOARD_RATE_MESSAGES",
        default_value_t = 100,
        value_name = "N"
    )]
    rate_messages: u32,
    /// Bytes a second that a client may send, likewise
    #[arg(long, help_heading = "Limits", env = "SWITCHBOARD_RATE_BYTES", default_value = "1MiB", value_name = "SIZE", value_parser = parse_rate)]
    rate_bytes: u32,
    /// The most connections at once
    #[arg(long, help_heading = "Limits", env = "SWITCHBOARD_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,
    /// The most connections from one address, those of this machine not counted
    #[arg(long, help_heading = "Limits", env = "SWITCHBOARD_MAX_CONNECTIONS_PER_IP", value_name = "N")]
    max_connections_per_ip: Option<usize>,
    /// How many messages a room keeps for those who come later; 0 is none
    #[arg(
        long,
        help_heading = "History",
        env = "SWITCHBOARD_HISTORY",
        default_value_t = 1000,
        value_name = "N"
    )]
    history: usize,
    /// Where to keep history and bans, so that they survive a restart; without it they don't
    #[arg(long, help_heading = "History", env = "SWITCHBOARD_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Another origin whose pages may connect, as scheme://host[:port]; * is any. Pages of this host may anyway
    #[arg(
        long,
        help_heading = "Access",
        env = "SWITCHBOARD_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    allow_origin: Vec<String>,
    /// How long to go on accepting after a stop was asked for, so that balancers hear of it by /readyz
    #[arg(long, help_heading = "Stopping", env = "SWITCHBOARD_DRAIN_DELAY", default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    drain_delay: Duration,
    /// How long a stop may take before whoever is left is cut off
    #[arg(long, help_heading = "Stopping", env = "SWITCHBOARD_DRAIN_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = parse_duration)]
    drain_timeout: Duration,
    /// Don't compress
    #[arg(long, help_heading = "Connections", env = "SWITCHBOARD_NO_DEFLATE", value_parser = FalseyValueParser::new())]
    no_deflate: bool,
    /// Keep compression windows from one message to the next: smaller messages, some 450 KiB a connection
    #[arg(long, help_heading = "Connections", env = "SWITCHBOARD_DEFLATE_TAKEOVER", value_parser = FalseyValueParser::new(), conflicts_with = "no_deflate")]
    deflate_takeover: bool,
    #[command(flatten)]
    config: config::ConfigFlags,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    logging: Logging,
}

#[derive(Clone, Copy, ValueEnum)]
enum SlowConsumer {
    /// It is disconnected with 1013 and may come back
    Disconnect,
    /// It misses the oldest messages, and is told how many
    DropOldest,
    /// It misses the newest messages, and is told how many
    DropNewest,
    /// Of messages with the same key it gets the newest; otherwise like drop-oldest
    LatestPerKey,
}

/// What a socket's own queue holds of the budget; the rest waits in the hub, by reference.
const SOCKET_QUEUE_BYTES: usize = 64 << 10;

fn parse_rate(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?)
        .map_err(|_| format!("{text:?} is more than 4GiB a second: write 0 for no limit"))
}

/// Zero turns a timeout off.
fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

impl Flags {
    fn settings(&self) -> Result<Settings, String> {
        let mut config = Config::default();
        config.limits.max_message_bytes = self.max_message_bytes;
        config.limits.max_frame_bytes = self.max_message_bytes as u64;
        config.limits.max_queued_bytes = SOCKET_QUEUE_BYTES.min(self.queue_bytes);
        config.timeouts.ping_interval = unless_zero(self.ping_interval);
        config.timeouts.silence = unless_zero(self.pong_timeout);
        let deflate = DeflateConfig { takeover: self.deflate_takeover, ..DeflateConfig::default() };
        config.deflate = (!self.no_deflate).then_some(deflate);
        config.origins = self
            .allow_origin
            .iter()
            .try_fold(OriginPolicy::same_host(), |policy, origin| policy.allow(origin))
            .map_err(|error| error.to_string())?;
        let policy = match self.slow_consumer {
            SlowConsumer::Disconnect => Policy::Disconnect,
            SlowConsumer::DropOldest => Policy::DropOldest,
            SlowConsumer::DropNewest => Policy::DropNewest,
            SlowConsumer::LatestPerKey => Policy::LatestPerKey,
        };
        let retention = hub::Retention { messages: self.history, ..hub::Retention::default() };
        let room = hub::Settings { policy, queue_bytes: self.queue_bytes, retention };
        Ok(Settings {
            config,
            rooms: rooms::Settings { room, ..rooms::Settings::default() },
            rates: Rates { messages: self.rate_messages, bytes: self.rate_bytes },
            max_text: self.max_text,
            connections: chat::Limits {
                total: self.max_connections,
                per_address: self.max_connections_per_ip,
            },
            shutdown: shutdown::Settings { timeout: self.drain_timeout },
            drain_delay: self.drain_delay,
            auth: self.access.auth()?,
            api_keys: self.access.api_keys()?,
            proxies: self.access.proxies()?,
            proxy_protocol: self.access.proxy_protocol(),
        })
    }
}

impl Flags {
    fn store(&self) -> Result<Option<Arc<Store>>, String> {
        let Some(folder) = &self.data_dir else { return Ok(None) };
        let retention = store::Retention { messages: self.history as u64, ..store::Retention::default() };
        Store::open(folder, retention).map(Some).map_err(|error| error.to_string())
    }

    /// Made in the runtime.
    fn sessions(&self) -> Result<Arc<Sessions>, String> {
        Sessions::new(self.data_dir.as_deref())
            .map_err(|error| format!("the sessions' key can't be kept: {error}"))
    }
}

/// Says to people where to click, and how to connect.
fn greet(address: SocketAddr, admin: Option<&tokio::net::TcpListener>) -> Result<(), String> {
    // Nobody can click on the address that stands for all.
    let mut shown = address;
    if address.ip().is_unspecified() {
        shown.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let mut lines =
        format!("page: http://{shown}/\ntalk with: switchboard connect ws://{shown} --name NAME\n");
    if let Some(admin) = admin {
        let address = admin.local_addr().map_err(|error| format!("the listener has no address: {error}"))?;
        lines.push_str(&format!("administration: http://{address}/metrics\n"));
    }
    // Whoever started us may have closed its end of the pipe: the server serves all the same.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), lines.as_bytes());
    Ok(())
}

pub(super) fn run(flags: Flags) -> Result<(), String> {
    // A line for each connection that ended.
    flags.logging.start("warn,switchboard=info");
    let settings = flags.settings()?;
    let store = flags.store()?;
    let runtime =
        super::runtime(flags.threads).map_err(|error| format!("the runtime can't start: {error}"))?;
    runtime.block_on(async {
        let listener = super::listen(flags.listen)?;
        let admin = flags.access.admin_listen().map(super::listen).transpose()?;
        let mut signals = super::Signals::catch()?;
        let address = super::announce(&listener)?;
        greet(address, admin.as_ref())?;
        let stop = async move {
            signals.stopped().await;
            // Whoever is in a hurry asks again.
            tokio::spawn(async move {
                signals.stopped().await;
                std::process::exit(1);
            });
        };
        let parts = chat::Parts { listener, admin, store, sessions: flags.sessions()? };
        chat::serve(parts, settings, stop).await;
        Ok(())
    })
}
