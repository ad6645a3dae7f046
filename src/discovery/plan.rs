//! What to do about what was found: create, change, leave, delete, each with its reason.
//!
//! In: the source, a scan, the providers of its namespace, what is remembered, the time. Out: a [`Plan`]. A pure function:
//! nothing is read or written here, and nobody loses a provider that is not the source's own. When something may be
//! deleted is decided in [`super::prune`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::found::{Body, Found, Origin, Scan, shown};
use super::mark::{Claim, Whose};
use super::merge::{Maker, Wish, reaches_into};
use super::names;
use super::prune::{How, Look, Lost, Memory, Moment, Verdict, decide};
use super::source::Settings;

/// An MCPProvider of the namespace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Live {
    /// Its uid.
    pub uid: String,
    /// It is being deleted.
    pub is_going: bool,
    /// The uid of its controller.
    pub owner: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its spec.
    pub spec: Value,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Providers to make.
    pub creates: Vec<Wish>,
    /// Providers to change, with the uid of each.
    pub updates: Vec<(Wish, String)>,
    /// Providers to delete, with the uid of each.
    pub deletes: Vec<(String, String)>,
    /// What was found, by name.
    pub items: Vec<Item>,
    /// How many of the names count, after the filters.
    pub wanted: usize,
    /// Raw names that the filters leave out.
    pub left_out: Vec<String>,
    /// Providers of this source that were not found.
    pub lost: Vec<String>,
    /// What becomes of them.
    pub verdict: Verdict,
    /// Providers of this source, before anything is done.
    pub managed: BTreeSet<String>,
}

/// What became of something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The provider's name, or the raw one where it gives none.
    pub name: String,
    /// Where it was found.
    pub source: String,
    /// Why no provider is made of it, or why the one there is stays as it is.
    pub error: Option<String>,
}

impl Plan {
    /// Nothing is known of what was missed but that one scan has missed it.
    pub fn is_in_doubt(&self) -> bool {
        self.verdict.delete.is_empty() && !self.verdict.doubted.is_empty()
    }
}

impl Live {
    /// Where it was found, if it is the source's own.
    pub fn origin_of(&self, name: &str, claim: &Claim<'_>) -> Option<Origin> {
        match claim.whose(name, &self.annotations, self.owner.as_deref()) {
            Whose::Ours(origin) => Some(origin),
            _ => None,
        }
    }

    fn told(&self, name: &str, claim: &Claim<'_>) -> String {
        match claim.whose(name, &self.annotations, self.owner.as_deref()) {
            Whose::Theirs(source) => format!("belongs to the source {}", shown(source)),
            Whose::Past => "belongs to a source of this name that was deleted".to_owned(),
            Whose::Copied => "was copied from another one, and is never adopted".to_owned(),
            Whose::Ours(_) | Whose::Nobodys => "was not made by a source, and is never adopted".to_owned(),
        }
    }
}

/// Decides what to do.
pub fn plan(
    maker: &Maker<'_>,
    settings: &Settings,
    scan: &Scan,
    lives: &BTreeMap<String, Live>,
    memory: &mut Memory,
    now: Moment,
) -> Plan {
    let (plan, origins, heirs) = (Plan::default(), BTreeMap::new(), BTreeMap::new());
    let mut planning = Planning { maker, lives, scan, plan, origins, heirs };
    for (name, live) in lives {
        if let Some(origin) = live.origin_of(name, &maker.claim()) {
            planning.plan.managed.insert(name.clone());
            planning.origins.insert(name, origin);
        }
    }
    let mut chosen = planning.choose(settings);
    planning.cut(&mut chosen, settings.filters.most);
    planning.plan.wanted = chosen.len() + planning.heirs.len();
    for (name, found) in &chosen {
        planning.take(name, found);
    }
    planning.prune(settings, &chosen, memory, now);
    planning.plan.items.sort_by(|one, other| (&one.name, &one.source).cmp(&(&other.name, &other.source)));
    planning.plan
}

struct Planning<'a> {
    maker: &'a Maker<'a>,
    lives: &'a BTreeMap<String, Live>,
    scan: &'a Scan,
    /// Where each provider of the source was found when it was last written.
    origins: BTreeMap<&'a String, Origin>,
    /// What gets a name once it is certain that its holder is no more.
    heirs: BTreeMap<String, &'a Found>,
    plan: Plan,
}

impl<'a> Planning<'a> {
    fn say(&mut self, name: &str, found: &Found, error: Option<String>) {
        let (name, source) = (name.to_owned(), found.origin.told());
        self.plan.items.push(Item { name, source, error });
    }

    /// One for each name: who has a name keeps it, else the first by origin gets it.
    fn choose(&mut self, settings: &Settings) -> BTreeMap<String, &'a Found> {
        let mut by_name: BTreeMap<String, Vec<&'a Found>> = BTreeMap::new();
        for found in &self.scan.found {
            if settings.filters.leaves_out(&found.raw) {
                self.plan.left_out.push(found.raw.clone());
                continue;
            }
            match names::provider(&found.raw) {
                Some(name) => by_name.entry(name).or_default().push(found),
                None => {
                    let raw = found.raw.clone();
                    let says = format!("{}: no name can be made of it; use letters and digits", shown(&raw));
                    self.say(&raw, found, Some(says));
                }
            }
        }
        let mut chosen = BTreeMap::new();
        for (name, mut all) in by_name {
            all.sort_by(|one, other| one.origin.cmp(&other.origin));
            let holder = self.origins.get(&name).cloned();
            let kept =
                holder.as_ref().and_then(|holder| all.iter().position(|found| found.origin == *holder));
            let winner = all.remove(kept.unwrap_or(0));
            for loser in all {
                let says = format!("the name {} is taken by {}", shown(&name), winner.origin.told());
                self.say(&name, loser, Some(says));
            }
            // Whether the place that it came from really is without it, only a whole look at that place can say.
            let is_certain =
                |holder: Origin| self.scan.is_clean() && self.scan.places.contains(&holder.place());
            if kept.is_some() || holder.is_none_or(is_certain) {
                chosen.insert(name, winner);
            } else {
                self.heirs.insert(name, winner);
            }
        }
        chosen
    }

    /// The first by name, but whoever has a provider before whoever has none: a new one never drives out an old one,
    /// not even one that was only missed in this scan.
    fn cut(&mut self, chosen: &mut BTreeMap<String, &'a Found>, most: Option<usize>) {
        let Some(most) = most else { return };
        let managed = self.plan.managed.clone();
        let (mut old, mut new) = (0, managed.len());
        let mut beyond = Vec::new();
        chosen.retain(|name, found| {
            let count = if managed.contains(name) { &mut old } else { &mut new };
            *count += 1;
            let fits = *count <= most;
            if !fits {
                beyond.push((name.clone(), *found));
            }
            fits
        });
        for (name, found) in beyond {
            self.say(&name, found, Some(format!("beyond spec.filters.maxProviders ({most})")));
        }
    }

    /// What to do about one that is wanted.
    fn take(&mut self, name: &str, found: &'a Found) {
        let live = self.lives.get(name);
        let ours = live.filter(|_| self.plan.managed.contains(name));
        if let Some(other) = live.filter(|_| ours.is_none()) {
            let whose = other.told(name, &self.maker.claim());
            let says = format!("an MCPProvider {} exists that {whose}", shown(name));
            return self.say(name, found, Some(says));
        }
        if ours.is_some_and(|live| live.is_going) {
            return self.say(name, found, Some("the MCPProvider of before is being deleted".to_owned()));
        }
        let specs = match &found.body {
            Body::Bad(says) => return self.say(name, found, Some(says.clone())),
            Body::Waiting(says) => return self.say(name, found, Some(says.clone())),
            Body::Specs(specs) => specs,
        };
        if found.origin.namespace_of() != self.maker.namespace
            && let Some(says) = specs.iter().find_map(reaches_into)
        {
            return self.say(name, found, Some(says));
        }
        let mut first = None;
        for spec in specs {
            let wish = self.maker.make(name, &found.origin, spec);
            let is_so = ours.is_some_and(|live| {
                wish.is_in(&live.labels, &live.annotations, &live.spec, live.owner.as_deref())
            });
            if is_so {
                return self.say(name, found, None);
            }
            first.get_or_insert((wish, spec.form));
        }
        let Some((wish, form)) = first else { return };
        if let Err(says) = self.maker.judge(&wish, form, ours.is_none()) {
            return self.say(name, found, Some(says));
        }
        self.say(name, found, None);
        match ours {
            Some(live) => self.plan.updates.push((wish, live.uid.clone())),
            None => self.plan.creates.push(wish),
        }
    }

    fn prune(
        &mut self,
        settings: &Settings,
        chosen: &BTreeMap<String, &'a Found>,
        memory: &mut Memory,
        now: Moment,
    ) {
        let is_lost = |name: &String| !chosen.contains_key(name);
        let is_staying = |name: &String| self.lives.get(name).is_some_and(|live| !live.is_going);
        let lost: Vec<Lost> = self
            .origins
            .iter()
            .filter(|(name, _)| is_lost(name) && is_staying(name))
            .map(|(name, origin)| {
                let has_heir = self.heirs.contains_key(*name);
                Lost { name: (*name).clone(), how: self.how(origin), has_heir }
            })
            .collect();
        let look = Look {
            is_clean: self.scan.is_clean(),
            is_empty: self.plan.wanted == 0,
            managed: self.plan.managed.len(),
            refresh: settings.refresh,
        };
        let verdict = decide(&lost, look, memory, now);
        let mut heirs = std::mem::take(&mut self.heirs);
        let lost = lost.into_iter().map(|lost| lost.name).filter(|name| !heirs.contains_key(name));
        self.plan.lost = lost.collect();
        for name in &verdict.delete {
            if let Some(heir) = heirs.remove(name) {
                self.take(name, heir);
                memory.forget(name);
            } else if let Some(live) = self.lives.get(name).filter(|_| settings.prunes) {
                self.plan.deletes.push((name.clone(), live.uid.clone()));
            }
        }
        for (name, heir) in &heirs {
            let holder = self.origins.get(name).map(Origin::told).unwrap_or_default();
            let says = format!("the name {} is kept for {holder}, which was not read", shown(name));
            self.say(name, heir, Some(says));
        }
        self.plan.verdict = verdict;
    }

    fn how(&self, origin: &Origin) -> How {
        let is_seen = |sight: &BTreeSet<String>| sight.contains(origin.namespace_of());
        if self.scan.sight.as_ref().is_some_and(|sight| !is_seen(sight)) {
            How::OutOfSight
        } else if !self.scan.places.contains(&origin.place()) {
            How::PlaceAway
        } else if origin.is_of_pods() {
            How::PodsAway
        } else {
            How::Left
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
#[cfg(test)]
mod world_tests;
