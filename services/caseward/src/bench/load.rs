//! Callers that call again and again, each waiting for its answer: the same ones for every target.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use super::sample::Sample;

/// How long callers warm up before they are measured.
const WARM_UP: Duration = Duration::from_millis(100);

/// Makes the n-th request.
type Ask = Arc<dyn Fn(usize) -> Request<Full<Bytes>> + Send + Sync>;

/// What is called, and how.
#[derive(Clone)]
pub(super) struct Target {
    address: SocketAddr,
    wire: Wire,
    ask: Ask,
}

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// gRPC over HTTP/2 without TLS.
    Grpc,
    /// JSON over HTTP/1.1.
    Json,
}

impl Target {
    /// Calls the method at `path`; `message` makes the n-th request.
    pub(super) fn grpc<M: Message>(
        address: SocketAddr,
        path: &'static str,
        token: &str,
        message: impl Fn(usize) -> M + Send + Sync + 'static,
    ) -> anyhow::Result<Target> {
        let uri: http::Uri = format!("http://{address}{path}").parse()?;
        let token = bearer(token)?;
        let ask = move |n| {
            let mut request = Request::new(Full::from(framed(&message(n))));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = uri.clone();
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::AUTHORIZATION, token.clone());
            request
        };
        Ok(Target { address, wire: Wire::Grpc, ask: Arc::new(ask) })
    }

    /// Reads `path` as JSON.
    pub(super) fn json(address: SocketAddr, path: &str, token: &str) -> anyhow::Result<Target> {
        let path: http::Uri = path.parse()?;
        let (host, token) = (HeaderValue::try_from(address.to_string())?, bearer(token)?);
        let ask = move |_| {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = path.clone();
            request.headers_mut().insert(header::HOST, host.clone());
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
            request
        };
        Ok(Target { address, wire: Wire::Json, ask: Arc::new(ask) })
    }

    /// One call, to see that the target answers.
    pub(super) async fn once(&self) -> anyhow::Result<()> {
        self.connect().await?.call((self.ask)(0)).await
    }

    /// Calls from `callers` at a time for `slice`, on a thread of their own.
    pub(super) async fn load(&self, callers: usize, slice: Duration) -> anyhow::Result<Sample> {
        let target = self.clone();
        let thread = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(target.drive(callers, slice))
        };
        tokio::task::spawn_blocking(thread).await?.context("a call failed under load")
    }

    async fn drive(self, callers: usize, slice: Duration) -> anyhow::Result<Sample> {
        let mut tasks = JoinSet::new();
        let (connections, streams) = self.wire.shape(callers);
        let mut lines = vec![];
        for _ in 0..connections {
            let mut connection = self.connect().await?;
            for _ in 1..streams {
                lines.extend(connection.share());
            }
            lines.push(connection);
        }
        let (start, callers) = (Instant::now(), lines.len());
        let (begin, end) = (start + WARM_UP, start + WARM_UP + slice);
        for (first, mut line) in lines.into_iter().enumerate() {
            let ask = self.ask.clone();
            tasks.spawn(async move {
                let (mut micros, mut all) = (vec![], 0);
                for n in (first..).step_by(callers) {
                    let asked = Instant::now();
                    if asked >= end {
                        break;
                    }
                    line.call(ask(n)).await?;
                    all += 1;
                    if asked >= begin {
                        micros.push(asked.elapsed().as_micros() as u64);
                    }
                }
                Ok::<_, anyhow::Error>((micros, all))
            });
        }
        let mut sample = Sample::default();
        while let Some(done) = tasks.join_next().await {
            let (micros, all) = done??;
            sample.extend(micros, all);
        }
        sample.lasted(begin.elapsed());
        Ok(sample)
    }

    async fn connect(&self) -> anyhow::Result<Line> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        // A connection that fails is noticed by the call that wanted it.
        Ok(match self.wire {
            Wire::Grpc => {
                let (line, driver) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(driver);
                Line::Grpc(line)
            }
            Wire::Json => {
                let (line, driver) = http1::handshake(io).await?;
                tokio::spawn(driver);
                Line::Json(line)
            }
        })
    }
}

impl Wire {
    /// How many connections make up `callers`, and how many calls each carries at a time.
    fn shape(self, callers: usize) -> (usize, usize) {
        match (self, callers) {
            (Wire::Json, callers) => (callers, 1),
            (Wire::Grpc, callers) => {
                let connections = (1..=callers.isqrt()).rev().find(|n| callers.is_multiple_of(*n));
                let connections = connections.unwrap_or(1);
                (connections, callers / connections)
            }
        }
    }
}

/// One caller's way to a target.
enum Line {
    Grpc(http2::SendRequest<Full<Bytes>>),
    Json(http1::SendRequest<Full<Bytes>>),
}

impl Line {
    /// Another caller on the same connection, where it carries several.
    fn share(&mut self) -> Option<Line> {
        match self {
            Line::Grpc(line) => Some(Line::Grpc(line.clone())),
            Line::Json(_) => None,
        }
    }

    async fn call(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<()> {
        match self {
            Line::Grpc(line) => {
                line.ready().await?;
                grpc(line.send_request(request).await?).await
            }
            Line::Json(line) => {
                line.ready().await?;
                let reply = line.send_request(request).await?;
                let status = reply.status();
                let body = reply.into_body().collect().await?.to_bytes();
                ensure!(status == StatusCode::OK && !body.is_empty(), "HTTP {status}");
                Ok(())
            }
        }
    }
}

/// Reads the whole answer. An error stands in the headers, success in the trailers.
async fn grpc(reply: Response<Incoming>) -> anyhow::Result<()> {
    let (head, mut body) = reply.into_parts();
    ensure!(head.status == StatusCode::OK, "HTTP {}", head.status);
    let mut trailers = head.headers;
    while let Some(frame) = body.frame().await {
        if let Ok(last) = frame?.into_trailers() {
            trailers = last;
        }
    }
    match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        _ => bail!(
            "gRPC status {:?}: {:?}",
            trailers.get("grpc-status"),
            trailers.get("grpc-message")
        ),
    }
}

fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A message as gRPC puts it on the wire.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(5 + length);
    frame.push(0);
    frame.extend((length as u32).to_be_bytes());
    message.encode_raw(&mut frame);
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_share_connections_where_the_protocol_lets_them() {
        assert_eq!([1, 16, 32, 64].map(|n| Wire::Grpc.shape(n)), [(1, 1), (4, 4), (4, 8), (8, 8)]);
        assert_eq!(Wire::Json.shape(64), (64, 1));
    }
}
