//! The providers that sources live beside: what is there, and whom a change is about.
//!
//! In: the roster of all providers, and the names of those that changed. Out: the sources that a change may matter to, and
//! a [`Crowd`] for one look. Of a provider only a digest is held, of those that sources made only, and in the namespaces
//! of sources only; the rest is read from the roster when somebody looks.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use mcp_hangar_api::annotation::{DISCOVERED_BY, LAST_ACTIVITY, WAKE};

use super::plan::Live;
use crate::provider::feed::Roster;
use crate::provider::{Key, Known};

/// Which providers there are in the namespaces of sources.
pub(super) struct Neighbours {
    roster: Arc<Roster>,
    spaces: HashMap<Arc<str>, BTreeMap<Arc<str>, Option<Made>>>,
}

/// What is held of a provider that a source made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    /// The source's name.
    by: Arc<str>,
    digest: u64,
}

/// The providers of one namespace, for one look.
pub(super) struct Crowd {
    roster: Arc<Roster>,
    /// Whether a source made it.
    all: Vec<(Key, bool)>,
}

impl Neighbours {
    /// Of no namespace yet.
    pub(super) fn new(roster: &Arc<Roster>) -> Self {
        Self { roster: Arc::clone(roster), spaces: HashMap::new() }
    }

    /// There is a source.
    pub(super) fn enter(&mut self, namespace: &Arc<str>) {
        if self.spaces.contains_key(namespace) {
            return;
        }
        self.spaces.insert(Arc::clone(namespace), BTreeMap::new());
        for key in self.roster.of(namespace) {
            self.changed(&key);
        }
    }

    /// There is none any more.
    pub(super) fn leave(&mut self, namespace: &str) {
        self.spaces.remove(namespace);
    }

    /// A provider may be another than before: `None` where nothing that counts is, else the names of the sources that made
    /// it before and now.
    pub(super) fn changed(&mut self, key: &Key) -> Option<[Option<Arc<str>>; 2]> {
        let space = self.spaces.get_mut(&key.namespace)?;
        let new = self.roster.open(key).map(|known| Made::of(&known));
        let old = match &new {
            Some(new) => space.insert(Arc::clone(&key.name), new.clone()),
            None => space.remove(&key.name),
        };
        (old != new).then(|| [old, new].map(|it| it.flatten().map(|made| made.by)))
    }

    /// Who is there now.
    pub(super) fn crowd(&self, namespace: &Arc<str>) -> Crowd {
        let all = self.spaces.get(namespace).into_iter().flatten();
        let key = |name: &Arc<str>| Key { namespace: Arc::clone(namespace), name: Arc::clone(name) };
        let all = all.map(|(name, made)| (key(name), made.is_some())).collect();
        Crowd { roster: Arc::clone(&self.roster), all }
    }
}

impl Made {
    /// What counts of a provider here; of those that no source made only that they are there. What traffic and probes write
    /// does not count.
    fn of(known: &Known) -> Option<Self> {
        let by = known.annotations.get(DISCOVERED_BY)?;
        let by = by.split_once('/').map_or("", |(source, _)| source).into();
        let annotations =
            known.annotations.iter().filter(|(name, _)| *name != LAST_ACTIVITY && *name != WAKE);
        let mut hasher = DefaultHasher::new();
        (&known.uid, known.generation, known.is_going, &known.owner, &known.labels).hash(&mut hasher);
        annotations.for_each(|pair| pair.hash(&mut hasher));
        Some(Self { by, digest: hasher.finish() })
    }
}

impl Crowd {
    /// What a plan has to know of each.
    pub(super) fn lives(&self) -> BTreeMap<String, Live> {
        let lives = self.all.iter().filter_map(|(key, is_made)| {
            // Of others nothing but the name counts.
            let live = if *is_made { live(self.roster.open(key)?) } else { Live::default() };
            Some((key.name.to_string(), live))
        });
        lives.collect()
    }
}

fn live(known: Known) -> Live {
    Live {
        spec: serde_json::from_str(&known.spec).unwrap_or_default(),
        uid: known.uid,
        is_going: known.is_going,
        owner: known.owner,
        labels: known.labels,
        annotations: known.annotations,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn put(roster: &Roster, name: &str, annotations: &Value, generation: i64) -> Key {
        let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
            "spec": {"mode": "Remote"}, "status": {"state": "Ready"}, "metadata": {"name": name, "namespace": "team",
            "uid": "u", "generation": generation, "annotations": annotations}});
        roster.set(&object)
    }

    #[test]
    fn a_change_is_about_the_sources_that_made_it_before_and_now_and_traffic_is_none() {
        let roster = Arc::new(Roster::default());
        let mut neighbours = Neighbours::new(&roster);
        let by = |source: &str| json!({DISCOVERED_BY: format!("{source}/ConfigMap/team/m/a")});
        let early = put(&roster, "early", &json!({}), 1);
        assert_eq!(neighbours.changed(&early), None, "no source lives there");
        neighbours.enter(&early.namespace);
        let mut hears = |annotations: Value, generation: i64| {
            let about = neighbours.changed(&put(&roster, "a", &annotations, generation));
            about.map(|about| about.map(|by| by.map_or(String::new(), |by| by.to_string())))
        };
        let names = |old: &str, new: &str| Some([old.to_owned(), new.to_owned()]);
        assert_eq!(hears(json!({}), 1), names("", ""), "a name is taken");
        assert_eq!(hears(json!({}), 2), None, "it is nobody's");
        assert_eq!(hears(by("s"), 2), names("", "s"));
        assert_eq!(hears(by("s"), 2), None);
        let mut traffic = by("s");
        traffic[LAST_ACTIVITY] = json!("2026-01-01T00:00:00Z");
        assert_eq!(hears(traffic, 2), None);
        assert_eq!(hears(by("s"), 3), names("s", "s"));
        assert_eq!(hears(by("t"), 3), names("s", "t"));
        let lives = neighbours.crowd(&early.namespace).lives();
        assert_eq!(lives.keys().collect::<Vec<_>>(), ["a", "early"]);
        assert_eq!((&*lives["a"].uid, &lives["a"].spec), ("u", &json!({"mode": "Remote"})));
        assert_eq!(lives["early"], Live::default());
        neighbours.leave("team");
        assert!(neighbours.crowd(&early.namespace).lives().is_empty());
    }
}
