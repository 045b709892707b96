//! Calls that come when they come: nobody waits for another's answer, as a crowd of callers does not.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use caseward_api::patient::v1 as pb;
use caseward_testkit::{Suite, wire};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Status, codegen::Bytes};
use tonic_types::StatusExt;

use super::others;

/// Connections that the calls of a crowd come over: a listener takes 100 at a time on each.
const LINES: usize = 16;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a caller comes back who was turned away.
const PAUSE: Duration = Duration::from_millis(20);

/// How somebody calls who asks for one patient: little work for a caller, so that one core can bring many.
#[derive(Clone, Debug)]
pub struct Crowd {
    suite: SocketAddr,
    /// The call of each of those who make it up.
    requests: Vec<Request<Full<Bytes>>>,
    /// Who does not wait any longer leaves.
    patience: Option<Duration>,
}

/// How a crowd fared.
#[derive(Debug, Default)]
pub struct Fare {
    /// Calls that were made.
    pub came: u64,
    /// Those that were answered while the trial ran.
    pub served: u64,
    pub shed: u64,
    /// Callers who did not wait.
    pub left: u64,
    /// Connections that were ended with calls on them.
    pub broken: u64,
    pub wrong: Vec<String>,
    pub took: Vec<Duration>,
}

/// How it goes on for a caller.
enum Went {
    On,
    TurnedAway,
}

enum Answer {
    Served,
    Shed(HeaderMap),
    Broken,
    Wrong(String),
}

impl Crowd {
    /// So many people who ask for the patient `name` and wait for their answers, each of whom may call many times at once.
    pub fn of(who: &str, people: usize, suite: &Suite, name: &str) -> Crowd {
        let message = pb::GetPatientRequest { name: name.to_owned() }.encode_to_vec();
        let request = |person| {
            let token =
                suite.caller(&format!("{who}-{person}"), &["supervisor"]).token().to_owned();
            Request::post("http://suite/caseward.patient.v1.PatientService/GetPatient")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header(AUTHORIZATION, format!("Bearer {token}"))
                .body(Full::new(Bytes::from(wire::message(&message))))
                .expect("a request")
        };
        let requests = (0..people).map(request).collect();
        Crowd { suite: suite.address(), requests, patience: None }
    }

    /// The same people, who leave after so long.
    pub fn leaving(self, after: Duration) -> Crowd {
        Crowd { patience: Some(after), ..self }
    }

    /// `calls` at a time: each is followed by another when it is answered or left; who is told to come back does, a little
    /// later.
    pub async fn closed(&self, calls: usize, time: Duration) -> Fare {
        let (fare, until) = (Arc::default(), Instant::now() + time);
        let (lines, mut all) = (self.lines().await, JoinSet::new());
        for n in 0..calls {
            let (crowd, mut line, fare) =
                (self.clone(), lines[n % LINES].clone(), Arc::clone(&fare));
            all.spawn(async move {
                while Instant::now() < until {
                    if let Went::TurnedAway = crowd.call(n, &mut line, until, &fare).await {
                        sleep(PAUSE).await;
                    }
                }
            });
        }
        all.join_all().await;
        Fare::of(&fare)
    }

    /// So many calls a second, at random.
    pub async fn open(&self, rate: f64, time: Duration, mut random: fastrand::Rng) -> Fare {
        let (fare, until) = (Arc::default(), Instant::now() + time);
        let (mut lines, mut all) = (self.lines().await, JoinSet::new());
        let mut at = Instant::now();
        while at < until {
            at += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
            if at > Instant::now() {
                sleep_until(at).await;
            }
            let line = random.usize(..LINES);
            if lines[line].is_closed() {
                lines[line] = self.connect().await;
            }
            let (crowd, mut line, fare) = (self.clone(), lines[line].clone(), Arc::clone(&fare));
            let n = random.usize(..);
            all.spawn(async move {
                crowd.call(n, &mut line, until, &fare).await;
            });
            while all.try_join_next().is_some() {}
            if Instant::now() > until {
                break;
            }
        }
        all.join_all().await;
        Fare::of(&fare)
    }

    /// The `n`th call.
    async fn call(&self, n: usize, line: &mut Line, until: Instant, fare: &Mutex<Fare>) -> Went {
        if line.is_closed() {
            *line = self.connect().await;
        }
        let began = Instant::now();
        let request = self.requests[n % self.requests.len()].clone();
        let answer = timeout(self.patience.unwrap_or(PATIENCE), ask(line, request)).await;
        let mut fare = fare.lock().unwrap_or_else(PoisonError::into_inner);
        fare.came += 1;
        match answer {
            Ok(Answer::Served) if Instant::now() <= until => {
                fare.served += 1;
                fare.took.push(began.elapsed());
            }
            Ok(Answer::Served) => {}
            Ok(Answer::Shed(head)) => {
                fare.shed += 1;
                let status = Status::from_header_map(&head);
                if status.is_none_or(|status| status.get_details_retry_info().is_none()) {
                    fare.wrong.push("turned away without a word when to come back".to_owned());
                }
                return Went::TurnedAway;
            }
            Ok(Answer::Broken) => fare.broken += 1,
            Ok(Answer::Wrong(why)) => fare.wrong.push(why),
            Err(_) if self.patience.is_some() => fare.left += 1,
            Err(_) => fare.wrong.push(format!("no answer within {PATIENCE:?}")),
        }
        Went::On
    }

    async fn lines(&self) -> Vec<Line> {
        let mut lines = vec![];
        for _ in 0..LINES {
            lines.push(self.connect().await);
        }
        lines
    }

    async fn connect(&self) -> Line {
        loop {
            if let Ok(stream) = TcpStream::connect(self.suite).await
                && stream.set_nodelay(true).is_ok()
                && let Ok((line, connection)) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await
            {
                tokio::spawn(connection);
                return line;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

type Line = http2::SendRequest<Full<Bytes>>;

async fn ask(line: &mut Line, request: Request<Full<Bytes>>) -> Answer {
    match line.send_request(request).await {
        Ok(answer) => read(answer).await,
        Err(_) => Answer::Broken,
    }
}

/// An error stands in the headers, success in the trailers.
async fn read(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    match code(&head.headers) {
        Some(Code::Unavailable | Code::ResourceExhausted) => return Answer::Shed(head.headers),
        Some(code) => return Answer::Wrong(format!("{code:?}")),
        None => {}
    }
    let Ok(all) = body.collect().await else { return Answer::Broken };
    match all.trailers().and_then(code) {
        Some(Code::Ok) => Answer::Served,
        other => Answer::Wrong(format!("an answer that ends with {other:?}")),
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get("grpc-status")?.as_bytes()))
}

impl Fare {
    fn of(shared: &Mutex<Fare>) -> Fare {
        let mut fare = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fare = std::mem::take(&mut *fare);
        fare.took.sort();
        fare
    }

    /// What one served call in a hundred took longer than.
    pub fn p99(&self) -> Duration {
        others::p99(&self.took).unwrap_or_default()
    }
}
