//! One server certificate with its chain and key, ready for rustls.
//!
//! Comes from [`Authority::issue`](super::Authority::issue) or from the two files of a mounted Secret; says whether it
//! is valid at a given time and when it should be renewed. Which leaf is presented is the resolver's decision.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::authority::parse_der;
use super::{TlsError, provider, to_system_time};

/// A certificate chain with the key of its first certificate.
#[derive(Debug, Clone)]
pub struct Leaf {
    certified: Arc<CertifiedKey>,
    issued: SystemTime,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Leaf {
    /// Checks that key and first certificate belong together. Whether it is valid is not asked here.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        issued: SystemTime,
    ) -> Result<Self, TlsError> {
        let (subject, not_before, not_after) = {
            let first = chain.first().ok_or_else(|| TlsError::Parse {
                what: "certificate",
                reason: "no certificate found".to_owned(),
            })?;
            let parsed = parse_der("certificate", first)?;
            let validity = parsed.validity();
            (
                parsed.subject().to_string(),
                to_system_time(validity.not_before.to_datetime()),
                to_system_time(validity.not_after.to_datetime()),
            )
        };
        let certified = match CertifiedKey::from_der(chain, key, &provider()) {
            Ok(certified) => Arc::new(certified),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(TlsError::KeyMismatch { subject });
            }
            Err(error) => return Err(TlsError::Configure(error)),
        };
        Ok(Self { certified, issued, not_before, not_after })
    }

    /// Reads a leaf made elsewhere: `certificate_pem` holds the leaf first and then any intermediates.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::Parse { what: "certificate", reason: error.to_string() })?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| TlsError::Parse { what: "private key", reason: error.to_string() })?;
        let mut leaf = Self::new(chain, key, SystemTime::UNIX_EPOCH)?;
        leaf.issued = leaf.not_before;
        Ok(leaf)
    }

    /// Chain and key, as rustls wants them.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// The first second of the certificate.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last second of the certificate.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether a client with the right time would accept it.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether two thirds of its life are over, or it is not valid at all (the clock may have jumped either way).
    pub fn is_due_at(&self, now: SystemTime) -> bool {
        let life = self.not_after.duration_since(self.issued).unwrap_or_default();
        !self.is_valid_at(now) || now >= self.issued + life * 2 / 3
    }
}
