//! From a `TradingPlatform` to the objects, steps and status it becomes.
//!
//! Pure: no clock, no network, no environment. The time, the live state and everything else that
//! is not in the resource come in as [`inputs::Inputs`] or [`step::Observed`].

pub mod add_ons;
pub mod admission;
pub mod amount;
pub mod certificate;
pub mod cnpg;
pub mod cost;
pub mod credentials;
pub mod digest;
pub mod fields;
pub mod finalizer_policy;
pub mod growth;
pub mod hindrance;
pub mod inputs;
pub mod kinds;
pub mod leaving;
pub mod members;
pub mod object;
pub mod plan;
pub mod postgres_parameters;
pub mod preflight;
pub mod problem;
pub mod rbac;
pub mod redis_password;
pub mod render;
pub mod replacing;
pub mod resolve;
pub mod status;
pub mod step;
pub mod storage;
pub mod teardown;
pub mod tls;
pub mod told;
