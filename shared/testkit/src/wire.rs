//! A peer that speaks HTTP/2 frame by frame, so that it can misbehave.
//!
//! Functions make bytes, [`Wire`] sends them and says what the server did. Nothing here knows what is allowed.
//!
//! ```no_run
//! # async fn shown() -> std::io::Result<()> {
//! use caseward_testkit::wire::{self, Event, Wire};
//! let mut wire = Wire::open("127.0.0.1:8080".parse().unwrap(), wire::PREFACE).await?;
//! // Streams that are opened and reset at once, as "rapid reset" does.
//! for n in 0..1000 {
//!     let stream = 1 + 2 * n;
//!     let opened = wire::headers(stream, &wire::request("/grpc.health.v1.Health/Check", None), false);
//!     let reset = wire::frame(wire::RST_STREAM, 0, stream, &8u32.to_be_bytes());
//!     if wire.send(&[opened, reset].concat()).await.is_err() { break }
//! }
//! wire.until(|event| matches!(event, Event::GoAway(11))).await;
//! # Ok(()) }
//! ```

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long [`Wire::next`] waits; longer than any limit that a test sets.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The client's preface and an empty SETTINGS frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A part of a body.
pub const DATA: u8 = 0;
/// Opens a stream, or ends it with trailers.
pub const HEADERS: u8 = 1;
/// Says what nobody heeds any more.
pub const PRIORITY: u8 = 2;
/// Ends a stream.
pub const RST_STREAM: u8 = 3;
/// What a side grants the other.
pub const SETTINGS: u8 = 4;
/// Only a server may send it.
pub const PUSH_PROMISE: u8 = 5;
/// Wants to be answered.
pub const PING: u8 = 6;
/// Ends a connection.
pub const GOAWAY: u8 = 7;
/// Grants more bytes.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a HEADERS frame.
pub const CONTINUATION: u8 = 9;
/// Nothing follows on this stream.
pub const END_STREAM: u8 = 1;
/// No CONTINUATION follows.
pub const END_HEADERS: u8 = 4;

/// What fits into a frame where nothing else was agreed.
const FRAME: usize = 16 << 10;

/// What the server did next, of what tests look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What it grants, by the numbers of HTTP/2.
    Settings(Vec<(u16, u32)>),
    /// It began, or ended, an answer on a stream.
    Headers(u32),
    /// A part of an answer.
    Data,
    /// It ended a stream, with a code.
    Reset(u32, u32),
    /// It ends the connection, with a code.
    GoAway(u32),
    /// The connection is over.
    Closed,
}

/// One connection, or what is read of it.
#[derive(Debug)]
pub struct Wire<I = TcpStream>(pub I);

impl Wire {
    /// Connects, and sends `bytes`, such as [`PREFACE`].
    pub async fn open(address: SocketAddr, bytes: &[u8]) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        Ok(Self(stream))
    }

    /// Sends `bytes`, whatever they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

impl<I: AsyncRead + Unpin> Wire<I> {
    /// What the server does next, which must come within [`PATIENCE`].
    pub async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.event()).await.expect("the server did nothing in time")
    }

    /// Reads on to the first event that `wanted` accepts, which must come before the end.
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
            assert_ne!(event, Event::Closed, "closed before the event");
        }
    }

    /// What the server does next, whenever that is. Not to be dropped half way.
    pub async fn event(&mut self) -> Event {
        loop {
            let mut head = [0; 9];
            if self.0.read_exact(&mut head).await.is_err() {
                return Event::Closed;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if self.0.read_exact(&mut payload).await.is_err() {
                return Event::Closed;
            }
            let stream = number(&head[5..]);
            match (head[3], head[4]) {
                (DATA, _) => return Event::Data,
                (HEADERS, _) => return Event::Headers(stream),
                (RST_STREAM, _) if length == 4 => return Event::Reset(stream, number(&payload)),
                (GOAWAY, _) if length >= 8 => return Event::GoAway(number(&payload[4..])),
                (SETTINGS, 0) => {
                    let pair =
                        |six: &[u8]| (u16::from_be_bytes([six[0], six[1]]), number(&six[2..]));
                    return Event::Settings(payload.chunks_exact(6).map(pair).collect());
                }
                _ => {}
            }
        }
    }
}

/// A frame as it goes over the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The fields of a gRPC request, in the order in which they are sent.
pub fn request<'a>(path: &'a str, bearer: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "edge.test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.extend(bearer.map(|bearer| ("authorization", bearer)));
    fields
}

/// `fields` as HPACK has them without its tables.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![];
    for (name, value) in fields {
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    block
}

fn literal(block: &mut Vec<u8>, text: &str) {
    // RFC 7541, 5.1: seven bits, then seven at a time.
    match text.len() {
        short @ 0..127 => block.push(short as u8),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            block.push(rest as u8);
        }
    }
    block.extend(text.as_bytes());
}

/// A HEADERS frame, with as many of CONTINUATION as the fields need.
pub fn headers(stream: u32, fields: &[(&str, &str)], ends: bool) -> Vec<u8> {
    let block = block(fields);
    let mut pieces = block.chunks(FRAME).peekable();
    let mut bytes = vec![];
    let (mut kind, mut flags) = (HEADERS, if ends { END_STREAM } else { 0 });
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= END_HEADERS;
        }
        bytes.extend(frame(kind, flags, stream, piece));
        (kind, flags) = (CONTINUATION, 0);
    }
    bytes
}

/// A message in its gRPC frame.
pub fn message(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// A unary call of `path` with an empty message, on stream `id`.
pub fn call(id: u32, path: &str) -> Vec<u8> {
    ask(id, path, None, &[])
}

/// A unary call of `path` with a `sent` message of at most 16 KiB, on stream `id`.
pub fn ask(id: u32, path: &str, bearer: Option<&str>, sent: &[u8]) -> Vec<u8> {
    let mut bytes = headers(id, &request(path, bearer), false);
    bytes.extend(frame(DATA, END_STREAM, id, &message(sent)));
    bytes
}

/// A call whose body contradicts its `content-length`, which the server must answer with a reset of its own.
pub fn provocation(id: u32, path: &str) -> Vec<u8> {
    let mut fields = request(path, None);
    fields.push(("content-length", "1"));
    let mut bytes = headers(id, &fields, false);
    bytes.extend(frame(DATA, 0, id, &[0; 5]));
    bytes
}

/// A PING that wants an answer.
pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

fn number(four: &[u8]) -> u32 {
    u32::from_be_bytes([four[0], four[1], four[2], four[3]])
}
