//! The index against a plain walk over everything, over generated sequences of changes; and how much it looks at.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const NAMESPACES: [&str; 2] = ["x", "y"];

/// One change.
#[derive(Clone, Debug)]
enum Step {
    Provider(&'static str, usize, Option<BTreeMap<String, String>>),
    Group(&'static str, usize, Option<String>),
    Settle,
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let value = select(vec!["1", "2", "3"]).prop_map(str::to_owned);
    proptest::collection::btree_map(key, value, 0..=3)
}

fn selector() -> impl Strategy<Value = String> {
    let requirement = (select(vec!["a", "b", "c"]), select(vec!["1", "2", "3"]), 0..5usize);
    let text = |(key, value, kind): (&str, &str, usize)| match kind {
        0 | 1 => format!("{{key: {key}, operator: In, values: ['{value}']}}"),
        2 => format!("{{key: {key}, operator: NotIn, values: ['{value}', '3']}}"),
        3 => format!("{{key: {key}, operator: Exists}}"),
        _ => format!("{{key: {key}, operator: DoesNotExist}}"),
    };
    proptest::collection::vec(requirement.prop_map(text), 0..=3)
        .prop_map(|all| format!("matchExpressions: [{}]", all.join(", ")))
}

fn step() -> impl Strategy<Value = Step> {
    let namespace = || select(NAMESPACES.to_vec());
    prop_oneof![
        6 => (namespace(), 0..6usize, proptest::option::weighted(0.8, labels()))
            .prop_map(|(namespace, n, labels)| Step::Provider(namespace, n, labels)),
        4 => (namespace(), 0..5usize, proptest::option::weighted(0.8, selector()))
            .prop_map(|(namespace, n, selector)| Step::Group(namespace, n, selector)),
        1 => Just(Step::Settle),
    ]
}

fn read(text: &str) -> Selector {
    Selector::of(&serde_saphyr::from_str(text).unwrap()).unwrap()
}

/// Everything, and no cleverness.
#[derive(Default)]
struct Plain {
    providers: BTreeMap<(&'static str, String), BTreeMap<String, String>>,
    groups: BTreeMap<(&'static str, String), Selector>,
}

impl Plain {
    fn members(&self, namespace: &str, group: &str) -> Vec<String> {
        let Some((_, selector)) =
            self.groups.iter().find(|((space, name), _)| (*space, &**name) == (namespace, group))
        else {
            return Vec::new();
        };
        let mine = self
            .providers
            .iter()
            .filter(|((space, _), labels)| *space == namespace && selector.matches_all(labels));
        mine.map(|((_, name), _)| name.clone()).collect()
    }

    fn groups_of(&self, namespace: &str, provider: &str) -> BTreeSet<String> {
        let mine = self.groups.keys().filter(|(space, _)| *space == namespace);
        let has = |name: &&String| self.members(namespace, name).iter().any(|member| member == provider);
        mine.map(|(_, name)| name).filter(has).cloned().collect()
    }
}

fn sorted(names: &[Name]) -> Vec<String> {
    let mut all: Vec<_> = names.iter().map(|name| name.to_string()).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn membership_is_what_a_walk_over_everything_finds(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut index, mut plain) = (Index::default(), Plain::default());
        for step in steps {
            match step {
                Step::Provider(namespace, n, labels) => {
                    let name = format!("p{n}");
                    let before = plain.groups_of(namespace, &name);
                    let key = (namespace, name.clone());
                    let touched = index.provider(namespace, &name, labels.as_ref());
                    match labels {
                        Some(labels) => plain.providers.insert(key, labels),
                        None => plain.providers.remove(&key),
                    };
                    let after = plain.groups_of(namespace, &name);
                    prop_assert_eq!(sorted(&touched.stays), before.intersection(&after).cloned().collect::<Vec<_>>());
                    prop_assert_eq!(sorted(&touched.joined), after.difference(&before).cloned().collect::<Vec<_>>());
                    prop_assert_eq!(sorted(&touched.left), before.difference(&after).cloned().collect::<Vec<_>>());
                }
                Step::Group(namespace, n, selector) => {
                    let name = format!("g{n}");
                    let selector = selector.as_deref().map(read);
                    index.group(namespace, &name, selector.clone());
                    match selector {
                        Some(selector) => plain.groups.insert((namespace, name), selector),
                        None => plain.groups.remove(&(namespace, name)),
                    };
                }
                Step::Settle => index.settle(),
            }
            for namespace in NAMESPACES {
                for n in 0..5 {
                    let group = format!("g{n}");
                    let members: Vec<_> = index.members(namespace, &group).map(|name| name.to_string()).collect();
                    prop_assert_eq!(members, plain.members(namespace, &group));
                }
            }
        }
        for (namespace, name) in plain.providers.keys() {
            index.provider(namespace, name, None);
        }
        for (namespace, name) in plain.groups.keys() {
            index.group(namespace, name, None);
        }
        prop_assert!(index.spaces.is_empty(), "nothing is left of what is gone: {:?}", index);
    }
}

fn labelled(text: &str) -> Labels {
    text.split(' ').filter_map(|it| it.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
}

#[test]
fn a_provider_meets_only_groups_that_stand_under_its_labels() {
    let mut index = Index::default();
    for n in 0..1000 {
        index.provider("x", &format!("p{n}"), Some(&labelled(&format!("app=mcp shard={}", n % 500))));
    }
    for n in 0..500 {
        // What all have stands first, and still the shard is what leads here.
        index.group("x", &format!("g{n}"), Some(read(&format!("matchLabels: {{app: mcp, shard: '{n}'}}"))));
    }
    let space = &index.spaces["x"];
    assert!(
        space.groups.values().all(|group| matches!(&group.place, Place::Values(key, _) if key == "shard"))
    );
    let touched = index.provider("x", "p7", Some(&labelled("app=mcp shard=8")));
    assert_eq!(touched, Touched { stays: vec![], joined: vec!["g8".into()], left: vec!["g7".into()] });
}

#[test]
fn groups_that_came_before_their_providers_find_a_better_place_when_they_are_there() {
    let mut index = Index::default();
    for n in 0..10 {
        index.group("x", &format!("g{n}"), Some(read(&format!("matchLabels: {{app: mcp, shard: '{n}'}}"))));
    }
    for n in 0..10 {
        index.provider("x", &format!("p{n}"), Some(&labelled(&format!("app=mcp shard={n}"))));
    }
    index.settle();
    let space = &index.spaces["x"];
    assert!(
        space.groups.values().all(|group| matches!(&group.place, Place::Values(key, _) if key == "shard"))
    );
    assert!(space.keys["app"].values["mcp"].groups.is_empty());
}
