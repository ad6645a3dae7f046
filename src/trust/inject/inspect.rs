//! Reads back whom the targets trust: the two webhook configurations and the three CRDs, as the API server has them.
//!
//! In: a client and the configurations' name. Out: a [`View`] of each target, which says what it lacks of a list of CAs.
//! Nothing is written. For the leader, who must not go on before all trust the next CA, and for `certs`.

use kube::Client;
use serde_json::Value;

use super::decide::decode;
use super::{TARGETS, Target, read};
use crate::context::Context;
use crate::manifests::{DEFAULT_ENTRY, VALIDATE_ENTRY, crd_name};
use crate::retry::ClusterError;
use crate::trust::bundle;

/// One target as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Kind and name.
    pub object: String,
    /// Whom it trusts.
    pub trust: Trust,
    /// `clientConfig` as it is, without the bundle.
    pub client: Value,
}

/// Whom a target trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It calls nobody of ours: why.
    Nobody(String),
    /// These certificates, as PEM.
    Certificates(Vec<String>),
    /// Its bundle is empty, or not PEM.
    Rubbish(String),
}

impl View {
    /// What is wrong when all of these should be trusted; a target that calls nobody cannot fail to trust.
    pub fn lacks(&self, certificates: &[String]) -> Option<String> {
        let object = &self.object;
        match &self.trust {
            Trust::Nobody(_) => None,
            Trust::Rubbish(reason) => Some(format!("{object}: {reason}")),
            Trust::Certificates(found) => {
                let missing = certificates.iter().filter(|needed| !found.contains(needed)).count();
                (missing > 0)
                    .then(|| format!("{object}: its caBundle lacks {missing} of {} CAs", certificates.len()))
            }
        }
    }
}

/// Looks at all targets.
pub async fn inspect(ctx: &Context) -> Result<Vec<View>, ClusterError> {
    let mut views = Vec::with_capacity(TARGETS.len());
    for target in TARGETS {
        let object = object(target, &ctx.configuration_name);
        let look = look(&ctx.client, target, &ctx.configuration_name);
        views.push(ctx.link.call("get", object, look).await?);
    }
    Ok(views)
}

/// Looks at one.
pub async fn look(client: &Client, target: Target, configuration: &str) -> Result<View, kube::Error> {
    let name = match target {
        Target::Crd(resource) => crd_name(resource),
        Target::Mutating | Target::Validating => configuration.to_owned(),
    };
    let found = read::read(client, &target.resource(), &name).await?;
    let value = match &found {
        Some(found) => serde_json::to_value(found).map_err(kube::Error::SerdeError)?,
        None => Value::Null,
    };
    Ok(view(target, object(target, configuration), &value))
}

/// What messages call it.
pub fn object(target: Target, configuration: &str) -> String {
    match target {
        Target::Crd(resource) => format!("customresourcedefinition {}", crd_name(resource)),
        Target::Mutating => format!("mutatingwebhookconfiguration {configuration}"),
        Target::Validating => format!("validatingwebhookconfiguration {configuration}"),
    }
}

fn view(target: Target, object: String, value: &Value) -> View {
    let client = match target {
        Target::Crd(_) => conversion(value),
        Target::Mutating => entry(value, DEFAULT_ENTRY),
        Target::Validating => entry(value, VALIDATE_ENTRY),
    };
    match client {
        Ok(mut client) => {
            let trust = trust(client.get("caBundle"));
            if let Some(members) = client.as_object_mut() {
                members.remove("caBundle");
            }
            View { object, trust, client }
        }
        Err(reason) => View { object, trust: Trust::Nobody(reason.into()), client: Value::Null },
    }
}

fn conversion(crd: &Value) -> Result<Value, &'static str> {
    if crd.is_null() {
        return Err("it does not exist");
    }
    let conversion = crd.pointer("/spec/conversion");
    match conversion.and_then(|conversion| conversion.get("strategy")).and_then(Value::as_str) {
        Some("Webhook") => {
            Ok(conversion.and_then(|all| all.pointer("/webhook/clientConfig")).cloned().unwrap_or_default())
        }
        _ => Err("it has no conversion webhook"),
    }
}

fn entry(configuration: &Value, name: &str) -> Result<Value, &'static str> {
    if configuration.is_null() {
        return Err("it does not exist");
    }
    let entries = configuration.get("webhooks").and_then(Value::as_array);
    let found =
        entries.into_iter().flatten().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
    found
        .map(|entry| entry.get("clientConfig").cloned().unwrap_or_default())
        .ok_or("it has no webhook of ours")
}

fn trust(bundle: Option<&Value>) -> Trust {
    let Some(text) = bundle.and_then(decode).filter(|text| !text.is_empty()) else {
        return Trust::Rubbish("it has no caBundle".into());
    };
    match bundle::certificates(&text) {
        Ok(found) if !found.is_empty() => Trust::Certificates(found),
        _ => Trust::Rubbish("its caBundle holds no certificate".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use mcp_hangar_webhooks::tls::Authority;
    use serde_json::json;

    use super::*;

    fn crd(bundle: &Value) -> Value {
        json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "u", "caBundle": bundle}}}}})
    }

    #[test]
    fn says_what_a_target_lacks() {
        let now = SystemTime::now();
        let [a, b] = ["a", "b"].map(|name| Authority::generate(name, now).unwrap().certificate_pem());
        let encoded = |text: &str| json!(STANDARD.encode(text));
        let needed = [a.clone(), b.clone()];
        let target = Target::Crd("mcpproviders");
        for (value, expected) in [
            (crd(&encoded(&format!("{b}{a}"))), None),
            (crd(&encoded(&a)), Some("lacks 1 of 2 CAs")),
            (crd(&encoded("rubbish")), Some("holds no certificate")),
            (crd(&json!("bm90IGJhc2U2NA")), Some("no caBundle")),
            (crd(&Value::Null), Some("no caBundle")),
            (json!({"spec": {"conversion": {"strategy": "None"}}}), None),
            (Value::Null, None),
        ] {
            let said = view(target, object(target, "x"), &value).lacks(&needed);
            assert_eq!(said.is_some(), expected.is_some(), "{said:?}");
            assert!(said.as_deref().unwrap_or_default().contains(expected.unwrap_or_default()), "{said:?}");
        }
    }

    #[test]
    fn finds_our_entry_among_others() {
        let ours = json!({"name": DEFAULT_ENTRY, "clientConfig": {"url": "u"}});
        let both = json!({"webhooks": [{"name": "other", "clientConfig": {"url": "v"}}, ours]});
        assert_eq!(view(Target::Mutating, String::new(), &both).client, json!({"url": "u"}));
        let seen = view(Target::Validating, String::new(), &both);
        assert_eq!(seen.trust, Trust::Nobody("it has no webhook of ours".into()));
    }
}
