//! The operator: the only code of this project that talks to a cluster.
//!
//! [`cli`] reads the command line, [`run`] starts and ends the parts, [`trust`] keeps certificates and the objects that
//! carry them, [`health`] and [`metrics`] say how it goes. What reviews are answered with lives in
//! `mcp-hangar-webhooks`; the types and CRDs in `mcp-hangar-api`.

pub mod certs;
pub mod check;
pub mod cli;
pub mod context;
mod difference;
pub mod discovery;
pub mod exit;
pub mod group;
pub mod health;
pub mod leader;
pub mod logging;
pub mod manifests;
pub mod metrics;
pub mod migrate;
pub mod output;
pub mod partial;
pub mod permissions;
pub mod provider;
pub mod retry;
pub mod run;
mod stored;
pub mod trust;
pub mod version;
pub mod words;
