//! Blocks and statuses that are word for word the same in both versions, defined once.
//!
//! Each version re-exports what it uses, so that everybody else imports from a version. A block that has to change in
//! the hub moves into [`crate::v1beta1`]; what stays here is what [`crate::v1alpha1`] was frozen with.

pub mod discovery;
pub mod group;
pub mod pod;
pub mod provider;

/// Items that a status list takes (tools, members, discovered providers); a writer cuts longer ones.
pub const STATUS_ITEMS: usize = crate::bound::MANY;

/// Characters that a message or error in a status takes; a writer cuts longer ones.
pub const STATUS_TEXT: usize = 32_768;
