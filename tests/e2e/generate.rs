//! Objects that the schema takes, made from the schema itself: deterministic, odd, and far from any manifest.
//!
//! In: a seed, a kind, a version. Out: an object with random parts of spec and status: empty lists, maps and strings,
//! the ends of ranges, control characters, other scripts. Rules are not asked; a pattern that is unknown here fails, so
//! that a new one gets samples.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value, json};

static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(mcp_hangar_api::crd::crds);

/// The kinds.
pub(crate) const KINDS: [&str; 3] = ["MCPProvider", "MCPProviderGroup", "MCPDiscoverySource"];

/// Text that something somewhere is tempted to change.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "a",
    "true",
    "null",
    "1",
    "1e3",
    "0x1F",
    "~",
    "é",
    "日本語",
    "🚀",
    "a\tb\nc",
    "\u{1}\u{7f}",
    "\"\\/'",
    "<&>\u{2028}",
];
const KEYS: [&str; 6] = ["a", "app.kubernetes.io/name", "Ключ", "with space", "true", "0"];
const QUANTITIES: [&str; 9] = ["0", "1", "0.5", "1000m", "1Gi", "1.5Gi", "512M", "1e3", "100000000000"];
/// Patterns of the schema, with text that they take.
const PATTERNS: [(&str, &[&str]); 4] = [
    ("ns|us|", &["0", "5m", "1h30m", "1.5h", "500ms", "0s", "100us", "2µs", "9999h59m59.999s"]),
    ("[KMGTPE]i", &QUANTITIES),
    ("^/", &["/", "/mcp", "/日本/%20?x=#y"]),
    ("^[0-9.eE+-]*$", &["0.5", "1", "0", ".25", "1e-3"]),
];

/// A small generator of numbers (splitmix64): the same on every machine and in every release.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One time in `n`.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The schema of a kind in a version.
fn schema(kind: &str, version: &str) -> &'static JSONSchemaProps {
    let crd = CRDS.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let version = crd.spec.versions.iter().find(|candidate| candidate.name == version).unwrap();
    version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()
}

/// A part of an object, `spec` or `status`.
pub(crate) fn part(dice: &mut Dice, kind: &str, version: &str, part: &str) -> Value {
    let mut value = value(dice, &schema(kind, version).properties.as_ref().unwrap()[part], 0);
    if part == "spec" && kind == "MCPProvider" {
        give_what_the_mode_needs(&mut value, version);
    }
    unique_conditions(&mut value);
    value
}

/// A whole object without a status.
pub(crate) fn object(dice: &mut Dice, kind: &str, version: &str, namespace: &str, name: &str) -> Value {
    json!({"apiVersion": format!("mcp-hangar.io/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": part(dice, kind, version, "spec")})
}

/// The two CEL rules.
fn give_what_the_mode_needs(spec: &mut Value, version: &str) {
    let fill = |parent: &mut Value, field: &str, text: &str| {
        if parent[field].as_str().is_none_or(str::is_empty) {
            parent[field] = text.into();
        }
    };
    let mode = spec["mode"].as_str().unwrap().to_lowercase();
    let (field, text) =
        if mode == "container" { ("image", "not an image") } else { ("endpoint", "not a URL") };
    match version {
        "v1alpha1" => fill(spec, field, text),
        _ => {
            if spec[&mode].is_null() {
                spec[&mode] = json!({});
            }
            fill(&mut spec[&mode], field, text);
        }
    }
}

/// Conditions are a map by their type.
fn unique_conditions(status: &mut Value) {
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for (index, condition) in conditions.into_iter().flatten().enumerate() {
        condition["type"] = format!("Type{index}").into();
    }
}

fn value(dice: &mut Dice, schema: &JSONSchemaProps, depth: usize) -> Value {
    if let Some(allowed) = &schema.enum_ {
        return dice.pick(allowed).0.clone();
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        let number = json!(*dice.pick(&[0, 1, 80, 65_535]));
        return if dice.one_in(4) { number } else { text(dice, schema) };
    }
    match schema.type_.as_deref() {
        Some("boolean") => json!(dice.one_in(2)),
        Some("integer") => integer(dice, schema),
        Some("number") => json!(*dice.pick(&[0.0, 0.25, 1.0])),
        Some("string") => text(dice, schema),
        Some("array") => list(dice, schema, depth),
        Some("object") => members(dice, schema, depth),
        // A share, as a number or as text.
        None if schema.pattern.is_some() => {
            dice.pick(&[json!(0.5), json!(0), json!(1), json!("0.25"), json!("1")]).clone()
        }
        other => panic!("no samples for type {other:?}"),
    }
}

fn integer(dice: &mut Dice, schema: &JSONSchemaProps) -> Value {
    // Whole numbers of that size are exact in a float.
    #[allow(clippy::cast_possible_truncation)]
    let bound = |limit: Option<f64>, other: i64| limit.map_or(other, |limit| limit as i64);
    let (least, most) = (bound(schema.minimum, 0), bound(schema.maximum, i64::from(i32::MAX)));
    json!(*dice.pick(&[least, most, least + (most - least) / 2]))
}

fn text(dice: &mut Dice, schema: &JSONSchemaProps) -> Value {
    match schema.format.as_deref() {
        Some("date-time") => return json!(*dice.pick(&["2026-02-28T23:59:59Z", "1970-01-01T00:00:00Z"])),
        Some("byte") => return json!(*dice.pick(&["", "AAAA", "aGVsbG8="])),
        _ => {}
    }
    if let Some(pattern) = &schema.pattern {
        let samples = PATTERNS.iter().find(|(part, _)| pattern.contains(part));
        let (_, samples) = samples.unwrap_or_else(|| panic!("no samples for pattern {pattern}"));
        return json!(*dice.pick(samples));
    }
    let shortest = usize::try_from(schema.min_length.unwrap_or(0)).unwrap();
    let longest = usize::try_from(schema.max_length.unwrap_or(i64::MAX)).unwrap();
    let mut text = (*dice.pick(&TEXTS)).to_owned();
    if dice.one_in(20) {
        text = "ж".repeat(longest.min(64));
    }
    while text.chars().count() < shortest {
        text.push('x');
    }
    json!(text.chars().take(longest).collect::<String>())
}

fn list(dice: &mut Dice, schema: &JSONSchemaProps, depth: usize) -> Value {
    let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items else { panic!("a list without items") };
    let fewest = usize::try_from(schema.min_items.unwrap_or(0)).unwrap();
    let length = fewest + dice.below(4usize.saturating_sub(depth / 2).max(1));
    (0..length).map(|_| value(dice, item, depth + 1)).collect()
}

fn members(dice: &mut Dice, schema: &JSONSchemaProps, depth: usize) -> Value {
    let mut out = Map::new();
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, property) in schema.properties.iter().flatten() {
        if required.contains(name) || dice.one_in(2 + depth / 2) {
            out.insert(name.clone(), value(dice, property, depth + 1));
        }
    }
    if let Some(JSONSchemaPropsOrBool::Schema(property)) = &schema.additional_properties {
        for _ in 0..dice.below(4) {
            out.insert((*dice.pick(&KEYS)).to_owned(), value(dice, property, depth + 1));
        }
    }
    Value::Object(out)
}

/// Whether a spec has a field of that name.
pub(crate) fn declares(kind: &str, version: &str, field: &str) -> bool {
    let spec = &schema(kind, version).properties.as_ref().unwrap()["spec"];
    spec.properties.as_ref().unwrap().contains_key(field)
}
