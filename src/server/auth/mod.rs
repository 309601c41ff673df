//! Who may do what: signed tokens for people (RFC 7519), API keys for backends.
//!
//! Secrets stay out of everything that is written down: [`Token`] and the keys show nothing of themselves, errors say
//! what is wrong without quoting it, and [`Redacted`] shows a URL without its query.

mod api_keys;
mod found;
mod grant;
mod jwt;
mod keys;
mod redacted;

pub use api_keys::{ApiKeyError, ApiKeys};
pub use found::{FoundToken, Source, Token, TokenPlaces};
pub use grant::{Action, Grant};
pub use jwt::{Settings, TokenError, Verifier};
pub use keys::{KeyError, Keys};
pub use redacted::Redacted;
