//! A migration against an API server that lives in memory and does what a real one does rarely: lists that expire,
//! writers that are faster, a CRD that changes meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::http::{Method, Request, Response};
use clap::Parser;
use kube::Client;
use kube::client::Body;

use super::*;
use crate::cli::{Cli, Command};
use crate::manifests::{Endpoint, VERSIONS};
use crate::metrics::Metrics;
use crate::version::Build;

const RESOURCE: &str = RESOURCES[0];

/// What happens to the next list that goes on with a token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expiry {
    /// 410, with a token to go on with.
    Offers,
    /// 410, and nothing else.
    StartsOver,
}

struct Server {
    page: usize,
    /// By key, as they are ordered in the store; with the answers to the next patches, 200 when there are no more.
    objects: BTreeMap<String, VecDeque<u16>>,
    patched: Vec<String>,
    lists: usize,
    expiry: Option<Expiry>,
    storage: &'static str,
    generation: i64,
    version: u64,
    note: Option<String>,
    stored: Vec<String>,
    /// Answers to the next patches of the status.
    shrinks: VecDeque<u16>,
    /// After so many patches the CRD becomes this: storage version and generation.
    turns: Option<(usize, &'static str, i64)>,
    /// The notes that were written.
    notes: Vec<Progress>,
}

impl Server {
    fn new(objects: usize) -> Self {
        Self {
            page: 2,
            objects: (0..objects).map(|n| (format!("a/{n}"), VecDeque::new())).collect(),
            patched: Vec::new(),
            lists: 0,
            expiry: None,
            storage: HUB,
            generation: 3,
            version: 1,
            note: None,
            stored: VERSIONS.map(str::to_owned).to_vec(),
            shrinks: VecDeque::new(),
            turns: None,
            notes: Vec::new(),
        }
    }

    fn answer(&mut self, method: &Method, path: &str, query: &str, body: &Value) -> (u16, Value) {
        let crd = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}", crd_name(RESOURCE));
        let ours = format!("/apis/mcp-hangar.io/v1beta1/{RESOURCE}");
        if path == crd && method == Method::GET {
            return (200, self.definition());
        }
        if path == crd {
            return self.annotate(body);
        }
        if path == format!("{crd}/status") {
            return self.shrink(body);
        }
        if path == ours {
            return self.list(query);
        }
        if let Some(rest) = path.strip_prefix("/apis/mcp-hangar.io/v1beta1/namespaces/") {
            let key = rest.replace(&format!("/{RESOURCE}/"), "/");
            return self.object(method, &key, body);
        }
        (404, json!({}))
    }

    fn definition(&self) -> Value {
        let versions =
            VERSIONS.map(|name| json!({"name": name, "served": true, "storage": name == self.storage}));
        let mut crd = json!({"metadata": {"resourceVersion": self.version.to_string(), "generation": self.generation},
            "spec": {"versions": versions}, "status": {"storedVersions": self.stored}});
        if let Some(note) = &self.note {
            crd["metadata"]["annotations"] = json!({ANNOTATION: note});
        }
        crd
    }

    fn annotate(&mut self, body: &Value) -> (u16, Value) {
        self.note = body["metadata"]["annotations"][ANNOTATION].as_str().map(str::to_owned);
        self.notes.extend(self.note.as_deref().and_then(Progress::read));
        self.version += 1;
        (200, json!({"metadata": {"name": crd_name(RESOURCE), "generation": self.generation}}))
    }

    fn shrink(&mut self, body: &Value) -> (u16, Value) {
        let code = self.shrinks.pop_front().unwrap_or(200);
        if code != 200 {
            self.version += 1;
            return (code, json!({}));
        }
        assert_eq!(body["metadata"]["resourceVersion"], self.version.to_string());
        self.stored = serde_json::from_value(body["status"]["storedVersions"].clone()).unwrap();
        (200, json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}}))
    }

    fn list(&mut self, query: &str) -> (u16, Value) {
        self.lists += 1;
        assert!(query.contains("limit=500"), "{query}");
        let token = query.split('&').find_map(|pair| pair.strip_prefix("continue="));
        let after = token.map(|token| token.replace("%2F", "/"));
        if after.is_some()
            && let Some(expiry) = self.expiry.take()
        {
            let token = (expiry == Expiry::Offers).then_some(after);
            return (410, json!({"metadata": {"continue": token}}));
        }
        let after = after.unwrap_or_default();
        let rest: Vec<&String> = self.objects.keys().filter(|key| **key > after).collect();
        let items: Vec<Value> = rest.iter().take(self.page).map(|key| metadata(key)).collect();
        let left = rest.len() - items.len();
        let next = (left > 0).then(|| rest[items.len() - 1]);
        let remaining = (left > 0).then_some(left);
        (200, json!({"metadata": {"continue": next, "remainingItemCount": remaining}, "items": items}))
    }

    fn object(&mut self, method: &Method, key: &str, body: &Value) -> (u16, Value) {
        if method == Method::GET {
            return (200, metadata(key));
        }
        assert_eq!(*body, json!({"metadata": {"resourceVersion": "7"}}), "it changes nothing");
        let code = self.objects.get_mut(key).and_then(VecDeque::pop_front).unwrap_or(200);
        self.patched.push(key.to_owned());
        if let Some((_, storage, generation)) = self.turns.take_if(|(count, ..)| *count == self.patched.len())
        {
            (self.storage, self.generation) = (storage, generation);
        }
        (code, metadata(key))
    }
}

fn metadata(key: &str) -> Value {
    let (namespace, name) = key.split_once('/').unwrap();
    json!({"metadata": {"namespace": namespace, "name": name, "resourceVersion": "7"}})
}

/// Runs one migration to its end.
async fn migrate(server: Server) -> (Result<(), ClusterError>, Server) {
    let server = Arc::new(Mutex::new(server));
    let shared = Arc::clone(&server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let shared = Arc::clone(&shared);
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            let (code, mut answer) = shared.lock().unwrap().answer(
                &parts.method,
                parts.uri.path(),
                parts.uri.query().unwrap_or_default(),
                &body,
            );
            if code >= 400 {
                let failure = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "R", "message": "no"});
                for (key, value) in failure.as_object().unwrap() {
                    answer[key] = value.clone();
                }
                if answer["metadata"]["continue"].is_null() {
                    answer["metadata"] = json!({});
                }
            }
            let answer = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, kube::Error>(answer.unwrap())
        }
    });
    let Command::Run(args) = Cli::parse_from(["mcp-hangar-operator", "run"]).command else { unreachable!() };
    let metrics = Arc::new(Metrics::new(&Build::current()).unwrap());
    let endpoint = Endpoint::default_service("mcp-system");
    let client = Client::new(service, "default");
    let ctx = Context::with_client(&args, client, "memory".into(), endpoint, metrics);
    let pace = Pace::new(1_000);
    let done = Migration { ctx: &ctx, resource: RESOURCE, pace: &pace }.run().await;
    drop(ctx);
    let mut server = server.lock().unwrap();
    (done, std::mem::replace(&mut *server, Server::new(0)))
}

fn keys(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("a/{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn writes_every_object_once_shrinks_the_list_and_leaves_no_note() {
    let (done, server) = migrate(Server::new(5)).await;
    done.unwrap();
    assert_eq!((server.patched, server.lists), (keys(0..5), 3));
    assert_eq!((server.stored, server.note), (vec![HUB.to_owned()], None));
    let places: Vec<(u64, &str)> = server.notes.iter().map(|note| (note.done, note.after.as_str())).collect();
    assert_eq!(places, [(2, "a/1"), (4, "a/3"), (5, "a/4")]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_expires_is_gone_on_with_and_nothing_is_written_twice() {
    for (expiry, lists) in [(Expiry::Offers, 4), (Expiry::StartsOver, 5)] {
        let (done, server) = migrate(Server { expiry: Some(expiry), ..Server::new(5) }).await;
        done.unwrap();
        assert_eq!((server.patched, server.lists), (keys(0..5), lists), "{expiry:?}");
        assert_eq!(server.stored, [HUB]);
    }
}

#[tokio::test(start_paused = true)]
async fn goes_on_behind_the_place_that_was_noted_and_tries_again_what_had_failed() {
    let mut note = Progress::new(HUB, 3);
    note.did("a/0");
    note.failed("a/1");
    note.did("a/2");
    let (done, server) = migrate(Server { note: Some(note.text()), ..Server::new(5) }).await;
    done.unwrap();
    assert_eq!(server.patched, keys([3, 4, 1]));
    // Written for another definition, it says nothing.
    let (done, server) = migrate(Server { note: Some(note.text()), generation: 4, ..Server::new(5) }).await;
    done.unwrap();
    assert_eq!(server.patched, keys(0..5));
}

#[tokio::test(start_paused = true)]
async fn who_was_faster_counts_and_an_api_server_that_is_away_is_waited_for() {
    let mut server = Server::new(5);
    for (key, answers) in [("a/0", vec![409]), ("a/1", vec![404]), ("a/2", vec![503, 429, 200])] {
        server.objects.insert(key.into(), answers.into());
    }
    let (done, server) = migrate(server).await;
    done.unwrap();
    assert_eq!(server.patched, keys([0, 1, 2, 2, 2, 3, 4]));
    assert_eq!(server.stored, [HUB]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_refused_is_noted_and_tried_again_behind_all_others() {
    for code in [422, 500, 403] {
        let mut server = Server::new(4);
        server.objects.insert("a/1".into(), vec![code, code].into());
        let (done, server) = migrate(server).await;
        done.unwrap();
        assert_eq!(server.patched, keys([0, 1, 2, 3, 1, 1]), "{code}");
        assert_eq!(server.notes[0].failed, ["a/1"]);
        assert_eq!(server.notes.last().unwrap().failed, [""; 0]);
        assert_eq!(server.stored, [HUB]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_changes_on_the_way_is_gone_on_with_while_it_stores_the_same_version() {
    let (done, server) = migrate(Server { turns: Some((3, HUB, 4)), ..Server::new(6) }).await;
    done.unwrap();
    assert_eq!((server.patched, server.stored), (keys(0..6), vec![HUB.to_owned()]));
    assert_eq!(server.notes.last().unwrap().generation, 4);

    let (done, server) = migrate(Server { turns: Some((3, "v1alpha1", 4)), ..Server::new(6) }).await;
    done.unwrap();
    assert_eq!(server.patched, keys(0..4), "it stops at the end of the page");
    assert_eq!((server.stored, server.note), (VERSIONS.map(str::to_owned).to_vec(), None));
}

#[tokio::test(start_paused = true)]
async fn the_list_shrinks_under_an_optimistic_lock() {
    let (done, server) = migrate(Server { shrinks: [409, 409].into(), ..Server::new(1) }).await;
    done.unwrap();
    assert_eq!((server.stored, server.note), (vec![HUB.to_owned()], None));
    // Somebody writes it all the time: the next attempt goes on from the note.
    let (done, server) = migrate(Server { shrinks: vec![409; ATTEMPTS].into(), ..Server::new(1) }).await;
    assert_eq!(done.unwrap_err().trouble(), Trouble::Conflict);
    assert_eq!(server.stored.len(), 2);
    assert!(server.note.is_some());
}

#[tokio::test(start_paused = true)]
async fn does_nothing_where_nothing_is_to_be_done() {
    for (stored, storage) in
        [(vec![HUB], HUB), (vec!["v1alpha1"], "v1alpha1"), (vec![HUB, "v1alpha1"], "v1alpha1")]
    {
        let stored: Vec<String> = stored.into_iter().map(str::to_owned).collect();
        let (done, server) = migrate(Server { stored: stored.clone(), storage, ..Server::new(3) }).await;
        done.unwrap();
        assert_eq!((server.lists, server.patched.len(), server.stored), (0, 0, stored));
    }
}

#[test]
fn turns_are_never_closer_than_the_rate_allows() {
    let start = Instant::now();
    let pace = Pace::new(20);
    assert_eq!(pace.take(start), Duration::ZERO);
    assert_eq!(pace.take(start), Duration::from_millis(50));
    assert_eq!(pace.take(start + Duration::from_millis(10)), Duration::from_millis(90));
    // Time in which nobody wrote is not saved up.
    let later = start + Duration::from_secs(60);
    assert_eq!(pace.take(later), Duration::ZERO);
    assert_eq!(pace.take(later), Duration::from_millis(50));
}

#[test]
fn an_event_is_worth_a_trouble_that_lasts_and_only_once() {
    let start = Instant::now();
    let mut spell = Spell::default();
    assert!(!spell.lasts(start));
    assert!(!spell.lasts(start + LASTS / 2));
    assert!(spell.lasts(start + LASTS));
    assert!(!spell.lasts(start + LASTS * 2));
}
