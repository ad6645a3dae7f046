//! Decides at every handshake which certificate is presented; an expired one never is.
//!
//! Two sources: leaves minted from the current authority, for seven days, renewed after two thirds of that by
//! [`LeafResolver::renew_if_due`] (the operator calls it every 60 s) and, whatever happened to that task or to the
//! clock, at the handshake itself; or a fixed certificate from files, where an expired one ends the handshake.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Authority, Leaf, TlsError};

/// How long a minted leaf is valid, unless [`LeafResolver::with_leaf_lifetime`] says otherwise.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time between two complaints about handshakes without a certificate: there may be thousands a second.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Where the resolver reads the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Holds the leaf that is presented, and what is needed to renew it.
pub struct LeafResolver {
    names: Vec<String>,
    clock: Clock,
    leaf_lifetime: Duration,
    current: ArcSwapOption<Current>,
    /// Held by whoever replaces `current`, so that a slow renewal cannot undo a change of authority.
    replacing: Mutex<()>,
    complained: Mutex<Option<SystemTime>>,
}

struct Current {
    leaf: Leaf,
    authority: Option<Arc<Authority>>,
}

/// What the resolver holds, for readiness and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether there is a leaf of the current source and it is valid now.
    pub valid: bool,
    /// The last second of that leaf.
    pub not_after: Option<SystemTime>,
}

impl fmt::Debug for LeafResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafResolver").field("names", &self.names).finish_non_exhaustive()
    }
}

impl LeafResolver {
    /// A resolver without a certificate: handshakes fail until [`Self::set_authority`] or [`Self::set_files`].
    /// `names` are the DNS names and IP addresses that minted leaves get.
    pub fn new(names: Vec<String>, clock: Clock) -> Self {
        Self {
            names,
            clock,
            leaf_lifetime: LEAF_LIFETIME,
            current: ArcSwapOption::empty(),
            replacing: Mutex::new(()),
            complained: Mutex::new(None),
        }
    }

    /// The same with another life of minted leaves.
    pub fn with_leaf_lifetime(mut self, lifetime: Duration) -> Self {
        self.leaf_lifetime = lifetime;
        self
    }

    /// Mints a leaf from `authority`, with its cross certificate where it has one, and presents it from now on. On error the former source stays.
    pub fn set_authority(&self, authority: Arc<Authority>) -> Result<(), TlsError> {
        let _guard = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.mint(authority, (self.clock)()).map(|_| ())
    }

    /// Presents a certificate made elsewhere from now on. Refuses one that does not parse or does not fit its key; an
    /// expired one is taken, but not presented.
    pub fn set_files(&self, certificate_pem: &str, key_pem: &str) -> Result<(), TlsError> {
        let leaf = Leaf::from_pem(certificate_pem, key_pem)?;
        let _guard = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(Some(Arc::new(Current { leaf, authority: None })));
        Ok(())
    }

    /// Renews a minted leaf that is due at `now`; says whether it did. A certificate from files is left alone.
    pub fn renew_if_due(&self, now: SystemTime) -> Result<bool, TlsError> {
        let _guard = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = self.current.load_full() else { return Ok(false) };
        match &current.authority {
            Some(authority) if current.leaf.is_due_at(now) => {
                self.mint(Arc::clone(authority), now)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// What is presented now, and whether it is valid by the resolver's clock.
    pub fn status(&self) -> Status {
        let now = (self.clock)();
        let current = self.current.load();
        Status {
            valid: current.as_ref().is_some_and(|current| current.leaf.is_valid_at(now)),
            not_after: current.as_ref().map(|current| current.leaf.not_after()),
        }
    }

    /// The authority that leaves are minted from, unless they come from files.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        self.current.load().as_ref().and_then(|current| current.authority.clone())
    }

    /// The leaf for a handshake now: the present one when valid, else a new one, else none.
    fn choose(&self) -> Option<Arc<CertifiedKey>> {
        let now = (self.clock)();
        if let Some(current) = self.current.load().as_ref()
            && current.leaf.is_valid_at(now)
        {
            return Some(Arc::clone(current.leaf.certified_key()));
        }
        let _guard = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = self.current.load_full() else {
            if self.may_complain(now) {
                tracing::warn!("handshake refused: there is no certificate yet");
            }
            return None;
        };
        if current.leaf.is_valid_at(now) {
            return Some(Arc::clone(current.leaf.certified_key()));
        }
        let Some(authority) = &current.authority else {
            if self.may_complain(now) {
                tracing::error!(not_after = ?current.leaf.not_after(), "handshake refused: the certificate file is not valid now");
            }
            return None;
        };
        match self.mint(Arc::clone(authority), now) {
            Ok(minted) => Some(Arc::clone(minted.leaf.certified_key())),
            Err(error) => {
                if self.may_complain(now) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "handshake refused: no valid certificate"
                    );
                }
                None
            }
        }
    }

    /// Once a minute, and whenever the clock was set back: every refusal is counted, but not every one is told.
    fn may_complain(&self, now: SystemTime) -> bool {
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = |last: SystemTime| now.duration_since(last).is_ok_and(|since| since < COMPLAIN);
        let may = !last.is_some_and(soon);
        if may {
            *last = Some(now);
        }
        may
    }

    /// The caller holds `replacing`.
    fn mint(&self, authority: Arc<Authority>, now: SystemTime) -> Result<Arc<Current>, TlsError> {
        let leaf = authority.issue(&self.names, now, self.leaf_lifetime)?;
        let minted = Arc::new(Current { leaf, authority: Some(authority) });
        self.current.store(Some(Arc::clone(&minted)));
        Ok(minted)
    }
}

impl ResolvesServerCert for LeafResolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_come_once_a_minute_and_after_the_clock_was_set_back() {
        let resolver = LeafResolver::new(Vec::new(), Arc::new(SystemTime::now));
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let told =
            [1000, 1001, 1059, 1060, 1061, 900, 901, 960].map(|seconds| resolver.may_complain(at(seconds)));
        assert_eq!(told, [true, false, false, true, false, true, false, true]);
    }
}
