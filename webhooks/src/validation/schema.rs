//! What the schema would say, said in our words and all at once.
//!
//! In: a spec in the version that was sent. Out: wrong types, missing required fields, enums, ranges, lengths and
//! counts, read from the very CRDs that the API server enforces, so the two never disagree. Patterns are left to the
//! rules, which know what a text means; unknown fields to the API server, which prunes them or warns.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::code;
use super::quote::{listed, quoted};
use super::report::{Report, Shown, supported};
use crate::field::{At, Step};
use crate::json::{Json, Object};
use crate::kind::{Kind, Version};

/// A compiled schema.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Shape {
    /// Anything: the rules judge it, or nobody.
    Any,
    Boolean,
    Integer(Range),
    Number(Range),
    /// A string with its length range and, where closed, its values.
    Text {
        shortest: i64,
        longest: i64,
        allowed: Vec<String>,
        is_duration: bool,
    },
    IntOrString {
        longest: i64,
    },
    List {
        item: Box<Shape>,
        fewest: i64,
        most: i64,
    },
    Object {
        fields: Vec<(String, Shape)>,
        required: Vec<String>,
        rest: Option<Box<Shape>>,
        most: i64,
    },
}

/// Inclusive bounds of a number. JSON has no infinity: there the bound is left out.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
struct Range {
    #[serde(default = "Range::lowest", skip_serializing_if = "is_infinite")]
    least: f64,
    #[serde(default = "Range::highest", skip_serializing_if = "is_infinite")]
    greatest: f64,
}

fn is_infinite(bound: &f64) -> bool {
    bound.is_infinite()
}

/// The shape of `spec`, by kind and version.
static SPECS: LazyLock<Vec<(Kind, Version, Shape)>> =
    LazyLock::new(|| read(COMPILED).unwrap_or_else(compile_crds));

/// What [`compile_crds`] gives, kept as text: compiling takes longer than everything else at the start of the process,
/// and leaves holes in its memory. A test compares the two.
const COMPILED: &str = include_str!("schema/compiled.json");

/// One line for each kind and version.
fn read(compiled: &str) -> Option<Vec<(Kind, Version, Shape)>> {
    let line = |line: &str| {
        let (kind, version, shape): (String, String, Shape) = serde_json::from_str(line).ok()?;
        let version = Version::ALL.into_iter().find(|known| known.name() == version)?;
        Some((Kind::parse(&kind)?, version, shape))
    };
    compiled.lines().map(line).collect()
}

fn compile_crds() -> Vec<(Kind, Version, Shape)> {
    let mut specs = Vec::new();
    for crd in mcp_hangar_api::crd::crds() {
        for version in &crd.spec.versions {
            let kind = Kind::parse(&crd.spec.names.kind);
            let known = Version::ALL.into_iter().find(|known| known.name() == version.name);
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            let spec = schema.and_then(|schema| schema.properties.as_ref()?.get("spec"));
            if let (Some(kind), Some(known), Some(spec)) = (kind, known, spec) {
                specs.push((kind, known, compile(spec)));
            }
        }
    }
    specs
}

/// Compiles the schemas now rather than at the first request.
pub fn warm_up() {
    LazyLock::force(&SPECS);
}

/// Judges a spec by the schema of its version.
pub fn judge(spec: &Json<'_>, report: &mut Report, kind: Kind, version: Version) {
    let found = SPECS.iter().find(|(k, v, _)| *k == kind && *v == version);
    if let Some((_, _, shape)) = found {
        shape.judge(spec, &At::root("spec"), report);
    }
}

/// Whether that version's schema declares the field (`spec.tools.allowList`, list items as `[]`, maps as `{}`).
pub fn declares(kind: Kind, version: Version, path: &[&str]) -> bool {
    let mut here = SPECS.iter().find(|(k, v, _)| *k == kind && *v == version).map(|(_, _, shape)| shape);
    for step in path {
        here = match here {
            Some(Shape::Object { fields, rest, .. }) => {
                fields.iter().find(|(name, _)| name == step).map(|(_, shape)| shape).or(rest.as_deref())
            }
            Some(Shape::List { item, .. }) if *step == "[]" => Some(item),
            _ => None,
        };
    }
    here.is_some()
}

fn compile(schema: &JSONSchemaProps) -> Shape {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Shape::IntOrString { longest: schema.max_length.unwrap_or(i64::MAX) };
    }
    let range = || Range {
        least: schema.minimum.unwrap_or(f64::NEG_INFINITY),
        greatest: schema.maximum.unwrap_or(f64::INFINITY),
    };
    match schema.type_.as_deref() {
        Some("boolean") => Shape::Boolean,
        Some("integer") => Shape::Integer(range()),
        Some("number") => Shape::Number(range()),
        Some("string") => Shape::Text {
            shortest: schema.min_length.unwrap_or(0),
            longest: schema.max_length.unwrap_or(i64::MAX),
            allowed: schema
                .enum_
                .iter()
                .flatten()
                .filter_map(|value| value.0.as_str().map(str::to_owned))
                .collect(),
            is_duration: schema.pattern.as_ref().is_some_and(|pattern| pattern.contains("ns|us")),
        },
        Some("array") => Shape::List {
            item: Box::new(match &schema.items {
                Some(JSONSchemaPropsOrArray::Schema(item)) => compile(item),
                _ => Shape::Any,
            }),
            fewest: schema.min_items.unwrap_or(0),
            most: schema.max_items.unwrap_or(i64::MAX),
        },
        Some("object") => compile_object(schema),
        _ => Shape::Any,
    }
}

fn compile_object(schema: &JSONSchemaProps) -> Shape {
    let rest = match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(rest)) => Some(Box::new(compile(rest))),
        _ => None,
    };
    // A BTreeMap: the names come sorted, which `field` relies on.
    let fields =
        schema.properties.iter().flatten().map(|(name, schema)| (name.clone(), compile(schema))).collect();
    Shape::Object {
        fields,
        required: schema.required.clone().unwrap_or_default(),
        rest,
        most: schema.max_properties.unwrap_or(i64::MAX),
    }
}

impl Shape {
    fn judge(&self, value: &Json<'_>, at: &At<'_>, report: &mut Report) {
        match (self, value) {
            // A null is as good as absent; `/default` removes what the API server has left of them.
            (_, Json::Null) | (Self::Any, _) | (Self::Boolean, Json::Bool(_)) => {}
            (Self::IntOrString { longest }, Json::String(text)) => judge_length(text, *longest, at, report),
            (Self::IntOrString { .. }, Json::Number(number)) if !number.is_f64() => {}
            (Self::Integer(range), Json::Number(number)) if is_whole(number) => {
                range.judge(value, at, report)
            }
            (Self::Number(range), Json::Number(_)) => range.judge(value, at, report),
            (Self::Text { .. }, Json::String(text)) => self.judge_text(text, at, report),
            (Self::List { item, fewest, most }, Json::Array(items)) => {
                judge_list(items, item, (*fewest, *most), at, report);
            }
            (Self::Object { .. }, Json::Object(object)) => self.judge_object(object, at, report),
            _ => self.wrong_type(value, at, report),
        }
    }

    fn wrong_type(&self, value: &Json<'_>, at: &At<'_>, report: &mut Report) {
        let wanted = match self {
            Self::Any => return,
            Self::Boolean => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a number",
            Self::Text { .. } => "a string",
            Self::IntOrString { .. } => "an integer or a string",
            Self::List { .. } => "a list",
            Self::Object { .. } => "an object",
        };
        let shown = if may_be_secret(at) { Shown::Hidden } else { Shown::Value(value) };
        let fix =
            self.retyped(value, may_be_secret(at)).map_or(String::new(), |fix| format!("; write {fix}"));
        let got = type_of(value);
        report.sent(
            at,
            &code::WRONG_TYPE,
            shown,
            &value.canonical(),
            &format!("must be {wanted}, not {got}{fix}"),
        );
    }

    /// The same content in the wanted type, where that is plain.
    fn retyped(&self, value: &Json<'_>, secret: bool) -> Option<String> {
        match (self, value) {
            (Self::Text { allowed, .. }, _) if !allowed.is_empty() => {
                Some(format!("one of {}", listed(allowed.iter().map(String::as_str))))
            }
            (Self::Text { is_duration: true, .. }, Json::Number(number)) => Some(format!("\"{number}s\"")),
            // YAML has changed what was written: 1.10 is 1.1 by now, and 0755 is 493.
            (Self::Text { .. }, Json::Number(_) | Json::Bool(_)) => Some("it in quotes".to_owned()),
            (Self::IntOrString { .. }, Json::Number(_)) => Some(quoted(&value.canonical())),
            (Self::Integer(_) | Self::Number(_), Json::String(text)) => {
                let number: serde_json::Number = serde_json::from_str(text).ok()?;
                Some(number.to_string())
            }
            (Self::Boolean, Json::String(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some("true".to_owned()),
                "false" | "no" | "off" => Some("false".to_owned()),
                _ => None,
            },
            (Self::List { item, .. }, Json::String(text))
                if !secret && matches!(**item, Self::Text { .. }) =>
            {
                Some(format!("[{}]", quoted(text)))
            }
            _ => None,
        }
    }

    fn judge_text(&self, text: &str, at: &At<'_>, report: &mut Report) {
        let Self::Text { shortest, longest, allowed, .. } = self else { return };
        if !allowed.is_empty() {
            if !allowed.iter().any(|value| value == text) {
                let says = supported(text, allowed.iter().map(String::as_str));
                report.sent(at, &code::UNSUPPORTED, Shown::Text(text), text, &says);
            }
            return;
        }
        if text.is_empty() && *shortest > 0 {
            report.sent(at, &code::REQUIRED, Shown::Nothing, "", "must not be empty");
        }
        judge_length(text, *longest, at, report);
    }

    fn judge_object(&self, object: &Object<'_>, at: &At<'_>, report: &mut Report) {
        let Self::Object { fields, required, rest, most } = self else { return };
        let absent = |name: &str| object.get(name).is_none_or(Json::is_null);
        for name in required.iter().filter(|name| absent(name)) {
            let says = match field(fields, name) {
                Some(Self::Text { allowed, .. }) if !allowed.is_empty() => {
                    format!("must be set; write one of {}", listed(allowed.iter().map(String::as_str)))
                }
                _ => "must be set".to_owned(),
            };
            report.sent(&at.key(name), &code::REQUIRED, Shown::Nothing, "", &says);
        }
        if i64::try_from(object.len()).is_ok_and(|count| count > *most) {
            let says = format!("{} entries, may not be more than {most}", object.len());
            report.sent(at, &code::TOO_MANY, Shown::Nothing, &object.len().to_string(), &says);
        }
        for (name, value) in object.iter() {
            if let Some(shape) = field(fields, name) {
                shape.judge(value, &at.key(name), report);
            } else if let Some(shape) = rest {
                shape.judge(value, &at.then(Step::MapKey(name)), report);
            }
        }
    }
}

/// What a value is, as a user would say it.
pub(super) fn type_of(value: &Json<'_>) -> &'static str {
    match value {
        Json::Raw(_) => "something else",
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(number) if number.is_f64() => "a fraction",
        Json::Number(_) => "an integer",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn judge_length(text: &str, longest: i64, at: &At<'_>, report: &mut Report) {
    let most = usize::try_from(longest).unwrap_or(usize::MAX);
    if text.len() > most && text.chars().count() > most {
        let says = format!("{} characters, may not be more than {most}", text.chars().count());
        report.sent(at, &code::TOO_LONG, Shown::Nothing, &text.len().to_string(), &says);
    }
}

fn field<'s>(fields: &'s [(String, Shape)], name: &str) -> Option<&'s Shape> {
    // Among few, most differ in length already.
    const FEW: usize = 16;
    if fields.len() <= FEW {
        return fields.iter().find(|(field, _)| field == name).map(|(_, shape)| shape);
    }
    let index = fields.binary_search_by(|(field, _)| field.as_str().cmp(name)).ok()?;
    fields.get(index).map(|(_, shape)| shape)
}

fn judge_list(
    items: &[Json<'_>],
    item: &Shape,
    (fewest, most): (i64, i64),
    at: &At<'_>,
    report: &mut Report,
) {
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if count > most {
        let says = format!("{count} items, may not be more than {most}");
        report.sent(at, &code::TOO_MANY, Shown::Nothing, &count.to_string(), &says);
    }
    if count < fewest {
        report.sent(at, &code::REQUIRED, Shown::Nothing, "", "must not be empty");
    }
    for (index, value) in items.iter().enumerate() {
        let at = at.then(step(index, value));
        // The API server drops members that are null, but not items.
        if value.is_null() { item.wrong_type(value, &at, report) } else { item.judge(value, &at, report) }
    }
}

/// The step to a list item, with its name where it has one.
pub fn step<'s>(index: usize, item: &'s Json<'_>) -> Step<'s> {
    match item.as_object().and_then(|object| object.get("name")?.as_str()) {
        Some(name) => Step::Item(index, name),
        None => Step::Index(index),
    }
}

impl Range {
    fn lowest() -> f64 {
        f64::NEG_INFINITY
    }

    fn highest() -> f64 {
        f64::INFINITY
    }

    fn judge(self, value: &Json<'_>, at: &At<'_>, report: &mut Report) {
        let Json::Number(number) = value else { return };
        let Some(number) = number.as_f64() else { return };
        if number >= self.least && number <= self.greatest {
            return;
        }
        // The end of the integers is no limit that anybody thinks of.
        let is_open = self.greatest >= f64::from(i32::MAX) && number < self.least;
        let says = match (self.least.is_finite(), self.greatest.is_finite() && !is_open) {
            (true, true) => format!("must be between {} and {}", self.least, self.greatest),
            (true, false) => format!("must be {} or more", self.least),
            _ => format!("must be {} or less", self.greatest),
        };
        report.sent(at, &code::OUT_OF_RANGE, Shown::Value(value), &value.canonical(), &says);
    }
}

/// Whether the API server takes the number for an integer: `2` and also `2.0`.
fn is_whole(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|value| value.fract() == 0.0 && value.abs() < 9.2e18)
}

/// Whether a value there could be a secret: whatever stands in `env`, in command lines and in what a remote
/// endpoint is called with.
fn may_be_secret(at: &At<'_>) -> bool {
    at.passes_through(&["env", "args", "command", "headersFrom", "caBundle", "endpoint"])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a change of the types: `UPDATE=1 cargo test -p mcp-hangar-webhooks --lib the_compiled_schemas`.
    #[test]
    fn the_compiled_schemas_are_those_of_the_crds() {
        let crds = compile_crds();
        if std::env::var_os("UPDATE").is_some() {
            let line = |(kind, version, shape): &(Kind, Version, Shape)| {
                serde_json::to_string(&(kind.name(), version.name(), shape)).unwrap() + "\n"
            };
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/validation/schema/compiled.json");
            std::fs::write(path, crds.iter().map(line).collect::<String>()).unwrap();
        } else {
            let same = read(COMPILED).is_some_and(|compiled| compiled == crds);
            assert!(
                same,
                "write them anew: UPDATE=1 cargo test -p mcp-hangar-webhooks --lib the_compiled_schemas"
            );
        }
    }
}
