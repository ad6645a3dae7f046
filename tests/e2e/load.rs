//! Calls that go on while something happens: dry-run creates through admission and conversion, each of which must work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::api::{Api, Reply};
use crate::cluster::eventually;

/// Calls by several threads until [`Load::end`].
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts calling, and waits for the first answers.
    pub(crate) fn start(kubeconfig: &Path, threads: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let worker = |_| {
            let (stop, done, api) = (Arc::clone(&stop), Arc::clone(&done), Api::connect(kubeconfig, "admin"));
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    // The object is stored in another version than it is sent in: conversion is called as well.
                    failures.extend(failure(&call(&api, "container"), 201, ""));
                    failures.extend(failure(&call(&api, "contaner"), 422, "[HGR102]"));
                    done.fetch_add(2, Ordering::Relaxed);
                }
                failures
            })
        };
        let workers = (0..threads).map(worker).collect();
        let load = Self { stop, done, workers };
        load.goes_on();
        load
    }

    /// Waits for twenty more calls.
    pub(crate) fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        eventually("calls are made", Duration::from_secs(30), || {
            (self.done.load(Ordering::Relaxed) >= before + 20).then_some(())
        });
    }

    /// Ends the calls; none may have failed. Returns how many there were.
    #[track_caller]
    pub(crate) fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let failures: Vec<String> =
            self.workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        let done = self.done.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{} of {done} calls failed, first: {:#?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        done
    }
}

fn call(api: &Api, mode: &str) -> Reply {
    api.create_dry(&json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
        "metadata": {"generateName": "load-", "namespace": "default"}, "spec": {"mode": mode, "image": "acme/tools:1"}}))
}

fn failure(reply: &Reply, code: u16, words: &str) -> Option<String> {
    let right = reply.code == code && reply.message().contains(words);
    (!right).then(|| format!("{}: {}", reply.code, reply.message()))
}
