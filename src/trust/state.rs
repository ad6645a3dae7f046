//! What the CA Secret says: which CA signs, which are trusted, how far a rotation has come, and since when.
//!
//! Pure values. [`super::record`] reads and writes them, [`super::rotation`] says which one comes next, [`super::store`]
//! keeps one in every replica's memory. Two states are the same when they sign and trust the same and have the same
//! revision; the revision grows with every step, so that an older text of the Secret is known for what it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use mcp_hangar_webhooks::tls::Authority;
use mcp_hangar_webhooks::tls::authority::{AUTHORITY_LIFETIME, BACKDATE};
use mcp_hangar_webhooks::tls::resolver::LEAF_LIFETIME;

use super::Bundle;
use super::bundle::BundleError;

/// How many CAs of the past are remembered, so that none of them comes back by itself.
const REMEMBERED: usize = 8;

/// All times of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// A new CA is trusted for this long before it signs: the API servers' caches.
    pub publish_for: Duration,
    /// How long a leaf is valid.
    pub leaf_life: Duration,
    /// The old CA stays trusted for one leaf life and this.
    pub retire_grace: Duration,
    /// How long a CA is valid.
    pub ca_life: Duration,
    /// With less than this left the CA is rotated.
    pub rotate_before: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            publish_for: Duration::from_secs(5 * 60),
            leaf_life: LEAF_LIFETIME,
            retire_grace: day,
            ca_life: AUTHORITY_LIFETIME,
            rotate_before: day * 365,
        }
    }
}

/// Why a CA came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There was none.
    Bootstrap,
    /// The one before was near its end.
    Age,
    /// Somebody asked for it.
    Requested,
    /// The one before was lost or expired.
    Emergency,
    /// Somebody put another into the Secret.
    Replaced,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Bootstrap, Self::Age, Self::Requested, Self::Emergency, Self::Replaced];

    /// As it stands in the Secret and in labels.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Age => "age",
            Self::Requested => "requested",
            Self::Emergency => "emergency",
            Self::Replaced => "replaced",
        }
    }
}

/// How far a rotation has come.
#[derive(Debug, Clone)]
pub enum Stage {
    /// One CA, which signs and is trusted.
    Stable,
    /// Both are trusted, the old one signs.
    Publishing {
        /// The new one.
        next: Arc<Authority>,
    },
    /// Both are trusted, the new one signs; leaves carry the new one signed by the old.
    Switched {
        /// The old one's certificate, and those of whoever was trusted before it and may still be needed.
        previous: Vec<String>,
    },
    /// A phase that a newer release made. It is served and trusted as far as it can be read, and never changed.
    Newer {
        /// Its name.
        phase: String,
        /// Every certificate in the Secret.
        trusted: Vec<String>,
        /// All of the Secret's data, for the day when it is deleted.
        raw: BTreeMap<String, ByteString>,
    },
}

/// The names of the phases that this release makes.
pub const PHASES: [&str; 3] = ["Stable", "Publishing", "Switched"];

impl Stage {
    /// Its name.
    pub fn phase(&self) -> &str {
        match self {
            Self::Stable => PHASES[0],
            Self::Publishing { .. } => PHASES[1],
            Self::Switched { .. } => PHASES[2],
            Self::Newer { phase, .. } => phase,
        }
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub struct State {
    /// Grows by one with every step; 0 where a release without rotation wrote the Secret.
    pub revision: u64,
    /// When this phase began.
    pub since: SystemTime,
    /// Why the newest CA was made.
    pub reason: Reason,
    /// The CA that signs leaves, with its cross certificate while the one before is still trusted.
    pub active: Arc<Authority>,
    /// How far a rotation has come.
    pub stage: Stage,
    /// Certificates of CAs that are over, as [`fingerprint`]s, newest last.
    pub retired: Vec<String>,
}

impl State {
    /// The state after a first CA was made.
    pub fn first(active: Arc<Authority>, reason: Reason, revision: u64, now: SystemTime) -> Self {
        Self { revision, since: now, reason, active, stage: Stage::Stable, retired: Vec::new() }
    }

    /// The CA that will sign, while it is being published.
    pub fn next(&self) -> Option<&Arc<Authority>> {
        match &self.stage {
            Stage::Publishing { next } => Some(next),
            _ => None,
        }
    }

    /// The certificates of CAs that signed before, while they are still trusted.
    pub fn previous(&self) -> &[String] {
        match &self.stage {
            Stage::Switched { previous } => previous,
            _ => &[],
        }
    }

    /// Every certificate that is to be trusted.
    pub fn trusted(&self) -> Vec<String> {
        let mut all = vec![self.active.certificate_pem()];
        match &self.stage {
            Stage::Stable => {}
            Stage::Publishing { next } => all.push(next.certificate_pem()),
            Stage::Switched { previous } => all.extend(previous.iter().cloned()),
            Stage::Newer { trusted, .. } => all.extend(trusted.iter().cloned()),
        }
        all
    }

    /// The same as a bundle. A target that lacks the CA that signs is one that any replica may mend.
    pub fn bundle(&self, now: SystemTime) -> Result<Bundle, BundleError> {
        let trusted = self.trusted();
        Ok(Bundle::build(trusted.iter().map(String::as_str), now)?.requiring(&self.active.certificate_pem()))
    }

    /// Whether the signing CA can be used.
    pub fn is_usable_at(&self, now: SystemTime) -> bool {
        is_valid(&self.active, now)
    }

    /// Whether leaves come out the same: certificate and cross certificate.
    pub fn signs_like(&self, other: &Self) -> bool {
        same(&self.active, &other.active) && self.active.cross_pem() == other.active.cross_pem()
    }

    /// Whether nothing would change for anybody.
    pub fn is_same(&self, other: &Self) -> bool {
        self.revision == other.revision
            && self.stage.phase() == other.stage.phase()
            && self.signs_like(other)
            && self.trusted() == other.trusted()
    }

    /// Whether that certificate has a part in this state.
    pub fn knows(&self, certificate: &str) -> bool {
        self.trusted().iter().any(|known| known == certificate)
    }

    /// Whether that certificate had a part and has no longer.
    pub fn has_retired(&self, certificate: &str) -> bool {
        self.retired.contains(&fingerprint(certificate))
    }

    /// Remembers a CA that is over.
    pub fn retire(&mut self, certificate: &str) {
        let over = fingerprint(certificate);
        self.retired.retain(|known| *known != over);
        self.retired.push(over);
        let surplus = self.retired.len().saturating_sub(REMEMBERED);
        self.retired.drain(..surplus);
    }
}

/// Whether both are the same CA.
pub fn same(one: &Authority, other: &Authority) -> bool {
    one.certificate_pem() == other.certificate_pem()
}

/// Whether it is valid at that time.
pub fn is_valid(authority: &Authority, now: SystemTime) -> bool {
    authority.not_before() <= now && now <= authority.not_after()
}

/// When it was made, from the certificate itself.
pub fn made_at(authority: &Authority) -> SystemTime {
    authority.not_before() + BACKDATE
}

/// SHA-256 over the certificate, in hexadecimal; of a text that is none, over the text.
pub fn fingerprint(certificate: &str) -> String {
    use sha2::Digest as _;
    let der = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map(|(_, pem)| pem.contents);
    let digest = sha2::Sha256::digest(der.as_deref().unwrap_or(certificate.as_bytes()));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
