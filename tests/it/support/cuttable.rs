//! A way to a server that can be cut.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Carries connections to a port of this machine. Ends when this value is dropped.
pub(crate) struct Cuttable {
    pub(crate) port: u16,
    cut: Arc<Notify>,
    carrier: JoinHandle<()>,
}

impl Cuttable {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let cut = Arc::new(Notify::new());
        let notify = Arc::clone(&cut);
        let carrier = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let cut = Arc::clone(&notify);
                tokio::spawn(async move {
                    // While the server is away, the connection ends at once.
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        () = cut.notified() => {}
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self { port: own, cut, carrier }
    }

    /// Cuts every connection. What is on its way is lost.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        self.carrier.abort();
        self.cut();
    }
}
