//! A server that is known to be bad: hyper as tonic 0.14 sets it, with no limit of its own on anything.
use std::{convert::Infallible, net::SocketAddr, time::Duration};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{Status, body::Body};

/// The server, until it is dropped.
pub struct Unlimited {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Unlimited {
    pub async fn start() -> Unlimited {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, mut stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let graceful = GracefulShutdown::new();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = &mut stopped => break,
                };
                let Ok((stream, _)) = accepted else { continue };
                let answer = service_fn(async |_: http::Request<Incoming>| {
                    Ok::<_, Infallible>(
                        Status::unimplemented("nothing is here").into_http::<Body>(),
                    )
                });
                let mut http = http2::Builder::new(TokioExecutor::new());
                // tonic hands on what nobody set, and to hyper that means no limit.
                http.max_concurrent_streams(None).max_local_error_reset_streams(None);
                let connection = http.serve_connection(TokioIo::new(stream), answer);
                tokio::spawn(graceful.watch(connection));
            }
            graceful.shutdown().await;
        });
        Unlimited { address, stop: Some(stop), served }
    }

    /// Asks it to end, and says whether it did within `time`.
    pub async fn ends(mut self, time: Duration) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        timeout(time, &mut self.served).await.is_ok()
    }
}

impl Drop for Unlimited {
    fn drop(&mut self) {
        self.served.abort();
    }
}
