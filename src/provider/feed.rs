//! What the watches tell of providers, passed on to the other controllers: one watch and one copy serve them all.
//!
//! In: the changes that the controller of providers hears. Out: the same to each listener, in their order: a provider
//! that is there, one that is gone, and once that everything has been listed. A listener takes them in at once; what
//! waits for it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::fetch::{Key, Known};
use super::watch::Change;

/// Something about a provider.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// It is there, like this.
    Is(Arc<Known>),
    /// It is not there any more.
    Gone(Key),
    /// All that were there have been told.
    Listed,
}

/// Where providers are told to.
///
/// What is kept of a provider is packed; here it is opened once for all who listen.
#[derive(Default)]
pub struct Feed {
    listeners: Vec<UnboundedSender<Heard>>,
    has_listed: AtomicBool,
}

/// Where they are heard.
pub struct Listener(UnboundedReceiver<Heard>);

impl Feed {
    /// One more who listens, from the beginning on.
    pub fn listener(&mut self) -> Listener {
        let (sender, receiver) = unbounded_channel();
        self.listeners.push(sender);
        Listener(receiver)
    }

    /// Passes a change on where it is about a provider.
    pub(super) fn tell(&self, change: &Change) {
        if let Change::Provider(key, found) = change {
            let known = found.as_ref().and_then(|packed| Known::open(key, packed));
            self.send(&known.map_or_else(|| Heard::Gone(key.clone()), |known| Heard::Is(Arc::new(known))));
        }
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
        self.0.recv().await
    }
}
