//! Carries bytes between the broker and the client, through the [`Guard`].
//!
//! The client accepts only a TCP stream of its runtime. It therefore gets one end of a local socket
//! pair that is presented as a TCP stream. We hold the other end, with TLS behind it. That also
//! lets us hang up, and tells us why a connection ended.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use async_compat::Compat;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::guard::{Cuts, Guard};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// A connection that is being carried. Dropping this does not stop it; it ends when one side
/// closes.
pub(super) struct Relay {
    task: JoinHandle<()>,
    why: Arc<Mutex<Option<io::Error>>>,
    cuts: Cuts,
}

impl Relay {
    /// Starts to carry. Also returns the client's end.
    pub(super) fn start<S>(broker: S) -> io::Result<(Self, Compat<TcpStream>)>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let theirs = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(theirs)))?;
        let guard = Guard::default();
        let (why, cuts) = (Arc::new(Mutex::new(None)), guard.cuts());
        let reason = Arc::clone(&why);
        let task = tokio::spawn(async move {
            let (from_broker, to_broker) = tokio::io::split(broker);
            let (from_client, to_client) = ours.into_split();
            let ended = tokio::select! {
                ended = inward(guard, from_broker, to_client) => ended,
                ended = outward(from_client, to_broker) => ended,
            };
            // The reason is stored before the client can notice the end: its socket closes after
            // this.
            *reason.lock().unwrap_or_else(PoisonError::into_inner) = ended.err();
        });
        Ok((Self { task, why, cuts }, Compat::new(theirs)))
    }

    /// Ends the connection.
    pub(super) fn hang_up(&self) {
        self.task.abort();
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&mut self) {
        // The task's result does not matter.
        drop((&mut self.task).await);
    }

    /// Returns the error that ended the connection, once. `None` if one side just closed it.
    pub(super) fn why(&self) -> Option<io::Error> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn cuts(&self) -> Cuts {
        self.cuts.clone()
    }
}

async fn inward(mut guard: Guard, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let (mut read, mut passed) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    loop {
        // An incomplete rest is at most one frame, so the buffer is bounded.
        read.reserve(CHUNK);
        if from.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
        let mut used = 0;
        loop {
            let wrong = |e| io::Error::new(io::ErrorKind::InvalidData, e);
            match guard.pass(&read[used..], &mut passed).map_err(wrong)? {
                0 => break,
                frame => used += frame,
            }
        }
        read.drain(..used);
        to.write_all(&passed).await?;
        passed.clear();
    }
}

async fn outward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
