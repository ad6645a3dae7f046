//! Wire types of the API group `mcp-hangar.io`: three kinds in two versions, and the CRDs made from them.
//!
//! What comes in and goes out is JSON as the API server stores it. [`v1alpha1`] is frozen, [`v1beta1`] is the stored
//! version and the only one that rules and controllers see; blocks that are the same in both live once, in [`shape`].
//! Every bound is in the schema ([`crd::crds`]). Rules, conversion and defaults are left to other crates: nothing
//! here judges, fills or calls anything.

pub mod annotation;
mod bound;
pub mod condition;
pub mod crd;
pub mod duration;
mod lenient;
pub mod quantity;
pub mod shape;
pub mod v1alpha1;
pub mod v1beta1;

/// The API group of every kind here.
pub const GROUP: &str = "mcp-hangar.io";

/// The finalizer, set only where something outside ownership must be cleaned.
pub const FINALIZER: &str = "mcp-hangar.io/finalizer";

/// The label that carries a provider's name on everything made for it.
pub const PROVIDER_LABEL: &str = "mcp-hangar.io/provider";
