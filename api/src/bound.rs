//! Schema fragments with their limits, for fields whose Rust type does not say enough.
//!
//! A function makes the schema of one field (`#[schemars(schema_with = ..)]`); the field's own comment replaces its
//! description. Limits are generous: whatever Kubernetes itself would take passes, and no string, list or map is
//! without one. Patterns keep to what Rust and RE2 read alike.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Items of a list that may be long: env, arguments, tools, status entries.
pub(crate) const MANY: usize = 10_000;

/// Looser than Go's `time.ParseDuration`, never stricter.
pub(crate) const DURATION: &str = "^[+-]?(0|([0-9]*[.]?[0-9]*(ns|us|µs|μs|ms|s|m|h))+)$";

/// The pattern that Kubernetes tools write for `resource.Quantity`.
pub(crate) const QUANTITY: &str =
    "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 64, "pattern": DURATION})
}

pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 64,
        "pattern": QUANTITY,
    })
}

pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "maxLength": 64})
}

/// `limits` and `requests` of any resource.
pub(crate) fn quantities(generator: &mut SchemaGenerator) -> Schema {
    let mut item = quantity(generator);
    item.insert(
        "description".into(),
        "Amount of the resource, a Kubernetes quantity such as 500m, 2 or 512Mi.".into(),
    );
    json_schema!({"type": "object", "maxProperties": 32, "additionalProperties": item})
}

fn map(value: &str, max_length: usize) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": {"type": "string", "maxLength": max_length, "description": value},
    })
}

pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    map("Value of the label: at most 63 characters, may be empty.", 63)
}

pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    map("Value of the annotation.", 262_144)
}

fn texts(item: &str, max_length: usize, max_items: usize) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": max_items,
        "items": {"type": "string", "maxLength": max_length, "description": item},
    })
}

pub(crate) fn words(_: &mut SchemaGenerator) -> Schema {
    texts(
        "One word, passed as it is: no shell reads it. $(NAME) is replaced by that variable.",
        131_072,
        MANY,
    )
}

pub(crate) fn tools(_: &mut SchemaGenerator) -> Schema {
    texts("Name of a tool, exactly as the server lists it.", 256, MANY)
}

/// Like [`tools`], but wide enough for what any server may answer.
pub(crate) fn listed_tools(_: &mut SchemaGenerator) -> Schema {
    texts("Name of a tool that the server lists.", 1024, MANY)
}

pub(crate) fn capabilities(_: &mut SchemaGenerator) -> Schema {
    texts("Name of a Linux capability without CAP_, such as NET_BIND_SERVICE, or ALL.", 64, 128)
}

pub(crate) fn patterns(_: &mut SchemaGenerator) -> Schema {
    texts("Regular expression in the RE2 syntax, matched anywhere in the discovered name.", 1024, 64)
}

pub(crate) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    texts("Name of a namespace.", 253, MANY)
}

pub(crate) fn annotation_keys(_: &mut SchemaGenerator) -> Schema {
    texts("Key of an annotation, with its prefix.", 317, 64)
}

pub(crate) fn match_expressions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "items": {
            "type": "object",
            "description": "One requirement on one label.",
            "required": ["key", "operator"],
            "properties": {
                "key": {"type": "string", "maxLength": 317, "description": "Key of the label."},
                "operator": {
                    "type": "string",
                    "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                    "description": "How the label is compared: In and NotIn with the values, Exists and \
                        DoesNotExist without any.",
                },
                "values": {
                    "type": "array",
                    "maxItems": 1024,
                    "description": "Values for In and NotIn, at least one; none for Exists and DoesNotExist.",
                    "items": {"type": "string", "maxLength": 63, "description": "Value of the label."},
                },
            },
        },
    })
}

pub(crate) fn label_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut labels = labels(generator);
    labels.insert("description".into(), "Labels that must all have exactly these values.".into());
    let mut expressions = match_expressions(generator);
    expressions.insert("description".into(), "Requirements on labels that must all hold.".into());
    json_schema!({"type": "object", "properties": {"matchLabels": labels, "matchExpressions": expressions}})
}

/// `core/v1` Affinity, with the words of Kubernetes.
pub(crate) fn affinity(generator: &mut SchemaGenerator) -> Schema {
    k8s_openapi::api::core::v1::Affinity::json_schema(generator)
}

/// Stands for the provider spec that [`crate::crd`] puts here.
pub(crate) fn placeholder(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object"})
}
