//! One place of a peer: the connections to it, and whether it is worth another try.
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Uri;
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http2::{Builder, SendRequest},
    },
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use super::replay::Attempt;
use crate::{accept::Coalesce, lasting::Lasting, tls::Connector};

/// How long a peer may take to accept a connection, its TLS handshake included.
const CONNECT: Duration = Duration::from_secs(3);

/// Together they find a peer that is gone without a word within 15 s.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);

/// Calls on one connection from which another is made: a listener of ours takes 100.
const CROWDED: usize = 90;

/// Connections to one place.
const MOST: usize = 16;

/// Calls in a row that nobody answered, after which others go elsewhere.
const SILENCE: u32 = 7;

/// How old a call is at least when it is taken back from connections that are shared, so that its peer has seen it.
const SEEN: Duration = Duration::from_millis(100);

/// How long a peer has for its answer before it counts that nobody waited for it: whoever hangs up sooner, again and
/// again, says nothing of the peer.
const FAIR: Duration = Duration::from_secs(1);

/// What the first failure costs; doubled by each that follows, up to the last.
const REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// What a peer was called in the settings.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) origin: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(Arc<Connector>, ServerName<'static>)>,
}

/// One address of a name.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: Arc<Name>,
    pub(super) address: SocketAddr,
    /// Whether callers who know nothing of each other share its connections.
    shared: bool,
    lines: Lines,
    connecting: tokio::sync::Mutex<()>,
    calls: Arc<AtomicUsize>,
    silent: AtomicU32,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    failed: Option<Instant>,
    until: Option<Instant>,
    /// Whether the last failure took its time, as of one behind a dead network: then nobody waits to see another.
    slow: bool,
}

/// One connection.
///
/// What is handed to one in the moment in which it ends can stay in the queue between, and is given back only when
/// nobody can hand it anything more. So no call keeps its line, and a connection that ends takes itself off the list.
#[derive(Clone, Debug)]
pub(super) struct Line {
    send: SendRequest<Attempt>,
    calls: Arc<AtomicUsize>,
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

/// What became of a request.
pub(super) type Sent = Result<http::Response<Incoming>, TrySendError<http::Request<Attempt>>>;

/// Whether a place is to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Good,
    /// It failed a moment ago, and costs little to ask again.
    Poor,
    /// It failed, slowly.
    Out,
}

impl Place {
    pub(super) fn new(name: Arc<Name>, address: SocketAddr, shared: bool) -> Self {
        Place {
            name,
            address,
            shared,
            lines: Lines::default(),
            connecting: tokio::sync::Mutex::default(),
            calls: Arc::default(),
            silent: AtomicU32::new(0),
            health: Mutex::default(),
        }
    }

    /// Calls under way.
    pub(super) fn load(&self) -> usize {
        self.calls.load(Relaxed)
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        let health = self.health();
        match health.until {
            Some(until) if until > now && health.slow => Standing::Out,
            Some(until) if until > now => Standing::Poor,
            _ => Standing::Good,
        }
    }

    /// A connection with room, made where there is none; nothing where none can be made.
    pub(super) async fn line(&self) -> Option<Line> {
        let began = Instant::now();
        let crowded = match self.open() {
            Some(line) if line.calls.load(Relaxed) < CROWDED => return Some(line),
            crowded => crowded,
        };
        if let Some(line) = crowded {
            // Somebody is about to relieve it, or it must do.
            let Ok(_turn) = self.connecting.try_lock() else { return Some(line) };
            return if self.lines.all().len() < MOST { self.connect().await } else { Some(line) };
        }
        let _turn = self.connecting.lock().await;
        if let Some(line) = self.open() {
            return Some(line);
        }
        // Whoever was first tried for everybody who waited.
        if self.health().failed.is_some_and(|failed| failed >= began) {
            return None;
        }
        self.connect().await
    }

    fn open(&self) -> Option<Line> {
        let mut lines = self.lines.all();
        lines.retain(|line| !line.send.is_closed());
        lines.iter().min_by_key(|line| line.calls.load(Relaxed)).cloned()
    }

    async fn connect(&self) -> Option<Line> {
        let failed = match timeout(CONNECT, self.dial()).await {
            Ok(Ok(line)) => {
                self.lines.all().push(line.clone());
                return Some(line);
            }
            Ok(Err(error)) => {
                // Addresses of our network are for the log.
                debug!(address = %self.address, error = %error, "a peer does not accept connections");
                false
            }
            Err(_late) => true,
        };
        self.failed(failed);
        None
    }

    async fn dial(&self) -> anyhow::Result<Line> {
        let stream = TcpStream::connect(self.address).await?;
        // Nagle's algorithm costs a small call 40 ms; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let send = match &self.name.tls {
            None => self.handshake(stream).await?,
            Some((connector, name)) => {
                let tls = connector.current().connect(name.clone(), stream).await?;
                self.handshake(tls).await?
            }
        };
        Ok(Line { send, calls: Arc::default() })
    }

    async fn handshake<I>(&self, io: I) -> hyper::Result<SendRequest<Attempt>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(Coalesce::new(io)))
            .await?;
        // A line on the list keeps its connection, so this must not keep the list.
        let lines = Arc::downgrade(&self.lines.0);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(error = %error, "a connection to a peer ended");
            }
            if let Some(lines) = lines.upgrade() {
                Lines(lines).all().retain(|line| !line.send.is_closed());
            }
        });
        Ok(send)
    }

    /// Sends `request` over `line`.
    pub(super) fn send(self: &Arc<Self>, line: Line, request: http::Request<Attempt>) -> Pending {
        let Line { mut send, calls } = line;
        self.calls.fetch_add(1, Relaxed);
        calls.fetch_add(1, Relaxed);
        let (place, began) = (self.clone(), Instant::now());
        let call = Call { place, line: calls, began, answered: false };
        Pending(Some((call, Box::pin(send.try_send_request(request)))))
    }

    /// It broke a connection, or refused one.
    pub(super) fn failed(&self, slow: bool) {
        let failures = {
            let now = Instant::now();
            let mut health = self.health();
            health.failures += 1;
            let rest = (REST * (1 << (health.failures - 1).min(10))).min(LONGEST_REST);
            health.failed = Some(now);
            health.until = Some(now + rest);
            health.slow = slow;
            health.failures
        };
        if failures == 1 {
            warn!(address = %self.address, "a peer is not reachable");
        }
    }

    fn answered(&self) {
        self.silent.store(0, Relaxed);
        let mut health = self.health();
        if health.failures > 0 {
            *health = Health::default();
        }
    }

    fn unanswered(&self) {
        if self.silent.fetch_add(1, Relaxed) + 1 >= SILENCE {
            self.silent.store(0, Relaxed);
            self.failed(true);
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn all(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was sent and that its peer has not answered.
///
/// Where others share the connection, whoever leaves before it is [`SEEN`] leaves it behind until then. To take calls
/// back that a peer has not yet looked at is how some attack, for which a peer ends the connection, and everybody's
/// calls on it.
pub(super) struct Pending(Option<(Call, Sending)>);

type Sending = Pin<Box<dyn Future<Output = Sent> + Send>>;

impl Future for Pending {
    type Output = (Call, Sent);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((_, sent)) = &mut self.0 else { return Poll::Pending };
        let sent = ready!(sent.as_mut().poll(cx));
        self.0.take().map_or(Poll::Pending, |(call, _)| Poll::Ready((call, sent)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some((call, sent)) = self.0.take() else { return };
        let left = SEEN.saturating_sub(call.began.elapsed());
        let Ok(runtime) = Handle::try_current() else { return };
        if !call.place.shared || left.is_zero() {
            return;
        }
        runtime.spawn(async move {
            match timeout(left, sent).await {
                Ok(Ok(response)) => drop(call.answer(response.into_body())),
                Ok(Err(_)) => call.broke(),
                Err(_late) => {}
            }
        });
    }
}

/// One call, from its sending to the end of its answer.
#[derive(Debug)]
pub(super) struct Call {
    place: Arc<Place>,
    line: Arc<AtomicUsize>,
    began: Instant,
    answered: bool,
}

impl Call {
    /// The peer has spoken: the call counts until `body` ends.
    pub(super) fn answer<B>(mut self, body: B) -> Lasting<B, Call> {
        self.answered = true;
        self.place.answered();
        Lasting::new(body, self)
    }

    /// It ended with its connection.
    pub(super) fn broke(mut self) {
        self.answered = true;
        self.place.failed(false);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.place.calls.fetch_sub(1, Relaxed);
        self.line.fetch_sub(1, Relaxed);
        // Whoever waited has left.
        if !self.answered && self.began.elapsed() >= FAIR {
            self.place.unanswered();
        }
    }
}
