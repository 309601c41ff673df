//! permessage-deflate at message level (RFC 7692 §7).
