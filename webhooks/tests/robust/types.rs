//! Every object that is let in deserialises into the types of its version, and of the other one.

use mcp_hangar_api::{v1alpha1, v1beta1};
use mcp_hangar_webhooks::admission::Webhook;
use mcp_hangar_webhooks::conversion::{self, Scratch};
use mcp_hangar_webhooks::json::Json;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::policy::Policy;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::generate::{Node, Taste, object};
use crate::review::{admit, patched};

/// Reads the object as its typed self.
fn read(kind: Kind, version: Version, object: &Value) -> Result<(), serde_json::Error> {
    let object = object.clone();
    match (kind, version) {
        (Kind::Provider, Version::V1Alpha1) => {
            serde_json::from_value::<v1alpha1::MCPProvider>(object).map(drop)
        }
        (Kind::Group, Version::V1Alpha1) => {
            serde_json::from_value::<v1alpha1::MCPProviderGroup>(object).map(drop)
        }
        (Kind::Discovery, Version::V1Alpha1) => {
            serde_json::from_value::<v1alpha1::MCPDiscoverySource>(object).map(drop)
        }
        (Kind::Provider, Version::V1Beta1) => {
            serde_json::from_value::<v1beta1::MCPProvider>(object).map(drop)
        }
        (Kind::Group, Version::V1Beta1) => {
            serde_json::from_value::<v1beta1::MCPProviderGroup>(object).map(drop)
        }
        (Kind::Discovery, Version::V1Beta1) => {
            serde_json::from_value::<v1beta1::MCPDiscoverySource>(object).map(drop)
        }
    }
}

fn converted(kind: Kind, from: Version, to: Version, object: &Value) -> Value {
    let text = object.to_string();
    let scratch = Scratch::new();
    let mut lazy = Json::lazy(&text).unwrap();
    let members = lazy.expand_object().unwrap().clone();
    let mut out = String::new();
    Json::Object(conversion::convert(kind, from, to, members, &scratch)).write(&mut out);
    serde_json::from_str(&out).unwrap()
}

/// Whether it was let in; then it must be readable.
fn check(kind: Kind, version: Version, object: &Value) -> bool {
    let answer = admit(Webhook::Default, object, None, &Policy::default());
    if !answer.allowed {
        return false;
    }
    for version_read in Version::ALL {
        let object = converted(kind, version, version_read, &patched(object, &answer));
        read(kind, version_read, &object).unwrap_or_else(|error| panic!("{error}: {object}"));
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_let_in_can_be_read(choices in vec(any::<u16>(), 0..400)) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                check(kind, version, &object(kind, version, Taste::Sensible, &choices).value());
            }
        }
    }

    /// A sensible object with one member replaced: most are refused, and the rest must be harmless.
    #[test]
    fn what_is_let_in_with_something_odd_in_it_can_be_read(
        choices in vec(any::<u16>(), 0..300),
        place in any::<prop::sample::Index>(),
        odd in any::<prop::sample::Index>(),
    ) {
        // Go reads both before anybody else does: the one is an error, the other becomes 0.
        let odd_values: Vec<Node> = crate::generate::odd_values().filter(|odd| !["1e400", "-0"].contains(&odd.write(0).as_str())).collect();
        for kind in Kind::ALL {
            for version in Version::ALL {
                let mut whole = object(kind, version, Taste::Sensible, &choices);
                let spec = whole.members().iter_mut().find(|(key, _)| key == "spec");
                let mut places = Vec::new();
                collect(&mut spec.unwrap().1, &mut places);
                let index = place.index(places.len());
                *places.swap_remove(index) = odd.get(&odd_values).clone();
                check(kind, version, &whole.without_nulls().value());
            }
        }
    }
}

/// Leaves, and blocks that hold none.
fn collect<'n>(node: &'n mut Node, places: &mut Vec<&'n mut Node>) {
    let is_leaf = match node {
        Node::Map(members) => members.is_empty(),
        Node::List(items) => items.is_empty(),
        Node::Raw(_) => true,
    };
    match node {
        leaf if is_leaf => places.push(leaf),
        Node::Map(members) => members.iter_mut().for_each(|(_, value)| collect(value, places)),
        Node::List(items) => items.iter_mut().for_each(|item| collect(item, places)),
        Node::Raw(_) => {}
    }
}

#[test]
fn most_of_the_sensible_objects_are_let_in() {
    let mut state = 7_u64;
    let (mut count, mut allowed) = (0, 0);
    for _ in 0..100 {
        let choices: Vec<u16> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as u16
        })
        .take(300)
        .collect();
        for kind in Kind::ALL {
            for version in Version::ALL {
                count += 1;
                allowed += usize::from(check(
                    kind,
                    version,
                    &object(kind, version, Taste::Sensible, &choices).value(),
                ));
            }
        }
    }
    assert!(allowed * 10 > count * 7, "{allowed} of {count}");
}
