//! What v1alpha1 cannot say comes back from its annotation, unless the user changed what it stood on; what nobody
//! stashed never takes effect. The cases are in the YAML beside this file.

use mcp_hangar_api::annotation::CONVERSION_DATA;
use mcp_hangar_webhooks::admission::Webhook;
use mcp_hangar_webhooks::conversion::stash::ANNOTATION_BYTES;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::Policy;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::review::{admit, merged, minimal, patched};
use crate::{convert, convert_value};

/// A hub object, seen as v1alpha1, changed there, and seen as the hub again.
#[derive(Deserialize)]
struct Edit {
    name: String,
    kind: Option<String>,
    /// Merged over the minimal hub object.
    hub: Value,
    /// Merged over its v1alpha1 form.
    #[serde(default)]
    change: Value,
    /// Put into the annotation instead of what stands there.
    stash: Option<Value>,
    /// Merged over the hub object, gives what comes back.
    #[serde(default)]
    back: Value,
}

/// A file applied as v1alpha1 over what is stored.
#[derive(Deserialize)]
struct Apply {
    name: String,
    /// The hub object of which the file is an export, merged over the minimal one.
    exported: Value,
    /// What has since become of the hub object.
    #[serde(default)]
    since: Value,
    /// What was changed in the file.
    #[serde(default)]
    file: Value,
    /// Merged over the stored hub object, gives what is stored afterwards.
    #[serde(default)]
    stored: Value,
}

fn hub(kind: Option<&str>, change: &Value) -> Value {
    let kind = kind.map_or(Kind::Provider, |name| Kind::parse(name).unwrap());
    merged(minimal(kind, Version::HUB), change.clone())
}

fn changed(object: &Value, change: &Value) -> Value {
    if change.is_null() { object.clone() } else { merged(object.clone(), change.clone()) }
}

#[test]
fn hub_values_return_unless_the_user_changed_what_they_stood_on() {
    let cases: Vec<Edit> = serde_saphyr::from_str(include_str!("stash.yaml")).unwrap();
    for case in &cases {
        let before = hub(case.kind.as_deref(), &case.hub);
        let mut spoke = changed(&convert_value(Version::V1Alpha1, &before), &case.change);
        if let Some(stash) = &case.stash {
            let text = stash.as_str().map_or_else(|| stash.to_string(), str::to_owned);
            spoke = merged(spoke, json!({"metadata": {"annotations": {CONVERSION_DATA: text}}}));
        }
        let after = convert_value(Version::HUB, &spoke);
        let wanted = changed(&before, &case.back);
        assert_eq!(after, wanted, "{}, by way of {spoke}", case.name);
    }
    assert!(cases.len() > 40, "{}", cases.len());
}

#[test]
fn a_file_applied_as_v1alpha1_changes_what_it_says_and_nothing_else() {
    let cases: Vec<Apply> = serde_saphyr::from_str(include_str!("apply.yaml")).unwrap();
    for case in &cases {
        let exported = hub(None, &case.exported);
        let live = changed(&exported, &case.since);
        let file = changed(&convert_value(Version::V1Alpha1, &exported), &case.file);
        let old = convert_value(Version::V1Alpha1, &live);
        let answer = admit(Webhook::Default, &file, Some(&old), &Policy::default());
        assert!(answer.allowed, "{}: {}", case.name, answer.message);
        let mut sent = patched(&file, &answer);
        // The defaults are another test's matter.
        for key in
            ["replicas", "idleTTL", "startupTimeout", "shutdownGracePeriod", "healthCheck", "circuitBreaker"]
        {
            sent["spec"].as_object_mut().unwrap().remove(key);
        }
        // The API server drops an empty map.
        if sent["metadata"]["annotations"] == json!({}) {
            sent["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        let stored = convert_value(Version::HUB, &sent);
        assert_eq!(stored, changed(&live, &case.stored), "{}, by way of {sent}", case.name);
        let again = admit(Webhook::Default, &patched(&file, &answer), Some(&old), &Policy::default());
        assert!(again.patch.is_empty(), "{}: {:?}", case.name, again.patch);
    }
    assert!(cases.len() >= 8, "{}", cases.len());
}

#[test]
fn a_restored_backup_keeps_its_annotation() {
    let hub = hub(None, &json!({"spec": {"container": {"port": 9000}}}));
    let backup = convert_value(Version::V1Alpha1, &hub);
    let answer = admit(Webhook::Default, &backup, None, &Policy::default());
    assert!(answer.patch.iter().all(|operation| operation["path"].as_str().unwrap().starts_with("/spec/")));
    assert_eq!(convert_value(Version::HUB, &patched(&backup, &answer))["spec"]["container"]["port"], 9000);
}

/// Exports outlive releases: who changes this text loses what was exported before.
#[test]
fn the_text_is_frozen() {
    let rich: Value = serde_saphyr::from_str(include_str!("rich.yaml")).unwrap();
    let spoke = convert_value(Version::V1Alpha1, &rich);
    let text = spoke["metadata"]["annotations"][CONVERSION_DATA].as_str().unwrap();
    assert_eq!(text, include_str!("../data/stash-v1.json").trim_end());
    assert_eq!(convert_value(Version::HUB, &spoke), rich);
}

#[test]
fn a_stash_that_would_not_fit_is_left_out() {
    let stash = |note: usize| {
        let note = "x".repeat(note);
        let change = json!({"metadata": {"annotations": {"example.com/note": note}}, "spec": {"container": {"port": 9000}}});
        let spoke = convert_value(Version::V1Alpha1, &hub(None, &change));
        spoke["metadata"]["annotations"][CONVERSION_DATA].as_str().map(str::len)
    };
    let text = stash(0).unwrap();
    let room = ANNOTATION_BYTES - "example.com/note".len() - CONVERSION_DATA.len() - text;
    assert_eq!(stash(room), Some(text));
    assert_eq!(stash(room + 1), None);
    assert_eq!(stash(ANNOTATION_BYTES + 1), None);
}

#[test]
fn an_annotation_whose_name_is_escaped_is_the_annotation() {
    let object = r#"{"apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider","metadata":{"name":"a","annotations":{"mcp-hangar.io\/conversion\u002ddata":"[{\"p\":[\"spec\",\"container\",\"port\"],\"v\":9000}]"}},"spec":{"mode":"container","image":"nginx"}}"#;
    for object in [object.to_owned(), object.replace("\\u002d", "-"), object.replace("\\/", "/")] {
        let hub = convert(Version::HUB, &object);
        assert!(hub.contains("9000") && !hub.contains("annotations"), "{hub}");
    }
}
