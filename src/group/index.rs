//! Which providers are members of which groups, kept step by step.
//!
//! In: a provider with its labels, or a group with its selector, that is there, is another than before, or is gone. Out:
//! the groups that it is about. A group stands in the index under one requirement of its selector, the one that the
//! fewest providers fulfil: a provider meets only the groups that stand under its own labels, and those few that no label
//! leads to. Membership only; what members are like is left to others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::selector::{Requirement, Selector};

/// A name within a namespace.
pub type Name = Arc<str>;
/// Labels as objects have them.
pub type Labels = BTreeMap<String, String>;

/// The groups that a change of a provider is about, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// It belonged to them and does so now.
    pub stays: Vec<Name>,
    /// It belongs to them now.
    pub joined: Vec<Name>,
    /// It belonged to them.
    pub left: Vec<Name>,
}

/// Providers, groups, and who belongs to whom.
#[derive(Debug, Default)]
pub struct Index {
    spaces: HashMap<String, Space>,
}

/// One namespace: groups and members are always of the same.
#[derive(Debug, Default)]
struct Space {
    providers: HashMap<Name, Provider>,
    groups: HashMap<Name, Group>,
    keys: HashMap<Arc<str>, Key>,
    /// Groups to which no label leads.
    anywhere: BTreeSet<Name>,
}

/// A key of labels: the groups that stand under it whatever its value, and its values.
#[derive(Debug, Default)]
struct Key {
    groups: BTreeSet<Name>,
    values: HashMap<Arc<str>, Entry>,
}

/// Who has a label, and which groups stand under it.
#[derive(Debug, Default)]
struct Entry {
    providers: HashSet<Name>,
    groups: BTreeSet<Name>,
}

/// Most providers share their labels with others: each text is held once, here and in the tables of the namespace.
#[derive(Debug)]
struct Provider {
    labels: Box<[(Arc<str>, Arc<str>)]>,
    groups: Vec<Name>,
}

impl Provider {
    fn label(&self, key: &str) -> Option<&str> {
        let place = self.labels.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        self.labels.get(place).map(|(_, value)| &**value)
    }

    fn has(&self, labels: &Labels) -> bool {
        let own = self.labels.iter().map(|(key, value)| (&**key, &**value));
        own.eq(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

#[derive(Debug)]
struct Group {
    selector: Selector,
    place: Place,
    members: BTreeSet<Name>,
}

/// Where a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Under these values of a key.
    Values(String, BTreeSet<String>),
    /// Under a key.
    Key(String),
    /// Every provider of the namespace may match.
    Anywhere,
}

impl Index {
    /// A provider is there with these labels, or is gone.
    pub fn provider(&mut self, namespace: &str, name: &str, labels: Option<&Labels>) -> Touched {
        if labels.is_none() && !self.spaces.contains_key(namespace) {
            return Touched::default();
        }
        let space = self.spaces.entry(namespace.to_owned()).or_default();
        let touched = space.provider(name, labels);
        self.tidy(namespace);
        touched
    }

    /// A group is there with this selector, or is gone.
    pub fn group(&mut self, namespace: &str, name: &str, selector: Option<Selector>) {
        let space = self.spaces.entry(namespace.to_owned()).or_default();
        space.group(name, selector);
        self.tidy(namespace);
    }

    /// Whether a namespace has groups.
    pub fn has_groups(&self, namespace: &str) -> bool {
        self.spaces.get(namespace).is_some_and(|space| !space.groups.is_empty())
    }

    /// Nothing of a namespace is known any more.
    pub fn forget(&mut self, namespace: &str) {
        self.spaces.remove(namespace);
    }

    /// Finds every group its best place among the providers that are there now.
    pub fn settle(&mut self) {
        for space in self.spaces.values_mut() {
            let groups: Vec<_> =
                space.groups.iter().map(|(name, group)| (Arc::clone(name), group.selector.clone())).collect();
            for (name, selector) in groups {
                space.group(&name, Some(selector));
            }
        }
    }

    /// The members of a group, by name.
    pub fn members(&self, namespace: &str, group: &str) -> impl Iterator<Item = &Name> {
        let group = self.spaces.get(namespace).and_then(|space| space.groups.get(group));
        group.into_iter().flat_map(|group| &group.members)
    }

    /// How many members a group has.
    pub fn count(&self, namespace: &str, group: &str) -> usize {
        let group = self.spaces.get(namespace).and_then(|space| space.groups.get(group));
        group.map_or(0, |group| group.members.len())
    }

    fn tidy(&mut self, namespace: &str) {
        let is_empty = |space: &Space| space.providers.is_empty() && space.groups.is_empty();
        if self.spaces.get(namespace).is_some_and(is_empty) {
            self.spaces.remove(namespace);
        }
    }
}

impl Space {
    fn provider(&mut self, name: &str, labels: Option<&Labels>) -> Touched {
        if let (Some(known), Some(labels)) = (self.providers.get(name), labels)
            && known.has(labels)
        {
            return Touched { stays: known.groups.clone(), ..Touched::default() };
        }
        let before = self.providers.remove_entry(name);
        let name: Name = before.as_ref().map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        let mut groups_before = Vec::new();
        if let Some((_, known)) = before {
            self.unlabel(&name, &known);
            for group in &known.groups {
                if let Some(group) = self.groups.get_mut(group) {
                    group.members.remove(&name);
                }
            }
            groups_before = known.groups;
        }
        let Some(labels) = labels else {
            return Touched { left: groups_before, ..Touched::default() };
        };
        let groups = self.matching(labels);
        for group in &groups {
            if let Some(group) = self.groups.get_mut(group) {
                group.members.insert(Arc::clone(&name));
            }
        }
        let held = labels.iter().map(|(key, value)| self.label(&name, key, value)).collect();
        let mut left: HashSet<Name> = groups_before.into_iter().collect();
        let (stays, joined) = groups.iter().cloned().partition(|group| left.remove(group));
        let touched = Touched { stays, joined, left: left.into_iter().collect() };
        self.providers.insert(name, Provider { labels: held, groups });
        touched
    }

    /// The groups that match these labels. A group stands in one place only, and so is met once.
    fn matching(&self, labels: &Labels) -> Vec<Name> {
        let under = labels.iter().filter_map(|(key, value)| {
            let key = self.keys.get(key.as_str())?;
            let exact = key.values.get(value.as_str()).map(|entry| &entry.groups);
            Some(key.groups.iter().chain(exact.into_iter().flatten()))
        });
        let met = under.flatten().chain(&self.anywhere);
        let is_meant =
            |name: &&Name| self.groups.get(*name).is_some_and(|group| group.selector.matches_all(labels));
        met.filter(is_meant).cloned().collect()
    }

    /// Notes that a provider has a label; the texts as they are held.
    fn label(&mut self, name: &Name, key: &str, value: &str) -> (Arc<str>, Arc<str>) {
        let held = self.keys.get_key_value(key).map_or_else(|| key.into(), |(held, _)| Arc::clone(held));
        let known = self.keys.entry(Arc::clone(&held)).or_default();
        let value =
            known.values.get_key_value(value).map_or_else(|| value.into(), |(held, _)| Arc::clone(held));
        known.values.entry(Arc::clone(&value)).or_default().providers.insert(Arc::clone(name));
        (held, value)
    }

    fn unlabel(&mut self, name: &Name, provider: &Provider) {
        for (key, value) in &provider.labels {
            if let Some(entry) = self.keys.get_mut(key).and_then(|known| known.values.get_mut(value)) {
                entry.providers.remove(name);
            }
            self.tidy(key, [&**value]);
        }
    }

    fn group(&mut self, name: &str, selector: Option<Selector>) {
        let before = self.groups.remove_entry(name);
        let name: Name = before.as_ref().map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        if let Some((_, known)) = before {
            for member in &known.members {
                if let Some(provider) = self.providers.get_mut(member) {
                    provider.groups.retain(|group| *group != name);
                }
            }
            self.displace(&name, &known.place);
        }
        let Some(selector) = selector else { return };
        let place = self.best_place(&selector);
        let members = self.found(&place, &selector);
        for member in &members {
            if let Some(provider) = self.providers.get_mut(member) {
                provider.groups.push(Arc::clone(&name));
            }
        }
        self.put(&name, &place);
        self.groups.insert(name, Group { selector, place, members });
    }

    /// Under the requirement that the fewest providers fulfil; of equals, where the fewest groups stand.
    fn best_place(&self, selector: &Selector) -> Place {
        let places = selector.requirements().iter().filter_map(|requirement| match requirement {
            Requirement::In(key, values) => Some(Place::Values(key.clone(), values.clone())),
            Requirement::Exists(key) => Some(Place::Key(key.clone())),
            Requirement::NotIn(..) | Requirement::DoesNotExist(_) => None,
        });
        let cost = |place: &Place| {
            let providers: usize = self.entries(place).map(|entry| entry.providers.len()).sum();
            let groups: usize = match place {
                Place::Key(key) => self.keys.get(key.as_str()).map_or(0, |key| key.groups.len()),
                _ => self.entries(place).map(|entry| entry.groups.len()).sum(),
            };
            (providers, groups)
        };
        places.min_by_key(cost).unwrap_or(Place::Anywhere)
    }

    /// Who has one of the labels of a place.
    fn entries<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a Entry> {
        let (key, values) = match place {
            Place::Values(key, values) => (self.keys.get(key.as_str()), Some(values)),
            Place::Key(key) => (self.keys.get(key.as_str()), None),
            Place::Anywhere => (None, None),
        };
        let every = key.filter(|_| values.is_none()).into_iter().flat_map(|key| key.values.values());
        let some = values.into_iter().flatten();
        every.chain(some.filter_map(move |value| key?.values.get(value.as_str())))
    }

    /// The providers that match, looked for where the group stands.
    fn found(&self, place: &Place, selector: &Selector) -> BTreeSet<Name> {
        let is_meant = |name: &&Name| {
            self.providers.get(*name).is_some_and(|provider| selector.matches(|key| provider.label(key)))
        };
        match place {
            Place::Anywhere => self.providers.keys().filter(is_meant).cloned().collect(),
            _ => self.entries(place).flat_map(|entry| &entry.providers).filter(is_meant).cloned().collect(),
        }
    }

    fn put(&mut self, name: &Name, place: &Place) {
        let name = Arc::clone(name);
        match place {
            Place::Values(key, values) => {
                let key = self.keys.entry(key.as_str().into()).or_default();
                for value in values {
                    key.values.entry(value.as_str().into()).or_default().groups.insert(Arc::clone(&name));
                }
            }
            Place::Key(key) => {
                self.keys.entry(key.as_str().into()).or_default().groups.insert(name);
            }
            Place::Anywhere => {
                self.anywhere.insert(name);
            }
        }
    }

    fn displace(&mut self, name: &Name, place: &Place) {
        match place {
            Place::Values(key, values) => {
                if let Some(known) = self.keys.get_mut(key.as_str()) {
                    for value in values {
                        if let Some(entry) = known.values.get_mut(value.as_str()) {
                            entry.groups.remove(name);
                        }
                    }
                }
                self.tidy(key, values.iter().map(String::as_str));
            }
            Place::Key(key) => {
                if let Some(known) = self.keys.get_mut(key.as_str()) {
                    known.groups.remove(name);
                }
                self.tidy(key, []);
            }
            Place::Anywhere => {
                self.anywhere.remove(name);
            }
        }
    }

    /// Drops what nobody stands under any more.
    fn tidy<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a str>) {
        let Some(known) = self.keys.get_mut(key) else { return };
        for value in values {
            if known.values.get(value).is_some_and(Entry::is_empty) {
                known.values.remove(value);
            }
        }
        if known.groups.is_empty() && known.values.is_empty() {
            self.keys.remove(key);
        }
    }
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.providers.is_empty() && self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests;
