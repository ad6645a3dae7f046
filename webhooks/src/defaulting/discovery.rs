//! What an MCPDiscoverySource gets where its author is silent.
//!
//! Nothing is injected into its provider template: a template says what it says, and the providers made from it are
//! filled when they are created.

use super::Default::{self, Block, Computed, IfWritten, Leaf};
use crate::json::{Json, Object, write_string};

/// The prefix of the annotations that discovery reads.
const ANNOTATION_PREFIX: &str = "mcp-hangar.io";

/// The defaults of a source's spec.
pub static DEFAULTS: &[Default] = &[
    Leaf("mode", r#""Additive""#),
    Leaf("refreshInterval", r#""1m""#),
    Leaf("paused", "false"),
    IfWritten(
        "namespaceSelector",
        &[Leaf("excludeNamespaces", r#"["kube-system","kube-public","kube-node-lease"]"#)],
    ),
    IfWritten("configMapRef", &[Leaf("key", r#""providers.yaml""#)]),
    IfWritten(
        "annotations",
        &[
            Leaf("annotationPrefix", r#""mcp-hangar.io""#),
            Computed("requiredAnnotations", required_annotations),
        ],
    ),
    IfWritten("serviceDiscovery", &[Leaf("portName", r#""mcp""#), Leaf("protocol", r#""http""#)]),
    Block("ownership", &[Leaf("controller", "true"), Leaf("blockDeletion", "false")]),
];

/// The annotation that names a provider, under the prefix that the object writes. A prefix that is not a string, or no
/// prefix that an annotation could have, gets no list: what is injected never breaks a rule.
fn required_annotations(annotations: &Object<'_>) -> Option<String> {
    let prefix = match annotations.get("annotationPrefix") {
        None | Some(Json::Null) => ANNOTATION_PREFIX,
        Some(Json::String(prefix)) if prefix.is_empty() => ANNOTATION_PREFIX,
        Some(Json::String(prefix)) if crate::validation::names::subdomain(prefix).is_ok() => prefix.as_ref(),
        Some(_) => return None,
    };
    let mut name = String::new();
    write_string(&format!("{prefix}/provider"), &mut name);
    Some(format!("[{name}]"))
}
