//! What the chat looks like on the wire: the only place that knows either form (docs/chat-protocol.md).

pub mod client;
pub mod json;
pub mod plain;
