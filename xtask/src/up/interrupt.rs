//! Ctrl-C and SIGTERM end the task in order: the operator first, then the control plane.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// Comes true when the person wants to end it.
pub struct Interrupt(Receiver<()>);

impl Interrupt {
    pub fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            // The end of this thread closes the channel, and that is the message.
            drop(sender);
        });
        Ok(Self(receiver))
    }

    /// Waits, but not longer than until the interrupt comes; tells whether it came.
    pub fn wait(&self, time: Duration) -> bool {
        self.0.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }

    /// Whether it came.
    pub fn came(&self) -> bool {
        self.wait(Duration::ZERO)
    }
}
