//! The rules, through the webhook's own door: every code by its example, and tables of YAML cases beside this file.

#[path = "rules/codes.rs"]
mod codes;
mod review;
