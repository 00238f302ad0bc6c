//! The `TradingPlatform` kind: every field that a user writes or reads, and the rules that the
//! apiserver enforces on them. Types and schema only: no defaults, no decisions, no I/O.

pub mod autoscaling;
pub mod backup;
pub mod component;
pub mod deletion;
pub mod env;
pub mod image;
pub mod ingress;
pub mod int_or_percent;
pub mod labels;
pub mod mesh;
pub mod monitoring;
pub mod names;
pub mod network;
pub mod placement;
pub mod platform;
pub mod postgres;
pub mod probe;
pub mod quantity;
pub mod redis;
pub mod runtime;
pub mod scheduling;
pub mod schema;
pub mod secrets;
pub mod status;

pub use platform::{TradingPlatform, TradingPlatformSpec};
pub use quantity::Quantity;

/// API group of every kind defined here.
pub const GROUP: &str = "platform.trading";
