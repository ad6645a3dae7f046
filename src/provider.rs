//! MCPProvider: what is observed of a provider, and what follows.
//!
//! [`state`] decides, as a pure function of observations and time.

pub mod state;
