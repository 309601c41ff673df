//! The opening handshake, without I/O (RFC 6455 §4).
