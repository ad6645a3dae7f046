//! Looks at objects that run beside each other, and when the next is due.
//!
//! In: a look and the name of the object that it is about. Out: what came of it, with that name, also where the look
//! panicked. All of them end when this is dropped. How many may run, and which, is left to the keeper of the kind.

use std::collections::HashMap;
use std::time::Instant;

use tokio::task::{Id, JoinError, JoinSet};

use super::fetch::Key;

/// Looks that run.
pub(crate) struct Looks<T> {
    running: JoinSet<T>,
    /// Whom each is about.
    about: HashMap<Id, Key>,
}

impl<T> Default for Looks<T> {
    fn default() -> Self {
        Self { running: JoinSet::new(), about: HashMap::new() }
    }
}

impl<T: Send + 'static> Looks<T> {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    /// Begins one.
    pub(crate) fn begin(&mut self, key: Key, look: impl Future<Output = T> + Send + 'static) {
        let look = self.running.spawn(look);
        self.about.insert(look.id(), key);
    }

    /// The next that ends; `None` where none runs. Nothing is lost when this is dropped while it waits.
    pub(crate) async fn ended(&mut self) -> Option<(Key, Result<T, JoinError>)> {
        let (id, result) = match self.running.join_next_with_id().await? {
            Ok((id, done)) => (id, Ok(done)),
            Err(error) => (error.id(), Err(error)),
        };
        Some((self.about.remove(&id)?, result))
    }
}

/// Waits until then; without a time, for ever.
pub(crate) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whom_a_look_was_about_is_known_also_where_it_panicked() {
        let key = |name: &str| Key { namespace: "team".into(), name: name.into() };
        let mut looks: Looks<u8> = Looks::default();
        assert!(looks.ended().await.is_none());
        looks.begin(key("good"), async { 7 });
        looks.begin(key("bad"), async { panic!("no") });
        let mut all = Vec::new();
        while let Some((key, result)) = looks.ended().await {
            all.push((key.name.to_string(), result.ok()));
        }
        all.sort();
        assert_eq!(all, [("bad".to_owned(), None), ("good".to_owned(), Some(7))]);
        assert_eq!(looks.count(), 0);
    }
}
