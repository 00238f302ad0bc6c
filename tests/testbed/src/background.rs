//! A Tokio runtime of our own, so that everything here can be called from tests with and without one.

use std::future::Future;
use std::sync::mpsc;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

#[derive(Debug)]
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start() -> Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("testbed").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs something to its end, blocking the caller.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, result) = mpsc::sync_channel(1);
        self.spawn(async move {
            // The receiver waits below.
            let _ = sender.send(work.await);
        })?;
        result.recv().context("the testbed's own task panicked")?
    }

    /// Runs something until the runtime is dropped.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        self.0.as_ref().context("the testbed's runtime has stopped")?.spawn(work);
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A plain drop would block, which is not allowed inside an asynchronous test.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
