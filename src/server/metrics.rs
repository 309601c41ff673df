//! What `/metrics` shows, in the text format that Prometheus reads (version 0.0.4).
//!
//! Two kinds of numbers: those that are counted here as things happen, each a relaxed atomic addition, and those that
//! the hub knows anyway, which are asked for only when somebody looks. Every label's values are few and ours: nothing
//! that a client writes becomes one.

mod hub;
mod process;

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, prometheus_text,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::proto::CloseCode;

use super::http::Response;
use hub::HubCollector;
use process::Process;

pub use hub::Snapshot;
pub use process::free_files;

/// The numbers of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Connections that are open, from their acceptance on.
    pub connections: Gauge,
    /// Connections that were accepted, since the start.
    pub connections_accepted: Counter,
    refused: Family<RefusedLabels, Counter>,
    handshakes_failed: Family<StatusLabels, Counter>,
    /// Messages that came in.
    pub messages_received: Counter,
    /// Their bytes.
    pub bytes_received: Counter,
    /// Messages that were handed to sockets, one for each receiver.
    pub messages_sent: Counter,
    closes: Family<CloseLabels, Counter>,
    round_trip: Histogram,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// There were as many as there may be.
    Limit,
    /// There were as many from this address as there may be.
    AddressLimit,
    /// The server goes down.
    ShuttingDown,
    /// The page's origin isn't let in.
    Origin,
    /// The token is missing or isn't accepted.
    Unauthorized,
    /// The path leads nowhere.
    NotFound,
    /// The PROXY protocol's header is missing or wrong.
    ProxyProtocol,
}

/// Who closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// The server.
    Server,
    /// The client.
    Client,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabels {
    by: ClosedBy,
    code: Code,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

/// A close code as a label. A client may send any of 2,000 codes of its own, which are two here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Code {
    /// Without a closing handshake (what RFC 6455 §7.1.5 calls 1006), or without a code (1005).
    Exact(u16),
    Registered,
    Private,
}

impl EncodeLabelValue for Refused {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let name = match self {
            Self::Limit => "limit",
            Self::AddressLimit => "address_limit",
            Self::ShuttingDown => "shutting_down",
            Self::Origin => "origin",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::ProxyProtocol => "proxy_protocol",
        };
        name.encode(encoder)
    }
}

impl EncodeLabelValue for ClosedBy {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Server => "server".encode(encoder),
            Self::Client => "client".encode(encoder),
        }
    }
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Exact(code) => code.encode(encoder),
            Self::Registered => "3xxx".encode(encoder),
            Self::Private => "4xxx".encode(encoder),
        }
    }
}

/// What RFC 6455 §7.1.5 calls a Close without a code.
const NO_CODE: u16 = 1005;
/// And an end without a Close.
const NO_CLOSE: u16 = 1006;

impl Metrics {
    /// Numbers that begin at zero; `hub` is asked for the rest at every look.
    pub fn new(hub: impl Fn() -> Snapshot + Send + Sync + 'static) -> Self {
        let mut metrics = Self {
            connections: Gauge::default(),
            connections_accepted: Counter::default(),
            refused: Family::default(),
            handshakes_failed: Family::default(),
            messages_received: Counter::default(),
            bytes_received: Counter::default(),
            messages_sent: Counter::default(),
            closes: Family::default(),
            // Half a millisecond to 16 s.
            round_trip: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            registry: Registry::default(),
        };
        let mut registry = Registry::default();
        // Those of the process have names that every program gives them, without our prefix.
        registry.register_collector(Box::new(Process::default()));
        let ours = registry.sub_registry_with_prefix("switchboard");
        metrics.register(ours);
        ours.register_collector(Box::new(HubCollector::new(hub)));
        metrics.registry = registry;
        metrics
    }

    fn register(&self, to: &mut Registry) {
        to.register("build", "The version that runs", info());
        to.register("connections", "Connections that are open", self.connections.clone());
        let accepted = self.connections_accepted.clone();
        to.register("connections_accepted", "Connections that were accepted", accepted);
        to.register("connections_refused", "Connections that were refused, by reason", self.refused.clone());
        let failed = self.handshakes_failed.clone();
        to.register("handshakes_failed", "Requests for a WebSocket that were refused, by status", failed);
        to.register("messages_received", "Messages that came in", self.messages_received.clone());
        to.register_with_unit(
            "received",
            "Bytes of messages that came in",
            Unit::Bytes,
            self.bytes_received.clone(),
        );
        to.register(
            "messages_sent",
            "Messages handed to sockets, one for each receiver",
            self.messages_sent.clone(),
        );
        to.register("closes", "Connections that ended, by close code and by who closed", self.closes.clone());
        let round_trip = self.round_trip.clone();
        to.register_with_unit("heartbeat_round_trip", "From a ping to its pong", Unit::Seconds, round_trip);
        to.register("http_requests", "Plain HTTP requests, by route and status", self.requests.clone());
        let seconds = self.request_seconds.clone();
        to.register_with_unit(
            "http_request_duration",
            "How long plain HTTP requests took",
            Unit::Seconds,
            seconds,
        );
    }

    /// A connection was refused.
    pub fn on_refused(&self, reason: Refused) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// A request for a WebSocket was refused with this status.
    pub fn on_handshake_failed(&self, status: StatusCode) {
        self.handshakes_failed.get_or_create(&StatusLabels { status: status.as_u16() }).inc();
    }

    /// A connection ended with this Close, or with one that had no code.
    pub fn on_closed(&self, by: ClosedBy, code: Option<CloseCode>) {
        let code = match (by, code.map_or(NO_CODE, CloseCode::get)) {
            (ClosedBy::Client, 3000..=3999) => Code::Registered,
            (ClosedBy::Client, 4000..=4999) => Code::Private,
            (_, code) => Code::Exact(code),
        };
        self.closes.get_or_create(&CloseLabels { by, code }).inc();
    }

    /// A connection was lost, or given up, without a Close from the client.
    pub fn on_lost(&self) {
        let labels = CloseLabels { by: ClosedBy::Client, code: Code::Exact(NO_CLOSE) };
        self.closes.get_or_create(&labels).inc();
    }

    /// A pong came so long after its ping.
    pub fn on_round_trip(&self, time: Duration) {
        self.round_trip.observe(time.as_secs_f64());
    }

    /// A plain HTTP request was answered; `route` is the pattern that it fitted, never its path.
    pub fn on_request(&self, route: &'static str, status: StatusCode, time: Duration) {
        self.requests.get_or_create(&RequestLabels { route, status: status.as_u16() }).inc();
        self.request_seconds.observe(time.as_secs_f64());
    }

    /// All of them, as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a text can't fail.
        let _ = prometheus_text::encode(&mut text, &self.registry);
        text
    }

    /// All of them, as an answer.
    pub fn response(&self) -> Response {
        Response::of_type(StatusCode::OK, prometheus_text::CONTENT_TYPE, self.render())
    }
}

fn info() -> impl prometheus_client::registry::Metric {
    Info::new(vec![("version", env!("CARGO_PKG_VERSION"))])
}

/// Writes a metric that is made for this look.
fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(|| Snapshot {
            addressed: 7,
            delivered: 5,
            dropped: 1,
            pending: 1,
            ..Snapshot::default()
        })
    }

    /// The value of a line that begins with `name`.
    fn value(text: &str, name: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = metrics();
        metrics.connections.inc();
        metrics.bytes_received.inc_by(10);
        metrics.on_refused(Refused::AddressLimit);
        metrics.on_handshake_failed(StatusCode::UPGRADE_REQUIRED);
        metrics.on_round_trip(Duration::from_millis(3));
        metrics.on_request("/api/rooms/{room}/messages", StatusCode::CREATED, Duration::from_millis(1));
        let text = metrics.render();
        for (name, expected) in [
            ("switchboard_build_info{version=\"0.1.0\"}", 1.0),
            ("switchboard_connections", 1.0),
            ("switchboard_received_bytes_total", 10.0),
            ("switchboard_connections_refused_total{reason=\"address_limit\"}", 1.0),
            ("switchboard_handshakes_failed_total{status=\"426\"}", 1.0),
            ("switchboard_heartbeat_round_trip_seconds_count", 1.0),
            ("switchboard_heartbeat_round_trip_seconds_bucket{le=\"0.004\"}", 1.0),
            ("switchboard_http_requests_total{route=\"/api/rooms/{room}/messages\",status=\"201\"}", 1.0),
            ("switchboard_deliveries_addressed_total", 7.0),
            ("switchboard_deliveries_pending", 1.0),
        ] {
            assert_eq!(value(&text, name), Some(expected), "{name}\n{text}");
        }
    }

    #[test]
    fn a_client_can_not_make_labels() {
        let metrics = metrics();
        for code in 3000..5000 {
            metrics.on_closed(ClosedBy::Client, CloseCode::try_from(code).ok());
        }
        metrics.on_closed(ClosedBy::Server, CloseCode::try_from(4401).ok());
        metrics.on_closed(ClosedBy::Client, None);
        metrics.on_lost();
        let text = metrics.render();
        let closes: Vec<&str> =
            text.lines().filter(|line| line.starts_with("switchboard_closes_total{")).collect();
        assert_eq!(closes.len(), 5, "{closes:?}");
        assert_eq!(value(&text, "switchboard_closes_total{by=\"client\",code=\"4xxx\"}"), Some(1000.0));
        assert_eq!(value(&text, "switchboard_closes_total{by=\"server\",code=\"4401\"}"), Some(1.0));
    }

    #[test]
    fn every_line_is_of_the_format() {
        let metrics = metrics();
        metrics.on_lost();
        for line in metrics.render().lines() {
            let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
            let number = line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
            assert!(is_comment || number.is_some(), "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_shown() {
        let text = metrics().render();
        for name in [
            "process_open_fds",
            "process_max_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
        ] {
            assert!(value(&text, name).is_some_and(|value| value > 0.0), "{name}\n{text}");
        }
        assert!(value(&text, "process_cpu_seconds_total").is_some(), "{text}");
    }
}
