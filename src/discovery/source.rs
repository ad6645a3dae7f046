//! A source as it is stored, and what its spec says.
//!
//! In: the object. Out: [`Source`], and its [`Settings`]: judged by the webhook's rules, since the webhook may have been
//! away, with defaults for what is absent and patterns compiled. A spec that breaks a rule is one text to tell. Nothing is
//! read from the cluster here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mcp_hangar_api::v1beta1::discovery::{
    DiscoveryMode, DiscoveryType, MCPDiscoverySourceSpec, MCPDiscoverySourceStatus, Protocol,
    ProviderTemplate,
};
use mcp_hangar_api::{annotation::discovered, duration};
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::{ImageDigestPolicy, Policy};
use mcp_hangar_webhooks::validation::pattern::Pattern;
use mcp_hangar_webhooks::validation::{Metadata, Subject, judge};

use crate::group::selector::Selector;
use crate::stored::Stored;

/// A source as it is stored.
pub(crate) type Source = Stored<MCPDiscoverySourceStatus>;

/// What a spec says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to look.
    pub place: Place,
    /// Whether what is no longer found is deleted.
    pub prunes: bool,
    /// The longest time between two scans.
    pub refresh: Duration,
    /// Nothing is looked at or written.
    pub paused: bool,
    /// What every provider starts from.
    pub template: ProviderTemplate,
    /// Which of the found are kept.
    pub filters: Filters,
    /// Whether the source owns its providers.
    pub controller: bool,
    /// Whether the source stays until its providers are gone.
    pub blocks_deletion: bool,
}

/// Where to look.
#[derive(Clone, Debug)]
pub enum Place {
    /// ConfigMaps named mcp-providers.
    Namespaces(Namespaces),
    /// One key of one ConfigMap.
    Map {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// Annotated Pods and Services.
    Annotated {
        /// Where.
        namespaces: Option<Namespaces>,
        /// Labels of the Pods.
        pods: BTreeMap<String, String>,
        /// Labels of the Services.
        services: BTreeMap<String, String>,
        /// Before every annotation that is read.
        prefix: String,
        /// Annotations that must be there.
        required: Vec<String>,
    },
    /// Services with a named port.
    Services {
        /// Where.
        namespaces: Option<Namespaces>,
        /// Their labels.
        selector: BTreeMap<String, String>,
        /// The port's name.
        port: String,
        /// The protocol of the endpoint.
        protocol: Protocol,
    },
}

/// Which namespaces to look in; where there are none of these, the source's own.
#[derive(Clone, Debug)]
pub struct Namespaces {
    selector: Selector,
    excluded: BTreeSet<String>,
}

/// Which of the found are kept, by their raw names.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// One of them must match, where there are any.
    pub include: Vec<Pattern>,
    /// None of them may match.
    pub exclude: Vec<Pattern>,
    /// No more than these.
    pub most: Option<usize>,
}

const DEFAULT_KEY: &str = "providers.yaml";
const EXCLUDED: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

impl Namespaces {
    /// Those whose labels match.
    pub fn of(selector: Selector) -> Self {
        Self { selector, excluded: BTreeSet::new() }
    }

    /// Whether to look in a namespace with these labels.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        !self.excluded.contains(name) && self.selector.matches_all(labels)
    }
}

impl Filters {
    /// Why a name is left out.
    pub fn leaves_out(&self, raw: &str) -> bool {
        let includes = self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches(raw));
        !includes || self.exclude.iter().any(|pattern| pattern.matches(raw))
    }
}

impl Source {
    /// Whether another look follows from it than from `old`: not from its status, which we write ourselves.
    pub(crate) fn wishes_other_than(&self, old: &Self) -> bool {
        (&self.uid, self.generation, self.is_going, self.has_finalizer)
            != (&old.uid, old.generation, old.is_going, old.has_finalizer)
    }

    /// What it says, or which field breaks a rule and how to mend it.
    ///
    /// The policy about images without a digest is for new objects: a flag that changes must not stop a source.
    pub(crate) fn settings(&self, policy: &Policy) -> Result<Settings, String> {
        let policy = Policy { image_digest: ImageDigestPolicy::Off, ..policy.clone() };
        let annotations = serde_json::to_string(&self.annotations).unwrap_or_default();
        let annotations = Json::parse(&annotations).ok();
        let unreadable = |error: serde_json::Error| format!("spec: cannot be read: {error}");
        let subject = Subject {
            kind: Kind::Discovery,
            version: Version::HUB,
            metadata: Metadata {
                name: &self.key.name,
                generate_name: "",
                namespace: &self.key.namespace,
                annotations: annotations.as_ref().and_then(Json::as_object),
            },
            spec: Some(Json::parse(&self.spec).map_err(unreadable)?),
        };
        let (violations, uncounted, _) = judge(subject, &policy).finish();
        if let Some(first) = violations.first() {
            let more = violations.len() - 1 + uncounted;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            return Err(format!("{}: {}{more}", first.path, first.message));
        }
        settings(serde_json::from_str(&self.spec).map_err(unreadable)?, &self.key.namespace)
    }
}

fn settings(spec: MCPDiscoverySourceSpec, own: &str) -> Result<Settings, String> {
    let MCPDiscoverySourceSpec {
        type_,
        mode,
        refresh_interval,
        paused,
        namespace_selector,
        config_map_ref,
        annotations,
        service_discovery,
        provider_template,
        filters,
        ownership,
    } = spec;
    let namespaces = namespace_selector.map(|selector| {
        let labels = LabelSelector {
            match_labels: Some(selector.match_labels),
            match_expressions: Some(selector.match_expressions),
        };
        let excluded = selector.exclude_namespaces;
        let excluded = excluded.unwrap_or_else(|| EXCLUDED.map(str::to_owned).to_vec());
        let selector = Selector::of(&labels).map_err(|error| format!("spec.namespaceSelector: {error}"))?;
        Ok::<_, String>(Namespaces { selector, excluded: excluded.into_iter().collect() })
    });
    let namespaces = namespaces.transpose()?;
    let place = match type_ {
        DiscoveryType::Namespace => {
            Place::Namespaces(namespaces.ok_or("spec.namespaceSelector: must be set for the type Namespace")?)
        }
        DiscoveryType::ConfigMap => {
            let map = config_map_ref.unwrap_or_default();
            Place::Map {
                namespace: map.namespace.filter(|it| !it.is_empty()).unwrap_or_else(|| own.to_owned()),
                name: map.name.unwrap_or_default(),
                key: map.key.filter(|key| !key.is_empty()).unwrap_or_else(|| DEFAULT_KEY.to_owned()),
            }
        }
        DiscoveryType::Annotations => {
            let block = annotations.unwrap_or_default();
            let prefix = block.annotation_prefix.filter(|prefix| !prefix.is_empty());
            let prefix = prefix.unwrap_or_else(|| discovered::DEFAULT_PREFIX.to_owned());
            let required = block.required_annotations;
            Place::Annotated {
                namespaces,
                pods: block.pod_selector.unwrap_or_default(),
                services: block.service_selector.unwrap_or_default(),
                required: required.unwrap_or_else(|| vec![format!("{prefix}/{}", discovered::PROVIDER)]),
                prefix,
            }
        }
        DiscoveryType::ServiceDiscovery => {
            let block = service_discovery.unwrap_or_default();
            Place::Services {
                namespaces,
                selector: block.selector.unwrap_or_default(),
                port: block.port_name.filter(|name| !name.is_empty()).unwrap_or_else(|| "mcp".to_owned()),
                protocol: block.protocol.unwrap_or_default(),
            }
        }
    };
    let filters = filters.unwrap_or_default();
    let refresh = refresh_interval.as_deref().and_then(|text| duration::parse(text).ok());
    let ownership = ownership.unwrap_or_default();
    Ok(Settings {
        place,
        prunes: mode.unwrap_or_default() == DiscoveryMode::Authoritative,
        refresh: refresh.and_then(|it| u64::try_from(it.nanos()).ok()).map_or(REFRESH, Duration::from_nanos),
        paused: paused.unwrap_or(false),
        template: provider_template.unwrap_or_default(),
        filters: Filters {
            include: patterns("includePatterns", &filters.include_patterns)?,
            exclude: patterns("excludePatterns", &filters.exclude_patterns)?,
            most: filters.max_providers.and_then(|most| usize::try_from(most).ok()),
        },
        controller: ownership.controller.unwrap_or(true),
        blocks_deletion: ownership.block_deletion.unwrap_or(false),
    })
}

/// Between two scans, where nothing else is said.
const REFRESH: Duration = Duration::from_secs(60);

fn patterns(field: &str, texts: &[String]) -> Result<Vec<Pattern>, String> {
    let compile = |(index, text): (usize, &String)| {
        Pattern::compile(text).map_err(|says| format!("spec.filters.{field}[{index}]: {says}"))
    };
    texts.iter().enumerate().map(compile).collect()
}

#[cfg(test)]
mod tests {
    use mcp_hangar_webhooks::defaulting;
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::Key;

    fn source(spec: &Value) -> Source {
        let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPDiscoverySource", "spec": spec,
            "metadata": {"name": "s", "namespace": "team", "uid": "u", "generation": 1}});
        let key = Key { namespace: "team".into(), name: "s".into() };
        Source::of(key, serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_the_webhook_would_refuse_is_named() {
        for (spec, field) in [
            (json!(null), "spec"),
            (json!({"type": "ConfigMap"}), "spec.configMapRef"),
            (json!({"type": "Namespace"}), "spec.namespaceSelector"),
            (json!({"type": "Shell", "configMapRef": {"name": "m"}}), "spec.type"),
            (
                json!({"type": "ConfigMap", "configMapRef": {"name": "m", "namespace": "other"}}),
                "spec.configMapRef.namespace",
            ),
            (
                json!({"type": "ConfigMap", "configMapRef": {"name": "m"}, "filters": {"includePatterns": ["("]}}),
                "spec.filters.includePatterns[0]",
            ),
            (
                json!({"type": "ConfigMap", "configMapRef": {"name": "m"}, "refreshInterval": "0s"}),
                "spec.refreshInterval",
            ),
            (
                json!({"type": "Namespace", "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
                "spec.namespaceSelector.matchExpressions[0].operator",
            ),
        ] {
            let says = source(&spec).settings(&Policy::default()).unwrap_err();
            assert!(says.starts_with(&format!("{field}: ")), "{spec}: {says}");
        }
    }

    #[test]
    fn another_namespace_is_read_only_with_the_operators_permission() {
        let spec = json!({"type": "ConfigMap", "configMapRef": {"name": "m", "namespace": "other"}});
        for (allowed, expected) in [("other", true), ("*", true), ("others", false)] {
            let policy = Policy { configmap_namespaces: vec![allowed.into()], ..Policy::default() };
            assert_eq!(source(&spec).settings(&policy).is_ok(), expected, "{allowed}");
        }
    }

    #[test]
    fn what_is_absent_means_what_the_defaults_say() {
        let settings =
            source(&json!({"type": "ConfigMap", "configMapRef": {"name": "m"}})).settings(&Policy::default());
        let settings = settings.unwrap();
        let default = |path: &[&str]| defaulting::text(Kind::Discovery, path).unwrap().to_owned();
        let refresh = duration::parse(&default(&["refreshInterval"])).unwrap();
        assert_eq!(i128::from(refresh.nanos()), i128::try_from(settings.refresh.as_nanos()).unwrap());
        assert!(!settings.prunes && !settings.paused && settings.controller && !settings.blocks_deletion);
        let Place::Map { namespace, key, .. } = settings.place else { panic!() };
        assert_eq!((namespace, key), ("team".into(), default(&["configMapRef", "key"])));
        let spec = json!({"type": "Namespace", "namespaceSelector": {"matchLabels": {"a": "b"}}});
        let Place::Namespaces(namespaces) = source(&spec).settings(&Policy::default()).unwrap().place else {
            panic!()
        };
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert!(namespaces.matches("x", &labels) && !namespaces.matches("x", &BTreeMap::new()));
        assert!(!namespaces.matches("kube-system", &labels));
        let Place::Services { port, .. } =
            source(&json!({"type": "ServiceDiscovery", "serviceDiscovery": {}}))
                .settings(&Policy::default())
                .unwrap()
                .place
        else {
            panic!()
        };
        assert_eq!(port, default(&["serviceDiscovery", "portName"]));
    }

    #[test]
    fn filters_look_at_the_raw_name() {
        let filters = Filters {
            include: patterns("i", &["^team-".into(), "^x$".into()]).unwrap(),
            exclude: patterns("e", &["-old$".into()]).unwrap(),
            most: None,
        };
        for (raw, is_out) in
            [("team-a", false), ("x", false), ("xx", true), ("team-a-old", true), ("Team-a", true)]
        {
            assert_eq!(filters.leaves_out(raw), is_out, "{raw}");
        }
        assert!(!Filters::default().leaves_out("anything"));
    }
}
