//! A source in a [`World`] of faults, restarts in the middle of everything and edits between any two of its steps.
//!
//! In: generated sequences. Proven: nothing that was in the source from the beginning of the scan to the deletion is
//! deleted, not even while it moves to another place; nothing that the scan before has seen and whose whole place was away
//! for less than the interval; nothing of anybody else; and once all is calm, exactly what is in the source is there.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::world::{Bug, Fault, NAMES, PLACES, Step, World};

/// Sequences, where the variable SEQUENCES names no other number.
const SEQUENCES: u32 = 1024;

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        20 => Just(Fault::None), 1 => Just(Fault::Fails), 1 => Just(Fault::Partial), 1 => Just(Fault::Garbled)];
    let (place, name) = (0..PLACES.len(), 0..NAMES.len());
    prop_oneof![
        30 => fault.prop_map(Step::Operate),
        12 => Just(Step::Look),
        1 => Just(Step::Restart),
        3 => (1..90i64).prop_map(Step::Wait),
        1 => (-90..90i64).prop_map(Step::Clock),
        6 => (place.clone(), name.clone(), 0..2u8).prop_map(|(place, name, image)| Step::Add(place, name, image)),
        4 => (place.clone(), name.clone()).prop_map(|(place, name)| Step::Remove(place, name)),
        4 => (place.clone(), name.clone()).prop_map(|(place, name)| Step::Move(place, name)),
        1 => place.clone().prop_map(Step::DropMap),
        2 => place.clone().prop_map(Step::Relabel),
        1 => place.clone().prop_map(Step::NamespaceGone),
        2 => place.clone().prop_map(Step::NamespaceBack),
        1 => prop::option::weighted(0.3, place).prop_map(Step::Narrow),
        1 => prop::bool::weighted(0.8).prop_map(Step::Prunes),
        1 => prop::bool::weighted(0.3).prop_map(Step::Pause),
        1 => prop::bool::weighted(0.3).prop_map(Step::Spoil),
        1 => prop::option::weighted(0.4, name.clone()).prop_map(Step::Exclude),
        1 => prop::option::weighted(0.5, 1..5usize).prop_map(Step::Most),
        1 => any::<bool>().prop_map(Step::Recreate),
        1 => Just(Step::Collect),
        1 => name.clone().prop_map(Step::Foreign),
        1 => name.clone().prop_map(Step::Scribble),
        1 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Copy(from, to)),
        1 => name.prop_map(Step::Delete),
    ]
}

#[test]
fn nothing_that_is_in_the_source_is_ever_deleted_and_what_left_is_deleted_in_the_end() {
    let (deleted, steps) = (Cell::new(0), Cell::new(0));
    let count = std::env::var("SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(SEQUENCES);
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&prop::collection::vec(step(), 1..160), |sequence| {
        deleted.set(deleted.get() + lived(None, &sequence));
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

/// How many providers are deleted in such a life.
fn lived(bug: Option<Bug>, sequence: &[Step]) -> usize {
    let mut world = World::new();
    world.bug = bug;
    sequence.iter().for_each(|step| world.happen(step));
    world.calm_down();
    world.deleted
}

/// The same at every point of two looks: `a` and `c` in the first place, `d` in the second, then these, then much time.
fn at_every_point(before: &[Step], then: &[Step]) -> Vec<Vec<Step>> {
    let begin = [Step::Add(0, 0, 0), Step::Add(0, 3, 0), Step::Add(1, 4, 0), Step::Look, Step::Look];
    let sequence = |count: usize| {
        let operate = vec![Step::Operate(Fault::None); count];
        [&begin[..], before, &operate, then, &[Step::Look, Step::Look]].concat()
    };
    (0..20).map(sequence).collect()
}

#[test]
fn this_world_notices_every_bug_that_is_planted() {
    let partial = vec![Step::Operate(Fault::Partial); 30];
    let mut unnoticed = Vec::new();
    for (bug, before, then, expected) in [
        (Bug::IgnoresFaults, vec![], partial, "deleted after a fault"),
        (Bug::TrustsOneScan, vec![], vec![Step::Move(0, 0)], "is in the source and is deleted"),
        (Bug::IgnoresPlaces, vec![], vec![Step::Relabel(1)], "away with its place"),
        (Bug::IgnoresPlaces, vec![], vec![Step::DropMap(1)], "away with its place"),
        (Bug::WaitsForNothing, vec![], vec![Step::NamespaceGone(1)], "away with its place"),
        (
            Bug::TrustsTheClock,
            vec![Step::Relabel(1), Step::Look],
            vec![Step::Clock(90)],
            "away with its place",
        ),
        (
            Bug::IgnoresSight,
            vec![],
            vec![Step::Narrow(Some(1)), Step::Look, Step::Wait(61)],
            "where it was found",
        ),
        (Bug::AdoptsCopies, vec![], vec![Step::Copy(0, 1)], "a copy is deleted"),
        (Bug::IgnoresEdits, vec![Step::Remove(0, 3)], vec![Step::Pause(true)], "after the spec was edited"),
        (Bug::DeletesNothing, vec![Step::Remove(0, 3)], vec![], "is not what is there"),
    ] {
        let sequences = at_every_point(&before, &then);
        let says: Vec<String> = sequences
            .iter()
            .filter_map(|sequence| {
                lived(None, sequence);
                let found = std::panic::catch_unwind(|| lived(Some(bug), sequence)).err()?;
                found
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| Some((*found.downcast_ref::<&str>()?).into()))
            })
            .collect();
        if !says.iter().any(|says| says.contains(expected)) {
            unnoticed.push((bug, says));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

/// A whole look, and more.
fn look(world: &mut World, fault: Fault) {
    (0..12).for_each(|_| world.happen(&Step::Operate(fault)));
}

#[test]
#[should_panic(expected = "is in the source and is deleted")]
fn this_world_notices_a_list_that_is_cut_and_does_not_say_so() {
    let mut world = World::new();
    world.happen(&Step::Add(0, 0, 0));
    world.happen(&Step::Add(0, 1, 0));
    look(&mut world, Fault::None);
    assert_eq!(world.providers.len(), 2);
    look(&mut world, Fault::Silent);
    look(&mut world, Fault::Silent);
}

#[test]
fn what_moves_to_another_place_in_the_middle_of_a_scan_is_taken_along() {
    let mut world = World::new();
    world.happen(&Step::Add(1, 0, 0));
    world.happen(&Step::Add(1, 1, 0));
    world.happen(&Step::Look);
    let uid = world.providers["a"].uid.clone();
    for read in 0..8 {
        (0..read).for_each(|_| world.happen(&Step::Operate(Fault::None)));
        for (from, to) in [(1, 2), (2, 0), (0, 1)] {
            world.happen(&Step::Move(from, 0));
            world.happen(&Step::Look);
            assert_eq!(world.providers["a"].uid, uid, "after {read} steps, from {from} to {to}");
        }
    }
    assert_eq!(world.deleted, 0);
}
