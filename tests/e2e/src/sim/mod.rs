//! Helpers of the tests with simulated nodes: an operator that runs with the chart's rights, namespaces
//! to work in, and what the audit log says about both.

// Each of them fails when the cluster does not answer, or not as expected; the error tells which.
#![allow(clippy::missing_errors_doc)]

mod audit;
mod cloudnative;
mod epilogue;
mod essence;
mod metrics;
mod platform;
mod space;
mod stack;
mod values;
mod wait;

pub use audit::{Mark, describe};
pub use cloudnative::CloudNative;
pub use essence::{differences, essence};
pub use metrics::{Metrics, Numbers};
pub use platform::{
    backup, bucket_secret, cloudnative_database, database_secret, every_kind, own_database, platform,
};
pub use space::{Children, Propagation, Space, resource};
pub use stack::Stack;
pub use trading_testbed::chart::NAMESPACE;
pub use values::{at, merge, text};
pub use wait::{BRIEF, LONG, SETTLE, stays, wait_for};
