//! A world of namespaces, ConfigMaps and people, and a source that looks at it in little steps.
//!
//! In: what happens, one thing at a time ([`Step`]). Out: the providers that there are, and a panic as soon as one is
//! deleted that should not be. The source's scan and its writes are steps of their own, so that anything may happen
//! between any two of them, as it may between two calls to an API server.

use std::rc::Rc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::discovery::found::{Form, Spec};
use crate::discovery::source::{Filters, Namespaces, Place};
use crate::group::selector::Selector;
use mcp_hangar_api::annotation::{DISCOVERED_BY, DISCOVERED_HASH};
use mcp_hangar_api::v1beta1::discovery::ProviderTemplate;
use mcp_hangar_webhooks::policy::Policy;
use mcp_hangar_webhooks::validation::pattern::Pattern;

pub(super) const REFRESH: i64 = 60;
pub(super) const NAMES: [&str; 5] = ["a", "b", "B", "c", "d"];
pub(super) const PLACES: [&str; 3] = ["x", "y", "z"];

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// The operator does the next little thing, with or without a fault.
    Operate(Fault),
    /// The operator does much, and nothing fails.
    Look,
    Restart,
    Wait(i64),
    /// The clock that people read jumps.
    Clock(i64),
    Add(usize, usize, u8),
    Remove(usize, usize),
    /// To another place, in two steps as with two edits.
    Move(usize, usize),
    DropMap(usize),
    Relabel(usize),
    NamespaceGone(usize),
    NamespaceBack(usize),
    /// The operator is restarted and may not look there any more.
    Narrow(Option<usize>),
    Prunes(bool),
    Pause(bool),
    /// A template with which every item is refused, or a good one again.
    Spoil(bool),
    Exclude(Option<usize>),
    Most(Option<usize>),
    /// The source is deleted and made again; its providers are collected now, or later.
    Recreate(bool),
    Collect,
    /// Somebody makes, or takes over, a provider of that name.
    Foreign(usize),
    /// Somebody writes nonsense where a provider says where it was found.
    Scribble(usize),
    /// Somebody copies a provider with all its annotations.
    Copy(usize, usize),
    /// Somebody deletes a provider.
    Delete(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    None,
    /// The call fails and the scan goes on without it: no answer, no permission, an expired list.
    Fails,
    /// Only a part comes, and the error says so.
    Partial,
    /// The ConfigMap does not parse.
    Garbled,
    /// Only a part comes, and nothing says so. Never generated: no list of an API server is like this.
    Silent,
}

/// A mistake that a source might make. This world has to notice each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bug {
    /// A scan with faults counts as the whole truth.
    IgnoresFaults,
    /// What one scan misses is deleted.
    TrustsOneScan,
    /// What is away with its place counts as edited out.
    IgnoresPlaces,
    /// What is away is deleted by the second scan, however soon.
    WaitsForNothing,
    /// It counts seconds on the clock that people read.
    TrustsTheClock,
    /// What is out of sight counts as gone.
    IgnoresSight,
    /// Who has the annotation of a source is its own.
    AdoptsCopies,
    /// It deletes what the spec of before said.
    IgnoresEdits,
    /// It leaves everything there.
    DeletesNothing,
}

#[derive(Debug, Clone, Default)]
struct Town {
    is_there: bool,
    is_selected: bool,
    map: Option<BTreeMap<&'static str, u8>>,
}

/// What is known of a name of a place.
#[derive(Debug, Clone, Copy)]
enum Since {
    /// In the source, since this step.
    There(usize),
    /// Edited out of a place that is there.
    Edited,
    /// Away with its whole place.
    Away,
}

/// In which places a provider's name stands, of those that the operator may look at.
#[derive(Debug, Clone, Default)]
struct Presence {
    places: BTreeSet<(&'static str, &'static str)>,
    /// It stands in one at least since this step.
    since: usize,
    /// The steps in which the places changed.
    changes: Vec<usize>,
}

/// What the operator is about.
enum Doing {
    Nothing,
    Scan { look: Begun, scan: Scan, left: Vec<&'static str> },
    Act { look: Begun, before: usize, plan: Plan, is_lowered: bool, checked: Option<usize> },
}

/// A look, with what it took along.
#[derive(Clone)]
struct Begun {
    at: usize,
    settings: Rc<Settings>,
    generation: usize,
}

pub(super) struct World {
    now: i64,
    /// How far the clock that people read is off.
    skew: i64,
    step: usize,
    towns: BTreeMap<&'static str, Town>,
    /// The place that the operator may not look at.
    hidden: Option<&'static str>,
    since: BTreeMap<(&'static str, &'static str), Since>,
    present: BTreeMap<String, Presence>,
    pub(super) providers: BTreeMap<String, Live>,
    copies: BTreeSet<String>,
    uids: usize,
    source: String,
    settings: Rc<Settings>,
    generation: usize,
    /// In which step that was written.
    edited: usize,
    pub(super) bug: Option<Bug>,
    most_changed: bool,
    memory: Memory,
    doing: Doing,
    /// When the last scan that was decided on began, if this process remembers it.
    before: Option<usize>,
    /// When each was found last, by what its provider says.
    seen: BTreeMap<String, i64>,
    pub(super) deleted: usize,
}

fn settings() -> Settings {
    Settings {
        place: Place::Namespaces(Namespaces::of(Selector::default())),
        prunes: true,
        refresh: Duration::from_secs(u64::try_from(REFRESH).unwrap()),
        paused: false,
        template: ProviderTemplate::default(),
        filters: Filters::default(),
        controller: true,
        blocks_deletion: false,
    }
}

fn provider_name(name: usize) -> String {
    names::provider(NAMES[name]).unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        let town = |name| (name, Town { is_there: true, is_selected: true, map: None });
        Self {
            now: 0,
            skew: 0,
            step: 0,
            towns: PLACES.into_iter().map(town).collect(),
            hidden: None,
            since: BTreeMap::new(),
            present: BTreeMap::new(),
            providers: BTreeMap::new(),
            copies: BTreeSet::new(),
            uids: 0,
            source: "u0".into(),
            settings: Rc::new(settings()),
            generation: 1,
            edited: 0,
            bug: None,
            most_changed: false,
            memory: Memory::default(),
            doing: Doing::Nothing,
            before: None,
            seen: BTreeMap::new(),
            deleted: 0,
        }
    }

    fn time(&self) -> Moment {
        let read = Timestamp::from_second(1_000_000_000 + self.now + self.skew).unwrap();
        Moment { read, passed: Duration::from_secs(u64::try_from(self.now).unwrap()) }
    }

    fn claim(&self) -> Claim<'_> {
        Claim { source: "s", namespace: "team", uid: &self.source }
    }

    /// The map of a place that is selected.
    fn visible(&self, place: &str) -> Option<&BTreeMap<&'static str, u8>> {
        let town = &self.towns[place];
        town.map.as_ref().filter(|_| town.is_there && town.is_selected)
    }

    fn is_in_source(&self, place: &str, name: &str) -> bool {
        !self.settings.filters.leaves_out(name)
            && self.visible(place).is_some_and(|map| map.contains_key(name))
    }

    /// Takes note of what came and went in this step.
    fn observe(&mut self) {
        let mut stands: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        for place in PLACES {
            for name in NAMES {
                let is_there = self.is_in_source(place, name);
                if is_there && self.hidden != Some(place) {
                    stands.entry(names::provider(name).unwrap()).or_default().insert((place, name));
                }
                // Taken out of the map, whether anybody looks there or not.
                let is_out = self.towns[place].map.as_ref().is_some_and(|map| !map.contains_key(name));
                let is_edited =
                    is_out || self.visible(place).is_some() || self.settings.filters.leaves_out(name);
                let new = match self.since.get(&(place, name)) {
                    Some(Since::There(step)) if is_there => Since::There(*step),
                    _ if is_there => Since::There(self.step),
                    _ if is_edited => Since::Edited,
                    Some(Since::There(_)) => Since::Away,
                    Some(known) => *known,
                    None => continue,
                };
                self.since.insert((place, name), new);
            }
        }
        let names: BTreeSet<_> = (0..NAMES.len()).map(provider_name).collect();
        for name in names {
            let places = stands.remove(&name).unwrap_or_default();
            let presence = self.present.entry(name).or_default();
            if presence.places != places {
                if presence.places.is_empty() {
                    presence.since = self.step;
                }
                presence.places = places;
                presence.changes.push(self.step);
            }
        }
    }

    pub(super) fn happen(&mut self, step: &Step) {
        self.step += 1;
        match *step {
            Step::Operate(fault) => self.operate(fault),
            Step::Look => (0..16).for_each(|_| self.operate(Fault::None)),
            Step::Restart => self.restart(),
            Step::Wait(seconds) => self.now += seconds,
            Step::Clock(seconds) => self.skew += seconds,
            Step::Narrow(place) => {
                self.hidden = place.map(|place| PLACES[place]);
                self.restart();
            }
            Step::Prunes(prunes) => self.set(|settings| settings.prunes = prunes),
            Step::Pause(paused) => self.set(|settings| settings.paused = paused),
            Step::Spoil(spoilt) => self.set(|settings| {
                let spec = json!({"replicas": "many"}).as_object().unwrap().clone();
                settings.template.spec = spoilt.then_some(spec);
            }),
            Step::Exclude(name) => {
                let pattern = name.map(|name| Pattern::compile(&format!("^{}$", NAMES[name])).unwrap());
                self.set(|settings| settings.filters.exclude = pattern.into_iter().collect());
            }
            Step::Most(most) => {
                self.set(|settings| settings.filters.most = most);
                self.most_changed = true;
            }
            Step::Recreate(collects) => {
                self.uids += 1;
                self.source = format!("u{}", self.uids);
                self.restart();
                if collects {
                    self.collect();
                }
            }
            Step::Collect => self.collect(),
            Step::Foreign(name) => {
                let name = provider_name(name);
                let known = self.providers.get(&name).map(|live| live.uid.clone());
                let uid = known.unwrap_or_else(|| self.uid());
                self.providers.insert(name, Live { uid, ..Live::default() });
            }
            Step::Scribble(name) => {
                if let Some(live) = self.providers.get_mut(&provider_name(name))
                    && let Some(by) = live.annotations.get_mut(DISCOVERED_BY)
                {
                    *by = "s/nonsense".into();
                }
            }
            Step::Copy(from, to) => self.copy(&provider_name(from), provider_name(to)),
            Step::Delete(name) => {
                self.providers.remove(&provider_name(name));
            }
            _ => self.edit(step),
        }
        self.observe();
    }

    /// What people do to the places.
    fn edit(&mut self, step: &Step) {
        match *step {
            Step::Add(place, name, image) => {
                let town = self.town(place);
                if town.is_there {
                    town.map.get_or_insert_default().insert(NAMES[name], image);
                }
            }
            Step::Remove(place, name) => {
                if let Some(map) = &mut self.town(place).map {
                    map.remove(NAMES[name]);
                }
            }
            Step::Move(place, name) => {
                let next = (place + 1) % PLACES.len();
                let holds = self.visible(PLACES[place]).is_some_and(|map| map.contains_key(NAMES[name]));
                if holds && self.visible(PLACES[next]).is_some() {
                    self.edit(&Step::Add(next, name, 0));
                    self.observe();
                    self.edit(&Step::Remove(place, name));
                }
            }
            Step::DropMap(place) => self.town(place).map = None,
            Step::Relabel(place) => {
                let town = self.town(place);
                town.is_selected = !town.is_selected;
            }
            Step::NamespaceGone(place) => *self.town(place) = Town::default(),
            Step::NamespaceBack(place) => {
                let town = self.town(place);
                (town.is_there, town.is_selected) = (true, true);
            }
            _ => unreachable!("{step:?}"),
        }
    }

    fn town(&mut self, place: usize) -> &mut Town {
        self.towns.get_mut(PLACES[place]).unwrap()
    }

    fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        self.settings = Rc::new(settings);
        self.generation += 1;
        self.edited = self.step;
    }

    fn restart(&mut self) {
        self.memory = Memory::default();
        self.doing = Doing::Nothing;
        self.before = None;
    }

    /// The garbage collector: what belongs to a source of before goes with it.
    fn collect(&mut self) {
        let source = self.source.clone();
        self.providers.retain(|_, live| live.owner.as_ref().is_none_or(|owner| *owner == source));
    }

    fn copy(&mut self, from: &str, to: String) {
        if self.providers.contains_key(&to) {
            return;
        }
        let uid = self.uid();
        if let Some(live) = self.providers.get(from).cloned().filter(|live| !live.annotations.is_empty()) {
            // A copy of a copy may be the first one again.
            if live.origin_of(&to, &self.claim()).is_none() {
                self.copies.insert(uid.clone());
            }
            self.providers.insert(to, Live { uid, ..live });
        }
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        self.uids.to_string()
    }

    fn operate(&mut self, fault: Fault) {
        self.doing = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing if self.settings.paused => {
                self.memory = Memory::default();
                self.before = None;
                Doing::Nothing
            }
            Doing::Nothing => self.begin(fault),
            Doing::Scan { look, mut scan, mut left } => match left.pop() {
                Some(place) => {
                    self.read(place, fault, &mut scan);
                    Doing::Scan { look, scan, left }
                }
                None => self.decide(look, &scan),
            },
            Doing::Act { look, before, plan, is_lowered, checked } => {
                self.act(look, before, plan, is_lowered, checked)
            }
        };
    }

    fn begin(&self, fault: Fault) -> Doing {
        let sight: Option<BTreeSet<_>> = self
            .hidden
            .map(|hidden| PLACES.iter().filter(|it| **it != hidden).map(|it| (*it).to_owned()).collect());
        let is_seen = |name: &str| self.hidden != Some(name);
        let selected = |(name, town): (&&'static str, &Town)| {
            (town.is_there && town.is_selected && is_seen(name)).then_some(*name)
        };
        let mut left: Vec<_> = self.towns.iter().filter_map(selected).collect();
        let mut scan = Scan { sight, ..Scan::default() };
        if !matches!(fault, Fault::None | Fault::Silent) {
            scan.faults.push("namespaces".into());
            left.truncate(if fault == Fault::Partial { 1 } else { 0 });
        }
        let settings = Rc::clone(&self.settings);
        let look = Begun { at: self.step, settings, generation: self.generation };
        Doing::Scan { look, scan, left }
    }

    fn read(&self, place: &'static str, fault: Fault, scan: &mut Scan) {
        let town = &self.towns[place];
        let here = Origin::map(place, "mcp-providers");
        match fault {
            Fault::Fails | Fault::Garbled => return scan.faults.push(place.into()),
            Fault::Partial => scan.faults.push(place.into()),
            Fault::None | Fault::Silent => {}
        }
        // Its labels were read before; that it was relabelled since, nobody sees.
        let Some(map) = town.map.as_ref().filter(|_| town.is_there) else { return };
        let is_cut = matches!(fault, Fault::Partial | Fault::Silent);
        let many = if is_cut { map.len() / 2 } else { map.len() };
        for (name, image) in map.iter().take(many) {
            let members = json!({"mode": "container", "image": format!("r.example/{place}:{image}")});
            let spec = Spec { form: Form::Flat, members: members.as_object().unwrap().clone() };
            let origin = Origin::entry(&here, name);
            scan.found.push(Found { raw: (*name).into(), origin, body: Body::Specs(vec![spec]) });
        }
        scan.places.insert(here);
    }

    fn decide(&mut self, look: Begun, scan: &Scan) -> Doing {
        let (policy, now) = (Policy::default(), self.time());
        let Claim { source, namespace, uid } = self.claim();
        let template = &look.settings.template;
        let maker = Maker { source, namespace, uid, controller: true, template, policy: &policy };
        let mut memory = self.memory.clone();
        let plan = self.planned(&maker, &look.settings, scan, &mut memory, now);
        self.memory = memory;
        if !scan.is_clean() {
            assert!(plan.deletes.is_empty(), "something is deleted after a fault");
        }
        // Whoever lowers maxProviders below what there is asks for it.
        let most = look.settings.filters.most.filter(|_| self.most_changed);
        let is_lowered = most.is_some_and(|most| plan.managed.len() > most);
        let before = self.before.replace(look.at).unwrap_or(look.at);
        self.seen.extend(scan.found.iter().map(|found| (format!("s/{}", found.origin.0), self.now)));
        Doing::Act { look, before, plan, is_lowered, checked: None }
    }

    /// The plan, or that of a source with a bug.
    fn planned(
        &self,
        maker: &Maker<'_>,
        settings: &Settings,
        scan: &Scan,
        memory: &mut Memory,
        mut now: Moment,
    ) -> Plan {
        let (mut settings, mut scan, mut lives) = (settings.clone(), scan.clone(), self.providers.clone());
        match self.bug {
            Some(Bug::IgnoresFaults) => scan.faults.clear(),
            Some(Bug::TrustsOneScan) => {
                plan(maker, &settings, &scan, &lives, memory, now);
            }
            Some(Bug::IgnoresPlaces) => {
                scan.places.extend(PLACES.map(|place| Origin::map(place, "mcp-providers")));
            }
            Some(Bug::WaitsForNothing) => settings.refresh = Duration::ZERO,
            Some(Bug::TrustsTheClock) => {
                let seconds = u64::try_from(now.read.as_second()).unwrap();
                now.passed = Duration::from_secs(seconds);
            }
            Some(Bug::IgnoresSight) => scan.sight = None,
            Some(Bug::AdoptsCopies) => {
                lives.values_mut().for_each(|live| drop(live.annotations.remove(DISCOVERED_HASH)));
            }
            Some(Bug::IgnoresEdits | Bug::DeletesNothing) | None => {}
        }
        let mut plan = plan(maker, &settings, &scan, &lives, memory, now);
        if self.bug == Some(Bug::DeletesNothing) {
            plan.deletes.clear();
        }
        plan
    }

    /// The next write, as the edge makes it: only where the provider is still the one that was planned for.
    fn act(
        &mut self,
        look: Begun,
        before: usize,
        mut plan: Plan,
        is_lowered: bool,
        checked: Option<usize>,
    ) -> Doing {
        if let Some(wish) = plan.creates.pop() {
            if !self.providers.contains_key(&wish.name) {
                let uid = self.uid();
                self.providers.insert(wish.name.clone(), self.made(&wish, uid));
            }
        } else if let Some((wish, uid)) = plan.updates.pop() {
            assert!(!self.copies.contains(&uid), "a copy is changed");
            if self.is_ours(&wish.name, &uid) {
                self.providers.insert(wish.name.clone(), self.made(&wish, uid));
            }
        } else if checked.is_none() {
            if look.generation != self.generation && self.bug != Some(Bug::IgnoresEdits) {
                plan.deletes.clear();
            }
            return Doing::Act { look, before, plan, is_lowered, checked: Some(self.step) };
        } else if let Some((name, uid)) = plan.deletes.pop() {
            assert!(!self.copies.contains(&uid), "a copy is deleted");
            if self.is_ours(&name, &uid) {
                let is_edited = look.at < self.edited && checked.is_some_and(|checked| self.edited < checked);
                assert!(!is_edited, "{name} is deleted after the spec was edited");
                if !is_lowered {
                    self.judge(look.at, before, &name);
                }
                self.providers.remove(&name);
                self.deleted += 1;
            }
        } else {
            return Doing::Nothing;
        }
        Doing::Act { look, before, plan, is_lowered, checked }
    }

    fn is_ours(&self, name: &str, uid: &str) -> bool {
        let claim = self.claim();
        self.providers.get(name).is_some_and(|live| live.uid == uid && live.origin_of(name, &claim).is_some())
    }

    /// A provider is about to be deleted.
    fn judge(&self, began: usize, before: usize, name: &str) {
        let presence = &self.present[name];
        if !presence.places.is_empty() {
            let changes = |from: usize| presence.changes.iter().filter(|step| **step > from).count();
            let stayed = presence.since <= began && changes(began) == 0;
            // It takes two moves, each in the middle of another scan, for both to miss it.
            let moved = presence.since <= before && changes(before) < 4;
            assert!(!stayed && !moved, "{name} is in the source and is deleted");
        }
        let by = &self.providers[name].annotations[DISCOVERED_BY];
        let mut parts = by.split('/').skip(2);
        let (place, raw) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let known = self.since.iter().find(|((p, n), _)| *p == place && *n == raw).map(|(_, since)| *since);
        match known {
            // Where the operator may look or not.
            Some(Since::There(step)) => assert!(step > began, "{name} is where it was found and is deleted"),
            Some(Since::Away) => {
                let passed = self.now - self.seen[by];
                assert!(
                    passed >= REFRESH,
                    "{name} is away with its place, was seen {passed} s ago and is deleted"
                );
            }
            _ => {}
        }
    }

    /// Nobody disturbs any more.
    pub(super) fn calm_down(&mut self) {
        self.set(|settings| *settings = self::settings());
        if self.hidden.take().is_some() {
            self.restart();
        }
        self.collect();
        self.observe();
        for _ in 0..5 {
            for _ in 0..24 {
                self.step += 1;
                self.operate(Fault::None);
            }
            while !matches!(self.doing, Doing::Nothing) {
                self.operate(Fault::None);
            }
            self.now += REFRESH + 1;
        }
        let maps = PLACES.iter().filter_map(|place| self.visible(place));
        let wanted: BTreeSet<_> =
            maps.flat_map(BTreeMap::keys).filter_map(|raw| names::provider(raw)).collect();
        let claim = self.claim();
        let mine = |(name, live): (&String, &Live)| live.origin_of(name, &claim).map(|_| name.clone());
        let mine: BTreeSet<_> = self.providers.iter().filter_map(mine).collect();
        let foreign = |name: &&String| {
            self.providers.get(*name).is_none_or(|live| live.origin_of(name, &claim).is_some())
        };
        let expected: BTreeSet<_> = wanted.iter().filter(foreign).cloned().collect();
        assert_eq!(mine, expected, "what is in the source is not what is there");
    }

    fn made(&self, wish: &Wish, uid: String) -> Live {
        Live {
            uid,
            is_going: false,
            owner: Some(self.source.clone()),
            labels: BTreeMap::new(),
            annotations: serde_json::from_value(wish.object["metadata"]["annotations"].clone()).unwrap(),
            spec: wish.object["spec"].clone(),
        }
    }
}
