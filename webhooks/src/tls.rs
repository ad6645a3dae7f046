//! The server's certificates and its HTTPS listener.
//!
//! [`authority`] makes and reads CAs and signs leaves, [`resolver`] decides at every handshake which [`leaf`] is
//! presented, [`listener`] accepts, limits and drains connections. Nothing here knows where a CA is stored or who
//! rotates it: that is the operator's. Time is a parameter everywhere.

pub mod authority;
mod connection;
pub mod leaf;
pub mod listener;
pub mod resolver;
mod room;
mod watch;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::version::{TLS12, TLS13};
use time::OffsetDateTime;

pub use authority::Authority;
pub use leaf::Leaf;
pub use listener::{Drain, serve};
pub use resolver::{LeafResolver, Status};

/// What goes wrong with keys, certificates and the TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The random number generator did not answer.
    #[error("failed to gather randomness for a certificate")]
    Random,
    /// A new key pair could not be made.
    #[error("failed to generate key pair for {subject:?}")]
    Generate {
        /// Whose key it was to be.
        subject: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// A certificate could not be signed.
    #[error("failed to sign certificate for {subject:?}")]
    Sign {
        /// Whose certificate it was to be.
        subject: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// Text that should be a PEM certificate or key is not.
    #[error("failed to parse {what}: {reason}")]
    Parse {
        /// `CA certificate`, `certificate`, `private key` and the like.
        what: &'static str,
        /// What is wrong with it; never a part of a key.
        reason: String,
    },
    /// Certificate and key are each fine, but do not belong together.
    #[error("failed to pair certificate {subject:?} with the private key: it was made for another key")]
    KeyMismatch {
        /// The certificate's subject.
        subject: String,
    },
    /// A certificate was given as a CA that may not sign others.
    #[error("failed to use certificate {subject:?} as an authority: {reason}")]
    NotAuthority {
        /// The certificate's subject.
        subject: String,
        /// Which property it lacks.
        reason: &'static str,
    },
    /// The certificate's time is over.
    #[error("failed to use certificate {subject:?}: it expired at {not_after}")]
    Expired {
        /// The certificate's subject.
        subject: String,
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// The certificate's time has not come, or the clock is wrong.
    #[error("failed to use certificate {subject:?}: it is not valid before {not_before}")]
    NotYetValid {
        /// The certificate's subject.
        subject: String,
        /// Its first second.
        not_before: OffsetDateTime,
    },
    /// A leaf was asked for without any name.
    #[error("failed to issue certificate: it needs at least one DNS name or IP address")]
    NoName,
    /// A leaf was asked for a name that no certificate can hold.
    #[error("failed to issue certificate for {name:?}: neither a DNS name nor an IP address")]
    BadName {
        /// The name.
        name: String,
    },
    /// A time that X.509 cannot write.
    #[error("failed to write time: out of range for a certificate")]
    Time,
    /// rustls refused the configuration or the key.
    #[error("failed to configure TLS")]
    Configure(#[from] rustls::Error),
}

impl TlsError {
    /// The kind as a fixed word, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Generate { .. } => "generate",
            Self::Sign { .. } => "sign",
            Self::Parse { .. } => "parse",
            Self::KeyMismatch { .. } => "key_mismatch",
            Self::NotAuthority { .. } => "not_authority",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::NoName => "no_name",
            Self::BadName { .. } => "bad_name",
            Self::Time => "time",
            Self::Configure(_) => "configure",
        }
    }
}

/// The server's TLS configuration: TLS 1.2 and 1.3, `http/1.1` only, the certificate chosen by `resolver` at every
/// handshake. Sessions are never resumed: the API server does not ask for it, and a full handshake is what proves that
/// the certificate is still good.
pub fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The one crypto provider, named explicitly so that no process-wide default has to be installed first.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Whole seconds, as certificates write them.
fn to_date(time: SystemTime) -> Result<OffsetDateTime, TlsError> {
    let seconds = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).map_err(|_| TlsError::Time)?,
        Err(before) => -i64::try_from(before.duration().as_secs()).map_err(|_| TlsError::Time)?,
    };
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| TlsError::Time)
}

fn to_system_time(date: OffsetDateTime) -> SystemTime {
    let seconds = date.unix_timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}
