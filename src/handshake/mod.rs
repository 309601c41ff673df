//! The opening handshake, without I/O (RFC 6455 §4).
use crate::proto::deflate::DeflateParams;
/// stub
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated { /// s
 pub subprotocol: Option<String>, /// d
 pub deflate: Option<DeflateParams> }
/// stub
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct RequestError;
/// stub
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ResponseError;
