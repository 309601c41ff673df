//! Close codes and the Close frame's payload (RFC 6455 §5.5.1, §7.4).

use bytes::Bytes;

use super::error::{ProtocolError, SendError};
use super::utf8::Utf8Bytes;

/// A Close code that may stand in a Close frame (RFC 6455 §7.4, with IANA's 1012–1014).
///
/// 1004, 1005, 1006 and 1015 are not among them: they are never on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this endpoint can't accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: data that doesn't fit its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy is violated and no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server didn't agree to an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the endpoint met a condition that it didn't expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts (IANA).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later (IANA).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer from upstream (IANA).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// A code for private use, 4000 to 4999 (RFC 6455 §7.4.2).
    ///
    /// # Panics
    ///
    /// For any other; in a constant that doesn't compile.
    pub const fn private(code: u16) -> Self {
        assert!(code >= 4000 && code <= 4999, "codes for private use are 4000 to 4999");
        Self(code)
    }

    /// The code as a number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for CloseCode {
    type Error = SendError;

    /// # Errors
    ///
    /// [`SendError::InvalidCloseCode`] for a code that must not be on the wire (RFC 6455 §7.4.2).
    fn try_from(code: u16) -> Result<Self, SendError> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Self(code)),
            _ => Err(SendError::InvalidCloseCode(code)),
        }
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.0
    }
}

impl std::fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a connection is closed: a code and, for people, a reason of at most 123 bytes.
///
/// ```
/// use switchboard::{CloseCode, CloseFrame};
///
/// let frame = CloseFrame::new(CloseCode::GOING_AWAY, "back at noon")?;
/// assert_eq!(frame.code().get(), 1001);
/// assert!(CloseFrame::new(CloseCode::NORMAL, "x".repeat(124)).is_err());
/// # Ok::<(), switchboard::proto::SendError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    code: CloseCode,
    reason: Utf8Bytes,
}

impl CloseFrame {
    /// A Close frame with `code` and `reason`.
    ///
    /// # Errors
    ///
    /// [`SendError::ControlTooLong`] if the reason has more than 123 bytes (RFC 6455 §5.5).
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<Self, SendError> {
        let reason = reason.into();
        if reason.len() > MAX_REASON_BYTES {
            return Err(SendError::ControlTooLong(reason.len() + 2));
        }
        Ok(Self { code, reason })
    }

    /// The code.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// The reason; empty if none was given.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Reads the payload of a Close frame; `None` is one without a code (RFC 6455 §7.1.5).
    pub(crate) fn parse(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::TruncatedCloseCode),
            [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
        };
        let code = CloseCode::try_from(code).map_err(|_| ProtocolError::InvalidCloseCode(code))?;
        let reason = Utf8Bytes::try_from(Bytes::copy_from_slice(reason))
            .map_err(|_| ProtocolError::InvalidCloseReason)?;
        Ok(Some(Self { code, reason }))
    }
}

impl From<CloseCode> for CloseFrame {
    /// A Close frame without a reason.
    fn from(code: CloseCode) -> Self {
        Self { code, reason: Utf8Bytes::default() }
    }
}

impl std::fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reason() {
            "" => self.code.fmt(f),
            // `?` escapes what a terminal would act on.
            reason => write!(f, "{} {reason:?}", self.code),
        }
    }
}

/// What a control frame's 125 bytes leave after the code.
const MAX_REASON_BYTES: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_judged_as_the_registry_says() {
        let valid: Vec<u16> = (0..=u16::MAX).filter(|&code| CloseCode::try_from(code).is_ok()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(valid, expected);
    }

    #[test]
    fn one_byte_is_no_close_payload() {
        assert_eq!(CloseFrame::parse(&[3]), Err(ProtocolError::TruncatedCloseCode));
    }

    #[test]
    fn a_reason_has_to_be_utf8() {
        assert_eq!(CloseFrame::parse(&[0x03, 0xe8, 0xff]), Err(ProtocolError::InvalidCloseReason));
    }

    #[test]
    fn a_reason_of_124_bytes_is_refused() {
        let long = "x".repeat(124);
        assert_eq!(CloseFrame::new(CloseCode::NORMAL, long), Err(SendError::ControlTooLong(126)));
    }
}
