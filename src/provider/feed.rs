//! The providers that the watches tell of: kept once, packed, for all controllers; and word of each change.
//!
//! In: the changes that the controller of providers hears. Out: the [`Roster`], which shows every provider as it is now,
//! and to each listener, in their order, the name of what has changed and once that everything has been listed. Who hears
//! of a provider opens it, or does not care and pays nothing for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::fetch::{Key, Known};
use super::pack::Packed;
use super::watch::Change;

/// Something about providers.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// It is there, is another than before, or is gone: the roster says which.
    Changed(Key),
    /// All that were there have been told.
    Listed,
}

/// Every provider as it is now.
#[derive(Default)]
pub(crate) struct Roster(Mutex<HashMap<Key, Packed>>);

/// Where providers are told to.
#[derive(Default)]
pub struct Feed {
    roster: Arc<Roster>,
    listeners: Vec<UnboundedSender<Heard>>,
    has_listed: AtomicBool,
}

/// Where they are heard.
pub struct Listener {
    news: UnboundedReceiver<Heard>,
    pub(crate) roster: Arc<Roster>,
}

impl Roster {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Packed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them, opened.
    pub(crate) fn open(&self, key: &Key) -> Option<Known> {
        self.all().get(key).and_then(|packed| Known::open(key, packed))
    }

    /// Who is in a namespace.
    pub(crate) fn of(&self, namespace: &str) -> Vec<Key> {
        self.all().keys().filter(|key| *key.namespace == *namespace).cloned().collect()
    }

    /// It is there, or is gone.
    pub(super) fn put(&self, key: &Key, found: Option<Packed>) {
        match found {
            Some(found) => self.all().insert(key.clone(), found),
            None => self.all().remove(key),
        };
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// An object as the API server sends it is there.
    #[cfg(test)]
    pub(crate) fn set(&self, object: &serde_json::Value) -> Key {
        use mcp_hangar_api::v1beta1::provider::MCPProvider;
        let parcel = serde_json::from_str::<super::pack::Parcel<MCPProvider>>(&object.to_string()).unwrap();
        let key = Key::of(&parcel);
        self.put(&key, Some(parcel.packed));
        key
    }
}

impl Feed {
    /// One more who listens, from the beginning on.
    pub fn listener(&mut self) -> Listener {
        let (sender, news) = unbounded_channel();
        self.listeners.push(sender);
        Listener { news, roster: Arc::clone(&self.roster) }
    }

    /// What is to be kept up to date before a change is told.
    pub(super) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    /// The provider that a change is about.
    pub(super) fn about(change: &Change) -> Option<Key> {
        match change {
            Change::Provider(key, _) => Some(key.clone()),
            _ => None,
        }
    }

    /// Passes on that it has changed.
    pub(super) fn changed(&self, key: Key) {
        self.send(&Heard::Changed(key));
    }

    /// All lists are there; said once.
    pub(super) fn listed(&self) {
        if !self.has_listed.swap(true, Ordering::Relaxed) {
            self.send(&Heard::Listed);
        }
    }

    fn send(&self, heard: &Heard) {
        for listener in &self.listeners {
            // Who does not listen any more has ended, and so do we.
            let _ = listener.send(heard.clone());
        }
    }
}

impl Listener {
    /// The next; `None` where nobody tells any more.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        self.news.recv().await
    }
}
