//! The rules, through the webhook's own door: every code by its example, tables of YAML cases beside this file, and
//! what holds of all answers.

#[path = "rules/codes.rs"]
mod codes;
mod review;
#[path = "rules/table.rs"]
mod table;
