//! The HTTP API, for a backend that has no socket: publish, look, disconnect. `docs/openapi.json` describes it.
//!
//! This is what HTTP has to do with it: keys, paths, bodies, statuses. What a request means is the [`Chat`]'s business.

mod types;

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chat::name::UserName;
use crate::chat::room_name::RoomName;

use super::auth::ApiKeys;
use super::http::{Found, Problem, Query, Request, Response, Router};

pub use types::{
    Ban, Broadcast, Broadcasted, Chat, ConnectionInfo, Connections, History, HistoryMessage, HistoryRange,
    Kick, Member, Presence, Publication, Published, RoomInfo, Rooms,
};
use types::{BanBody, BroadcastBody, KickBody, MessageBody};

/// The API's own description of itself.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The longest key of a message, and the longest `Idempotency-Key`.
const MAX_KEY_BYTES: usize = 64;

/// The longest reason: what a Close can bear (RFC 6455 §5.5).
const MAX_REASON_BYTES: usize = 123;

/// The most messages that one answer has.
const MAX_HISTORY: usize = 1000;

/// The largest number that JSON carries everywhere (RFC 8259 §6); offsets and ids never come near it.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// How many it has if nobody says.
const DEFAULT_HISTORY: usize = 100;

/// Answers the requests under `/api/`.
#[derive(Debug)]
pub struct Api {
    keys: Option<ApiKeys>,
    router: Router<Operation>,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    OpenApi,
    Publish,
    DeleteMessage,
    History,
    Presence,
    Kick,
    Ban,
    Rooms,
    Broadcast,
    Connections,
    Disconnect,
}

/// The route of a request that leads nowhere, for the metrics.
const NO_ROUTE: &str = "other";

impl Api {
    /// An API for whoever has one of these keys; without keys there is none, and everything is a 404.
    pub fn new(keys: Option<ApiKeys>) -> Self {
        let mut router = Router::default();
        for (method, pattern, operation) in [
            (Method::GET, "/api/openapi.json", Operation::OpenApi),
            (Method::GET, "/api/rooms", Operation::Rooms),
            (Method::POST, "/api/rooms/{room}/messages", Operation::Publish),
            (Method::DELETE, "/api/rooms/{room}/messages/{offset}", Operation::DeleteMessage),
            (Method::GET, "/api/rooms/{room}/history", Operation::History),
            (Method::GET, "/api/rooms/{room}/presence", Operation::Presence),
            (Method::POST, "/api/rooms/{room}/kick", Operation::Kick),
            (Method::POST, "/api/rooms/{room}/ban", Operation::Ban),
            (Method::POST, "/api/broadcast", Operation::Broadcast),
            (Method::GET, "/api/connections", Operation::Connections),
            (Method::DELETE, "/api/connections/{id}", Operation::Disconnect),
        ] {
            router.add(method, pattern, operation);
        }
        Self { keys, router }
    }

    /// Whether a path is the API's.
    pub fn has(path: &str) -> bool {
        path == "/api" || path.starts_with("/api/")
    }

    /// Answers a request, and says which route it took, for logs and metrics.
    ///
    /// # Cancel safety
    ///
    /// As the [`Chat`]'s methods.
    pub async fn answer(&self, chat: &impl Chat, request: &Request) -> (&'static str, Response) {
        let found = self.find(request);
        let route = found.as_ref().map_or(NO_ROUTE, |found| found.pattern);
        let answered = match found {
            Ok(found) => self.operate(chat, request, &found).await,
            Err(problem) => Err(problem),
        };
        (route, answered.unwrap_or_else(Response::from))
    }

    fn find(&self, request: &Request) -> Result<Found<'_, Operation>, Problem> {
        let Some(keys) = &self.keys else {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "this server has no HTTP API: its operator turns it on with --api-key-file",
            ));
        };
        let found = self.router.find(request.method(), request.path());
        // How to call the API is no secret.
        if !matches!(&found, Ok(found) if matches!(found.target, Operation::OpenApi)) {
            keys.authorize(request.headers())?;
        }
        Ok(found?)
    }

    async fn operate(
        &self,
        chat: &impl Chat,
        request: &Request,
        found: &Found<'_, Operation>,
    ) -> Result<Response, Problem> {
        let mut query = request.query()?;
        if let Operation::History = found.target {
            let range = history_range(&mut query)?;
            query.finish()?;
            return ok(&chat.history(&room(found)?, range).await?);
        }
        query.finish()?;
        match found.target {
            Operation::OpenApi => Ok(Response::of_type(StatusCode::OK, "application/json", OPENAPI)),
            Operation::Rooms => ok(&chat.rooms().await?),
            Operation::Presence => ok(&chat.presence(&room(found)?).await?),
            Operation::Connections => ok(&chat.connections().await?),
            Operation::Publish => {
                let room = room(found)?;
                let MessageBody { from, text, key } = body(request)?;
                let key = bounded("key", key, MAX_KEY_BYTES)?;
                let publication = Publication {
                    from: name(&from)?,
                    text: not_blank(text)?,
                    key,
                    idempotency_key: idempotency_key(request)?,
                };
                Ok(Response::json(StatusCode::CREATED, &chat.publish(&room, publication).await?))
            }
            Operation::Broadcast => {
                let BroadcastBody { from, text } = body(request)?;
                let broadcast = Broadcast {
                    from: name(&from)?,
                    text: not_blank(text)?,
                    idempotency_key: idempotency_key(request)?,
                };
                Ok(Response::json(StatusCode::CREATED, &chat.broadcast(broadcast).await?))
            }
            Operation::Kick => {
                let room = room(found)?;
                let KickBody { name: who, reason } = body(request)?;
                let reason = bounded("reason", reason, MAX_REASON_BYTES)?;
                done(chat.kick(&room, Kick { name: name(&who)?, reason }).await)
            }
            Operation::Ban => {
                let room = room(found)?;
                let BanBody { name: who, seconds, reason } = body(request)?;
                let reason = bounded("reason", reason, MAX_REASON_BYTES)?;
                let duration = std::time::Duration::from_secs(seconds.into());
                done(chat.ban(&room, Ban { name: name(&who)?, duration, reason }).await)
            }
            Operation::DeleteMessage => {
                done(chat.delete_message(&room(found)?, number(found, "offset")?).await)
            }
            Operation::Disconnect => done(chat.disconnect(number(found, "id")?).await),
            Operation::History => Err(Problem::new(StatusCode::NOT_FOUND, "there is nothing here")),
        }
    }
}

fn ok(value: &impl Serialize) -> Result<Response, Problem> {
    Ok(Response::json(StatusCode::OK, value))
}

fn done(result: Result<(), Problem>) -> Result<Response, Problem> {
    result.map(|()| Response::new(StatusCode::NO_CONTENT))
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Problem> {
    request.json()
}

fn unprocessable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn room(found: &Found<'_, Operation>) -> Result<RoomName, Problem> {
    RoomName::parse(found.parameter("room"))
        .ok_or_else(|| unprocessable("a room's name is 1 to 64 of A–Z a–z 0–9 . _ -"))
}

fn name(text: &str) -> Result<UserName, Problem> {
    UserName::parse(text).map_err(|error| unprocessable(error.to_string()))
}

fn not_blank(text: String) -> Result<String, Problem> {
    if text.trim().is_empty() {
        Err(unprocessable("the text is blank: nobody would see it"))
    } else {
        Ok(text)
    }
}

fn bounded(what: &str, text: Option<String>, max_bytes: usize) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.len() > max_bytes => {
            Err(unprocessable(format!("{what} has {max_bytes} bytes at most")))
        }
        text => Ok(text),
    }
}

/// A number in the path; anything else there is nothing that exists.
fn number(found: &Found<'_, Operation>, parameter: &str) -> Result<u64, Problem> {
    let text = found.parameter(parameter);
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { text.parse().ok() } else { None };
    number.filter(|number| *number <= MAX_NUMBER).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no such {parameter}: it is a number"))
    })
}

fn history_range(query: &mut Query) -> Result<HistoryRange, Problem> {
    let limit = query.take("limit")?.unwrap_or(DEFAULT_HISTORY);
    if !(1..=MAX_HISTORY).contains(&limit) {
        return Err(unprocessable(format!("limit is 1 to {MAX_HISTORY}")));
    }
    let after = query.take("after")?;
    if after.is_some_and(|after| after > MAX_NUMBER) {
        return Err(unprocessable(format!("after is {MAX_NUMBER} at most")));
    }
    Ok(HistoryRange { after, limit })
}

/// The key under which a repeated request has the effect and the answer of the first one.
fn idempotency_key(request: &Request) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all("idempotency-key").iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // Some write it as a quoted string.
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_key = (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_key && more.is_none() {
        Ok(Some(key.to_owned()))
    } else {
        Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!(
                "Idempotency-Key is one text of 1 to {MAX_KEY_BYTES} visible ASCII characters, such as a UUID"
            ),
        ))
    }
}

#[cfg(test)]
mod tests;
