//! What the port answers to plain HTTP: the page, health, metrics, the API.

use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};

use crate::net::{Error, HttpRequest, Stream};

use super::super::http::{self as web, Problem, Request, Response};
use super::super::{http_api, metrics, page};
use super::Chat;

/// On which of the server's addresses a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Everybody's.
    Public,
    /// The administrators'.
    Admin,
}

/// The routes, for the metrics.
const PAGE: &str = "page";
const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";
const METRICS: &str = "/metrics";
const NOWHERE: &str = "other";

/// Below this share of file descriptors a server doesn't want more connections.
const SPARE_FILES: f64 = 0.05;

impl Chat {
    /// Answers a request that is for no WebSocket.
    pub(super) async fn answer<S: Stream>(&self, request: HttpRequest<S>, door: Door) -> Result<(), Error> {
        let started = Instant::now();
        let limits = web::Limits {
            // A text that a WebSocket may bring, the API may bring too, in JSON.
            max_body_bytes: self.settings.config.limits.max_message_bytes.saturating_add(4 << 10),
            ..web::Limits::default()
        };
        let mut answered = None;
        let result = web::answer(request, limits, async |request| {
            let (route, response) = self.route(&request, door).await;
            answered = Some((route, response.status()));
            Ok(response)
        })
        .await;
        if let Some((route, status)) = answered {
            self.metrics.on_request(route, status, started.elapsed());
        }
        result
    }

    async fn route(&self, request: &Request, door: Door) -> (&'static str, Response) {
        let path = request.path();
        // Administration has an address of its own, or this one.
        let is_admin = door == Door::Admin || !self.has_admin_door.load(Ordering::Relaxed);
        if http_api::Api::has(path) && is_admin {
            return self.api.answer(self, request).await;
        }
        let (route, response) = match path {
            "/healthz" => (HEALTH, Ok(Response::text(StatusCode::OK, "alive\n"))),
            "/readyz" if is_admin => (READY, self.readiness()),
            "/metrics" if is_admin => (METRICS, Ok(self.metrics.response())),
            path => match page::asset(path).filter(|_| door == Door::Public) {
                Some(asset) => (PAGE, Ok(file(asset, request))),
                None => (NOWHERE, Err(Problem::new(StatusCode::NOT_FOUND, self.explain(path)))),
            },
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) && route != NOWHERE {
            let problem =
                Problem::method_not_allowed("GET, HEAD").with(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return (route, problem.into());
        }
        (route, response.unwrap_or_else(Response::from))
    }

    fn explain(&self, path: &str) -> String {
        if path == "/ws" {
            return "this is for WebSockets: connect with ws://".to_owned();
        }
        "there is nothing here: the page is /, rooms are /rooms/NAME, WebSockets connect to /ws".to_owned()
    }

    fn readiness(&self) -> Result<Response, Problem> {
        let unready = |why: &str| Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
        if self.is_draining.load(Ordering::Relaxed) || self.connections.is_shutting_down() {
            return unready("the server goes down: send new clients elsewhere");
        }
        if metrics::free_files().is_some_and(|free| free < SPARE_FILES) {
            return unready("hardly any file descriptors are left: raise the limit (ulimit -n)");
        }
        if self.settings.connections.total.is_some_and(|max| self.connections.served() >= max) {
            return unready("there are as many connections as --max-connections allows");
        }
        Ok(Response::text(StatusCode::OK, "ready\n"))
    }
}

fn file(asset: page::Asset, request: &Request) -> Response {
    let headers = asset.headers();
    let mut response = if asset.is_known(request.headers()) {
        Response::new(StatusCode::NOT_MODIFIED)
    } else {
        Response::of_type(StatusCode::OK, asset.content_type(), asset.body())
    };
    for (name, value) in headers {
        if let Some(name) = name.filter(|name| name != http::header::CONTENT_TYPE) {
            response = response.with(name, value);
        }
    }
    response
}
