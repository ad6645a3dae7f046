//! Reads of an object only what concerns us: a CRD is 160 KB of schema, and nobody here wants to hold it.
//!
//! In: a target's resource and name. Out: the few fields that [`super::decide`] compares, or nothing when there is no
//! such object.

use kube::Client;
use kube::core::ApiResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::partial;

/// A webhook configuration or a CRD, without what is not ours.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Of a webhook configuration. Lists may be `null` before the server has seen to an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhooks: Option<Vec<Entry>>,
    /// Of a CRD.
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<Spec>,
    #[serde(skip_serializing)]
    status: Option<Status>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Entry {
    name: String,
    client_config: Value,
    /// What is ours only where the operator made the whole object.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Spec {
    conversion: Value,
    versions: Option<Vec<Version>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Version {
    name: String,
    served: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    message: String,
}

impl Found {
    /// Whether the API server serves the kind; if not, why, where it says so.
    pub fn established(&self) -> Result<(), String> {
        let conditions = self.status.iter().flat_map(|status| &status.conditions).flatten();
        let conditions: Vec<_> = conditions.collect();
        if conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            return Ok(());
        }
        let reasons = conditions.iter().filter(|condition| condition.status == "False");
        Err(reasons.map(|condition| condition.message.as_str()).collect::<Vec<_>>().join("; "))
    }
}

/// Gets it.
pub async fn read(client: &Client, resource: &ApiResource, name: &str) -> Result<Option<Found>, kube::Error> {
    partial::get(client, &format!("/apis/{}/{}", resource.api_version, resource.plural), name).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_what_is_compared_and_drops_the_schema() {
        let crd = json!({
            "metadata": {"name": "x"},
            "spec": {"versions": [{"name": "v1", "served": true, "schema": {"a": 1}}], "conversion": {"strategy": "None"}},
            "status": {"conditions": [{"type": "Established", "status": "False", "message": "not yet"}]},
        });
        let found: Found = serde_json::from_value(crd).unwrap();
        assert_eq!(found.established(), Err("not yet".into()));
        let unseen: Found =
            serde_json::from_value(json!({"webhooks": null, "status": {"conditions": null}})).unwrap();
        assert_eq!(unseen.established(), Err(String::new()));
        let kept = json!({"spec": {"versions": [{"name": "v1", "served": true}], "conversion": {"strategy": "None"}}});
        assert_eq!(serde_json::to_value(&found).unwrap(), kept);
    }

    #[test]
    fn keeps_the_whole_entry_of_a_configuration() {
        let kept =
            json!({"webhooks": [{"name": "x", "clientConfig": {"url": "y"}, "failurePolicy": "Ignore"}]});
        let mut object = kept.clone();
        object["metadata"] = json!({"name": "x"});
        let found: Found = serde_json::from_value(object).unwrap();
        assert_eq!(serde_json::to_value(&found).unwrap(), kept);
    }
}
