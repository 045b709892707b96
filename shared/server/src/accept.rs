//! The accept loop: connections, their limits and their orderly end, in front of any HTTP service.
//!
//! tonic's own server leaves the time before the first byte, the length of a drain and the end of an old
//! connection unbounded, and sheds calls outside every layer of ours; this loop serves its routes without it.

mod activity;
mod coalesce;
mod heard;
mod limits;
mod preface;
mod slots;
mod stall;
mod tls;
mod turns;

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

use activity::Busy;
pub(crate) use coalesce::Coalesce;
use heard::Heard;
pub use limits::Limits;
use preface::Preface;
use slots::{Slot, Slots};
use stall::Streams;
pub use tls::{Acceptor, Tls};
use turns::{Crowded, Turns};

use crate::deadline;

/// Who is at the other end of a connection; an extension of every request that came over it.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The verified leaf certificate, when the listener demands one.
    pub certificate: Option<Arc<CertificateDer<'static>>>,
}

/// An extension of an answer that anybody gets, such as a health check's: the stream of one keeps no connection from
/// being idle, so that strangers hold no place with it.
#[derive(Clone, Copy, Debug)]
pub struct Public;

/// An extension of the answer to a call that was turned away because there are too many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnedAway;

impl Public {
    /// The most that a message of anybody holds: the name of a service, or of what reflection tells.
    pub const MESSAGE: usize = 1 << 10;

    /// What anybody is told, or that they took too long to ask.
    pub async fn answer<B: Default>(
        answer: impl Future<Output = http::Response<B>>,
    ) -> http::Response<B> {
        let late = |_| Status::deadline_exceeded("the request did not end in time").into_http();
        let answer = tokio::time::timeout(deadline::DEFAULT, answer).await;
        let mut response = answer.unwrap_or_else(late);
        response.extensions_mut().insert(Public);
        response
    }
}

/// Accept fails when file handles run out; a busy loop would then burn the core that could free them.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// What a connection gets that has to make room for another.
const ROOM: Duration = Duration::from_millis(250);

/// How many connections the kernel keeps until they are accepted. Of more it drops the last step of the handshake: who
/// says nothing then takes itself for connected, and nobody here knows of it. The 128 that are usual fill up in a burst.
const BACKLOG: u32 = 1024;

/// A listener at `address`.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `service` on `listener` until `stop`, then drains; answers how many connections had to be cut.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Arc<Acceptor>>,
    limits: Limits,
    service: S,
    stop: CancellationToken,
) -> usize
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let slots = Slots::new(limits.connections);
    let http = Arc::new(builder(&limits));
    let mut connections = JoinSet::new();
    let watching = tls.clone().map(|tls| tokio::spawn(tls.watch(stop.clone())));
    while let Some((stream, address, slot)) = next(&listener, &slots, &stop).await {
        let connection = Connection {
            http: http.clone(),
            tls: tls.clone(),
            limits: limits.clone(),
            stop: stop.clone(),
            slot,
            address,
        };
        let service = service.clone();
        connections.spawn(async move { Box::pin(connection.run(stream, service)).await });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if let Some(watching) = watching {
        watching.abort();
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, drained).await.is_ok() {
        return 0;
    }
    let aborted = connections.len();
    connections.shutdown().await;
    warn!(aborted, "connections cut at the end of the drain");
    aborted
}

/// The next connection and the slot it occupies, or `None` once stopped.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Slots>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Slot)> {
    let accepted = async {
        loop {
            match listener.accept().await {
                // A slot is sought for somebody who is there, so that nobody is sent away for nobody.
                Ok((stream, address)) => return (stream, address, slots.take().await),
                Err(err) => {
                    warn!(error = %err.kind(), "connection not accepted");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepted).await
}

fn builder(limits: &Limits) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams { limit: limits.stalled });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.http1_head)
        .max_buf_size(limits.header_list_bytes.max(8 * 1024) as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.keepalive)
        .keep_alive_timeout(limits.keepalive_answer)
        .max_concurrent_streams(limits.streams)
        .max_local_error_reset_streams(limits.local_error_resets)
        .max_pending_accept_reset_streams(limits.pending_accept_resets)
        .max_header_list_size(limits.header_list_bytes)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(limits.send_buffer_bytes);
    builder
}

/// What one connection's task holds.
struct Connection {
    http: Arc<auto::Builder<Streams>>,
    tls: Option<Arc<Acceptor>>,
    limits: Limits,
    stop: CancellationToken,
    slot: Slot,
    address: SocketAddr,
}

impl Connection {
    async fn run<S, B>(self, stream: TcpStream, service: S)
    where
        S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Nagle's algorithm costs a small call 40 ms; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            let peer = Peer { address: self.address, certificate: None };
            return self.http(stream, peer, service).await;
        };
        let handshake = timeout(self.limits.handshake, tls.accept(stream));
        let handshake = self.slot.leave.run_until_cancelled(handshake);
        match self.stop.run_until_cancelled(handshake).await.flatten() {
            Some(Ok(Ok(stream))) => {
                let certificate = tls::leaf(&stream).map(Arc::new);
                let peer = Peer { address: self.address, certificate };
                self.http(stream, peer, service).await;
            }
            Some(Ok(Err(err))) => debug!(error = %err.kind(), "tls handshake refused"),
            Some(Err(_)) => debug!("tls handshake timed out"),
            None => {}
        }
    }

    /// Serves until the peer leaves, then until age, silence or `stop` ends it: GOAWAY, grace, cut.
    async fn http<I, S, B>(&self, io: I, peer: Peer, service: S)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (calls, crowded) = (self.slot.activity.clone(), Crowded::default());
        let io = Turns::new(Preface::new(io, self.limits.handshake), crowded.clone());
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            let call = calls.begin();
            request.extensions_mut().insert(peer.clone());
            let request = match request.version() {
                Version::HTTP_2 => request.map(|body| Body::new(Heard::new(body))),
                _ => request.map(Body::new),
            };
            let answer = stall::noted(service.clone().oneshot(request));
            let crowded = crowded.clone();
            async move {
                answer.await.map(|response| {
                    if response.extensions().get::<TurnedAway>().is_some() {
                        crowded.tell();
                    }
                    let public = response.extensions().get::<Public>().is_some();
                    response.map(|body| Busy::new(body, (!public).then_some(call)))
                })
            }
        });
        let io = TokioIo::new(Coalesce::new(io));
        let mut connection = pin!(self.http.serve_connection(io, service));
        let grace = tokio::select! {
            _ = connection.as_mut() => return,
            () = sleep(jittered(self.limits.age)) => self.limits.grace,
            () = self.slot.activity.idle(self.limits.idle) => self.limits.grace,
            () = self.stop.cancelled() => self.limits.grace,
            () = self.slot.leave.cancelled() => self.limits.grace.min(ROOM),
        };
        connection.as_mut().graceful_shutdown();
        if timeout(grace, connection).await.is_err() {
            debug!("connection cut at the end of its grace");
        }
    }
}

/// `age` ± 10 %, so that connections made together by a restart do not end together.
fn jittered(age: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as u32;
    age.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}
