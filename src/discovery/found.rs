//! What a scan has found, before anybody decides what to make of it.
//!
//! In: what [`super::document`] and [`super::objects`] read. Out: items with their raw names, where each comes from, and
//! which places were looked at completely; a fault means that the scan is not the whole truth. Nothing here knows which
//! providers exist.

use std::collections::BTreeSet;

use mcp_hangar_webhooks::conversion::table;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::validation::{schema, suggest};
use serde_json::{Map, Value};

/// The most items of one source; more are a fault.
pub const MOST: usize = 10_000;

/// One whole look at a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scan {
    /// What was found.
    pub found: Vec<Found>,
    /// What went wrong: nothing is deleted after a scan with any.
    pub faults: Vec<String>,
    /// The places that were read to their end.
    pub places: BTreeSet<String>,
    /// The namespaces that the operator may look at, where these are not all: what is elsewhere, nobody knows.
    pub sight: Option<BTreeSet<String>>,
}

/// One thing that wants to be a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name as it was found.
    pub raw: String,
    /// Where.
    pub origin: Origin,
    /// What is known of it.
    pub body: Body,
}

/// Where something was found: `ConfigMap/team-a/mcp-providers/weather`, `Service/team-a/weather`. Kept in an annotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub String);

/// What is known of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Specs that all would do: several Pods of one name. The one that is in use stays, else the first is taken.
    Specs(Vec<Spec>),
    /// It is there, and there is nothing to use yet.
    Waiting(String),
    /// It is there, and cannot be used.
    Bad(String),
}

/// A part of a provider's spec, as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// How it is written.
    pub form: Form,
    /// Its fields.
    pub members: Map<String, Value>,
}

/// The two ways to write a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All fields side by side, as v1alpha1 has them.
    Flat,
    /// In blocks, as v1beta1 has them.
    Blocks,
}

impl Form {
    /// The form of these fields; where both would do, the flat one.
    pub fn of(members: &Map<String, Value>) -> Self {
        if table::BLOCKS.iter().any(|block| members.contains_key(*block)) { Self::Blocks } else { Self::Flat }
    }

    /// The version that writes so.
    pub const fn version(self) -> Version {
        match self {
            Self::Flat => Version::V1Alpha1,
            Self::Blocks => Version::V1Beta1,
        }
    }

    /// How it spells the two modes.
    pub const fn modes(self) -> [&'static str; 2] {
        match self {
            Self::Flat => ["container", "remote"],
            Self::Blocks => ["Container", "Remote"],
        }
    }

    /// Whether a spec may have that field; items of lists are `[]`.
    pub fn declares(self, path: &[&str]) -> bool {
        schema::declares(Kind::Provider, self.version(), path)
    }

    /// What was probably meant.
    pub fn closest(self, name: &str) -> Option<&'static str> {
        const USUAL: [&str; 12] = [
            "mode",
            "image",
            "endpoint",
            "command",
            "args",
            "workingDir",
            "replicas",
            "idleTTL",
            "resources",
            "env",
            "volumes",
            "healthCheck",
        ];
        suggest::closest(name, USUAL.into_iter().filter(|known| self.declares(&[known])))
    }
}

impl Origin {
    /// A key of a ConfigMap.
    pub fn entry(map: &str, raw: &str) -> Self {
        Self(format!("{map}/{raw}"))
    }

    /// The place of a ConfigMap.
    pub fn map(namespace: &str, name: &str) -> String {
        format!("ConfigMap/{namespace}/{name}")
    }

    /// The place of Pods and Services.
    pub fn namespace(name: &str) -> String {
        format!("Namespace/{name}")
    }

    /// The place that has to be looked at before anybody can say that this is gone.
    pub fn place(&self) -> String {
        let mut parts = self.0.splitn(4, '/');
        let (kind, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (kind, parts.next()) {
            ("ConfigMap", Some(name)) => Self::map(namespace, name),
            _ => Self::namespace(namespace),
        }
    }

    /// Whether it was Pods, which go and come.
    pub fn is_of_pods(&self) -> bool {
        self.0.starts_with("Pod/")
    }

    /// The namespace that it was found in.
    pub fn namespace_of(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// As people read it: `ConfigMap team-a/mcp-providers`, `Service team-a/weather`.
    pub fn told(&self) -> String {
        let mut parts = self.0.splitn(4, '/');
        let (kind, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{kind} {namespace}/{}", parts.next().unwrap_or_default())
    }
}

impl Scan {
    /// Whether it is the whole truth.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Takes in what a ConfigMap holds under a key.
    pub fn take_map(&mut self, place: &str, entries: Result<Vec<super::document::Entry>, String>) {
        let told = Origin(place.to_owned()).told();
        let entries = match entries {
            Ok(entries) => entries,
            Err(says) => return self.faults.push(format!("{told}: {says}")),
        };
        self.places.insert(place.to_owned());
        let mut seen = BTreeSet::new();
        for entry in entries {
            match entry.name {
                // Which provider this was, nobody knows.
                None => {
                    if let Body::Bad(says) = entry.body {
                        self.faults.push(format!("{told}: {says}"));
                    }
                }
                Some(raw) => {
                    let origin = Origin::entry(place, &raw);
                    if seen.insert(raw.clone()) {
                        self.found.push(Found { raw, origin, body: entry.body });
                    } else {
                        let says = format!("line {}: {} stands there twice", entry.line, shown(&raw));
                        self.spoil(&origin, says);
                    }
                }
            }
        }
        self.cut();
    }

    /// Which of two equal names is meant, nobody knows: what runs by that name stays as it is.
    fn spoil(&mut self, origin: &Origin, says: String) {
        if let Some(first) = self.found.iter_mut().rev().find(|found| found.origin == *origin) {
            first.body = Body::Bad(says);
        }
    }

    /// Keeps within bounds.
    pub fn cut(&mut self) {
        if self.found.len() > MOST {
            self.found.truncate(MOST);
            let says = format!(
                "more than {MOST} items were found, the rest is left out; make several sources of it"
            );
            if !self.faults.contains(&says) {
                self.faults.push(says);
            }
        }
    }
}

/// A text from outside in quotes.
pub(super) fn shown(text: &str) -> String {
    mcp_hangar_webhooks::validation::quote::quoted(text)
}
