//! The parts of the charts that the code decides: CRDs, webhook entries, and the rules of the operator's roles.
//!
//! In: the same values that `run --webhook-url` applies and the list of permissions. Out: template files, whole; where a
//! release decides (a name, a port, a policy) stands an expression of the chart. All else in the charts is written by
//! hand. Which values there are is for `values.yaml` of each chart.

use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Endpoint, RELEASE, crds, mutating, validating};
use crate::permissions::rules::{Rules, rules};
use crate::permissions::{Permission, Scope, needed_in};
use crate::provider::places::Places;

/// The chart of the operator.
pub const OPERATOR: &str = "mcp-hangar-operator";
/// The chart that holds the CRDs alone.
pub const CRDS: &str = "mcp-hangar-crds";

const HEADER: &str =
    "{{- /* Generated from the Rust code by `make generate`; changes made here are lost. */ -}}\n";

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Below the folder of all charts.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// An object that has no YAML.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// Of our own making.
    #[error("failed to write {what} as YAML: {reason}")]
    Yaml {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// It would be read as part of a template.
    #[error("failed to write {what} into a template: it holds two opening braces")]
    Braces {
        /// What.
        what: String,
    },
}

impl ChartError {
    /// A fixed word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Yaml { .. } => "yaml",
            Self::Braces { .. } => "braces",
        }
    }
}

/// Every generated file of both charts.
pub fn files() -> Result<Vec<File>, ChartError> {
    let mut files = Vec::new();
    for (chart, folder, condition) in
        [(OPERATOR, "templates/crds", "{{- if .Values.crds.install }}\n"), (CRDS, "templates", "")]
    {
        for crd in crds(&service(), None) {
            let name = crd.spec.names.singular.clone().unwrap_or_else(|| crd.spec.names.plural.clone());
            let text = crd_template(chart, condition, &crd)?;
            files.push(File { path: format!("{chart}/{folder}/{name}.yaml"), text });
        }
    }
    files.push(File { path: format!("{OPERATOR}/templates/_webhooks.tpl"), text: webhooks()? });
    files.push(File { path: format!("{OPERATOR}/templates/_rules.tpl"), text: roles()? });
    Ok(files)
}

/// A word of a manifest in whose place a template expression is written. No value of ours looks like it.
struct Slot {
    word: &'static str,
    expression: &'static str,
}

const fn slot(word: &'static str, expression: &'static str) -> Slot {
    Slot { word, expression }
}

const SERVICE: Slot = slot("slot-webhook-service", "{{ include \"CHART.webhookService\" . }}");
const NAMESPACE: Slot = slot("slot-release-namespace", "{{ include \"CHART.serviceNamespace\" . }}");
const PORT: Slot = slot("slot-service-port", "{{ .Values.webhook.service.port }}");
const POLICY: Slot = slot("slot-failure-policy", "{{ .Values.webhook.failurePolicy }}");
const TIMEOUT: Slot = slot("slot-timeout", "{{ .Values.webhook.timeoutSeconds }}");
const SELECTOR: Slot =
    slot("slot-namespace-selector", "{{ .Values.webhook.namespaceSelector | default dict | toJson }}");
const CA_SECRET: Slot = slot("slot-ca-secret", "{{ include \"CHART.caSecret\" . }}");
const CONFIGURATION: Slot = slot("slot-configuration-name", "{{ include \"CHART.configurationName\" . }}");
const LEASE: Slot = slot("slot-lease", "{{ include \"CHART.fullname\" . }}");
const SLOTS: [Slot; 9] =
    [SERVICE, NAMESPACE, PORT, POLICY, TIMEOUT, SELECTOR, CA_SECRET, CONFIGURATION, LEASE];

fn service() -> Endpoint {
    Endpoint::Service { name: SERVICE.word.into(), namespace: NAMESPACE.word.into(), port: 443 }
}

/// Puts the expressions in; the text may hold no braces of its own.
fn fill(chart: &str, what: &str, text: &str) -> Result<String, ChartError> {
    if text.contains("{{") {
        return Err(ChartError::Braces { what: what.into() });
    }
    Ok(SLOTS.iter().fold(text.to_owned(), |text, Slot { word, expression }| {
        text.replace(word, &expression.replace("CHART", chart))
    }))
}

fn yaml(what: &str, value: &impl Serialize) -> Result<String, ChartError> {
    let mut text = serde_saphyr::to_string(value)
        .map_err(|error| ChartError::Yaml { what: what.into(), reason: error.to_string() })?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn value(what: &str, object: &impl Serialize) -> Result<Value, ChartError> {
    serde_json::to_value(object)
        .map_err(|error| ChartError::Yaml { what: what.into(), reason: error.to_string() })
}

fn put(value: &mut Value, pointer: &str, slot: &Slot) {
    if let Some(place) = value.pointer_mut(pointer) {
        *place = Value::from(slot.word);
    }
}

fn crd_template(chart: &str, condition: &str, crd: &CustomResourceDefinition) -> Result<String, ChartError> {
    let name = crd.metadata.name.as_deref().unwrap_or_default();
    let mut crd = mcp_hangar_api::crd::to_value(crd)
        .map_err(|error| ChartError::Yaml { what: name.into(), reason: error.to_string() })?;
    put(&mut crd, "/spec/conversion/webhook/clientConfig/service/port", &PORT);
    let spec = yaml(name, &json!({"spec": crd.get("spec")}))?;
    let spec = fill(chart, name, &spec)?;
    let end = if condition.is_empty() { "" } else { "{{- end }}\n" };
    Ok(format!(
        "{HEADER}{condition}apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: {name}\n  \
         {{{{- include \"{chart}.crdMetadata\" . | nindent 2 }}}}\n{spec}{end}"
    ))
}

/// The entries of both configurations, as named templates.
fn webhooks() -> Result<String, ChartError> {
    let configurations = [
        ("mutating", value("mutating configuration", &mutating(RELEASE, &service(), None))?),
        ("validating", value("validating configuration", &validating(RELEASE, &service(), None))?),
    ];
    let mut text = HEADER.to_owned();
    for (name, mut object) in configurations {
        for (pointer, slot) in [
            ("/webhooks/0/clientConfig/service/port", &PORT),
            ("/webhooks/0/failurePolicy", &POLICY),
            ("/webhooks/0/timeoutSeconds", &TIMEOUT),
            ("/webhooks/0/namespaceSelector", &SELECTOR),
        ] {
            put(&mut object, pointer, slot);
        }
        let entries = fill(OPERATOR, name, &yaml(name, &json!({"webhooks": object.get("webhooks")}))?)?;
        text.push_str(&define(&format!("{name}Webhooks"), &entries));
    }
    Ok(text)
}

/// The rules of the operator's own roles, as named templates: what is always needed, and what a feature adds.
fn roles() -> Result<String, ChartError> {
    let least = Scope {
        namespace: NAMESPACE.word,
        ca_secret: CA_SECRET.word,
        configuration_name: CONFIGURATION.word,
        applies: false,
        own_ca: false,
        lease: None,
        migrates: false,
        places: None,
    };
    let always = needed_in(least);
    let added = |scope| -> Rules {
        let all: Vec<Permission> = needed_in(scope);
        rules(&all.into_iter().filter(|permission| !always.contains(permission)).collect::<Vec<_>>())
    };
    let own_ca = added(Scope { own_ca: true, ..least });
    let election = added(Scope { lease: Some(LEASE.word), ..least });
    let migration = added(Scope { migrates: true, ..least });
    let (everywhere, with_secrets) = (Places::default(), Places::new(&[], &["*".to_owned()]));
    let providers = added(Scope { places: Some(&everywhere), ..least });
    let secrets = added(Scope { places: Some(&with_secrets), ..least });
    // Where all namespaces are watched, Events may be written in all of them anyway.
    let (events, always): (Vec<_>, Vec<_>) =
        always.iter().cloned().partition(|permission| permission.resource == "events");
    let (events, always) = (rules(&events), rules(&always));
    let is_new = |rule: &&PolicyRule| !providers.cluster.contains(rule);
    let secrets: Vec<_> = secrets.cluster.iter().filter(is_new).cloned().collect();
    // Namespaces belong to no namespace: where only some are watched, the template names them.
    let is_of_namespaces =
        |rule: &PolicyRule| rule.resources.iter().flatten().any(|resource| resource == "namespaces");
    let (selection, providers): (Vec<_>, Vec<_>) = providers.cluster.into_iter().partition(is_of_namespaces);
    let mut text = HEADER.to_owned();
    for (name, rules) in [
        ("clusterRules", &always.cluster),
        ("providerRules", &providers),
        ("selectionRules", &selection),
        ("providerSecretRules", &secrets),
        ("eventRules", &events.namespaced),
        ("migrationRules", &migration.cluster),
        ("namespaceRules", &always.namespaced),
        ("ownCaRules", &own_ca.namespaced),
        ("electionRules", &election.namespaced),
    ] {
        text.push_str(&define(name, &list(name, rules)?));
    }
    Ok(text)
}

fn list(name: &str, rules: &[PolicyRule]) -> Result<String, ChartError> {
    fill(OPERATOR, name, &yaml(name, &rules)?)
}

fn define(name: &str, text: &str) -> String {
    format!("{{{{- define \"{OPERATOR}.{name}\" -}}}}\n{}\n{{{{- end }}}}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> String {
        files().unwrap().into_iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}")).text
    }

    #[test]
    fn both_charts_hold_the_same_crds() {
        for name in ["mcpprovider", "mcpprovidergroup", "mcpdiscoverysource"] {
            let inner = file(&format!("{OPERATOR}/templates/crds/{name}.yaml"));
            let inner = inner.replace("{{- if .Values.crds.install }}\n", "").replace("{{- end }}\n", "");
            assert_eq!(
                inner.replace(OPERATOR, CRDS),
                file(&format!("{CRDS}/templates/{name}.yaml")),
                "{name}"
            );
        }
    }

    #[test]
    fn every_place_that_a_release_decides_is_an_expression() {
        let all: String = files().unwrap().into_iter().map(|file| file.text).collect();
        assert!(!all.contains("slot-"), "a slot was left");
        let webhooks = file("mcp-hangar-operator/templates/_webhooks.tpl");
        for Slot { expression, .. } in [&SERVICE, &NAMESPACE, &PORT, &POLICY, &TIMEOUT, &SELECTOR] {
            assert_eq!(webhooks.matches(&expression.replace("CHART", OPERATOR)).count(), 2, "{expression}");
        }
    }

    #[test]
    fn never_writes_a_bundle_a_null_or_an_empty_list() {
        for File { path, text } in files().unwrap() {
            // A provider has a field of that name.
            let ours = text.split("\n  group: mcp-hangar.io\n").next().unwrap();
            assert!(!ours.contains("caBundle"), "{path}");
            assert!(!text.lines().any(|line| line.ends_with(": null") || line.ends_with(": []")), "{path}");
        }
    }

    #[test]
    fn refuses_text_that_would_be_read_as_a_template() {
        assert_eq!(fill(OPERATOR, "x", "a {{ b").unwrap_err().kind(), "braces");
    }
}
