//! A real Kubernetes control plane for tests, without downloads of binaries.
//!
//! [`Programs`] finds or builds the programs, [`ControlPlane`] runs them on free ports of 127.0.0.1 and
//! removes every trace when it is dropped, and [`Operator`] runs the operator under test beside it, to
//! be killed, frozen and measured.
//!
//! Starting takes a few seconds, so a test binary shares one:
//!
//! ```no_run
//! use std::sync::LazyLock;
//! use trading_testbed::{ControlPlane, Options};
//!
//! static CLUSTER: LazyLock<ControlPlane> =
//!     LazyLock::new(|| ControlPlane::start(Options::simulated(9)).expect("control plane"));
//! ```
//!
//! A `static` is never dropped; the processes and files of such a control plane still end with the test
//! binary, because a watchdog outside it sees it go (see `workdir`). Ask for a [`ControlPlane::client`]
//! in every test: a client lives only as long as the runtime that made it.

pub mod audit;

mod background;
mod cargo;
mod certificates;
pub mod chart;
mod component;
mod control_plane;
mod documents;
mod go;
mod kubeconfig;
mod kubectl;
mod launch;
pub mod module;
mod nodes;
mod operator;
mod options;
mod ports;
mod programs;
mod progress;
mod quantity;
pub mod real;
mod release;
mod spawn;
mod storage;
mod tool;
mod workdir;

pub use cargo::{cargo, workspace_binary};
pub use control_plane::{Aggregated, ControlPlane};
pub use documents::documents;
pub use kubectl::Kubectl;
pub use operator::{Operator, OperatorConfig};
pub use options::Options;
pub use programs::{Program, Programs};
pub use progress::Progress;
pub use release::Release;
pub use tool::Tool;
