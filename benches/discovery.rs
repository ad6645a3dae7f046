//! `make bench-discovery`: what one look at a source costs beside its calls: reading and deciding.
//!
//! In: part of a name, or nothing. Out: criterion's table. `read` is a ConfigMap of that many entries, `first` the plan
//! that makes them all, each judged by the rules, `again` the plan that finds them all as they are, `bomb` a text that is
//! made to be large.

// A program for a terminal, and broken by the first thing that goes wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::v1beta1::discovery::ProviderTemplate;
use mcp_hangar_operator::discovery::document::read;
use mcp_hangar_operator::discovery::found::{Origin, Scan};
use mcp_hangar_operator::discovery::merge::Maker;
use mcp_hangar_operator::discovery::plan::{Live, Plan, plan};
use mcp_hangar_operator::discovery::prune::{Memory, Moment};
use mcp_hangar_operator::discovery::source::{Filters, Place, Settings};
use mcp_hangar_webhooks::policy::Policy;

const COUNTS: [usize; 3] = [100, 1_000, 10_000];

fn text(count: usize) -> String {
    let entry = |n: usize| {
        format!(
            "  p{n}: {{image: 'r.example/p:{n}', env: [{{name: LOG_LEVEL, value: info}}], args: [--a, --b]}}\n"
        )
    };
    std::iter::once("providers:\n".to_owned()).chain((0..count).map(entry)).collect()
}

fn settings() -> Settings {
    Settings {
        place: Place::Map { namespace: "team".into(), name: "m".into(), key: "providers.yaml".into() },
        prunes: true,
        refresh: Duration::from_secs(60),
        paused: false,
        template: ProviderTemplate::default(),
        filters: Filters::default(),
        controller: true,
        blocks_deletion: false,
    }
}

fn look(scan: &Scan, lives: &BTreeMap<String, Live>) -> Plan {
    let (settings, policy) = (settings(), Policy::default());
    let maker = Maker {
        source: "s",
        namespace: "team",
        uid: "u",
        controller: true,
        template: &settings.template,
        policy: &policy,
    };
    let now = Moment { read: Timestamp::UNIX_EPOCH, passed: Duration::ZERO };
    plan(&maker, &settings, scan, lives, &mut Memory::default(), now)
}

fn lives(plan: &Plan) -> BTreeMap<String, Live> {
    let live = |object: &serde_json::Value| Live {
        uid: "1".into(),
        owner: Some("u".into()),
        annotations: serde_json::from_value(object["metadata"]["annotations"].clone()).unwrap(),
        spec: object["spec"].clone(),
        ..Live::default()
    };
    plan.creates.iter().map(|wish| (wish.name.clone(), live(&wish.object))).collect()
}

fn bomb() -> String {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(","));
    }
    text + "providers: *a11\n"
}

fn main() {
    let mut criterion =
        Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3)).configure_from_args();
    let mut group = criterion.benchmark_group("discovery");
    for count in COUNTS {
        let text = text(count);
        let mut scan = Scan::default();
        scan.take_map(&Origin::map("team", "m"), read(&text));
        assert_eq!((scan.found.len(), scan.faults.len()), (count, 0));
        let nobody = BTreeMap::new();
        let first = look(&scan, &nobody);
        assert_eq!(first.creates.len(), count);
        let lives = lives(&first);
        let again = look(&scan, &lives);
        assert_eq!((again.creates.len(), again.updates.len(), again.deletes.len()), (0, 0, 0));
        group.bench_with_input(BenchmarkId::new("read", count), &text, |b, text| {
            b.iter(|| read(black_box(text)))
        });
        group.bench_with_input(BenchmarkId::new("first", count), &scan, |b, scan| {
            b.iter(|| look(scan, &nobody))
        });
        group.bench_with_input(BenchmarkId::new("again", count), &scan, |b, scan| {
            b.iter(|| look(scan, &lives))
        });
    }
    let bomb = bomb();
    assert!(read(&bomb).is_err());
    group.bench_function("bomb", |b| b.iter(|| read(black_box(&bomb))));
    group.finish();
    criterion.final_summary();
}
