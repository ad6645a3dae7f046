//! `--tls-mode files`: certificate, key and CA made elsewhere, read from a directory and again whenever they change.
//!
//! In: `tls.crt`, `tls.key`, `ca.crt`. Out: the leaf to the resolver, the CA as a bundle. A bad new set is said loudly
//! and changes nothing. Contents are compared, not times: that sees swapped symlinks, as the kubelet makes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mcp_hangar_webhooks::tls::{Leaf, LeafResolver};
use tokio::sync::watch;

use super::Bundle;
use crate::context::Context;

/// Between two looks at the files.
const PERIOD: Duration = Duration::from_secs(2);
/// A set that changes while it is read is read again so often.
const READS: usize = 5;

/// The three texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Set {
    certificate: String,
    key: String,
    ca: String,
}

/// What goes wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The files were written while they were read, several times.
    #[error("failed to read a consistent set: the files keep changing")]
    Unsteady,
    /// tls.crt and tls.key.
    #[error(transparent)]
    Tls(#[from] mcp_hangar_webhooks::tls::TlsError),
    /// tls.crt is not valid now.
    #[error("failed to use tls.crt: it is not valid now (from {} to {})", .from, .to)]
    NotValid {
        /// First second.
        from: time::OffsetDateTime,
        /// Last second.
        to: time::OffsetDateTime,
    },
    /// ca.crt.
    #[error("{0} (ca.crt)")]
    Bundle(#[from] super::bundle::BundleError),
}

impl FilesError {
    /// A fixed word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Unsteady => "unsteady",
            Self::Tls(error) => error.kind(),
            Self::NotValid { .. } => "not_valid",
            Self::Bundle(error) => error.kind(),
        }
    }
}

/// Reads the set twice until both are the same: the kubelet swaps all three at once, but we read one by one.
pub fn read(dir: &Path) -> Result<Set, FilesError> {
    let mut last = read_once(dir)?;
    for _ in 0..READS {
        let again = read_once(dir)?;
        if again == last {
            return Ok(again);
        }
        last = again;
    }
    Err(FilesError::Unsteady)
}

fn read_once(dir: &Path) -> Result<Set, FilesError> {
    let text = |name| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).map_err(|source| FilesError::Read { path, source })
    };
    Ok(Set { certificate: text("tls.crt")?, key: text("tls.key")?, ca: text("ca.crt")? })
}

/// Checks a set and puts it to use; on an error nothing has changed.
pub fn install(set: &Set, resolver: &LeafResolver, now: SystemTime) -> Result<Bundle, FilesError> {
    let leaf = Leaf::from_pem(&set.certificate, &set.key)?;
    if !leaf.is_valid_at(now) {
        return Err(FilesError::NotValid { from: leaf.not_before().into(), to: leaf.not_after().into() });
    }
    let bundle = Bundle::build([set.ca.as_str()], now)?;
    resolver.set_files(&set.certificate, &set.key)?;
    Ok(bundle)
}

/// Looks at the files for as long as the process lives; `current` is what [`install`] took at the start.
pub async fn keep(
    ctx: &Context,
    dir: &Path,
    mut current: Set,
    resolver: &LeafResolver,
    bundle: &watch::Sender<Option<Bundle>>,
) {
    let mut refused = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let outcome = match read(dir) {
            Ok(set) if set == current || refused.as_ref() == Some(&set) => continue,
            Ok(set) => match install(&set, resolver, SystemTime::now()) {
                Ok(new) => {
                    ctx.metrics.certificate_expires("ca", new.expires());
                    bundle.send_replace(Some(new));
                    tracing::info!(dir = %dir.display(), "took new certificate files");
                    (current, refused) = (set, None);
                    continue;
                }
                Err(error) => {
                    refused = Some(set);
                    error
                }
            },
            Err(error) => error,
        };
        if ctx.link.say_now("files", &outcome.to_string()) {
            tracing::error!(dir = %dir.display(), kind = outcome.kind(), "{outcome}; the certificates read before stay in use");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mcp_hangar_webhooks::tls::Authority;

    use super::*;

    fn resolver() -> LeafResolver {
        LeafResolver::new(vec!["localhost".into()], Arc::new(SystemTime::now))
    }

    #[test]
    fn a_missing_file_is_named() {
        let Err(error) = read(Path::new("/nowhere")) else { panic!("read") };
        assert!(error.to_string().contains("/nowhere/tls.crt"), "{error}");
    }

    #[test]
    fn a_set_that_is_no_good_changes_nothing() {
        let now = SystemTime::now();
        let resolver = resolver();
        let ca = Authority::generate("test", now).unwrap();
        // A CA is a poor leaf, but it is a certificate that fits its key.
        let good = Set { certificate: ca.certificate_pem(), key: ca.key_pem(), ca: ca.certificate_pem() };
        assert_eq!(install(&good, &resolver, now).unwrap().pem(), ca.certificate_pem());
        let before = resolver.status();
        let other = Authority::generate("other", now).unwrap();
        for (bad, kind) in [
            (Set { key: other.key_pem(), ..good.clone() }, "key_mismatch"),
            (Set { ca: String::new(), ..good.clone() }, "empty"),
            (Set { certificate: "x".into(), ..good.clone() }, "parse"),
        ] {
            assert_eq!(install(&bad, &resolver, now).unwrap_err().kind(), kind);
        }
        let later = ca.not_after() + Duration::from_secs(1);
        assert_eq!(install(&good, &resolver, later).unwrap_err().kind(), "not_valid");
        assert_eq!(resolver.status(), before);
    }
}
