//! Who may do what: anybody everything, or what a token says.

use std::time::{Duration, SystemTime};

use crate::chat::name::UserName;
use crate::chat::room_name::RoomName;
use crate::proto::CloseCode;

use super::super::auth::{Action, Grant, Source, Token, TokenError, TokenPlaces, Verifier};

/// How a server finds out who somebody is.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Anybody chooses a name that is free.
    #[default]
    None,
    /// A token says who it is.
    Tokens {
        /// What verifies it.
        verifier: Box<Verifier>,
        /// Where it may stand.
        places: TokenPlaces,
    },
}

/// What somebody may do.
#[derive(Clone, Debug)]
pub(super) enum Rights {
    /// Where nobody has to say who they are. They moderate nothing.
    Anybody,
    /// A token's.
    Granted(Box<Grant>),
    /// None yet: the hello has to bring a token.
    Unknown,
}

/// A token has run out.
pub(super) const EXPIRED: CloseCode = CloseCode::private(4401);

/// What a request's token says about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    /// The token isn't accepted.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is none, and the form has no other place for it.
    #[error("a token is needed: send it as `Authorization: Bearer TOKEN`")]
    NoToken,
    /// A cookie comes with every request, whichever page makes it.
    #[error(
        "a token in a cookie needs an Origin: connect from a page, or send the token as `Authorization: Bearer TOKEN`"
    )]
    CookieWithoutOrigin,
}

impl Auth {
    /// What a request to connect may do; `is_json` if a hello follows, which may bring the token.
    pub(super) fn rights(
        &self,
        headers: &http::HeaderMap,
        offered: &[String],
        is_json: bool,
    ) -> Result<Rights, AccessError> {
        let Self::Tokens { verifier, places } = self else { return Ok(Rights::Anybody) };
        let Some(found) = places.find(headers, offered)? else {
            return if is_json { Ok(Rights::Unknown) } else { Err(AccessError::NoToken) };
        };
        if found.source == Source::Cookie && !headers.contains_key(http::header::ORIGIN) {
            return Err(AccessError::CookieWithoutOrigin);
        }
        Ok(Rights::Granted(Box::new(verifier.verify(&found.token, SystemTime::now())?)))
    }

    /// What the token in a message says.
    pub(super) fn verify(&self, token: &str) -> Result<Rights, AccessError> {
        match self {
            Self::None => Ok(Rights::Anybody),
            Self::Tokens { verifier, .. } => {
                Ok(Rights::Granted(Box::new(verifier.verify(&Token::parse(token)?, SystemTime::now())?)))
            }
        }
    }

    /// Whether there are tokens at all.
    pub(super) fn has_tokens(&self) -> bool {
        matches!(self, Self::Tokens { .. })
    }
}

impl Rights {
    pub(super) fn may(&self, action: Action, room: &RoomName) -> bool {
        match self {
            Self::Anybody => action != Action::Moderate,
            Self::Granted(grant) => grant.allows(action, room.as_str()),
            Self::Unknown => false,
        }
    }

    /// The name that the token says.
    pub(super) fn name(&self) -> Option<&UserName> {
        match self {
            Self::Granted(grant) => Some(grant.name()),
            Self::Anybody | Self::Unknown => None,
        }
    }

    /// In how much time the token runs out.
    pub(super) fn lasts(&self) -> Option<Duration> {
        match self {
            Self::Granted(grant) => {
                Some(grant.expires_at().duration_since(SystemTime::now()).unwrap_or_default())
            }
            Self::Anybody | Self::Unknown => None,
        }
    }
}
