//! A world of namespaces, ConfigMaps and people, and a source that looks at it with faults, restarts in the middle of
//! everything and edits between any two of its steps.
//!
//! In: generated sequences. Proven: nothing that was in the source from the beginning of the scan to the deletion is
//! deleted, nothing that the scan before has seen and whose whole place was away for less than the interval, nothing of
//! anybody else; and once all is calm, exactly what is in the source is there.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::*;
use crate::discovery::found::{Form, Spec};
use crate::discovery::source::Filters;
use crate::group::selector::Selector;
use mcp_hangar_api::v1beta1::discovery::ProviderTemplate;
use mcp_hangar_webhooks::policy::Policy;
use mcp_hangar_webhooks::validation::pattern::Pattern;

use crate::discovery::source::{Namespaces, Place};

const REFRESH: i64 = 60;
/// Sequences, where the variable SEQUENCES names no other number.
const SEQUENCES: u32 = 1024;
const NAMES: [&str; 5] = ["a", "b", "B", "c", "d"];
const PLACES: [&str; 3] = ["x", "y", "z"];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// The operator does the next little thing, with or without a fault.
    Operate(Fault),
    Restart,
    Wait(i64),
    Add(usize, usize, u8),
    Remove(usize, usize),
    DropMap(usize),
    Relabel(usize),
    NamespaceGone(usize),
    NamespaceBack(usize),
    Prunes(bool),
    Exclude(Option<usize>),
    Most(Option<usize>),
    /// Somebody makes, or takes over, a provider of that name.
    Foreign(usize),
    /// Somebody deletes a provider.
    Delete(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The call fails and the scan goes on without it.
    Fails,
    /// Only a part comes, and the error says so.
    Partial,
    /// The ConfigMap does not parse.
    Garbled,
    /// Only a part comes, and nothing says so. Never generated: no list of an API server is like this.
    Silent,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        8 => Just(Fault::None), 1 => Just(Fault::Fails), 1 => Just(Fault::Partial), 1 => Just(Fault::Garbled)];
    let (place, name) = (0..PLACES.len(), 0..NAMES.len());
    prop_oneof![
        24 => fault.prop_map(Step::Operate),
        1 => Just(Step::Restart),
        3 => (1..90i64).prop_map(Step::Wait),
        6 => (place.clone(), name.clone(), 0..2u8).prop_map(|(place, name, image)| Step::Add(place, name, image)),
        4 => (place.clone(), name.clone()).prop_map(|(place, name)| Step::Remove(place, name)),
        1 => place.clone().prop_map(Step::DropMap),
        2 => place.clone().prop_map(Step::Relabel),
        1 => place.clone().prop_map(Step::NamespaceGone),
        2 => place.prop_map(Step::NamespaceBack),
        1 => prop::bool::weighted(0.8).prop_map(Step::Prunes),
        1 => prop::option::weighted(0.4, name.clone()).prop_map(Step::Exclude),
        1 => prop::option::weighted(0.5, 1..5usize).prop_map(Step::Most),
        1 => name.clone().prop_map(Step::Foreign),
        1 => name.prop_map(Step::Delete),
    ]
}

#[derive(Debug, Clone, Default)]
struct Town {
    is_there: bool,
    is_selected: bool,
    map: Option<BTreeMap<&'static str, u8>>,
}

/// Since when an item is what it is.
#[derive(Debug, Clone, Copy)]
enum Since {
    /// In the source, since this step.
    There(usize),
    /// Edited out of a place that is there.
    Edited,
    /// Away with its whole place, since then; it was there between these steps.
    Away(i64, [usize; 2]),
}

/// What the operator is about.
enum Doing {
    Nothing,
    Scan { began: usize, scan: Scan, left: Vec<&'static str> },
    Act { began: usize, before: [usize; 2], plan: Plan, is_lowered: bool },
}

struct World {
    now: i64,
    step: usize,
    towns: BTreeMap<&'static str, Town>,
    since: BTreeMap<(&'static str, &'static str), Since>,
    providers: BTreeMap<String, Live>,
    uids: usize,
    settings: Settings,
    most_changed: bool,
    memory: Memory,
    doing: Doing,
    /// When the last scan that was decided on began and ended, if this process remembers it.
    before: Option<[usize; 2]>,
    deleted: usize,
}

fn settings() -> Settings {
    let namespaces = Namespaces::of(Selector::default());
    Settings {
        place: Place::Namespaces(namespaces),
        prunes: true,
        refresh: Duration::from_secs(u64::try_from(REFRESH).unwrap()),
        paused: false,
        template: ProviderTemplate::default(),
        filters: Filters::default(),
        controller: true,
        blocks_deletion: false,
    }
}

impl World {
    fn new() -> Self {
        let town = |name| (name, Town { is_there: true, is_selected: true, map: None });
        Self {
            now: 0,
            step: 0,
            towns: PLACES.into_iter().map(town).collect(),
            since: BTreeMap::new(),
            providers: BTreeMap::new(),
            uids: 0,
            settings: settings(),
            most_changed: false,
            memory: Memory::default(),
            doing: Doing::Nothing,
            before: None,
            deleted: 0,
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_second(1_000_000 + self.now).unwrap()
    }

    fn maker<'a>(&self, template: &'a ProviderTemplate, policy: &'a Policy) -> Maker<'a> {
        Maker { source: "s", namespace: "team", uid: "u", controller: true, template, policy }
    }

    /// The map that a scan would see.
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
        for place in PLACES {
            for name in NAMES {
                let is_there = self.is_in_source(place, name);
                // Taken out of the map, whether anybody looks there or not.
                let is_out = self.towns[place].map.as_ref().is_some_and(|map| !map.contains_key(name));
                let is_edited =
                    is_out || self.visible(place).is_some() || self.settings.filters.leaves_out(name);
                let new = match self.since.get(&(place, name)) {
                    Some(Since::There(step)) if is_there => Since::There(*step),
                    _ if is_there => Since::There(self.step),
                    _ if is_edited => Since::Edited,
                    Some(Since::There(step)) => Since::Away(self.now, [*step, self.step]),
                    Some(known) => *known,
                    None => continue,
                };
                self.since.insert((place, name), new);
            }
        }
    }

    fn happen(&mut self, step: &Step) {
        self.step += 1;
        match *step {
            Step::Operate(fault) => self.operate(fault),
            Step::Restart => {
                self.memory = Memory::default();
                self.doing = Doing::Nothing;
                self.before = None;
            }
            Step::Wait(seconds) => self.now += seconds,
            Step::Add(place, name, image) => {
                let town = self.towns.get_mut(PLACES[place]).unwrap();
                if town.is_there {
                    town.map.get_or_insert_default().insert(NAMES[name], image);
                }
            }
            Step::Remove(place, name) => {
                if let Some(map) = &mut self.towns.get_mut(PLACES[place]).unwrap().map {
                    map.remove(NAMES[name]);
                }
            }
            Step::DropMap(place) => self.towns.get_mut(PLACES[place]).unwrap().map = None,
            Step::Relabel(place) => {
                let town = self.towns.get_mut(PLACES[place]).unwrap();
                town.is_selected = !town.is_selected;
            }
            Step::NamespaceGone(place) => *self.towns.get_mut(PLACES[place]).unwrap() = Town::default(),
            Step::NamespaceBack(place) => {
                let town = self.towns.get_mut(PLACES[place]).unwrap();
                town.is_there = true;
                town.is_selected = true;
            }
            Step::Prunes(prunes) => self.settings.prunes = prunes,
            Step::Exclude(name) => {
                let pattern = name.map(|name| Pattern::compile(&format!("^{}$", NAMES[name])).unwrap());
                self.settings.filters.exclude = pattern.into_iter().collect();
            }
            Step::Most(most) => {
                self.settings.filters.most = most;
                self.most_changed = true;
            }
            Step::Foreign(name) => {
                let name = names::provider(NAMES[name]).unwrap();
                let known = self.providers.get(&name).map(|live| live.uid.clone());
                let uid = known.unwrap_or_else(|| self.uid());
                self.providers.insert(name, Live { uid, ..Live::default() });
            }
            Step::Delete(name) => {
                self.providers.remove(&names::provider(NAMES[name]).unwrap());
            }
        }
        self.observe();
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        self.uids.to_string()
    }

    fn operate(&mut self, fault: Fault) {
        self.doing = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => self.begin(fault),
            Doing::Scan { began, mut scan, mut left } => match left.pop() {
                Some(place) => {
                    self.read(place, fault, &mut scan);
                    Doing::Scan { began, scan, left }
                }
                None => self.decide(began, &scan),
            },
            Doing::Act { began, before, plan, is_lowered } => self.act(began, before, plan, is_lowered),
        };
    }

    fn begin(&self, fault: Fault) -> Doing {
        let selected =
            |(name, town): (&&'static str, &Town)| (town.is_there && town.is_selected).then_some(*name);
        let mut left: Vec<_> = self.towns.iter().filter_map(selected).collect();
        let mut scan = Scan::default();
        if !matches!(fault, Fault::None | Fault::Silent) {
            scan.faults.push("namespaces".into());
            left.truncate(if fault == Fault::Partial { 1 } else { 0 });
        }
        Doing::Scan { began: self.step, scan, left }
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

    fn decide(&mut self, began: usize, scan: &Scan) -> Doing {
        let (template, policy, now) = (ProviderTemplate::default(), Policy::default(), self.time());
        let maker = self.maker(&template, &policy);
        let plan = plan(&maker, &self.settings, scan, &self.providers, &mut self.memory, now);
        if !scan.is_clean() {
            assert!(plan.deletes.is_empty(), "something is deleted after a fault");
        }
        // Whoever lowers maxProviders below what there is asks for it.
        let most = self.settings.filters.most.filter(|_| self.most_changed);
        let is_lowered = most.is_some_and(|most| plan.managed.len() > most);
        let before = self.before.replace([began, self.step]).unwrap_or([began, began]);
        Doing::Act { began, before, plan, is_lowered }
    }

    /// The next write, as the edge makes it: only where the provider is still the one that was planned for.
    fn act(&mut self, began: usize, before: [usize; 2], mut plan: Plan, is_lowered: bool) -> Doing {
        if let Some(wish) = plan.creates.pop() {
            if !self.providers.contains_key(&wish.name) {
                let uid = self.uid();
                self.providers.insert(wish.name.clone(), live(&wish, uid));
            }
        } else if let Some((wish, uid)) = plan.updates.pop() {
            if self.is_ours(&wish.name, &uid) {
                self.providers.insert(wish.name.clone(), live(&wish, uid));
            }
        } else if let Some((name, uid)) = plan.deletes.pop() {
            if self.is_ours(&name, &uid) {
                if !is_lowered {
                    self.judge(began, before, &name);
                }
                self.providers.remove(&name);
                self.deleted += 1;
            }
        } else {
            return Doing::Nothing;
        }
        Doing::Act { began, before, plan, is_lowered }
    }

    fn is_ours(&self, name: &str, uid: &str) -> bool {
        let (template, policy) = (ProviderTemplate::default(), Policy::default());
        let maker = self.maker(&template, &policy);
        self.providers.get(name).is_some_and(|live| live.uid == uid && live.origin_of(&maker).is_some())
    }

    /// A provider is about to be deleted.
    fn judge(&self, began: usize, before: [usize; 2], name: &str) {
        let by = &self.providers[name].annotations[mcp_hangar_api::annotation::DISCOVERED_BY];
        let mut parts = by.split('/').skip(2);
        let place = parts.next().unwrap();
        let raw = parts.nth(1).unwrap();
        let known = self.since.iter().find(|((p, n), _)| *p == place && *n == raw).map(|(_, since)| *since);
        match known {
            Some(Since::There(step)) if step <= began => panic!("{name} is in the source and is deleted"),
            // The scan before has seen it.
            Some(Since::Away(since, [from, to]))
                if from <= before[0] && to > before[1] && self.now - since < REFRESH =>
            {
                panic!("{name} was away with its place for {} s and is deleted", self.now - since)
            }
            _ => {}
        }
    }

    /// Nobody disturbs any more.
    fn calm_down(&mut self) {
        self.settings = settings();
        self.observe();
        for _ in 0..5 {
            for _ in 0..60 {
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
        let (template, policy) = (ProviderTemplate::default(), Policy::default());
        let maker = self.maker(&template, &policy);
        let mine = |(name, live): (&String, &Live)| live.origin_of(&maker).map(|_| name.clone());
        let mine: BTreeSet<_> = self.providers.iter().filter_map(mine).collect();
        let foreign =
            |name: &&String| self.providers.get(*name).is_none_or(|live| live.origin_of(&maker).is_some());
        let expected: BTreeSet<_> = wanted.iter().filter(foreign).cloned().collect();
        assert_eq!(mine, expected, "what is in the source is not what is there");
    }
}

fn live(wish: &Wish, uid: String) -> Live {
    Live {
        uid,
        is_going: false,
        owner: Some("u".into()),
        labels: BTreeMap::new(),
        annotations: serde_json::from_value(wish.object["metadata"]["annotations"].clone()).unwrap(),
        spec: wish.object["spec"].clone(),
    }
}

#[test]
fn nothing_that_is_in_the_source_is_ever_deleted_and_what_left_is_deleted_in_the_end() {
    let (deleted, steps) = (Cell::new(0), Cell::new(0));
    let count = std::env::var("SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(SEQUENCES);
    let mut runner = TestRunner::new(Config { cases: count, failure_persistence: None, ..Config::default() });
    let sequence = prop::collection::vec(step(), 1..160);
    let result = runner.run(&sequence, |sequence| {
        let mut world = World::new();
        sequence.iter().for_each(|step| world.happen(step));
        world.calm_down();
        deleted.set(deleted.get() + world.deleted);
        steps.set(steps.get() + sequence.len());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{}", format!("{error}").replace(",\n    ", " ").replace("\n        ", ""));
    }
    // Sequences that delete nothing prove nothing.
    assert!(deleted.get() > usize::try_from(count).unwrap() / 4, "only {} deletions", deleted.get());
    println!("{count} sequences, {} steps, {} providers deleted", steps.get(), deleted.get());
}

#[test]
#[should_panic(expected = "is in the source and is deleted")]
fn this_world_notices_a_list_that_is_cut_and_does_not_say_so() {
    let mut world = World::new();
    world.happen(&Step::Add(0, 0, 0));
    world.happen(&Step::Add(0, 1, 0));
    let look = |world: &mut World, fault| (0..12).for_each(|_| world.happen(&Step::Operate(fault)));
    look(&mut world, Fault::None);
    assert_eq!(world.providers.len(), 2);
    look(&mut world, Fault::Silent);
}
