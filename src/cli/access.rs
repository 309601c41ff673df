//! The flags of `switchboard chat` that say who may do what, and who is believed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use crate::server::auth::{ApiKeys, Keys, Settings, TokenPlaces, Verifier};
use crate::server::chat::Auth;
use crate::server::client_address::{ForwardingHeader, TrustedProxies};

/// Who may do what.
#[derive(Args)]
#[command(next_help_heading = "Access")]
pub(super) struct Access {
    /// How users say who they are
    #[arg(long, env = "SWITCHBOARD_AUTH", default_value = "none", value_name = "HOW")]
    auth: How,
    /// A file with the secret that HS256 tokens are signed with
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET_FILE", value_name = "FILE")]
    jwt_secret_file: Option<PathBuf>,
    /// A file with the public key of RS256, ES256 or EdDSA tokens, in PEM
    #[arg(long, env = "SWITCHBOARD_JWT_PUBLIC_KEY_FILE", value_name = "FILE")]
    jwt_public_key_file: Option<PathBuf>,
    /// A file with a set of public keys (JWKS)
    #[arg(long, env = "SWITCHBOARD_JWT_JWKS_FILE", value_name = "FILE")]
    jwt_jwks_file: Option<PathBuf>,
    /// Who has to have issued a token
    #[arg(long, env = "SWITCHBOARD_JWT_ISSUER", value_name = "ISSUER")]
    jwt_issuer: Option<String>,
    /// Whom a token has to be for
    #[arg(long, env = "SWITCHBOARD_JWT_AUDIENCE", value_name = "AUDIENCE")]
    jwt_audience: Option<String>,
    /// The cookie in which a token may come, from pages of allowed origins
    #[arg(long, env = "SWITCHBOARD_JWT_COOKIE", value_name = "NAME")]
    jwt_cookie: Option<String>,
    /// A file with the keys of the HTTP API, one a line; without it there is no API
    #[arg(long, env = "SWITCHBOARD_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Where to serve metrics, readiness and the API instead of at --listen
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// A proxy, or a network of proxies, whose word about its clients' addresses is taken
    #[arg(long, env = "SWITCHBOARD_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    trusted_proxy: Vec<String>,
    /// In which header it says that
    #[arg(
        long,
        env = "SWITCHBOARD_FORWARDING_HEADER",
        default_value = "x-forwarded-for",
        value_name = "HEADER"
    )]
    forwarding_header: Header,
    /// Take connections from trusted proxies only, each beginning with the PROXY protocol, version 1 or 2
    #[arg(long, env = "SWITCHBOARD_PROXY_PROTOCOL", value_parser = FalseyValueParser::new(), requires = "trusted_proxy")]
    proxy_protocol: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// Anybody chooses a name that is free
    None,
    /// By a signed token
    Jwt,
}

#[derive(Clone, Copy, ValueEnum)]
enum Header {
    XForwardedFor,
    /// RFC 7239
    Forwarded,
}

impl Access {
    pub(super) fn auth(&self) -> Result<Auth, String> {
        let files = [
            (&self.jwt_secret_file, Keys::load_secret as fn(&std::path::Path) -> _, "--jwt-secret-file"),
            (&self.jwt_public_key_file, Keys::load_public_key, "--jwt-public-key-file"),
            (&self.jwt_jwks_file, Keys::load_set, "--jwt-jwks-file"),
        ];
        let given: Vec<_> =
            files.iter().filter_map(|(path, load, flag)| Some((path.as_ref()?, load, flag))).collect();
        let keys = match (self.auth, &given[..]) {
            (How::None, []) => return Ok(Auth::None),
            (How::None, [(_, _, flag), ..]) => {
                return Err(format!("{flag} is of no use without --auth jwt: add that, or leave it out"));
            }
            (How::Jwt, [(path, load, flag)]) => {
                load(path).map_err(|error| format!("{flag} {}: {error}", path.display()))?
            }
            (How::Jwt, _) => {
                return Err(
                    "--auth jwt needs one of --jwt-secret-file, --jwt-public-key-file and --jwt-jwks-file"
                        .into(),
                );
            }
        };
        let settings = Settings {
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            ..Settings::default()
        };
        let verifier = Box::new(Verifier::new(keys, settings));
        Ok(Auth::Tokens { verifier, places: TokenPlaces { cookie: self.jwt_cookie.clone() } })
    }

    pub(super) fn api_keys(&self) -> Result<Option<ApiKeys>, String> {
        let Some(path) = &self.api_key_file else { return Ok(None) };
        let keys = ApiKeys::load(path);
        let keys = keys.map_err(|error| format!("--api-key-file {}: {error}", path.display()))?;
        for line in keys.short_lines() {
            tracing::warn!(
                file = %path.display(), line,
                "this API key could be guessed: use a longer one, such as `openssl rand -hex 32` prints"
            );
        }
        Ok(Some(keys))
    }

    pub(super) fn proxies(&self) -> Result<TrustedProxies, String> {
        let header = match self.forwarding_header {
            Header::XForwardedFor => ForwardingHeader::XForwardedFor,
            Header::Forwarded => ForwardingHeader::Forwarded,
        };
        let networks = self.trusted_proxy.iter().map(String::as_str);
        TrustedProxies::parse(networks, header).map_err(|error| format!("--trusted-proxy: {error}"))
    }

    pub(super) fn proxy_protocol(&self) -> bool {
        self.proxy_protocol
    }

    pub(super) fn admin_listen(&self) -> Option<SocketAddr> {
        self.admin_listen
    }
}
