//! Writes a container provider's objects, and removes them where they are not wanted any more.
//!
//! In: the objects as they should be, and as the watches last showed them. Out: server-side apply of our own fields,
//! only where something of them differs; or the trouble that somebody else's object has the name. An object is ours by
//! its owner's uid and nothing else. Kubernetes removes everything when the provider is deleted.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use mcp_hangar_api::quantity;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::build::Objects;
use super::conditions::Trouble;
use super::fetch::{Key, Seen};
use crate::context::Context;
use crate::manifests::FIELD_MANAGER;
use crate::retry::{self, ClusterError};

/// What was written or found as it should be last, with its version: the watches may not show it yet, and need not show
/// all of it again. In the order of Deployment, Service, and Service of the pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent([Option<Mark>; 3]);

impl Sent {
    /// The versions that are as they should be.
    pub(super) fn versions(&self) -> [Option<&str>; 3] {
        self.0.each_ref().map(|mark| mark.as_ref().map(|mark| mark.version.as_str()))
    }
}

/// An object as it should be.
#[derive(Clone, Debug)]
struct Mark {
    digest: u64,
    version: String,
    generation: Option<i64>,
}

impl Mark {
    fn of(digest: u64, meta: &ObjectMeta) -> Self {
        let version = meta.resource_version.clone().unwrap_or_default();
        Self { digest, version, generation: meta.generation }
    }

    fn is_of(&self, digest: u64, meta: &ObjectMeta) -> bool {
        self.digest == digest && meta.resource_version.as_ref() == Some(&self.version)
    }

    /// Nothing but its status has changed since, as far as one can see who has not seen all of it; the watch will show it.
    fn is_much_like(&self, digest: u64, meta: &ObjectMeta) -> bool {
        let is_same = meta.generation.is_some() && meta.generation == self.generation;
        self.is_of(digest, meta) || (self.digest == digest && is_same)
    }
}

/// Writes what differs.
pub(super) async fn apply(
    ctx: &Context,
    seen: &Seen,
    objects: &Objects,
    sent: &mut Sent,
) -> Result<Option<Trouble>, ClusterError> {
    let Objects { deployment, service, pods_service, endpoint: _, config_hash: _ } = objects;
    let [first, second, third] = &mut sent.0;
    let (key, uid) = (&seen.provider.key, seen.provider.uid.as_str());
    let write = |kind| Write { ctx, key, uid, kind };
    // Pods that nobody could reach are not worth starting.
    for (service, live, sent) in [(service, &seen.service, second), (pods_service, &seen.pods_service, third)]
    {
        if let Some(trouble) = write("Service").one(service, live.as_deref(), sent).await? {
            return Ok(Some(trouble));
        }
    }
    write("Deployment").one(deployment, seen.deployment.as_deref(), first).await
}

/// Removes what is ours.
pub(super) async fn remove(ctx: &Context, seen: &Seen) -> Result<(), ClusterError> {
    let (key, uid) = (&seen.provider.key, seen.provider.uid.as_str());
    Write { ctx, key, uid, kind: "Deployment" }.remove(seen.deployment.as_deref()).await?;
    Write { ctx, key, uid, kind: "Service" }.remove(seen.service.as_deref()).await?;
    Write { ctx, key, uid, kind: "Service" }.remove(seen.pods_service.as_deref()).await
}

struct Write<'a> {
    ctx: &'a Context,
    key: &'a Key,
    /// The owner's.
    uid: &'a str,
    kind: &'static str,
}

impl Write<'_> {
    async fn one<K>(
        &self,
        wish: &K,
        live: Option<&K>,
        sent: &mut Option<Mark>,
    ) -> Result<Option<Trouble>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let name = wish.meta().name.clone().unwrap_or_default();
        let mut body = serde_json::to_value(wish).unwrap_or_default();
        let taken = || Some(Trouble::NameTaken { kind: self.kind, name: name.clone() });
        let digest = digest(&body);
        if let Some(live) = live {
            if !is_owned(live.meta(), self.uid) {
                return Ok(taken());
            }
            if sent.as_ref().is_some_and(|mark| mark.is_of(digest, live.meta())) {
                return Ok(None);
            }
            if covers(&body, &serde_json::to_value(live).unwrap_or_default()) {
                *sent = Some(Mark::of(digest, live.meta()));
                return Ok(None);
            }
        }
        let api: Api<K> = Api::namespaced(self.ctx.client.clone(), &self.key.namespace);
        // The watches show our objects only, and those late.
        let get = api.get_metadata_opt(&name);
        let found = self.ctx.link.call("get", self.object(&name), get).await?;
        if let Some(found) = &found {
            if !is_owned(&found.metadata, self.uid) {
                return Ok(taken());
            }
            let is_like = if live.is_none() { Mark::is_much_like } else { Mark::is_of };
            if sent.as_ref().is_some_and(|mark| is_like(mark, digest, &found.metadata)) {
                return Ok(None);
            }
            // Should it be deleted and another be made meanwhile, that one is not adopted.
            if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("uid".into(), json!(found.metadata.uid));
            }
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        let written = api.patch_metadata(&name, &params, &patch);
        match self.ctx.link.call("patch", self.object(&name), written).await {
            Ok(written) => {
                *sent = Some(Mark::of(digest, &written.metadata));
                Ok(None)
            }
            Err(error) if error.by_admission() || error.trouble() == retry::Trouble::Rejected => {
                Ok(Some(Trouble::Refused { message: error.to_string().chars().take(512).collect() }))
            }
            Err(error) => Err(error),
        }
    }

    async fn remove<K>(&self, live: Option<&K>) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let Some(meta) = live.map(Resource::meta).filter(|meta| is_owned(meta, self.uid)) else {
            return Ok(());
        };
        if meta.deletion_timestamp.is_some() {
            return Ok(());
        }
        let name = meta.name.clone().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.ctx.client.clone(), &self.key.namespace);
        let mut params = DeleteParams::background();
        params.preconditions = Some(Preconditions { uid: meta.uid.clone(), resource_version: None });
        match self.ctx.link.call("delete", self.object(&name), api.delete(&name, &params)).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.trouble(), retry::Trouble::NotFound | retry::Trouble::Conflict) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn object(&self, name: &str) -> String {
        format!("{} {}/{name}", self.kind, self.key.namespace)
    }
}

fn is_owned(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

fn digest(body: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Whether everything in `wish` is so in `live` already. What the API server stores another way counts as the same:
/// quantities by their value, and what is empty as absent.
fn covers(wish: &Value, live: &Value) -> bool {
    match (wish, live) {
        (Value::Object(wish), live) => wish.iter().all(|(name, wish)| {
            let live = live.get(name).unwrap_or(&Value::Null);
            covers(wish, live)
        }),
        // Others may add items of theirs; what we take away ourselves changes the hash of the template.
        (Value::Array(wish), Value::Array(live)) if wish.iter().any(Value::is_object) => {
            wish.iter().all(|wish| live.iter().any(|live| covers(wish, live)))
        }
        (Value::Array(wish), Value::Array(live)) => {
            wish.len() == live.len() && wish.iter().zip(live).all(|(wish, live)| covers(wish, live))
        }
        (Value::String(wish), Value::String(live)) => wish == live || same_quantity(wish, live),
        (wish, Value::Null) => match wish {
            Value::Null => true,
            Value::Bool(wish) => !wish,
            Value::Number(wish) => wish.as_i64() == Some(0),
            Value::String(wish) => wish.is_empty(),
            Value::Array(wish) => wish.is_empty(),
            Value::Object(_) => false,
        },
        (wish, live) => wish == live,
    }
}

fn same_quantity(one: &str, other: &str) -> bool {
    matches!((quantity::parse(one), quantity::parse(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_wish_is_worth_a_write() {
        for (wish, live, expected) in [
            (json!({"a": 1}), json!({"a": 1, "b": 2}), true),
            (json!({"a": 1}), json!({"a": 2}), false),
            (json!({"a": 1}), json!({}), false),
            (json!({"a": {"b": ""}}), json!({"a": {}}), true),
            (json!({"a": {"emptyDir": {}}}), json!({"a": {"emptyDir": {}}}), true),
            (json!({"a": {"cpu": "1000m"}}), json!({"a": {"cpu": "1"}}), true),
            (json!({"a": {"cpu": "1000m"}}), json!({"a": {"cpu": "2"}}), false),
            (json!({"a": ["x"]}), json!({"a": ["x", "y"]}), false),
            (json!({"a": [{"n": "x"}]}), json!({"a": [{"n": "x", "default": true}]}), true),
            (json!({"a": [{"n": "x"}]}), json!({"a": [{"n": "y"}, {"n": "x"}]}), true),
            (json!({"a": [{"n": "x"}]}), json!({"a": [{"n": "y"}]}), false),
            (json!({"a": false}), json!({}), true),
            (json!({"a": true}), json!({}), false),
            (json!({"replicas": 0}), json!({"replicas": 3}), false),
        ] {
            assert_eq!(covers(&wish, &live), expected, "{wish} in {live}");
        }
    }

    #[test]
    fn an_object_is_ours_by_the_uid_of_its_controller_only() {
        let meta = |owners: Value| -> ObjectMeta {
            serde_json::from_value(json!({"ownerReferences": owners})).unwrap()
        };
        let owner = |uid: &str, controller: bool| json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "name": "a", "uid": uid, "controller": controller});
        assert!(is_owned(&meta(json!([owner("u", true)])), "u"));
        assert!(!is_owned(&meta(json!([owner("u", false)])), "u"));
        assert!(!is_owned(&meta(json!([owner("other", true)])), "u"));
        assert!(!is_owned(&ObjectMeta::default(), "u"));
    }
}
