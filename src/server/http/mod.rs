//! Plain HTTP on the port of the WebSockets (RFC 9110, RFC 9112): requests read whole, answers written whole.
//!
//! The head was read by the handshake, which has refused what two readers could understand in two ways. Every answer
//! carries `Connection: close`, so one request a connection is all that there is, and nothing can be smuggled behind it.
//!
//! ```no_run
//! # async fn example(request: switchboard::HttpRequest<tokio::net::TcpStream>) -> Result<(), switchboard::Error> {
//! use http::{Method, StatusCode};
//! use switchboard::server::http::{Limits, Response, Router, answer};
//!
//! let mut router = Router::default();
//! router.add(Method::GET, "/hello/{name}", 1);
//! answer(request, Limits::default(), async |request| {
//!     let found = router.find(request.method(), request.path())?;
//!     Ok(Response::text(StatusCode::OK, format!("hello, {}\n", found.parameter("name"))))
//! })
//! .await
//! # }
//! ```

mod body;
mod chunked;
mod exchange;
mod problem;
mod query;
mod request;
mod response;
mod router;

pub use body::BodyError;
pub use exchange::{Limits, answer, receive, respond};
pub use problem::Problem;
pub use query::Query;
pub use request::Request;
pub(in crate::server) use request::bearer;
pub use response::Response;
pub use router::{Found, NotFound, Router};
