//! Alerts and dashboard speak of series that the operator has, with the labels that it gives them.

use std::collections::BTreeSet;

use mcp_hangar_operator::metrics::{Metrics, Series};
use mcp_hangar_operator::version::Build;
use serde_json::Value;

use crate::helm::{OPERATOR, RELEASE, find, helm4, objects, read, root};

/// Labels that come from the scrape, which puts a series' own label of the same name aside as `exported_...`.
const SCRAPED: [&str; 4] = ["namespace", "pod", "le", "exported_namespace"];

fn registered() -> Vec<Series> {
    Metrics::new(&Build::current()).unwrap().series().to_vec()
}

/// The names of our series in an expression; a histogram stands for its parts.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("mcp_operator_"))
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// Every label that an expression groups by or selects with.
fn labels(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in expression.split("by (").skip(1) {
        let list = part.split(')').next().unwrap();
        found.extend(list.split(',').map(|label| label.trim().to_owned()));
    }
    for part in expression.split('{').skip(1) {
        let list = part.split('}').next().unwrap();
        found.extend(list.split(',').map(|pair| pair.split(['=', '!']).next().unwrap().trim().to_owned()));
    }
    found
}

#[track_caller]
fn holds(place: &str, expression: &str, registered: &[Series]) {
    let names = names(expression);
    let mut known: BTreeSet<&str> = SCRAPED.into();
    for name in &names {
        let series = registered.iter().find(|series| series.name == *name);
        let series =
            series.unwrap_or_else(|| panic!("{place}: {name} is not in src/metrics.rs: {expression}"));
        known.extend(series.labels.iter().map(String::as_str));
    }
    for label in labels(expression) {
        assert!(
            known.contains(label.as_str()),
            "{place}: no series there has the label {label}: {expression}"
        );
    }
    let open = |c| expression.matches(c).count();
    assert_eq!((open('('), open('{')), (open(')'), open('}')), "{place}: {expression}");
}

fn rules() -> Vec<Value> {
    let objects = objects(&helm4().template(OPERATOR, &["prometheusRule.enabled=true"]).ok());
    find(&objects, "PrometheusRule", RELEASE)["spec"]["groups"][0]["rules"].as_array().unwrap().clone()
}

#[test]
fn each_alert_is_about_series_that_exist_and_has_its_runbook() {
    let registered = registered();
    let mut alerts: Vec<String> = Vec::new();
    for rule in rules() {
        let alert = rule["alert"].as_str().unwrap().to_owned();
        let expression = rule["expr"].as_str().unwrap();
        assert!(!names(expression).is_empty(), "{alert}");
        holds(&alert, expression, &registered);
        assert!(expression.contains("namespace=\"mcp-system\""), "{alert}");
        let notes = &rule["annotations"];
        for text in ["summary", "description"] {
            assert!(notes[text].as_str().is_some_and(|text| !text.is_empty()), "{alert}: {text}");
        }
        let runbook = format!("docs/runbooks/{alert}.md");
        assert!(notes["runbook_url"].as_str().unwrap().ends_with(&runbook), "{alert}");
        assert!(root().join(&runbook).is_file(), "{runbook}");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{alert}");
        alerts.push(alert);
    }
    alerts.sort();
    let wanted = [
        "McpHangarAdmissionSlow",
        "McpHangarBundleOutOfSync",
        "McpHangarCertificateNearExpiry",
        "McpHangarGroupDown",
        "McpHangarNoLeader",
        "McpHangarProviderDead",
        "McpHangarProvidersFailing",
        "McpHangarReconcileErrors",
        "McpHangarReconcileSlow",
        "McpHangarRejections",
        "McpHangarSelfTestFailing",
        "McpHangarStorageMigrationStuck",
    ];
    assert_eq!(alerts, wanted);
}

/// Over series that nobody has, an expression has no value, and its alert keeps still just when no replica is left.
#[test]
fn when_no_replica_is_there_to_say_anything_two_alerts_fire() {
    for rule in rules() {
        let (alert, expression) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        let fires = ["McpHangarNoLeader", "McpHangarSelfTestFailing"].contains(&alert);
        assert_eq!(expression.ends_with(" or vector(0)) == 0"), fires, "{alert}: {expression}");
    }
}

/// A label in a text that the expression does not keep would be printed as nothing.
#[test]
fn the_texts_of_an_alert_use_only_labels_that_its_expression_keeps() {
    for rule in rules() {
        let kept = labels(rule["expr"].as_str().unwrap());
        for text in ["summary", "description"] {
            for part in rule["annotations"][text].as_str().unwrap().split("$labels.").skip(1) {
                let label: String =
                    part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                assert!(kept.contains(&label), "{}: {label}", rule["alert"]);
            }
        }
    }
}

#[test]
fn the_dashboard_is_about_series_that_exist() {
    let registered = registered();
    let dashboard: Value = serde_json::from_str(&read(&format!("{OPERATOR}/files/dashboard.json"))).unwrap();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            holds(panel["title"].as_str().unwrap(), expression, &registered);
            shown.extend(names(expression));
        }
    }
    let missing: Vec<_> = registered.iter().filter(|series| !shown.contains(&series.name)).collect();
    assert!(missing.is_empty(), "in no panel: {missing:?}");
    let objects = objects(&helm4().template(OPERATOR, &["grafanaDashboard.enabled=true"]).ok());
    let text =
        &find(&objects, "ConfigMap", "mcp-hangar-operator-dashboard")["data"]["mcp-hangar-operator.json"];
    assert_eq!(serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap(), dashboard);
}
