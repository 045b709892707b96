//! What happens to every call before its handler runs, and after: the one door of every service.
mod admission;
mod body;

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use caseward_core::{Caller, Clock, Ctx, Error, Record};
use caseward_store::{Store, audit::Entry};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName};
use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinHandle},
};
use tonic::{Code, Status, service::Routes};
use tracing::{Instrument, warn};

pub(crate) use self::admission::Admission;
use self::{
    admission::{Place, Share},
    body::{Held, Timed, ends_by},
};
use crate::{
    accept::{Public, TurnedAway},
    deadline,
    lasting::Lasting,
    policy::{Method, Methods, Roles},
    telemetry::{self, Calls, code_name, meters},
    token::{self, Verifier},
};

/// How long the audit log may take before access is refused.
const AUDIT: Duration = Duration::from_secs(2);

/// How long a read may take before its beginning goes on record by itself. Most end sooner, and then one entry says all.
const SOON: Duration = Duration::from_millis(20);

/// For how long a read that its caller left counts as theirs.
const LEFT: Duration = Duration::from_secs(1);

/// The answer of a handler, unless it panicked.
type Handled = std::thread::Result<Response>;

/// Paths of tonic's own services, which tell nothing of anybody.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Admits calls to the methods of one service.
#[derive(Clone, Debug)]
pub struct Guard {
    methods: &'static Methods,
    shared: Arc<Shared>,
    store: Option<Store>,
}

/// What the guards of one process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) verifier: Verifier,
    pub(crate) roles: Roles,
    pub(crate) clock: Clock,
    pub(crate) admission: Admission,
    pub(crate) open_streams: Admission,
    pub(crate) calls: Calls,
    /// Set by a bench alone, to learn what the audit of reads costs.
    pub(crate) unaudited: AtomicBool,
}

/// What a call has of the limits: until its work ends, and where it is a stream, until that does.
struct Permits {
    call: Place,
    stream: Option<Place>,
}

/// What the caller has of their share of each.
struct Shares {
    call: Share,
    stream: Option<Share>,
}

impl Shared {
    fn admit(&self, method: &Method) -> Option<Permits> {
        let stream = if method.streams { Some(self.open_streams.enter()?) } else { None };
        Some(Permits { call: self.admission.enter()?, stream })
    }

    /// What `caller` has of the limits, likewise.
    fn share(&self, method: &Method, caller: &Caller) -> Result<Shares, Error> {
        let call = self.admission.share(caller)?;
        let stream = method.streams.then(|| self.open_streams.share(caller)).transpose()?;
        Ok(Shares { call, stream })
    }
}

impl Guard {
    pub(crate) fn new(shared: Arc<Shared>, store: Option<Store>) -> anyhow::Result<Self> {
        Ok(Guard { methods: Methods::get(), shared, store })
    }

    /// Stands before `routes`, in process and on the network alike.
    pub(crate) fn protect(self, routes: Routes) -> Routes {
        Routes::from(routes.into_axum_router().layer(middleware::from_fn_with_state(self, call)))
    }

    /// Who calls, by a token that this service verified itself, and when the token ends.
    async fn caller(&self, headers: &HeaderMap) -> Result<(Caller, Instant), Error> {
        let token = token::bearer(headers)?;
        // A token's life is a matter of machines, so the simulated clock does not rule it.
        let now = Clock::System.now();
        let claims = self.shared.verifier.verify(token, now).await?;
        let (permissions, reach, purpose) = self.shared.roles.grant(&claims.roles);
        let caller = Caller {
            organization: claims.organization,
            subject: claims.subject.clone(),
            roles: claims.roles.clone(),
            permissions,
            reach,
            purpose,
            token: token.to_owned(),
        };
        Ok((caller, Instant::now() + token::left(&claims, now)))
    }

    /// Puts an entry on the audit log in a task of its own: a caller who leaves meanwhile, or whose time is over, takes
    /// nothing back, so that whoever handed it over need not hand over another.
    fn keep(&self, ctx: &Ctx, entry: Entry) -> Option<JoinHandle<Result<(), Error>>> {
        let (store, runtime) = (self.store.clone()?, Handle::try_current().ok()?);
        let ctx = Ctx { deadline: Instant::now() + Ctx::TASK, ..ctx.clone() };
        Some(runtime.spawn(async move { store.audit(&ctx, entry).await }))
    }

    /// Puts an entry on the audit log and waits for it; where that cannot be, the access is refused.
    async fn audit(&self, ctx: &Ctx, entry: Entry) -> Result<(), Error> {
        let Some(mut kept) = self.keep(ctx, entry) else { return Ok(()) };
        let known = match tokio::time::timeout(AUDIT.min(ctx.left()), &mut kept).await {
            Ok(Ok(known)) => known,
            Ok(Err(_panic)) => Err(Error::internal("the audit of a call panicked")),
            Err(_late) => Err(Error::Deadline),
        };
        known.map_err(|cause| {
            if ctx.left().is_zero() {
                return Error::Deadline;
            }
            kept.abort();
            meters().refused.add(1, &[]);
            warn!(cause = %cause, "the audit log does not take entries; access to patient data is refused");
            Error::Unavailable("the audit log does not answer; try again")
        })
    }

    /// Whether a bench left the audit of such calls out.
    fn leaves_out(&self, method: &Method) -> bool {
        !method.mutates && self.shared.unaudited.load(Ordering::Relaxed)
    }

    /// Runs the handler and settles the audit, whether or not anybody still waits.
    async fn run(self, method: &'static Method, ctx: Ctx, req: Request, next: Next) -> Response {
        let handler = AssertUnwindSafe(next.run(req)).catch_unwind();
        if !method.phi || self.leaves_out(method) {
            return answered(&ctx, handler.await);
        }
        let mut owed = Owed { guard: self, ctx, method, end: Some(Entry::whole), outcome: None };
        match owed.settle(handler).await {
            Ok(response) if method.streams && code_of(&response) == Code::Ok => {
                let until = owed.ctx.deadline;
                response.map(|body| Body::new(Held::new(Timed::new(body, until), owed)))
            }
            Ok(response) => {
                owed.outcome = Some(code_of(&response));
                response
            }
            Err(error) => {
                // The log was asked, and does not answer; where only the time was over, it is still owed.
                if !matches!(error, Error::Deadline) {
                    owed.end = None;
                }
                Status::from(error).into_http()
            }
        }
    }
}

/// What the audit log is owed of a call: its end, however that comes about.
struct Owed {
    guard: Guard,
    ctx: Ctx,
    method: &'static Method,
    /// The entry that ends the record: all of it, or the end of what began. None once it was handed over or refused.
    end: Option<fn(&Ctx, &str) -> Entry>,
    outcome: Option<Code>,
}

impl Owed {
    /// What `handler` answers, once the log holds enough for it to leave.
    ///
    /// A change that commits has its entry with it. A read that ends soon has one entry; a slower one has its beginning
    /// on disk after that time. The answer waits for the entry that says whom it tells of; only of a stream, whose
    /// beginning is on disk before its handler runs, the end follows.
    async fn settle(&mut self, handler: impl Future<Output = Handled>) -> Result<Response, Error> {
        let mut handler = pin!(handler);
        let soon = match self.method {
            Method { mutates: true, .. } => Some(handler.as_mut().await),
            Method { streams: true, .. } => None,
            _ => tokio::time::timeout(SOON, &mut handler).await.ok(),
        };
        let answer = match soon {
            Some(answer) => answer,
            None => {
                self.end = Some(Entry::end);
                self.guard.audit(&self.ctx, Entry::begin(&self.ctx)).await?;
                handler.await
            }
        };
        let response = answered(&self.ctx, answer);
        if !self.method.streams && !self.ctx.record.is_settled() {
            let outcome = code_name(code_of(&response));
            if let Some(end) = self.end.take() {
                self.guard.audit(&self.ctx, end(&self.ctx, outcome)).await?;
            }
        }
        Ok(response)
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let Some(end) = self.end.filter(|_| !self.ctx.record.is_settled()) else { return };
        let outcome = code_name(self.outcome.unwrap_or_else(|| {
            if std::thread::panicking() {
                Code::Internal
            } else if self.ctx.left().is_zero() {
                Code::DeadlineExceeded
            } else {
                Code::Cancelled
            }
        }));
        // Where it fails, the sweeper closes the record later.
        drop(self.guard.keep(&self.ctx, end(&self.ctx, outcome)));
    }
}

async fn call(State(guard): State<Guard>, req: Request, next: Next) -> Response {
    // A query is no part of a gRPC path: what has one is another path.
    let path = req.uri().path_and_query().map_or("", |path| path.as_str());
    let Some(method) = guard.methods.of(path) else {
        if OPEN.iter().any(|open| req.uri().path().starts_with(open)) {
            return Public::answer(next.run(req)).await;
        }
        return Status::unimplemented("no such method").into_http();
    };
    let start = Instant::now();
    let name = method.path.trim_start_matches('/');
    let calls = guard.shared.calls.clone();
    let Some(permits) = guard.shared.admit(method) else {
        meters().shed.add(1, &[]);
        calls.record(name, Code::Unavailable, start.elapsed());
        return turned_away();
    };
    let response = match telemetry::sampled(req.headers()) {
        Some(parent) => {
            let span = parent.server(name);
            let response = admit(guard, permits, method, req, next).instrument(span.clone()).await;
            telemetry::finish(&span, code_of(&response));
            response
        }
        None => admit(guard, permits, method, req, next).await,
    };
    calls.record(name, code_of(&response), start.elapsed());
    response
}

/// The answer of a call that is one too many: nothing of it is looked at, and nothing made for it.
fn turned_away() -> Response {
    static HEAD: LazyLock<HeaderMap> = LazyLock::new(|| {
        let error = Error::Unavailable("too many calls at once; try again");
        Status::from(error).into_http::<Body>().headers().clone()
    });
    let mut response = Response::default();
    response.headers_mut().clone_from(&HEAD);
    crowded(response)
}

/// The answer of a call that was turned away, known as one where its connection is.
fn crowded(mut response: Response) -> Response {
    response.extensions_mut().insert(TurnedAway);
    response
}

async fn admit(
    guard: Guard,
    permits: Permits,
    method: &'static Method,
    mut req: Request,
    next: Next,
) -> Response {
    let admitted = async {
        let mut deadline = deadline::of(req.headers(), method.streams)?;
        strip(req.headers_mut());
        let caller = tokio::time::timeout_at(deadline.into(), guard.caller(req.headers()));
        let (caller, signed_in) = caller.await.unwrap_or(Err(Error::Deadline))?;
        let shares = guard.shared.share(method, &caller);
        let shares = shares.inspect_err(|_| meters().shed.add(1, &[]))?;
        if method.streams {
            // What was granted for the life of a token is not told after it.
            deadline = deadline.min(signed_in);
        }
        let trace = telemetry::traceparent();
        let ctx = Ctx {
            caller: Arc::new(caller),
            clock: guard.shared.clock.clone(),
            record: Arc::new(Record::open(method.path).traced(trace)),
            deadline,
        };
        if !ctx.may(method.permission) {
            if method.phi {
                guard.audit(&ctx, Entry::whole(&ctx, code_name(Code::PermissionDenied))).await?;
            }
            return Err(Error::Denied);
        }
        Ok((ctx, shares))
    };
    let (ctx, shares) = match admitted.await {
        Ok(admitted) => admitted,
        Err(error @ Error::Exhausted(_)) => return crowded(Status::from(error).into_http()),
        Err(error) => return Status::from(error).into_http(),
    };
    req.extensions_mut().insert(ctx.clone());
    let deadline = ctx.deadline;
    let req = bound(req, method, deadline);
    // A task of its own: a caller who leaves cancels no change half way, and the permit is held until the work ends.
    let share = shares.call.clone();
    let task = async move {
        let response = guard.run(method, ctx, req, next).await;
        drop((permits.call, shares.call));
        match permits.stream.zip(shares.stream) {
            Some(open) => response.map(|body| Body::new(Lasting::new(body, open))),
            None => response,
        }
    };
    let task = tokio::spawn(task.in_current_span());
    let reads = !method.mutates && !method.streams;
    let _abandon = reads.then(|| Abandon { read: task.abort_handle(), share: Some(share) });
    match tokio::time::timeout_at(deadline.into(), task).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => Status::from(Error::internal("a handler panicked")).into_http(),
        Err(_) => Status::deadline_exceeded("the deadline passed; a change may have been made")
            .into_http(),
    }
}

/// The task of a change or a stream is not aborted, so whoever sends a byte now and then would hold its permit for good. The
/// time of a stream is for its answer.
fn bound(req: Request, method: &Method, deadline: Instant) -> Request {
    let until = match method {
        Method { streams: true, .. } => deadline.min(Instant::now() + deadline::DEFAULT),
        Method { mutates: true, .. } => deadline,
        _ => return req,
    };
    req.map(|body| ends_by(body, until))
}

/// The answer of a handler, and where it was never reached what is wrong with the request: to tonic a message that does
/// not decode is a fault of ours.
fn answered(ctx: &Ctx, answer: Handled) -> Response {
    let Ok(response) = answer else {
        return Status::from(Error::internal("a handler panicked")).into_http();
    };
    match code_of(&response) {
        _ if ctx.record.is_reached() => response,
        Code::Internal => {
            Status::invalid_argument("the request is no message of this method").into_http()
        }
        Code::OutOfRange => Status::resource_exhausted("a message holds 4 MiB at most").into_http(),
        _ => response,
    }
}

/// Takes away what only a gateway of ours could say to a service: nobody is trusted with that.
fn strip(headers: &mut HeaderMap) {
    let inner: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-caseward-")).cloned().collect();
    for name in inner {
        headers.remove(name);
    }
}

/// The status of a unary answer: an error stands in the headers, success in the trailers.
fn code_of(response: &Response) -> Code {
    telemetry::code(response.headers()).unwrap_or(Code::Ok)
}

/// Ends a read that nobody waits for. Its place is free at once; whose it was, it counts as theirs for a while, so that
/// nobody who leaves again and again has more done for them than who waits.
struct Abandon {
    read: AbortHandle,
    share: Option<Share>,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if self.read.is_finished() {
            return;
        }
        self.read.abort();
        if let (Some(share), Ok(runtime)) = (self.share.take(), Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(LEFT).await;
                drop(share);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_that_its_caller_left_counts_as_theirs_for_a_while() {
        let (all, ana) = (Admission::new(4), admission::tests::caller("ana"));
        let task = tokio::spawn(std::future::pending::<()>());
        let share = Some(all.share(&ana).unwrap());
        drop(Abandon { read: task.abort_handle(), share });
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(all.share(&ana).is_err(), "one of four is all that she may take");
        tokio::time::sleep(LEFT + Duration::from_millis(1)).await;
        let share = Some(all.share(&ana).unwrap());
        let task = tokio::spawn(async {});
        let read = task.abort_handle();
        task.await.unwrap();
        drop(Abandon { read, share });
        assert!(all.share(&ana).is_ok(), "she waited for that one");
    }
}
