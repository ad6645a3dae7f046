//! A world of replicas, targets and one Secret in which anything may happen, and in which every certificate that is served
//! must verify against every bundle that is trusted.
//!
//! Events are generated: time, crashes, restarts with and without memory, rubbish in the Secret, stale bundles, leaders
//! that overlap, clocks that differ. The decisions are those of the operator ([`decide`], [`rotation`], [`record`], the
//! follower's rule), the certificates are real, and rustls verifies them as a client does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Secret;
use mcp_hangar_webhooks::tls::{Authority, Leaf};
use proptest::prelude::*;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::record::{Observed, ROTATE_ANNOTATION, is_requested, observe, secret};
use super::rotation::{self, Facts, Step};
use super::state::{Schedule, Stage, State};
use super::store::{Held, Plan, decide, plan};
use super::{Bundle, bundle, lead};

const REPLICAS: usize = 3;
const TARGETS: usize = 5;
const NAME: &str = "webhook.ns.svc";
/// Nobody's clock is further off.
const SKEW: u64 = 5 * 60;
/// A write or a patch that is on its way arrives within this.
const LATE: Duration = Duration::from_secs(10);
/// Time passes in so many pieces, and everybody looks at the end of each.
const PIECES: u32 = 6;

#[derive(Debug, Clone)]
enum Event {
    /// Seconds; replicas look on, but for one that may be cut off for a while.
    Pass(u32, Option<usize>),
    /// One replica looks at the Secret.
    Look(usize),
    /// One replica, which thinks that it leads, decides on a step.
    Decide(usize),
    /// What it decided is written, if nothing else was meanwhile.
    Write(usize),
    /// One replica reads some targets and decides on patches.
    Compare(usize, bool, u8),
    /// They arrive.
    Patch(usize),
    /// One replica starts again, without memory.
    Restart(usize),
    /// Somebody asks for a rotation.
    Ask,
    /// Something happens to the Secret, and replicas hear of it, but perhaps for one.
    Spoil(Rubbish, Option<usize>),
    /// A target gets a bundle that it had before.
    Stale(usize),
    /// A target gets no bundle, or rubbish.
    Wipe(usize),
}

#[derive(Debug, Clone, Copy)]
enum Rubbish {
    Deleted,
    Emptied,
    Garbled(usize),
    Lost(usize),
    Swapped(usize, usize),
    Older,
    Foreign,
}

struct Replica {
    skew: i64,
    held: Option<Held>,
    leaf: Option<(Leaf, Arc<Authority>)>,
    wrong_since: Option<SystemTime>,
    /// A Secret that it will write, and the version that it was decided on.
    writing: Option<(Secret, u64)>,
    /// Bundles that it will patch in.
    patching: Vec<(usize, String)>,
}

struct Target {
    text: String,
    /// Somebody else wrote it, and nobody has mended it yet.
    tampered: bool,
    /// What it said, until when, and whether somebody else had written that.
    past: Vec<(SystemTime, String, bool)>,
}

struct World {
    now: SystemTime,
    schedule: Schedule,
    secret: Option<Secret>,
    version: u64,
    older: Vec<Secret>,
    replicas: Vec<Replica>,
    targets: Vec<Target>,
    /// A CA was made that nothing leads to, since all memory was lost: calls may fail until all have heard.
    excused: bool,
    verified: HashMap<(Vec<u8>, String, u64), bool>,
    checks: usize,
    switches: usize,
    restores: usize,
}

impl World {
    fn new(skews: &[i64]) -> Self {
        let replica = |&skew: &i64| Replica {
            skew,
            held: None,
            leaf: None,
            wrong_since: None,
            writing: None,
            patching: Vec::new(),
        };
        let mut world = Self {
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            schedule: Schedule::default(),
            secret: None,
            version: 0,
            older: Vec::new(),
            replicas: skews.iter().map(replica).collect(),
            targets: (0..TARGETS)
                .map(|_| Target { text: String::new(), tampered: true, past: Vec::new() })
                .collect(),
            excused: false,
            verified: HashMap::new(),
            checks: 0,
            switches: 0,
            restores: 0,
        };
        world.settle();
        world
    }

    fn clock(&self, replica: usize) -> SystemTime {
        let skew = self.replicas[replica].skew;
        let distance = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 { self.now - distance } else { self.now + distance }
    }

    /// Everybody has heard of everything.
    fn settle(&mut self) {
        for _ in 0..4 {
            (0..REPLICAS).for_each(|replica| self.look(replica));
            (0..REPLICAS).for_each(|replica| self.compare(replica, replica == 0, u8::MAX));
            (0..REPLICAS).for_each(|replica| self.patch(replica));
        }
        self.excused = false;
    }

    fn write(&mut self, secret: Secret) {
        self.older.extend(self.secret.take());
        self.secret = Some(secret);
        self.version += 1;
    }

    /// One step of the store: reads, decides, writes, serves.
    fn look(&mut self, index: usize) {
        let now = self.clock(index);
        let observed = observe(self.secret.as_ref(), now);
        let replica = &mut self.replicas[index];
        let waited = match &observed {
            Observed::Good(_) => {
                replica.wrong_since = None;
                Duration::ZERO
            }
            _ => {
                let since = *replica.wrong_since.get_or_insert(self.now);
                self.now.duration_since(since).unwrap_or_default()
            }
        };
        let held = replica.held.clone().filter(|held| held.state.is_usable_at(now));
        let trusted_before = !self.targets[3].text.is_empty();
        let action = decide(&observed, held.as_ref(), waited, trusted_before);
        match plan(action, observed, held.map(|held| held.state), &self.schedule, now).unwrap() {
            Plan::Keep | Plan::Wait => {}
            Plan::Adopt(held) => self.serve(index, held),
            Plan::Create(state, how) | Plan::Replace(state, how) => {
                let base = self.secret.clone().unwrap_or_default();
                self.write(secret(base, "ns", "ca", &state));
                self.restores += usize::from(how.starts_with("restored"));
                self.excused |= how.starts_with("made") || how == "created" || how.starts_with("of the next");
                self.serve(index, Held { state, certain: true });
            }
        }
    }

    fn serve(&mut self, index: usize, held: Held) {
        let now = self.clock(index);
        let replica = &mut self.replicas[index];
        let before = replica.held.as_ref().map(|known| &known.state);
        let signs_like = before.is_some_and(|known| known.signs_like(&held.state));
        if !signs_like || replica.leaf.is_none() {
            let authority = rotation::presented(before, &held.state, now);
            let leaf = authority.issue(&[NAME.into()], now, self.schedule.leaf_life).unwrap();
            replica.leaf = Some((leaf, authority));
        }
        replica.held = Some(held);
    }

    /// As in every handshake, and every minute.
    fn renew(&mut self, index: usize) {
        let now = self.clock(index);
        if let Some((leaf, authority)) = &mut self.replicas[index].leaf
            && leaf.is_due_at(now)
        {
            *leaf = authority.issue(&[NAME.into()], now, self.schedule.leaf_life).unwrap();
        }
    }

    /// What the leader does about the Secret, up to the write.
    fn decide(&mut self, index: usize) {
        let now = self.clock(index);
        let Some(found) = self.secret.clone() else { return };
        let Observed::Good(state) = observe(Some(&found), now) else { return };
        let trusted = state.trusted();
        let lacks = |target: &Target| {
            let held = bundle::certificates(&target.text).unwrap_or_default();
            trusted.iter().any(|needed| !held.contains(needed))
        };
        let lacking =
            self.targets.iter().filter(|target| lacks(target)).map(|_| "a target".to_owned()).collect();
        let facts = Facts { requested: is_requested(&found), lacking };
        let step = rotation::next(&state, &facts, &self.schedule, now);
        if let Some(after) = rotation::take(&state, &step, &self.schedule, now).unwrap() {
            self.switches += usize::from(step == Step::Switch);
            let wanted = lead::written(found, &state, &after, "ns", "ca");
            self.replicas[index].writing = Some((wanted, self.version));
        }
    }

    fn arrive(&mut self, index: usize) {
        if let Some((wanted, version)) = self.replicas[index].writing.take()
            && version == self.version
        {
            self.write(wanted);
        }
    }

    /// What the injector does, up to the patch.
    fn compare(&mut self, index: usize, leads: bool, targets: u8) {
        let now = self.clock(index);
        let Some(held) = &self.replicas[index].held else { return };
        let ours = held.state.bundle(now).unwrap();
        let wanted = |text: &str| match (leads, ours.is_enough_in(text)) {
            (true, _) => ours.pem().to_owned(),
            (false, true) => text.to_owned(),
            (false, false) => ours.joined_with(text, now).pem().to_owned(),
        };
        let patches = (0..TARGETS)
            .filter(|target| targets & (1 << target) != 0)
            .map(|target| (target, wanted(&self.targets[target].text)))
            .filter(|(target, text)| self.targets[*target].text != *text);
        self.replicas[index].patching = patches.collect();
    }

    fn patch(&mut self, index: usize) {
        for (target, text) in std::mem::take(&mut self.replicas[index].patching) {
            self.put(target, text);
            self.targets[target].tampered = false;
        }
    }

    fn put(&mut self, target: usize, text: String) {
        let now = self.now;
        let target = &mut self.targets[target];
        let past = std::mem::replace(&mut target.text, text);
        target.past.push((now, past, target.tampered));
    }

    fn pass(&mut self, seconds: u32, cut_off: Option<usize>) {
        // Whatever was on its way arrives in the first moment, or not at all.
        self.now += LATE;
        for index in 0..REPLICAS {
            self.arrive(index);
            self.patch(index);
            self.check();
        }
        // Nobody is cut off for so long that his certificates are given up.
        let all = Duration::from_secs(seconds.into());
        let cut_off = cut_off.filter(|_| all < self.schedule.leaf_life);
        (0..REPLICAS).for_each(|index| self.look(index));
        for _ in 0..PIECES {
            self.now += all / PIECES;
            for index in (0..REPLICAS).filter(|index| cut_off != Some(*index)) {
                self.look(index);
            }
            (0..REPLICAS).for_each(|index| self.renew(index));
            self.compare(0, true, u8::MAX);
            (1..REPLICAS).for_each(|index| self.compare(index, false, u8::MAX));
            (0..REPLICAS).for_each(|index| self.patch(index));
            self.check();
            self.decide(0);
            self.arrive(0);
            self.check();
        }
        if cut_off.is_none() {
            self.settle();
        }
    }

    fn spoil(&mut self, rubbish: Rubbish) {
        let Some(mut found) = self.secret.clone() else { return };
        let data = found.data.get_or_insert_default();
        let keys: Vec<String> = data.keys().cloned().collect();
        let key = |index: usize| keys.get(index % keys.len().max(1)).cloned().unwrap_or_default();
        match rubbish {
            Rubbish::Deleted => {
                self.older.extend(self.secret.take());
                self.version += 1;
                return;
            }
            Rubbish::Emptied => found.data = None,
            Rubbish::Garbled(index) => {
                data.insert(key(index), k8s_openapi::ByteString(b"rubbish".to_vec()));
            }
            Rubbish::Lost(index) => drop(data.remove(&key(index))),
            Rubbish::Swapped(one, other) => {
                let (one, other) = (key(one), key(other));
                let (a, b) = (data.get(&one).cloned(), data.get(&other).cloned());
                data.extend(b.map(|b| (one, b)));
                data.extend(a.map(|a| (other, a)));
            }
            Rubbish::Older => found = self.older.last().cloned().unwrap_or(found),
            Rubbish::Foreign => {
                let theirs = Authority::generate("theirs", self.now).unwrap();
                let text = |text: String| k8s_openapi::ByteString(text.into_bytes());
                data.insert("ca.crt".into(), text(theirs.certificate_pem()));
                data.insert("ca.key".into(), text(theirs.key_pem()));
            }
        }
        self.write(found);
    }

    /// All who watch hear of it before anything else happens; those with a memory first, since others wait.
    fn hear(&mut self, deaf: Option<usize>) {
        let mut order: Vec<usize> = (0..REPLICAS).filter(|index| Some(*index) != deaf).collect();
        order.sort_by_key(|index| self.replicas[*index].held.is_none());
        for _ in 0..2 {
            order.iter().for_each(|index| self.look(*index));
        }
    }

    fn inject_but(&mut self, deaf: usize) {
        for index in (0..REPLICAS).filter(|index| *index != deaf) {
            self.compare(index, true, u8::MAX);
            self.patch(index);
            self.check();
        }
    }

    fn run(&mut self, event: &Event) {
        match *event {
            Event::Pass(seconds, cut_off) => self.pass(seconds, cut_off),
            Event::Look(index) => self.look(index),
            Event::Decide(index) => self.decide(index),
            Event::Write(index) => self.arrive(index),
            Event::Compare(index, leads, targets) => self.compare(index, leads, targets),
            Event::Patch(index) => self.patch(index),
            Event::Restart(index) => {
                let fresh = Replica { skew: self.replicas[index].skew, ..World::nobody() };
                self.replicas[index] = fresh;
            }
            Event::Ask => {
                if let Some(secret) = &mut self.secret {
                    let annotations = secret.metadata.annotations.get_or_insert_default();
                    annotations.insert(ROTATE_ANNOTATION.into(), "now".into());
                    self.version += 1;
                }
            }
            Event::Spoil(rubbish, deaf) => {
                // Without any memory left, what is in the Secret is all there is.
                self.excused |= self.replicas.iter().all(|replica| replica.held.is_none());
                self.spoil(rubbish);
                self.hear(deaf);
                self.check();
                match deaf {
                    None => self.settle(),
                    Some(deaf) => self.inject_but(deaf),
                }
                // Nobody spoils it twice in the same moment.
                self.now += LATE;
            }
            Event::Stale(target) => {
                if let Some((_, text, _)) = self.targets[target].past.last().cloned() {
                    self.put(target, text);
                    self.targets[target].tampered = true;
                }
            }
            Event::Wipe(target) => {
                self.put(target, "rubbish".into());
                self.targets[target].tampered = true;
            }
        }
        self.check();
    }

    fn nobody() -> Replica {
        Replica { skew: 0, held: None, leaf: None, wrong_since: None, writing: None, patching: Vec::new() }
    }

    /// Every certificate that is served verifies against every bundle that an API server may be using.
    fn check(&mut self) {
        if self.excused {
            return;
        }
        let current = match observe(self.secret.as_ref(), self.now) {
            Observed::Good(state) => Some(state),
            _ => None,
        };
        for index in 0..REPLICAS {
            let Some((leaf, _)) = &self.replicas[index].leaf else { continue };
            let chain = leaf.certified_key().cert.clone();
            for target in 0..TARGETS {
                for text in self.texts(target, current.as_deref()) {
                    assert!(
                        self.verifies(&chain, &text),
                        "replica {index} serves {} certificates signed in {:?}, target {target} trusts {} CAs (tampered: {}); the Secret is in {:?}",
                        chain.len(),
                        self.replicas[index]
                            .held
                            .as_ref()
                            .map(|held| (held.state.stage.phase().to_owned(), held.state.revision)),
                        text.matches("BEGIN").count(),
                        self.targets[target].tampered,
                        current.as_ref().map(|state| (state.stage.phase().to_owned(), state.revision)),
                    );
                    self.checks += 1;
                }
            }
        }
    }

    /// What a target says, and what it said while an API server's cache may still hold that.
    fn texts(&self, target: usize, current: Option<&State>) -> Vec<String> {
        let target = &self.targets[target];
        let lag = self.now - Duration::from_secs(5);
        let recent = target.past.iter().filter(|(until, ..)| *until > lag);
        let recent = recent.map(|(_, text, tampered)| (text, *tampered));
        let mut all: Vec<String> = Vec::new();
        for (text, tampered) in recent.chain([(&target.text, target.tampered)]) {
            // What somebody else wrote is only our matter where it trusts the CA in use, or who signed it.
            let ours = !tampered
                || current.is_some_and(|state| {
                    text.contains(&state.active.certificate_pem())
                        || signers(state).iter().any(|pem| text.contains(pem))
                });
            if ours && text.contains("BEGIN") && !all.contains(text) {
                all.push(text.clone());
            }
        }
        all
    }

    fn verifies(&mut self, chain: &[CertificateDer<'static>], text: &str) -> bool {
        let hour = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 3600;
        let whole: Vec<u8> = chain.iter().flat_map(|der| der.iter().copied()).collect();
        let key = (whole, text.to_owned(), hour);
        if let Some(known) = self.verified.get(&key) {
            return *known;
        }
        let good = verify(chain, text, self.now);
        self.verified.insert(key, good);
        good
    }
}

/// Who signed the CA in use.
fn signers(state: &State) -> Vec<String> {
    let Some(cross) = state.active.cross_pem() else { return Vec::new() };
    state.previous().iter().filter(|pem| bundle::names_issuer(&cross, pem)).cloned().collect()
}

/// As a client does it.
fn verify(chain: &[CertificateDer<'static>], bundle: &str, now: SystemTime) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let time = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let (leaf, rest) = chain.split_first().unwrap();
    verifier.verify_server_cert(leaf, rest, &name, &[], time).is_ok()
}

fn event() -> impl Strategy<Value = Event> {
    let replica = 0..REPLICAS;
    let rubbish = prop_oneof![
        Just(Rubbish::Deleted),
        Just(Rubbish::Emptied),
        (0..6usize).prop_map(Rubbish::Garbled),
        (0..6usize).prop_map(Rubbish::Lost),
        (0..6usize, 0..6usize).prop_map(|(one, other)| Rubbish::Swapped(one, other)),
        Just(Rubbish::Older),
        Just(Rubbish::Foreign),
    ];
    let seconds = prop_oneof![3 => 1..600u32, 2 => 600..86_400u32, 2 => 86_400..(10 * 86_400u32), 2 => Just(360 * 86_400u32)];
    prop_oneof![
        6 => (seconds, proptest::option::of(0..REPLICAS)).prop_map(|(seconds, away)| Event::Pass(seconds, away)),
        6 => replica.clone().prop_map(Event::Look),
        6 => replica.clone().prop_map(Event::Decide),
        6 => replica.clone().prop_map(Event::Write),
        6 => (replica.clone(), any::<bool>(), any::<u8>()).prop_map(|(index, leads, targets)| Event::Compare(index, leads, targets)),
        6 => replica.clone().prop_map(Event::Patch),
        2 => replica.prop_map(Event::Restart),
        4 => Just(Event::Ask),
        4 => (rubbish, proptest::option::of(0..REPLICAS)).prop_map(|(rubbish, deaf)| Event::Spoil(rubbish, deaf)),
        1 => (0..TARGETS).prop_map(Event::Stale),
        1 => (0..TARGETS).prop_map(Event::Wipe),
    ]
}

/// A few, since a case is thousands of certificates; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_certificate_served_verifies_against_every_bundle_trusted(
        skews in proptest::collection::vec(-(SKEW as i64)..=SKEW as i64, REPLICAS),
        events in proptest::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new(&skews);
        for event in &events {
            world.run(event);
        }
        world.pass(600, None);
        world.check();
        prop_assert!(world.checks > 0);
        // In the end all agree, and all targets trust what the Secret says.
        let Observed::Good(state) = observe(world.secret.as_ref(), world.now) else { panic!("the Secret is not right") };
        for target in &world.targets {
            let held = bundle::certificates(&target.text).unwrap();
            prop_assert!(state.trusted().iter().all(|needed| held.contains(needed)));
        }
    }
}

#[test]
fn the_world_notices_a_switch_that_comes_too_early() {
    let mut world = World::new(&[0, 0, 0]);
    world.run(&Event::Ask);
    world.decide(0);
    world.arrive(0);
    let Observed::Good(state) = observe(world.secret.as_ref(), world.now) else { panic!("not good") };
    // The next CA signs at once, without a cross certificate, before any target was written.
    let early =
        State { active: Arc::clone(state.next().unwrap()), stage: Stage::Stable, revision: 9, ..*state };
    world.write(secret(Secret::default(), "ns", "ca", &early));
    // With a memory it would vouch for the other CA itself.
    world.run(&Event::Restart(1));
    world.look(1);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check()));
    assert!(result.is_err(), "nobody noticed");
}

#[test]
fn bundles_of_the_world_are_those_of_the_operator() {
    let world = World::new(&[0, 0, 0]);
    let text = &world.targets[0].text;
    assert_eq!(Bundle::build([text.as_str()], world.now).unwrap().pem(), text);
}
