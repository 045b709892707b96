//! What happens to every call before its handler runs, and after: the one door of every service.
use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use caseward_core::{Caller, Clock, Ctx, Error, Record};
use caseward_store::{Store, audit::Entry};
use http::{HeaderMap, HeaderName};
use tokio::{sync::Semaphore, task::AbortHandle};
use tonic::{Code, Status, service::Routes};
use tracing::{Instrument, warn};

use crate::{
    deadline,
    policy::{Method, Methods, Roles},
    telemetry::{self, Calls, code_name, meters},
    token::{self, Verifier},
};

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
    pub(crate) calls: Calls,
}

/// How many calls may be in flight in one process.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    most: usize,
    left: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(most: usize) -> Self {
        Admission { most, left: Arc::new(Semaphore::new(most)) }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.most.saturating_sub(self.left.available_permits()) as u64
    }
}

impl Guard {
    pub(crate) fn new(shared: Arc<Shared>, store: Option<Store>) -> anyhow::Result<Self> {
        Ok(Guard { methods: Methods::get()?, shared, store })
    }

    /// Stands before `routes`, in process and on the network alike.
    pub(crate) fn protect(self, routes: Routes) -> Routes {
        Routes::from(routes.into_axum_router().layer(middleware::from_fn_with_state(self, call)))
    }

    /// Who calls, by a token that this service verified itself.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let token = token::bearer(headers).map_err(|_| Error::Unauthenticated)?;
        // A token's life is a matter of machines, so the simulated clock does not rule it.
        let now = Clock::System.now();
        let claims =
            self.shared.verifier.verify(token, now).await.map_err(|_| Error::Unauthenticated)?;
        let (permissions, reach, purpose) = self.shared.roles.grant(&claims.roles);
        Ok(Caller {
            organization: claims.organization,
            subject: claims.subject.clone(),
            roles: claims.roles.clone(),
            permissions,
            reach,
            purpose,
            token: token.to_owned(),
        })
    }

    /// Puts an entry on the audit log; where that cannot be, the access is refused.
    async fn audit(&self, ctx: &Ctx, entry: Entry) -> Result<(), Error> {
        let Some(store) = &self.store else { return Ok(()) };
        store.audit(ctx, entry).await.map_err(|cause| {
            meters().refused.add(1, &[]);
            warn!(cause = %cause, "the audit log does not take entries; access to patient data is refused");
            Error::Unavailable("the audit log does not answer; try again")
        })
    }

    /// Runs the handler and settles the audit, whether or not anybody still waits.
    async fn run(self, method: &'static Method, ctx: Ctx, req: Request, next: Next) -> Response {
        let response = next.run(req).await;
        if !method.phi {
            return response;
        }
        let code = code_of(&response);
        if method.streams {
            return self.watch(ctx, response);
        }
        if !method.mutates {
            // The beginning is on disk; the end may follow the answer. A begin without an end is an abandoned read.
            tokio::spawn(async move { self.audit(&ctx, Entry::end(&ctx, code_name(code))).await });
        } else if !ctx.record.is_settled()
            && let Err(error) = self.audit(&ctx, Entry::whole(&ctx, code_name(code))).await
        {
            return Status::from(error).into_http();
        }
        response
    }

    /// Ends the audit record of a stream when the stream ends.
    fn watch(self, ctx: Ctx, response: Response) -> Response {
        let end = OnDrop(Some(move || {
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { self.audit(&ctx, Entry::end(&ctx, "OK")).await });
            }
        }));
        response.map(|body| axum::body::Body::new(Held { body, end }))
    }
}

async fn call(State(guard): State<Guard>, req: Request, next: Next) -> Response {
    let Some(method) = guard.methods.of(req.uri().path()) else {
        if OPEN.iter().any(|open| req.uri().path().starts_with(open)) {
            return next.run(req).await;
        }
        return Status::unimplemented("no such method").into_http();
    };
    let start = Instant::now();
    let name = method.path.trim_start_matches('/');
    let calls = guard.shared.calls.clone();
    let response = match telemetry::sampled(req.headers()) {
        Some(parent) => {
            let span = parent.server(name);
            let response = admit(guard, method, req, next).instrument(span.clone()).await;
            telemetry::finish(&span, code_of(&response));
            response
        }
        None => admit(guard, method, req, next).await,
    };
    calls.record(name, code_of(&response), start.elapsed());
    response
}

async fn admit(guard: Guard, method: &'static Method, mut req: Request, next: Next) -> Response {
    let admitted = async {
        let deadline = deadline::of(req.headers(), method.streams)?;
        let permit = guard.shared.admission.left.clone().try_acquire_owned();
        let permit = permit.map_err(|_| {
            meters().shed.add(1, &[]);
            Error::Unavailable("too many calls at once; try again")
        })?;
        strip(req.headers_mut());
        let caller = guard.caller(req.headers()).await?;
        let trace = telemetry::traceparent();
        let ctx = Ctx {
            caller: Arc::new(caller),
            clock: guard.shared.clock.clone(),
            record: Arc::new(Record::open(method.path).traced(trace)),
            deadline,
        };
        if !ctx.may(&method.permission) {
            if method.phi {
                guard.audit(&ctx, Entry::whole(&ctx, code_name(Code::PermissionDenied))).await?;
            }
            return Err(Error::Denied);
        }
        if method.phi && !method.mutates {
            guard.audit(&ctx, Entry::begin(&ctx)).await?;
        }
        Ok((ctx, permit))
    };
    let (ctx, permit) = match admitted.await {
        Ok(admitted) => admitted,
        Err(error) => return Status::from(error).into_http(),
    };
    req.extensions_mut().insert(ctx.clone());
    let deadline = ctx.deadline;
    // A task of its own: a caller who leaves cancels no change half way, and the permit is held until the work ends.
    let task = async move {
        let response = guard.run(method, ctx, req, next).await;
        drop(permit);
        response
    };
    let task = tokio::spawn(task.in_current_span());
    let _abandon = (!method.mutates && !method.streams).then(|| Abort(task.abort_handle()));
    match tokio::time::timeout_at(deadline.into(), task).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => Status::from(Error::internal("a handler panicked")).into_http(),
        Err(_) => Status::deadline_exceeded("the deadline passed; a change may have been made")
            .into_http(),
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
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

/// Ends a read that nobody waits for.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

pin_project_lite::pin_project! {
    /// A body that tells when it ends or is dropped.
    struct Held<B, G> {
        #[pin]
        body: B,
        end: G,
    }
}

impl<B: http_body::Body, G> http_body::Body for Held<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
