//! No field without an effect: every leaf of every `spec` is changed by a row and the change is seen, or stands in
//! `without_effect.txt` with the reason.
//!
//! Rows about workloads are in `build/rows.txt` and judged there, those about groups in `group/effects.txt`, those about
//! sources in `discovery/leaves.rs`; those of `effects.txt` are judged here, by what the server is asked and by the course
//! that a provider takes through its states in a few worlds.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mcp_hangar_api::crd::crds;
use mcp_hangar_api::v1beta1::provider::{MCPProviderSpec, Mode};
use serde_json::{Value, json};

use super::build::{Contents, Provider, Reference, build};
use super::probe::Probe as Question;
use super::resolve::{of_mode, probe};
use super::state::{Observation, Probe, Settings, State, step};
use crate::discovery::leaves::EFFECTS as SOURCES;

/// Lines of `without_effect.txt`. It may only fall: a field that is new has its effect from the first day.
const WITHOUT_EFFECT: usize = 14;
/// Whose leaves are not looked at one by one: core/v1 has them, or another kind.
const WHOLE: [&str; 2] = ["pod.affinity", "providerTemplate.spec"];
const BASES: [(&str, &str); 4] = [
    ("container", "{mode: Container, container: {image: r.example/weather:1}}"),
    ("remote", "{mode: Remote, remote: {endpoint: https://x.example/mcp}}"),
    (
        "both",
        "{mode: Container, container: {image: r.example/weather:1}, remote: {endpoint: https://x.example/mcp}}",
    ),
    (
        "header",
        "{mode: Remote, remote: {endpoint: https://x.example/mcp, headersFrom: [{name: Authorization, secretKeyRef: {name: token, key: value}}]}}",
    ),
];
/// How a server behaves: whether it answers a probe at that second.
type World = (&'static str, fn(i64) -> bool);
const WORLDS: [World; 5] = [
    ("good", |_| true),
    ("bad", |_| false),
    ("fails", |second| second < 100),
    ("recovers", |second| !(100..270).contains(&second)),
    // As good, but traffic was reported once and never again.
    ("quiet", |_| true),
];

fn at(second: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

/// The states that a provider comes to within 1,000 seconds, with the second; and how often it was asked.
fn course(spec: &MCPProviderSpec, answers: fn(i64) -> bool, is_quiet: bool) -> (Vec<String>, usize) {
    let settings = Settings::of(spec);
    let activity = at(0).to_string();
    let (mut state, mut taken, mut asked, mut last) = (State::new(at(0)), Vec::new(), 0, None);
    let mut every = None;
    for second in 0..1000 {
        let due =
            |every: std::time::Duration| last.is_none_or(|last| second >= last + every.as_secs() as i64);
        let mut probe = every.is_some_and(due).then(|| {
            (asked, last) = (asked + 1, Some(second));
            Probe { began: at(second), is_good: answers(second) }
        });
        // A step may follow another at once.
        for _ in 0..4 {
            let seen = Observation {
                is_invalid: false,
                wanted: spec.replicas.unwrap_or(1),
                ready_pods: 1,
                probe: probe.take(),
                template: Some("t"),
                activity: is_quiet.then_some(activity.as_str()),
                wake: None,
            };
            let (next, effects) = step(&state, &seen, at(second), &settings);
            state = next;
            every = effects.probe_every;
            if effects.transition.is_none() {
                break;
            }
            taken.push(format!("{second} {:?}", state.node));
            if every.is_none() {
                last = None;
            }
        }
    }
    (taken, asked)
}

/// Everything that follows from a spec, but for objects, which are another table's.
fn tree(spec: &Value) -> Value {
    let spec: MCPProviderSpec = of_mode(serde_json::from_value(spec.clone()).unwrap());
    let secret = |name: &str, data: &[(&str, &str)]| {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).into()));
        (Reference::Secret(name.into()), data.collect::<BTreeMap<_, Vec<u8>>>())
    };
    let contents = Contents::from([
        secret("token", &[("value", "Bearer x"), ("other", "Bearer y")]),
        secret("second", &[("value", "Bearer z")]),
    ]);
    let provider = Provider {
        name: "weather",
        namespace: "team",
        uid: "u-1",
        annotations: &BTreeMap::new(),
        spec: &spec,
    };
    let objects = (spec.mode == Mode::Container).then(|| build(&provider, 1, &contents).unwrap());
    let endpoint = match &objects {
        Some(objects) => objects.endpoint.clone(),
        None => spec.remote.as_ref().and_then(|remote| remote.endpoint.clone()).unwrap(),
    };
    let asked = match probe(&spec, &endpoint, &Settings::of(&spec), &contents, None) {
        Ok(question) => shown(question),
        Err(super::conditions::Trouble::Missing { kind, name }) => json!(format!("{kind} {name}")),
        Err(other) => panic!("{other:?}"),
    };
    let courses = WORLDS.map(|(name, answers)| (name.to_owned(), course(&spec, answers, name == "quiet")));
    let (mut states, mut probes) = (serde_json::Map::new(), serde_json::Map::new());
    for (name, (taken, asked)) in courses {
        states.insert(name.clone(), json!(taken));
        probes.insert(name, json!(asked));
    }
    json!({"asked": asked, "course": states, "probes": probes, "objects": objects.map(|it| it.endpoint)})
}

fn shown(question: Question) -> Value {
    let Question { endpoint, place: _, headers, ca_bundle, timeout, era: _, allow, deny, limits: _ } =
        question;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let headers: BTreeMap<_, _> = headers.into_iter().map(|(name, value)| (name, text(value))).collect();
    json!({"endpoint": endpoint, "headers": headers, "caBundle": ca_bundle.map(text), "timeout": timeout.as_secs(),
        "allow": allow, "deny": deny})
}

/// What is written wins; a list as a whole.
fn merge(base: &mut Value, written: Value) {
    match (base, written) {
        (Value::Object(base), Value::Object(written)) => {
            for (key, value) in written {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, written) => *base = written,
    }
}

/// The rows of a table, without its comments.
pub(super) fn rows<const N: usize>(table: &'static str) -> Vec<[&'static str; N]> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" | ").collect::<Vec<_>>().try_into().unwrap()).collect()
}

fn effects() -> Vec<[&'static str; 5]> {
    rows(include_str!("effects.txt"))
}

/// Whether `value` holds something at the path of a leaf.
pub(super) fn holds(value: &Value, leaf: &str) -> bool {
    let Some((step, rest)) = leaf.split_once('.') else {
        return leaf == "*" || !value[leaf.trim_end_matches("[]")].is_null();
    };
    let inner = &value[step.trim_end_matches("[]")];
    if step.ends_with("[]") {
        inner.as_array().is_some_and(|it| it.iter().any(|it| holds(it, rest)))
    } else {
        holds(inner, rest)
    }
}

#[test]
fn every_field_of_health_and_sleep_does_what_its_row_says() {
    for [leaf, base, written, place, expected] in effects() {
        let (_, base) = BASES.iter().find(|(name, _)| *name == base).unwrap();
        let base: Value = serde_saphyr::from_str(base).unwrap();
        let written: Value = serde_saphyr::from_str(written).unwrap();
        assert!(holds(&written, leaf), "{leaf} is not in {written}");
        let mut changed = base.clone();
        merge(&mut changed, written.clone());
        let expected: Value = serde_saphyr::from_str(expected).unwrap();
        let (before, after) = (tree(&base), tree(&changed));
        let at = |tree: &Value| tree.pointer(place).cloned().unwrap_or_default();
        assert_eq!(at(&after), expected, "{leaf}: {written}: {after:#}");
        assert_ne!(at(&before), expected, "{leaf}: {written} changes nothing at {place}");
    }
}

/// Adds the leaves of a schema below a path; what is taken as a whole is one.
pub(crate) fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object().filter(|_| !WHOLE.contains(&path));
    if let Some(properties) = properties {
        for (name, inner) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            leaves(inner, &format!("{path}{dot}{name}"), found);
        }
    } else if schema["items"].is_object() {
        leaves(&schema["items"], &format!("{path}[]"), found);
    } else if schema["additionalProperties"].is_object() {
        found.insert(format!("{path}.*"));
    } else {
        found.insert(path.to_owned());
    }
}

/// Every leaf of every kind as `kind leaf`, from the schemas of the stored version.
fn all_leaves() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for crd in crds() {
        let version = crd.spec.versions.iter().find(|version| version.name == "v1beta1").unwrap();
        let schema = serde_json::to_value(&version.schema).unwrap();
        let mut found = BTreeSet::new();
        leaves(&schema["openAPIV3Schema"]["properties"]["spec"], "", &mut found);
        all.extend(found.into_iter().map(|leaf| format!("{} {leaf}", crd.spec.names.kind)));
    }
    all
}

#[test]
fn every_leaf_of_every_kind_has_a_row_that_sees_its_effect_or_stands_in_the_list_of_those_without() {
    let all = all_leaves();
    assert!(all.len() > 120, "{}", all.len());
    let of_workloads = rows::<4>(include_str!("build/rows.txt"));
    let named: BTreeSet<String> = of_workloads
        .iter()
        .map(|[leaf, ..]| leaf)
        .chain(effects().iter().map(|[leaf, ..]| leaf))
        .map(|leaf| format!("MCPProvider {leaf}"))
        .chain(
            rows::<3>(include_str!("../group/effects.txt"))
                .iter()
                .map(|[leaf, ..]| format!("MCPProviderGroup {leaf}")),
        )
        .chain(SOURCES.iter().map(|(leaf, ..)| format!("MCPDiscoverySource {leaf}")))
        .collect();
    let listed: Vec<String> = rows::<3>(include_str!("without_effect.txt"))
        .iter()
        .map(|[kind, leaf, reason]| {
            assert!(!reason.trim().is_empty(), "{kind} {leaf}: why?");
            format!("{kind} {leaf}")
        })
        .collect();
    assert_eq!(listed.len(), WITHOUT_EFFECT, "fewer: lower the number; more: give the field an effect");
    let without: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(without.len(), listed.len(), "there twice");
    let gone: Vec<_> = named.iter().chain(&without).filter(|leaf| !all.contains(*leaf)).collect();
    assert!(gone.is_empty(), "no leaf of a schema: {gone:?}");
    let alive: Vec<_> = without.intersection(&named).collect();
    assert!(alive.is_empty(), "has an effect, take it off the list: {alive:?}");
    let dead: Vec<_> = all.iter().filter(|leaf| !named.contains(*leaf) && !without.contains(*leaf)).collect();
    assert!(dead.is_empty(), "no row sees an effect of: {dead:?}");
}
