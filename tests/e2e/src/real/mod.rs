//! Helpers of the tests on real nodes: the operator as a pod, stand-ins for applications, and a ledger of
//! what the stores have acknowledged.

// Each of them fails when the cluster does not answer, or not as expected; the error tells which.
#![allow(clippy::missing_errors_doc)]

mod application;
mod failover;
mod ledger;
mod platform;
mod stage;
mod trial;
mod witness;

pub use application::Application;
pub use failover::{Fault, Round, WRITES_AGAIN, WRITES_AGAIN_IF_BUSY, primary, settled};
pub use ledger::{Ledger, Load, key, lost};
pub use platform::platform;
pub use stage::{Stage, rendered};
pub use trial::{Ledgers, Trial};
pub use witness::Witness;
