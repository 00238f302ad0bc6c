//! Platforms on real nodes: what runs, stores, fails and heals in containers. One cluster serves all tests, two or more of
//! which run side by side in namespaces of their own; those that take a node or the operator away run alone.
//! Runtimes have more than one thread: load goes on while a test waits for a program.

mod examples;
mod hindered;
mod postgres;
mod redis;
mod soak;
mod stores;
mod tls;

use std::sync::LazyLock;

use tokio::sync::RwLock;
use trading_e2e::real::Stage;

static STAGE: LazyLock<Stage> = LazyLock::new(|| Stage::start().expect("the stage is set"));

/// Taken for writing by what the other tests would feel.
static MACHINE: RwLock<()> = RwLock::const_new(());
