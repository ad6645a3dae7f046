//! What the operator tells the API server: defaulting, validation and conversion of the three kinds, and the HTTPS
//! server that answers with them.
//!
//! Everything but [`service`] and [`tls`] is pure: no clock, no network, no environment. There is no kube client here;
//! a rule that calls the cluster does not compile. What happened is reported through [`observer::Observer`].

pub mod admission;
pub mod conversion;
pub mod defaulting;
pub mod field;
pub mod json;
pub mod kind;
pub mod observer;
pub mod policy;
pub mod reply;
pub mod service;
pub mod tls;
pub mod validation;
