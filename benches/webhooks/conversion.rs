//! Conversion in process against reading alone: the same review, skipped by serde_json without building anything.
//!
//! CPU time of this thread, in alternating rounds.

use std::hint::black_box;

use mcp_hangar_webhooks::conversion::review;
use mcp_hangar_webhooks::observer::Silent;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::cost::Cost;
use crate::report::{Report, Row, Spread};
use crate::reviews::{conversion_review, converted, provider, provider_beyond_v1alpha1};
use crate::server::stay_on_client_core;

const ROUNDS: usize = 40;
const CALLS: usize = 1000;
const MANY: usize = 10_000;

pub(crate) fn measure(report: &mut Report) {
    stay_on_client_core(true);
    let (beta, alpha) = (provider("v1beta1"), provider("v1alpha1"));
    let beyond = provider_beyond_v1alpha1();
    let stashed = converted(&beyond, "v1alpha1");
    report.heading(&format!(
        "conversion in process: a review of one object of {:.1} KiB, against skipping it (serde_json IgnoredAny)",
        beta.len() as f64 / 1024.0
    ));
    let cases = [
        ("v1alpha1 to v1beta1", conversion_review(&alpha, 1, "v1beta1"), true),
        ("v1beta1 to v1alpha1", conversion_review(&beta, 1, "v1alpha1"), true),
        ("v1alpha1 to v1beta1, with a stash", conversion_review(&stashed, 1, "v1beta1"), false),
        ("v1beta1 to v1alpha1, which needs a stash", conversion_review(&beyond, 1, "v1alpha1"), false),
    ];
    let (mut skipped, mut scanned) = (Vec::new(), Vec::new());
    for (name, body, has_goal) in &cases {
        let mut times = Vec::new();
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let reference = a_call(|| drop(black_box(serde_json::from_slice::<IgnoredAny>(body.as_bytes()))));
            let raw = a_call(|| drop(black_box(serde_json::from_slice::<&RawValue>(body.as_bytes()))));
            let time = a_call(|| drop(black_box(review(body.as_bytes(), &Silent))));
            skipped.push(reference);
            scanned.push(raw);
            times.push(time);
            ratios.push(time / reference);
        }
        let row = Row::new(*name, Spread::of(times).median, "µs").against(Spread::of(ratios));
        report.add(if *has_goal { row.ratio_goal("<= 3x", 3.0) } else { row });
    }
    report.add(Row::new("the reference: IgnoredAny", Spread::of(skipped).median, "µs"));
    report.add(Row::new("for comparison: RawValue", Spread::of(scanned).median, "µs"));
    for (name, object, to) in [
        ("v1alpha1 to v1beta1, 10,000 objects in one review", &alpha, "v1beta1"),
        ("v1beta1 to v1alpha1, 10,000 objects in one review", &beta, "v1alpha1"),
    ] {
        let body = conversion_review(object, MANY, to);
        let times = (0..7).map(|_| {
            let before = Cost::of_thread();
            drop(black_box(review(body.as_bytes(), &Silent)));
            (Cost::of_thread() - before).cpu as f64 / 1e6
        });
        report.add(Row::new(name, Spread::of(times).median, "ms").goal("< 100 ms", 100.0));
    }
    stay_on_client_core(false);
}

/// Microseconds of CPU for one call.
fn a_call(call: impl Fn()) -> f64 {
    let before = Cost::of_thread();
    (0..CALLS).for_each(|_| call());
    (Cost::of_thread() - before).cpu as f64 / CALLS as f64 / 1000.0
}
