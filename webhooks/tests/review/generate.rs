//! Makes objects from the CRDs' own schemas: every declared property may be present or absent, and hold a value that
//! fits, that is of another type, or that no rule takes.
//!
//! In: a kind, a version and a tape of choices (what proptest shrinks: a shorter tape is a smaller object). Out: a
//! [`Node`], which can be written with its keys in any order and with its numbers as they are.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use mcp_hangar_webhooks::kind::{Kind, Version};
use serde_json::Value;

use super::sensible;

/// JSON text in the making.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A scalar, as JSON text.
    Raw(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(crate) fn text(text: &str) -> Self {
        Self::Raw(serde_json::to_string(text).unwrap())
    }

    pub(crate) fn map<const N: usize>(members: [(&str, Node); N]) -> Self {
        Self::Map(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        match self {
            Self::Map(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The members, of which there are none where it is no map.
    pub(crate) fn members(&mut self) -> &mut Vec<(String, Node)> {
        match self {
            Self::Map(members) => members,
            _ => panic!("no map"),
        }
    }

    /// Compact JSON. Order 0 keeps the keys as they are; any other shuffles them, and escapes some.
    pub(crate) fn write(&self, order: u64) -> String {
        match self {
            Self::Raw(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.write(order)).collect();
                format!("[{}]", items.join(","))
            }
            Self::Map(members) => {
                let mut members: Vec<&(String, Node)> = members.iter().collect();
                if order > 0 {
                    members.sort_by_key(|(key, _)| hash(&(order, key)));
                }
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(key, value)| format!("{}:{}", written_key(key, order), value.write(order)))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.write(0)).unwrap()
    }

    /// Without members that are null, as the API server prunes them (items of lists stay).
    pub(crate) fn without_nulls(self) -> Self {
        match self {
            Self::Map(members) => Self::Map(
                members
                    .into_iter()
                    .filter(|(_, value)| *value != Self::Raw("null".into()))
                    .map(|(key, value)| (key, value.without_nulls()))
                    .collect(),
            ),
            Self::List(items) => Self::List(items.into_iter().map(Self::without_nulls).collect()),
            raw => raw,
        }
    }
}

fn written_key(key: &str, order: u64) -> String {
    let plain = serde_json::to_string(key).unwrap();
    match key.chars().next() {
        Some(first)
            if order > 0
                && first.is_ascii_alphanumeric()
                && hash(&(order, key, "escape")).is_multiple_of(5) =>
        {
            format!("\"\\u{:04x}{}", u32::from(first), &plain[2..])
        }
        _ => plain,
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Choices, one after the other; when there are none left, always the first.
#[derive(Debug)]
pub(crate) struct Tape<'t>(std::slice::Iter<'t, u16>);

impl<'t> Tape<'t> {
    pub(crate) fn new(choices: &'t [u16]) -> Self {
        Self(choices.iter())
    }

    /// One of `0..count`.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % count.max(1)
    }

    pub(crate) fn one_of<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.pick(values.len())]
    }

    /// True in one of `count` cases.
    pub(crate) fn rarely(&mut self, count: usize) -> bool {
        self.pick(count) == count - 1
    }
}

/// What to put into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taste {
    /// What the rules take, most of the time.
    Sensible,
    /// Anything that is JSON.
    Wild,
}

/// The OpenAPI schemas of all kinds and versions.
static SCHEMAS: LazyLock<Vec<(Kind, Version, Value)>> = LazyLock::new(|| {
    let mut schemas = Vec::new();
    for crd in mcp_hangar_api::crd::crds() {
        let kind = Kind::parse(&crd.spec.names.kind).unwrap();
        let crd = mcp_hangar_api::crd::to_value(&crd).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let known = Version::ALL.into_iter().find(|known| version["name"] == known.name()).unwrap();
            schemas.push((kind, known, version["schema"]["openAPIV3Schema"].clone()));
        }
    }
    schemas
});

/// The schema of a whole object.
pub(crate) fn schema(kind: Kind, version: Version) -> &'static Value {
    let found = SCHEMAS.iter().find(|(k, v, _)| *k == kind && *v == version);
    &found.unwrap().2
}

/// An object of that kind.
pub(crate) fn object(kind: Kind, version: Version, taste: Taste, choices: &[u16]) -> Node {
    let mut tape = Tape::new(choices);
    let schema = schema(kind, version);
    let spec = &schema["properties"]["spec"];
    let spec = match taste {
        Taste::Sensible => sensible::spec(kind, version, spec, &mut tape),
        Taste::Wild => wild(spec, &mut tape),
    };
    let mut members = vec![
        ("apiVersion".to_owned(), Node::text(version.api_version())),
        ("kind".to_owned(), Node::text(kind.name())),
        ("metadata".to_owned(), metadata(&mut tape, taste)),
        ("spec".to_owned(), spec),
    ];
    if taste == Taste::Wild && tape.rarely(3) {
        members.push(("status".to_owned(), wild(&schema["properties"]["status"], &mut tape)));
    }
    Node::Map(members)
}

/// An annotation of the stash's name whose text is none.
pub(crate) const NO_STASH: &str = "nothing that was written here";

fn metadata(tape: &mut Tape<'_>, taste: Taste) -> Node {
    let mut metadata = Node::map([("name", Node::text("example")), ("namespace", Node::text("default"))]);
    let members = metadata.members();
    let text = |tape: &mut Tape<'_>| match taste {
        Taste::Sensible => Node::text("a value"),
        Taste::Wild => Node::Raw((*tape.one_of(&TEXTS)).to_owned()),
    };
    if tape.rarely(3) {
        members.push(("labels".into(), Node::map([("team", Node::text("search")), ("x", Node::text(""))])));
    }
    if tape.rarely(3) {
        let mut annotations = vec![("example.com/note".to_owned(), text(tape))];
        if taste == Taste::Wild && tape.rarely(3) {
            annotations.push(("mcp-hangar.io/conversion-data".into(), Node::text(NO_STASH)));
        }
        members.push(("annotations".into(), Node::Map(annotations)));
    }
    if tape.rarely(4) {
        members.push(("uid".into(), Node::text("705ab4f5-6393-11e8-b7cc-42010a800002")));
        members.push((
            "managedFields".into(),
            Node::Raw(r#"[{"fieldsV1":{"f:spec":{}},"manager":"kubectl"}]"#.into()),
        ));
        members.push(("generation".into(), Node::Raw("9007199254740993".into())));
        members.push(("finalizers".into(), Node::Raw(r#"["a\/b"]"#.into())));
    }
    metadata
}

/// Texts as JSON, with escapes that a writer need not use.
const TEXTS: [&str; 14] = [
    r#""a""#,
    r#""b""#,
    r#""""#,
    r#"" a b ""#,
    r#""ünïcödé 🦀""#,
    r#""\u00e9\ud83e\udd80\u2028""#,
    r#""a\/b\\c\"d\n\t\u0000""#,
    r#""5m""#,
    r#""30""#,
    r#""container""#,
    r#""Container""#,
    r#""remote""#,
    r#""Remote""#,
    r#""nothing of the kind""#,
];

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2.0",
    "0.5",
    "-0",
    "9223372036854775807",
    "18446744073709551615",
    "1e3",
    "1.50",
    "1e400",
    "123456789012345678901234567890",
];

/// Values that are of the wrong type somewhere.
const ODD: [&str; 12] =
    ["null", "true", "false", "\"\"", "[]", "{}", "0", "1e400", "\"x\"", "[null]", "[[]]", "[1,\"a\",{}]"];

/// Names for list items: few, so that they repeat.
const NAMES: [&str; 6] = [r#""A""#, r#""B""#, r#""C""#, r#""A\u0041""#, r#""""#, "1"];

/// A value for a place of that schema.
pub(crate) fn wild(schema: &Value, tape: &mut Tape<'_>) -> Node {
    if tape.rarely(7) {
        return Node::Raw((*tape.one_of(&ODD)).to_owned());
    }
    match schema["type"].as_str() {
        Some("object") => {
            let mut members = Vec::new();
            let declared: Vec<(&String, &Value)> =
                schema["properties"].as_object().into_iter().flatten().collect();
            // Start anywhere, so that a short tape does not always fill the first ones.
            let start = if declared.len() > 4 { tape.pick(declared.len()) } else { 0 };
            for (name, property) in declared[start..].iter().chain(&declared[..start]) {
                if tape.pick(3) == 1 {
                    let value = if *name == "name" && tape.pick(3) > 0 {
                        Node::Raw((*tape.one_of(&NAMES)).to_owned())
                    } else {
                        wild(property, tape)
                    };
                    members.push(((*name).clone(), value));
                }
            }
            if schema["additionalProperties"].is_object() {
                for key in ["cpu", "memory", "nvidia.com/gpu", "", "ä", "a.b/c"] {
                    if tape.pick(3) == 1 {
                        members.push((key.to_owned(), wild(&schema["additionalProperties"], tape)));
                    }
                }
            }
            Node::Map(members)
        }
        Some("array") => Node::List((0..tape.pick(4)).map(|_| wild(&schema["items"], tape)).collect()),
        Some("boolean") => Node::Raw(["false", "true"][tape.pick(2)].to_owned()),
        Some("integer" | "number") => Node::Raw((*tape.one_of(&NUMBERS)).to_owned()),
        Some("string") => match schema["enum"].as_array() {
            Some(allowed) if tape.pick(2) == 0 => Node::Raw(tape.one_of(allowed).to_string()),
            _ => Node::Raw((*tape.one_of(&TEXTS)).to_owned()),
        },
        _ if tape.pick(2) == 0 => Node::Raw((*tape.one_of(&NUMBERS)).to_owned()),
        _ => Node::Raw((*tape.one_of(&TEXTS)).to_owned()),
    }
}

/// Calls `visit` with the path and the schema of every place below a schema, leaves and blocks; list items are `[]`,
/// values of maps `{}`.
pub(crate) fn places<'s>(
    schema: &'s Value,
    path: &mut Vec<&'s str>,
    visit: &mut impl FnMut(&[&'s str], &'s Value),
) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        path.push(name);
        places(property, path, visit);
        path.pop();
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            path.push(step);
            places(&schema[key], path, visit);
            path.pop();
        }
    }
}

/// An object of that kind in which nothing but the given value stands at a place of the spec (or status).
pub(crate) fn only(kind: Kind, version: Version, path: &[&str], value: Node) -> Node {
    let steps = path.iter().enumerate().rev();
    let mut nested = steps.fold(value, |inner, (index, step)| match *step {
        "[]" if ["env", "volumes", "headersFrom"].contains(&path[index - 1]) => {
            Node::List(vec![with_name(&inner), inner])
        }
        "[]" => Node::List(vec![inner]),
        "{}" => Node::map([("cpu", inner.clone()), ("example.com/gpu", inner)]),
        name => Node::map([(name, inner)]),
    });
    let mut object = Node::map([
        ("apiVersion", Node::text(version.api_version())),
        ("kind", Node::text(kind.name())),
        ("metadata", Node::map([("name", Node::text("example"))])),
    ]);
    object.members().append(nested.members());
    object
}

/// The same item with a name, where it has none.
fn with_name(item: &Node) -> Node {
    let mut item = item.clone();
    if let Node::Map(members) = &mut item
        && !members.iter().any(|(key, _)| key == "name")
    {
        members.push(("name".into(), Node::text("first")));
    }
    item
}

/// Every odd value, and some that are not odd everywhere.
pub(crate) fn odd_values() -> impl Iterator<Item = Node> {
    ODD.into_iter()
        .chain(["-0", "1.50", "\"a\\/b\"", "\"Container\"", "\"5m\""])
        .map(|text| Node::Raw(text.to_owned()))
}
