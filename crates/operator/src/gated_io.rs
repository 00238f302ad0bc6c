//! Connections that send nothing while the gate is closed. A request that was on its way when the
//! process was frozen ends here, not at the apiserver.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower::Service;

use crate::{client::NotLeader, gate::Gate};

/// Makes such connections.
#[derive(Clone)]
pub struct GatedConnector<C> {
    inner: C,
    gate: Gate,
}

impl<C> GatedConnector<C> {
    /// Over the connections of `inner`.
    pub fn new(inner: C, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

impl<C> Service<Uri> for GatedConnector<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = GatedIo<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let gate = self.gate.clone();
        Box::pin(async move { Ok(GatedIo { inner: connecting.await?, gate }) })
    }
}

/// One such connection.
pub struct GatedIo<T> {
    inner: T,
    gate: Gate,
}

impl<T> GatedIo<T> {
    fn check(&self) -> io::Result<()> {
        if self.gate.is_open() { Ok(()) } else { Err(io::Error::other(NotLeader)) }
    }
}

impl<T: Read + Unpin> Read for GatedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for GatedIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }
}

impl<T: Connection> Connection for GatedIo<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        time::{Duration, Instant},
    };

    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn bytes_leave_only_while_the_gate_is_open() -> io::Result<()> {
        let (here, mut there) = tokio::io::duplex(64);
        let gate = Gate::closed();
        let mut connection = GatedIo { inner: TokioIo::new(here), gate: gate.clone() };
        let mut write = async |bytes: &[u8]| {
            poll_fn(|context| Pin::new(&mut connection).poll_write(context, bytes)).await
        };
        assert!(write(b"early").await.is_err());
        gate.extend(Instant::now(), Duration::from_mins(1));
        assert_eq!(write(b"now").await?, 3);
        gate.close();
        assert!(write(b"late").await.is_err());
        drop(connection);
        let mut received = Vec::new();
        there.read_to_end(&mut received).await?;
        assert_eq!(received, b"now");
        Ok(())
    }
}
