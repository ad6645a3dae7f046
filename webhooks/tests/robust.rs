//! Bytes that no API server sends, and objects that it may: no panic, an answer under the uid wherever there is one,
//! and whatever is let in can be read as the types that the controllers use.

#[path = "review/generate.rs"]
mod generate;
#[path = "robust/hostile.rs"]
mod hostile;
mod review;
#[path = "review/sensible.rs"]
mod sensible;
#[path = "robust/types.rs"]
mod types;
