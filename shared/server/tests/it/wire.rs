//! A peer that speaks HTTP/2 frame by frame, so that it can misbehave.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any limit under test; reaching it is a failure, not a wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The client's preface and an empty SETTINGS frame.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the server did next, of what these tests look at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Settings(Vec<(u16, u32)>),
    Data,
    GoAway(u32),
    Closed,
}

#[derive(Debug)]
pub(crate) struct Wire<I = TcpStream>(pub(crate) I);

impl Wire {
    pub(crate) async fn open(address: SocketAddr, bytes: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        Self(stream)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

impl<I: AsyncRead + Unpin> Wire<I> {
    pub(crate) async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.read()).await.expect("the server did nothing in time")
    }

    /// Reads on to the first event that `wanted` accepts, which must come before the end.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
            assert_ne!(event, Event::Closed, "closed before the event");
        }
    }

    async fn read(&mut self) -> Event {
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
            match (head[3], head[4]) {
                (DATA, _) => return Event::Data,
                (GOAWAY, _) => return Event::GoAway(number(&payload[4..8])),
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

/// A unary call of `path` with an empty message, on stream `id`.
pub(crate) fn call(id: u32, path: &str) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, id, &headers(path, None));
    bytes.extend(frame(DATA, END_STREAM, id, &[0; 5]));
    bytes
}

/// A call whose body contradicts its `content-length`, which the server must answer with a reset of its own.
pub(crate) fn provocation(id: u32, path: &str) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, id, &headers(path, Some("1")));
    bytes.extend(frame(DATA, 0, id, &[0; 5]));
    bytes
}

pub(crate) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// HPACK without its dynamic table: POST, http, and literals by the index of their name.
fn headers(path: &str, content_length: Option<&str>) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], "edge.test");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(&[0x00, 0x02, b't', b'e'], "trailers");
    if let Some(length) = content_length {
        literal(&[0x0f, 0x0d], length);
    }
    block
}

fn number(four: &[u8]) -> u32 {
    u32::from_be_bytes([four[0], four[1], four[2], four[3]])
}
