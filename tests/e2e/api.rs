//! Raw requests to the API server: what kubectl is too slow for, or would not send.
//!
//! In: paths or objects. Out: [`Reply`] with status code, warnings and body, whatever they are. Blocking, so that tests
//! read from top to bottom.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::http::{Method, Request};
use kube::client::{Body, Client};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

/// The group's path.
const GROUP: &str = "/apis/mcp-hangar.io";
const JSON: &str = "application/json";

/// An API server, as one user.
pub(crate) struct Api {
    client: Client,
}

/// What the API server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) call: String,
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

impl Reply {
    /// The body of a call that must have worked, without a warning.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {} {}", self.call, self.code, self.body);
        assert_eq!(self.warnings, [""; 0], "{}", self.call);
        self.body
    }

    /// The message of a `Status`; empty for an object.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The causes of a refusal, each as `field: message`.
    pub(crate) fn causes(&self) -> Vec<String> {
        let causes = self.body["details"]["causes"].as_array().into_iter().flatten();
        causes
            .map(|cause| {
                format!(
                    "{}: {}",
                    cause["field"].as_str().unwrap_or("?"),
                    cause["message"].as_str().unwrap_or("?")
                )
            })
            .collect()
    }
}

impl Api {
    /// Connects as the user of a context.
    pub(crate) fn connect(kubeconfig: &Path, context: &str) -> Self {
        let options = KubeConfigOptions { context: Some(context.into()), ..KubeConfigOptions::default() };
        RUNTIME.block_on(async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            config.read_timeout = Some(Duration::from_secs(40));
            config.default_retry = false;
            Self { client: Client::try_from(config).unwrap() }
        })
    }

    /// One request; a connection that fails is code 0.
    pub(crate) fn send(&self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Reply {
        let call = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .header("accept", JSON)
            .body(Body::from(body))
            .unwrap();
        let began = Instant::now();
        let (code, warnings, body) = RUNTIME.block_on(async {
            let response = match self.client.send(request).await {
                Ok(response) => response,
                Err(error) => return (0, Vec::new(), json!({"message": format!("{error:?}")})),
            };
            let code = response.status().as_u16();
            let warnings = response.headers().get_all("warning").iter();
            let warnings = warnings.map(|warning| warning.to_str().unwrap_or("?").to_owned()).collect();
            let bytes = response.into_body().collect_bytes().await.unwrap_or_default();
            let body = serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(&bytes)}));
            (code, warnings, body)
        });
        Reply { call, code, warnings, body, took: began.elapsed() }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, JSON, Vec::new())
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, JSON, Vec::new())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, JSON, body.to_string().into_bytes())
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, JSON, body.to_string().into_bytes())
    }

    pub(crate) fn merge_patch(&self, path: &str, patch: &Value) -> Reply {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch.to_string().into_bytes())
    }

    pub(crate) fn json_patch(&self, path: &str, patch: &Value) -> Reply {
        self.send(Method::PATCH, path, "application/json-patch+json", patch.to_string().into_bytes())
    }

    /// Creates an object of ours.
    pub(crate) fn create(&self, object: &Value) -> Reply {
        self.post(&list_path(object), object)
    }

    /// Would create it.
    pub(crate) fn create_dry(&self, object: &Value) -> Reply {
        self.post(&format!("{}?dryRun=All", list_path(object)), object)
    }

    /// Server-side apply under a field manager; `query` such as `&force=true`.
    pub(crate) fn apply(&self, object: &Value, manager: &str, query: &str) -> Reply {
        let path = format!("{}?fieldManager={manager}{query}", path(object));
        self.send(Method::PATCH, &path, "application/apply-patch+yaml", object.to_string().into_bytes())
    }

    /// Reads an object of ours in the version of its `apiVersion`.
    pub(crate) fn read(&self, object: &Value) -> Value {
        self.get(&path(object)).ok()
    }

    /// Reads it in another version.
    pub(crate) fn read_as(&self, object: &Value, version: &str) -> Value {
        self.read(&as_version(object, version))
    }
}

/// The object with another `apiVersion`, and nothing else changed.
pub(crate) fn as_version(object: &Value, version: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = format!("mcp-hangar.io/{version}").into();
    object
}

/// Where objects of that kind and version stand.
pub(crate) fn list_path(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap();
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    format!("{GROUP}/{version}/namespaces/{namespace}/{plural}")
}

/// Where the object stands.
pub(crate) fn path(object: &Value) -> String {
    format!("{}/{}", list_path(object), object["metadata"]["name"].as_str().unwrap())
}
