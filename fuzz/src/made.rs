//! Objects made from the CRDs' own schemas, with the fuzzer's bytes as the tape of choices: every input is an object, and
//! most reach deep into the rules.

use crate::admitting::judge;
use crate::converting::round_trip;
use crate::generate::{Node, Taste, object, odd_values};
use crate::input::choose;

/// One byte for kind, version and policy, one for the taste, two for the odd value and its place, then the tape.
pub fn generated(data: &[u8]) {
    let Some((choice, rest)) = choose(data) else { return };
    let Some(([taste, place, odd], tape)) = rest.split_first_chunk() else { return };
    let taste = match taste % 3 {
        0 => Taste::Wild,
        _ if taste % 3 == 1 => Taste::Sensible,
        _ => return with_something_odd(&choice, *place, *odd, tape),
    };
    check(&choice, &object(choice.kind, choice.version, taste, &choices(tape)));
}

fn choices(tape: &[u8]) -> Vec<u16> {
    // One byte a choice: no schema has more than 256 properties in one place.
    tape.iter().map(|byte| u16::from(*byte)).collect()
}

fn with_something_odd(choice: &crate::input::Choice, place: u8, odd: u8, tape: &[u8]) {
    let mut whole = object(choice.kind, choice.version, Taste::Sensible, &choices(tape));
    let mut leaves = Vec::new();
    for (key, value) in whole.members() {
        if key == "spec" {
            collect(value, &mut leaves);
        }
    }
    let odd_values: Vec<Node> = odd_values().collect();
    let count = leaves.len().max(1);
    if let (Some(leaf), Some(odd)) = (
        leaves.into_iter().nth(usize::from(place) % count),
        odd_values.get(usize::from(odd) % odd_values.len()),
    ) {
        *leaf = odd.clone();
    }
    check(choice, &whole);
}

fn check(choice: &crate::input::Choice, object: &Node) {
    let text = object.write(0);
    round_trip(choice.kind, choice.version, &text);
    judge(choice.kind, choice.version, &text, None, &choice.policy());
}

/// Leaves, and blocks that hold none.
fn collect<'n>(node: &'n mut Node, leaves: &mut Vec<&'n mut Node>) {
    let is_leaf = match node {
        Node::Map(members) => members.is_empty(),
        Node::List(items) => items.is_empty(),
        Node::Raw(_) => true,
    };
    match node {
        leaf if is_leaf => leaves.push(leaf),
        Node::Map(members) => members.iter_mut().for_each(|(_, value)| collect(value, leaves)),
        Node::List(items) => items.iter_mut().for_each(|item| collect(item, leaves)),
        Node::Raw(_) => {}
    }
}
