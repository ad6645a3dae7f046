//! `make bench-groups`: what one change of a provider costs, until it is known which groups it is about.
//!
//! In: part of a name, or nothing. Out: criterion's table. 10,000 providers and 500 groups unless a row says otherwise;
//! each number varies alone, so that one can read what the time follows: the groups that match, and neither those that
//! do not nor their members. `walk` is what asking every selector would take.

// A program for a terminal, and broken by the first thing that goes wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use mcp_hangar_operator::group::index::{Index, Labels};
use mcp_hangar_operator::group::selector::Selector;

const PROVIDERS: usize = 10_000;
const GROUPS: usize = 500;

/// A namespace full of both.
struct World {
    index: Index,
    selectors: Vec<Selector>,
}

/// As people label: what all have, whose it is, and what decides.
fn labels(shard: usize) -> Labels {
    let pairs = [
        ("app.kubernetes.io/part-of", "tools".to_owned()),
        ("team", format!("team-{}", shard % 7)),
        ("tier", ["gold", "silver"][shard % 2].to_owned()),
        ("shard", format!("s{shard}")),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl World {
    /// Providers in as many shards as there are groups that differ: each shard is selected by `matching` groups.
    fn new(providers: usize, groups: usize, matching: usize) -> Self {
        let shards = groups / matching;
        let mut index = Index::default();
        for n in 0..providers {
            index.provider("x", &format!("p{n}"), Some(&labels(n % shards)));
        }
        let mut selectors = Vec::new();
        for n in 0..groups {
            let exact = BTreeMap::from([
                ("app.kubernetes.io/part-of".to_owned(), "tools".to_owned()),
                ("shard".to_owned(), format!("s{}", n % shards)),
            ]);
            let selector = LabelSelector { match_labels: Some(exact), match_expressions: None };
            let selector = Selector::of(&selector).unwrap();
            index.group("x", &format!("g{n}"), Some(selector.clone()));
            selectors.push(selector);
        }
        index.settle();
        assert_eq!(index.provider("x", "p0", Some(&labels(0))).stays.len(), matching);
        Self { index, selectors }
    }
}

/// A provider changes its labels: it leaves all of its groups and joins as many others, and back.
fn relabel(world: &mut World) {
    for shard in [1, 0] {
        let touched = world.index.provider("x", "p0", Some(&labels(shard)));
        assert_eq!(touched.left.len(), touched.joined.len());
        black_box(touched);
    }
}

/// A provider changes in another way, such as its state.
fn change(world: &mut World, same: &Labels) {
    black_box(world.index.provider("x", "p0", Some(same)));
}

fn rows(criterion: &mut Criterion) {
    for (name, worlds) in [
        ("groups that match", [1, 5, 25, 125].map(|n| (n, (PROVIDERS, GROUPS, n)))),
        ("groups in all", [50, 500, 2_500, 5_000].map(|n| (n, (PROVIDERS, n, 1)))),
        ("members of a group", [2, 20, 100, 200].map(|n| (n, (n * GROUPS, GROUPS, 1)))),
    ] {
        let mut group = criterion.benchmark_group(name);
        for (n, (providers, groups, matching)) in worlds {
            let mut world = World::new(providers, groups, matching);
            let same = labels(0);
            group.bench_with_input(BenchmarkId::new("change", n), &n, |bencher, _| {
                bencher.iter(|| change(&mut world, &same));
            });
            group.bench_with_input(BenchmarkId::new("relabel, twice", n), &n, |bencher, _| {
                bencher.iter(|| relabel(&mut world));
            });
        }
        group.finish();
    }
    let world = World::new(PROVIDERS, GROUPS, 1);
    let own = labels(0);
    let mut group = criterion.benchmark_group("walk");
    group.bench_function(BenchmarkId::new("every selector", GROUPS), |bencher| {
        bencher
            .iter(|| black_box(world.selectors.iter().filter(|selector| selector.matches_all(&own)).count()));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_000))
        .configure_from_args();
    rows(&mut criterion);
    criterion.final_summary();
}
