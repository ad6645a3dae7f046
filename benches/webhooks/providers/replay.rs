//! The operator's writes about a provider, sent by a client that does nothing else.
//!
//! In: a provider that became Ready, and how many writes of each kind that took. Out: the same writes for other names, and
//! how long they took: no server of MCP is asked, and nothing is watched or compared.

use std::time::Instant;

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::counts::Counts;
use crate::cluster::{Api, providers};

/// Providers at the same time: as many as the operator looks at while others are being created.
const AT_ONCE: usize = 32;
const NAME: &str = "remote-0";

/// What is written for each provider, with the name of the one that it was read from.
pub(crate) struct Replay {
    provider: String,
    statuses: Vec<String>,
    events: Vec<String>,
}

impl Replay {
    /// From the provider of that name, which is one of `count`.
    pub(crate) async fn record(
        api: &Api,
        namespace: &str,
        name: &str,
        writes: &Counts,
        count: usize,
    ) -> Self {
        assert_eq!(name, NAME);
        let read =
            async |path: String| -> Value { serde_json::from_str(&api.get(&path).await.unwrap().0).unwrap() };
        let found = read(format!("{}/{name}", providers("v1beta1", namespace))).await;
        let status = found["status"].clone();
        let mut first = status.clone();
        first["state"] = json!("Initializing");
        for later in ["tools", "toolsCount", "lastHealthCheck"] {
            first.as_object_mut().unwrap().remove(later);
        }
        let each = |name: &str| (writes.get(name) as f64 / count as f64).round() as usize;
        let mut statuses = vec![first.to_string(); each("PATCH mcpproviders/status")];
        if let Some(last) = statuses.last_mut() {
            *last = status.to_string();
        }
        let events = read(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")).await;
        let about =
            events["items"].as_array().unwrap().iter().filter(|event| event["regarding"]["name"] == name);
        let mut events: Vec<String> = about
            .map(|event| {
                let mut event = event.clone();
                event["metadata"] = json!({"generateName": "replay-"});
                event.to_string()
            })
            .collect();
        events.truncate(each("POST events"));
        let provider = json!({"apiVersion": found["apiVersion"], "kind": found["kind"], "spec": found["spec"],
            "metadata": {"name": name, "labels": found["metadata"]["labels"]}});
        Self { provider: provider.to_string(), statuses, events }
    }

    /// Writes all of it for so many providers; seconds.
    pub(crate) async fn run(&self, api: &Api, namespace: &str, count: usize) -> f64 {
        let began = Instant::now();
        stream::iter(0..count)
            .map(|number| self.one(api, namespace, format!("bare-{number}")))
            .buffer_unordered(AT_ONCE)
            .count()
            .await;
        began.elapsed().as_secs_f64()
    }

    async fn one(&self, api: &Api, namespace: &str, name: String) {
        let of = |text: &String| {
            text.replace(NAME, &name)
                .replace(r#""namespace":"kept""#, &format!(r#""namespace":"{namespace}""#))
        };
        let path = providers("v1beta1", namespace);
        let post = async |path: &str, text: String| {
            let body = text.into_bytes();
            api.call(axum::http::Method::POST, path, "application/json", body).await.unwrap();
        };
        post(&path, of(&self.provider)).await;
        for step in 0..self.statuses.len().max(self.events.len()) {
            if let Some(status) = self.statuses.get(step) {
                let body = format!(r#"{{"status":{}}}"#, of(status)).into_bytes();
                let path = format!("{path}/{name}/status?fieldManager=bare");
                let kind = "application/merge-patch+json";
                api.call(axum::http::Method::PATCH, &path, kind, body).await.unwrap();
            }
            if let Some(event) = self.events.get(step) {
                post(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"), of(event)).await;
            }
        }
    }
}
