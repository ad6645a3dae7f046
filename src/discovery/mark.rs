//! The mark by which a source knows what it has made: two annotations.
//!
//! In: the annotations, the controller and the name of a provider, and a source. Out: where it was found, if it is the
//! source's own. A provider whose annotations were copied from another one is nobody's: its seal is of another name.
//! What to do about it is left to [`super::plan`].

use std::collections::BTreeMap;

use mcp_hangar_api::annotation::{DISCOVERED_BY, DISCOVERED_HASH};
use sha2::{Digest, Sha256};

use super::found::Origin;

/// Bytes of a seal: it finds copies, and keeps nobody out who may write annotations.
const BYTES: usize = 4;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Its namespace, where its providers live.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// Whose a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose<'a> {
    /// The source's own, found there.
    Ours(Origin),
    /// Of another source.
    Theirs(&'a str),
    /// Of a source of this name that is no more.
    Past,
    /// Its annotations came from another provider.
    Copied,
    /// Nobody discovered it.
    Nobodys,
}

impl Claim<'_> {
    /// Whose the provider of that name is; `owner` is the uid of its controller.
    pub fn whose<'a>(
        &self,
        name: &str,
        annotations: &'a BTreeMap<String, String>,
        owner: Option<&str>,
    ) -> Whose<'a> {
        let Some((source, origin)) = annotations.get(DISCOVERED_BY).and_then(|by| by.split_once('/')) else {
            return Whose::Nobodys;
        };
        // Without the second annotation there is nothing to tell a copy by.
        let seal = annotations.get(DISCOVERED_HASH).and_then(|hash| hash.split_once('-'));
        if seal.is_some_and(|(_, seal)| seal != seal_of(self.namespace, name, source)) {
            Whose::Copied
        } else if source != self.source {
            Whose::Theirs(source)
        } else if owner.is_some_and(|owner| owner != self.uid) {
            Whose::Past
        } else {
            Whose::Ours(Origin(origin.to_owned()))
        }
    }

    /// Whether it is the source's own.
    pub fn is_ours(&self, name: &str, annotations: &BTreeMap<String, String>, owner: Option<&str>) -> bool {
        matches!(self.whose(name, annotations, owner), Whose::Ours(_))
    }

    /// What the first annotation says.
    pub fn by(&self, origin: &Origin) -> String {
        format!("{}/{}", self.source, origin.0)
    }

    /// What the second one says: a hash of what was made, and the seal.
    pub fn sealed(&self, name: &str, hash: &str) -> String {
        format!("{hash}-{}", seal_of(self.namespace, name, self.source))
    }
}

fn seal_of(namespace: &str, name: &str, source: &str) -> String {
    let digest = Sha256::digest(format!("{namespace}/{name}/{source}").as_bytes());
    digest.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_knows_its_own_by_name_by_owner_and_by_seal() {
        let claim = Claim { source: "s", namespace: "team", uid: "u" };
        let ours = Whose::Ours(Origin("ConfigMap/team/m/a".into()));
        let seal = claim.sealed("a", "hash");
        let elsewhere = Claim { namespace: "other", ..claim }.sealed("a", "hash");
        for (by, hash, owner, expected) in [
            (Some("s/ConfigMap/team/m/a"), Some(&*seal), Some("u"), ours.clone()),
            (Some("s/ConfigMap/team/m/a"), Some(&*seal), None, ours.clone()),
            (Some("s/ConfigMap/team/m/a"), None, Some("u"), ours),
            (Some("s/ConfigMap/team/m/a"), Some(&*seal), Some("v"), Whose::Past),
            (Some("t/ConfigMap/team/m/a"), None, Some("v"), Whose::Theirs("t")),
            (Some("t/ConfigMap/team/m/a"), Some(&*seal), None, Whose::Copied),
            (Some("s/ConfigMap/team/m/a"), Some(&*elsewhere), Some("u"), Whose::Copied),
            (Some("s/ConfigMap/team/m/a"), Some(&*claim.sealed("b", "hash")), Some("u"), Whose::Copied),
            (Some("s"), Some(&*seal), None, Whose::Nobodys),
            (None, Some(&*seal), Some("u"), Whose::Nobodys),
        ] {
            let pairs = [(DISCOVERED_BY, by), (DISCOVERED_HASH, hash)];
            let annotations: BTreeMap<String, String> =
                pairs.into_iter().filter_map(|(key, value)| Some((key.into(), value?.into()))).collect();
            assert_eq!(claim.whose("a", &annotations, owner), expected, "{by:?} {hash:?} {owner:?}");
        }
    }
}
