//! Runs the built plugin: what it prints, where, and with which exit code.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

mod cost;
mod render;
mod status;
mod support;
mod validate;
