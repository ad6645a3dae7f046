//! The tables beside this file: a minimal object, a change, and every error exactly as a user reads it.

use mcp_hangar_webhooks::admission::Webhook;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::{ImageDigestPolicy, Policy};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::review::{Answer, admit, merged, minimal, patched};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What happens, as a sentence.
    name: String,
    /// Merged over the minimal object of the file's kind.
    change: Value,
    /// The same for the old object of an update. Without it, the object is new.
    old: Option<Value>,
    /// `field: message`, in order; none where it is let in.
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    policy: Flags,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Flags {
    image_digest: Option<String>,
    configmap_namespaces: Vec<String>,
}

impl Flags {
    fn policy(&self) -> Policy {
        Policy {
            image_digest: match self.image_digest.as_deref() {
                Some("warn") => ImageDigestPolicy::Warn,
                Some("block") => ImageDigestPolicy::Block,
                _ => ImageDigestPolicy::Off,
            },
            configmap_namespaces: self.configmap_namespaces.clone(),
        }
    }
}

/// Runs a file of cases against one kind in one version; how many there were.
fn check(kind: Kind, version: Version, yaml: &str) -> usize {
    // Texts that are too long to be written down.
    let yaml = [2050, 262_000]
        .into_iter()
        .fold(yaml.to_owned(), |yaml, length| yaml.replace(&format!("LONG{length}"), &"x".repeat(length)));
    let cases: Vec<Case> = serde_saphyr::from_str(&yaml).unwrap();
    let mut faults = Vec::new();
    for case in &cases {
        let object = merged(minimal(kind, version), case.change.clone());
        let old = case.old.as_ref().map(|old| merged(minimal(kind, version), old.clone()));
        let policy = case.policy.policy();
        let answer = admit(Webhook::Default, &object, old.as_ref(), &policy);
        if answer.errors() != case.errors || answer.warnings != case.warnings {
            faults.push(json!({"name": case.name, "errors": answer.errors(), "warnings": answer.warnings}));
            continue;
        }
        reads_well(&answer, &case.name);
        let after = if answer.allowed { patched(&object, &answer) } else { object };
        let judged = admit(Webhook::Validate, &after, old.as_ref(), &policy);
        assert_eq!(judged.errors(), case.errors, "{} (/validate)", case.name);
    }
    assert!(faults.is_empty(), "{kind} {version}: {}", serde_json::to_string_pretty(&faults).unwrap());
    cases.len()
}

/// The grammar that every message has.
fn reads_well(answer: &Answer, name: &str) {
    for cause in &answer.causes {
        let message = &cause.message;
        let (body, code) =
            message.rsplit_once(" [HGR").unwrap_or_else(|| panic!("{name}: no code: {message}"));
        assert!(code.len() == 4 && code.ends_with(']'), "{name}: {message}");
        assert!(
            !body.ends_with('.') && !body.contains("please") && !body.contains('\n'),
            "{name}: {message}"
        );
        let kinds = [
            ("Required value: ", "FieldValueRequired"),
            ("Unsupported value: ", "FieldValueNotSupported"),
            ("Invalid value: ", "FieldValueInvalid"),
            ("Invalid value: ", "FieldValueTypeInvalid"),
            ("Forbidden: ", "FieldValueForbidden"),
            ("Duplicate value: ", "FieldValueDuplicate"),
            ("Too long: ", "FieldValueTooLong"),
            ("Too many: ", "FieldValueTooMany"),
        ];
        let (head, _) = kinds.iter().find(|(_, reason)| *reason == cause.reason).unwrap();
        let says = body.strip_prefix(head).unwrap_or_else(|| panic!("{name}: {message}"));
        assert!(!says.starts_with(|c: char| c.is_uppercase()), "{name}: {message}");
        assert!(message.chars().count() <= 400, "{name}: {message}");
        assert!(answer.message.contains(message.as_str()), "{name}: {}", answer.message);
    }
    for warning in &answer.warnings {
        assert!(warning.chars().count() <= 120 && !warning.contains('\n'), "{name}: {warning}");
        assert!(warning.contains(": ") && !warning.ends_with('.'), "{name}: {warning}");
    }
}

#[test]
fn providers_of_v1alpha1_are_judged() {
    let count = check(Kind::Provider, Version::V1Alpha1, include_str!("provider-v1alpha1.yaml"));
    assert!(count >= 80, "{count}");
}

#[test]
fn providers_of_v1beta1_are_judged() {
    let count = check(Kind::Provider, Version::V1Beta1, include_str!("provider-v1beta1.yaml"));
    assert!(count >= 40, "{count}");
}

#[test]
fn groups_are_judged_alike_in_both_versions() {
    for version in Version::ALL {
        let count = check(Kind::Group, version, include_str!("group.yaml"));
        assert!(count >= 30, "{count}");
    }
}

#[test]
fn sources_are_judged_alike_in_both_versions() {
    for version in Version::ALL {
        let count = check(Kind::Discovery, version, include_str!("discovery.yaml"));
        assert!(count >= 40, "{count}");
    }
}

#[test]
fn templates_are_judged_in_the_version_of_their_source() {
    check(Kind::Discovery, Version::V1Alpha1, include_str!("template-v1alpha1.yaml"));
    check(Kind::Discovery, Version::V1Beta1, include_str!("template-v1beta1.yaml"));
}

#[test]
fn updates_of_providers_are_judged_by_what_they_change() {
    let count = check(Kind::Provider, Version::V1Alpha1, include_str!("update.yaml"));
    assert!(count >= 20, "{count}");
}
