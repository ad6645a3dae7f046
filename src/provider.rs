//! MCPProvider: what is observed of a provider, and what follows.
//!
//! [`state`] decides, as a pure function of observations and time; [`build`] makes the objects that run a container;
//! [`conditions`] says how it goes and what to do next; [`probe`] asks a server whether it speaks MCP.

pub mod build;
pub mod conditions;
pub mod probe;
pub mod state;
