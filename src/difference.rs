//! What differs between the status that is stored and the one that should be.
//!
//! In: both, of any of our kinds. Out: their fields, those that differ, and the merge patch that writes these over one
//! version of the object. Whether that is worth a write is left to each kind.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Two statuses as JSON.
pub(crate) struct Difference {
    pub(crate) old: Map<String, Value>,
    pub(crate) new: Map<String, Value>,
    /// What differs as the new one has it; null for what it does not have any more.
    pub(crate) changed: Map<String, Value>,
}

impl Difference {
    /// Compares them; `None` where one is no object.
    pub(crate) fn between<T: Serialize>(old: &T, new: &T) -> Option<Self> {
        let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
            (serde_json::to_value(old), serde_json::to_value(new))
        else {
            return None;
        };
        let differs = new.iter().filter(|(name, value)| old.get(*name) != Some(*value));
        let mut changed: Map<String, Value> =
            differs.map(|(name, value)| (name.clone(), value.clone())).collect();
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        changed.extend(gone.map(|name| (name.clone(), Value::Null)));
        Some(Self { old, new, changed })
    }

    /// Writes what differs, unless somebody else has written since that version.
    pub(crate) fn patch(self, resource_version: &str) -> Value {
        json!({"metadata": {"resourceVersion": resource_version}, "status": self.changed})
    }
}
