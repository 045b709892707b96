//! A service in trouble is not asked more often than callers ask, nor when it is well again.
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use caseward_api::directory::v1::{
    ListOrganizationsRequest, directory_service_client::DirectoryServiceClient,
};
use caseward_testkit::{Caller, Suite};
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Status, body::Body};

use crate::{Run, Trial};

const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(5);
const DEADLINE: Duration = Duration::from_secs(2);

/// How often a service may be asked for one call of a caller.
const MOST: f64 = 1.1;

/// Retries that are allowed however few calls there are, in a second.
const SPARE: f64 = 2.0;

/// What a directory does that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Says UNAVAILABLE at once.
    Refuses,
    /// Hangs up on whoever asks, as a process that dies.
    HangsUp,
    /// Says UNAVAILABLE to every other call.
    RefusesHalf,
    Answers,
}

const MOODS: [Mood; 4] = [Mood::Refuses, Mood::HangsUp, Mood::RefusesHalf, Mood::Answers];

pub async fn calls(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let time = Duration::from_millis(run.of(1_500, 60_000));
    run.expect(MOODS.len() as u64);
    let mut suite = Suite::plan().cluster().await.expect("PostgreSQL and NATS");
    let member = suite.member("directory", 0);
    let address = member.address();
    member.kill().await;
    let double = Double::start(address).await;
    let mut hung_up = 0.0;
    for mood in MOODS {
        double.mood.send_replace(mood);
        // Whoever was left alone in the mood before is asked again.
        sleep(Duration::from_secs(1)).await;
        let before = double.asked.load(Relaxed);
        let (calls, wrong) = drive(&suite, mood, time).await;
        let asked = double.asked.load(Relaxed) - before;
        let times = asked as f64 / calls as f64;
        trial.tries += calls;
        run.step();
        wrong.iter().take(3).for_each(|why| trial.fail(format!("{mood:?}: {why}")));
        let most = MOST + SPARE * time.as_secs_f64() / calls as f64;
        trial.check(times <= most, || {
            format!("{mood:?}: asked {asked} times for {calls} calls, {times:.2} each")
        });
        if mood == Mood::HangsUp {
            hung_up = times;
        }
        trial.note(format!("{mood:?}: {times:.2} of {calls} calls"));
    }
    // A caller that sends everything again at once is what the figure is about.
    double.mood.send_replace(Mood::Refuses);
    let before = double.asked.load(Relaxed);
    let sam = suite.caller("sam", &["supervisor"]).at(&Suite::door(address));
    let mut calls = 0;
    for _ in 0..100 {
        calls += 1;
        if ask(&sam).await.is_err() {
            let _ = ask(&sam).await;
        }
    }
    let times = (double.asked.load(Relaxed) - before) as f64 / f64::from(calls);
    trial.control(
        format!("a client that sends again whatever failed asks {times:.2} times"),
        times > MOST,
    );
    trial.check(hung_up > 0.0, || "nobody was hung up on".to_owned());
    trial
}

/// How many calls were made, and what was answered otherwise than it should be.
async fn drive(suite: &Suite, mood: Mood, time: Duration) -> (u64, Vec<String>) {
    let until = Instant::now() + time;
    let mut all = JoinSet::new();
    for _ in 0..CALLERS {
        let sam = suite.caller("sam", &["supervisor"]);
        all.spawn(async move {
            let (mut calls, mut wrong) = (0, vec![]);
            while Instant::now() < until {
                calls += 1;
                match ask(&sam).await {
                    Ok(()) if matches!(mood, Mood::Answers | Mood::RefusesHalf) => {}
                    Err(status) if mood != Mood::Answers && status.code() == Code::Unavailable => {}
                    other => wrong.push(format!("{other:?}")),
                }
                sleep(PAUSE).await;
            }
            (calls, wrong)
        });
    }
    let (mut calls, mut wrong) = (0, vec![]);
    while let Some(done) = all.join_next().await {
        let (more, others) = done.expect("a caller does not panic");
        calls += more;
        wrong.extend(others);
    }
    (calls, wrong)
}

async fn ask(sam: &Caller) -> Result<(), Status> {
    let mut request = Request::new(ListOrganizationsRequest::default());
    request.set_timeout(DEADLINE);
    sam.client(DirectoryServiceClient::new).list_organizations(request).await.map(drop)
}

/// What listens where the directory did.
struct Double {
    mood: watch::Sender<Mood>,
    /// Calls of the directory, health aside.
    asked: Arc<AtomicU64>,
    _stop: DropGuard,
}

impl Double {
    async fn start(address: SocketAddr) -> Double {
        let listener = TcpListener::bind(address).await.expect("who listened there is gone");
        let (mood, moods) = watch::channel(Mood::Refuses);
        let (asked, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let (count, stopped) = (asked.clone(), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, moods.clone(), count.clone()));
            }
        }));
        Double { mood, asked, _stop: stop.drop_guard() }
    }
}

async fn serve(stream: TcpStream, moods: watch::Receiver<Mood>, asked: Arc<AtomicU64>) {
    let (gone, even) = (CancellationToken::new(), AtomicBool::new(false));
    let answer = service_fn(|request: http::Request<Incoming>| {
        let mood = match request.uri().path().starts_with("/grpc.health.") {
            true => Mood::Answers,
            false => {
                asked.fetch_add(1, Relaxed);
                *moods.borrow()
            }
        };
        let refuses = match mood {
            Mood::Refuses => true,
            Mood::HangsUp => {
                gone.cancel();
                true
            }
            Mood::RefusesHalf => even.fetch_xor(true, Relaxed),
            Mood::Answers => false,
        };
        async move {
            Ok::<_, Infallible>(match refuses {
                true => Status::unavailable("in trouble").into_http(),
                false => empty(),
            })
        }
    });
    let http = http2::Builder::new(TokioExecutor::new());
    let connection = http.serve_connection(TokioIo::new(stream), answer);
    // Who hangs up says nothing first, so how it ends is the caller's to notice.
    let _ = gone.run_until_cancelled(connection).await;
}

/// An empty message.
fn empty() -> http::Response<Body> {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
    let response = http::Response::builder().header("content-type", "application/grpc");
    response.body(Body::new(body)).expect("a head that is right")
}
