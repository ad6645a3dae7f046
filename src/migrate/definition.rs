//! A CRD, as far as the storage migration goes: which versions it has, which are stored, and how far we are.
//!
//! In: the object as the API server sends it, of which the schemas (160 KB) are dropped while they are read. Out: what
//! is to be done. Pure, but for [`read`].

use std::collections::BTreeMap;

use kube::Client;
use serde::Deserialize;

use super::progress::{ANNOTATION, Progress};
use crate::manifests::VERSIONS;
use crate::partial;

/// The version in which this release stores objects.
pub const HUB: &str = VERSIONS[1];

/// What matters of a CRD.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// Who wrote it last, and how often its spec has changed.
    pub metadata: Metadata,
    spec: Spec,
    status: Status,
}

/// Its metadata.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Changes with every write.
    pub resource_version: String,
    /// Changes with the spec.
    pub generation: i64,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    versions: Vec<Version>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Version {
    name: String,
    served: bool,
    storage: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    stored_versions: Option<Vec<String>>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// All is stored as it should be, or the CRD is of another release.
    Nothing,
    /// The same, but a note of ours was left behind.
    Tidy,
    /// There may be objects in another version.
    Migrate,
}

impl Definition {
    /// Decides from what the CRD says.
    pub fn need(&self) -> Need {
        let stored = self.status.stored_versions.as_deref().unwrap_or_default();
        if self.stores_hub() && stored.iter().any(|version| version != HUB) {
            return Need::Migrate;
        }
        let noted = self.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ANNOTATION));
        if noted { Need::Tidy } else { Need::Nothing }
    }

    /// Whether objects are written in the version of this release.
    pub fn stores_hub(&self) -> bool {
        self.spec.versions.iter().any(|version| version.storage && version.name == HUB)
    }

    /// Versions in which an object can be asked for.
    pub fn served(&self) -> Vec<String> {
        let served = self.spec.versions.iter().filter(|version| version.served);
        served.map(|version| version.name.clone()).collect()
    }

    /// How far an earlier attempt came. When the spec has changed since, nobody knows what was stored in between.
    pub fn progress(&self) -> Option<Progress> {
        let text = self.metadata.annotations.as_ref()?.get(ANNOTATION)?;
        Progress::read(text)
            .filter(|progress| progress.to == HUB && progress.generation == self.metadata.generation)
    }
}

/// Gets it.
pub async fn read(client: &Client, name: &str) -> Result<Option<Definition>, kube::Error> {
    partial::get(client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", name).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn definition(storage: &str, stored: &Value, note: Option<&str>) -> Definition {
        let version = |name: &str| json!({"name": name, "served": true, "storage": name == storage, "schema": {"a": 1}});
        let mut crd = json!({
            "metadata": {"resourceVersion": "7", "generation": 3},
            "spec": {"versions": VERSIONS.map(version)},
            "status": {"storedVersions": stored},
        });
        if let Some(note) = note {
            crd["metadata"]["annotations"] = json!({ANNOTATION: note});
        }
        serde_json::from_value(crd).unwrap()
    }

    #[test]
    fn migrates_when_more_than_the_storage_version_may_be_stored() {
        for (storage, stored, need) in [
            (HUB, json!([HUB]), Need::Nothing),
            (HUB, json!(["v1alpha1", HUB]), Need::Migrate),
            (HUB, json!([HUB, "v1alpha1"]), Need::Migrate),
            (HUB, json!(["v1alpha1"]), Need::Migrate),
            (HUB, json!([]), Need::Nothing),
            (HUB, Value::Null, Need::Nothing),
            ("v1alpha1", json!(["v1alpha1"]), Need::Nothing),
            ("v1alpha1", json!(["v1alpha1", HUB]), Need::Nothing),
        ] {
            assert_eq!(definition(storage, &stored, None).need(), need, "{storage} {stored}");
        }
    }

    #[test]
    fn a_note_that_was_left_behind_is_taken_away() {
        assert_eq!(definition(HUB, &json!([HUB]), Some("{}")).need(), Need::Tidy);
        assert_eq!(definition("v1alpha1", &json!(["v1alpha1", HUB]), Some("{}")).need(), Need::Tidy);
        assert_eq!(definition(HUB, &json!(["v1alpha1", HUB]), Some("{}")).need(), Need::Migrate);
    }

    #[test]
    fn goes_on_only_where_the_definition_is_still_the_same() {
        let stored = json!(["v1alpha1", HUB]);
        let note = |to: &str, generation: i64| {
            json!({"to": to, "generation": generation, "done": 5, "after": "a/b"}).to_string()
        };
        let after = |note: &str| definition(HUB, &stored, Some(note)).progress().map(|found| found.after);
        assert_eq!(after(&note(HUB, 3)), Some("a/b".into()));
        for other in [note(HUB, 2), note("v1", 3), "rubbish".into(), "{}".into(), String::new()] {
            assert_eq!(after(&other), None, "{other}");
        }
        assert!(definition(HUB, &stored, None).progress().is_none());
    }

    #[test]
    fn knows_the_served_versions() {
        assert_eq!(definition(HUB, &json!([]), None).served(), VERSIONS);
    }
}
