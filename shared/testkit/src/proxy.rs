//! A TCP proxy that does to a connection what networks do: slows it, cuts it, swallows what goes over it.
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A proxy before one address. Dropping it closes what went through it.
///
/// ```no_run
/// # async fn shown() -> std::io::Result<()> {
/// use caseward_testkit::{Proxy, Toxic, Way};
/// let proxy = Proxy::start("127.0.0.1:5432".parse().unwrap()).await?;
/// proxy.set(Way::Back, Toxic::Stall); // Connect to `proxy.address()`: answers do not come any more.
/// proxy.heal();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    _stop: DropGuard,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    There,
    /// To the client.
    Back,
}

/// What is done to the bytes of one way, on every connection, from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Toxic {
    /// Nothing.
    #[default]
    None,
    /// Each piece comes later, by a time between the two.
    Latency(Duration, Duration),
    /// Nothing comes; it waits, and comes when healed.
    Stall,
    /// What was sent is thrown away, and nobody is told: a peer that is gone without a word.
    HalfOpen,
    /// After so many bytes more the connection is reset. With 0, the next byte resets it and does not come.
    Limit(u64),
    /// Pieces of so many bytes, with a pause after each.
    Slice(usize, Duration),
}

#[derive(Debug)]
struct Inner {
    server: SocketAddr,
    there: watch::Sender<Toxic>,
    back: watch::Sender<Toxic>,
    /// Changed to reset every connection.
    cut: watch::Sender<()>,
    refuses: AtomicBool,
    connections: AtomicU64,
    /// How many connections a [`Toxic::Limit`] ended.
    limited: AtomicU64,
}

impl Proxy {
    /// A proxy before `server`, which need not be there yet.
    pub async fn start(server: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            server,
            there: watch::Sender::default(),
            back: watch::Sender::default(),
            cut: watch::Sender::default(),
            refuses: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, inner.clone(), stop.clone()));
        Ok(Proxy { address, inner, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does `toxic` to the bytes of `way`, also on connections that are open.
    pub fn set(&self, way: Way, toxic: Toxic) {
        match way {
            Way::There => self.inner.there.send_replace(toxic),
            Way::Back => self.inner.back.send_replace(toxic),
        };
    }

    /// Does nothing any more, and takes connections.
    pub fn heal(&self) {
        self.set(Way::There, Toxic::None);
        self.set(Way::Back, Toxic::None);
        self.refuse(false);
    }

    /// Resets every connection that is open.
    pub fn cut(&self) {
        self.inner.cut.send_replace(());
    }

    /// Whether new connections are reset at once.
    pub fn refuse(&self, refuse: bool) {
        self.inner.refuses.store(refuse, Relaxed);
    }

    /// How many connections came.
    pub fn connections(&self) -> u64 {
        self.inner.connections.load(Relaxed)
    }

    /// How many connections a [`Toxic::Limit`] ended.
    pub fn limited(&self) -> u64 {
        self.inner.limited.load(Relaxed)
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((client, _)) = accepted else { continue };
        inner.connections.fetch_add(1, Relaxed);
        if inner.refuses.load(Relaxed) {
            reset(&client);
            continue;
        }
        let (inner, stop) = (inner.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = carry(client, &inner) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Carries one connection until either side ends it, or it is cut.
async fn carry(mut client: TcpStream, inner: &Inner) {
    let mut cut = inner.cut.subscribe();
    let Ok(mut server) = TcpStream::connect(inner.server).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (there, back) = (inner.there.subscribe(), inner.back.subscribe());
    let end = tokio::select! {
        end = pump(&mut from_client, &mut to_server, there) => end,
        end = pump(&mut from_server, &mut to_client, back) => end,
        _ = cut.changed() => End::Reset,
    };
    if end == End::Limit {
        inner.limited.fetch_add(1, Relaxed);
    }
    // A stream that is reset at its end is reset on both sides; one that closes has said all it had to say.
    if end != End::Closed {
        reset(&client);
        reset(&server);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
    Limit,
}

async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut toxic: watch::Receiver<Toxic>,
) -> End {
    let mut buffer = vec![0; 64 * 1024];
    // What a limit still lets pass, while it is the same limit.
    let mut left: Option<u64> = None;
    let mut before = Toxic::None;
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => return End::Closed,
            Ok(read) => read,
            Err(_) => return End::Reset,
        };
        let mut piece = &buffer[..read];
        // A stall ends when something else is done.
        if toxic.wait_for(|toxic| *toxic != Toxic::Stall).await.is_err() {
            return End::Closed;
        }
        let now = *toxic.borrow_and_update();
        if now != before {
            (before, left) = (now, None);
        }
        let mut limited = false;
        match now {
            Toxic::None | Toxic::Stall => {}
            Toxic::Latency(least, most) => {
                let spread = most.saturating_sub(least).as_micros() as u64;
                sleep(least + Duration::from_micros(fastrand::u64(..=spread))).await;
            }
            Toxic::HalfOpen => continue,
            Toxic::Limit(bytes) => {
                let room = left.unwrap_or(bytes);
                limited = piece.len() as u64 > room;
                piece = &piece[..piece.len().min(room as usize)];
                left = Some(room - piece.len() as u64);
            }
            Toxic::Slice(bytes, pause) => {
                let bytes = bytes.max(1);
                while piece.len() > bytes {
                    if to.write_all(&piece[..bytes]).await.is_err() {
                        return End::Reset;
                    }
                    piece = &piece[bytes..];
                    sleep(pause).await;
                }
            }
        }
        if to.write_all(piece).await.is_err() {
            return End::Reset;
        }
        if limited {
            return End::Limit;
        }
    }
}

/// Has the stream end with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    // Where the peer was first, there is nothing left to reset.
    let _ = stream.set_zero_linger();
}
