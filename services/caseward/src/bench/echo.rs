//! The least that a gRPC service can do, as the measure of all others.
use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use caseward_api::patient::v1::{GetPatientRequest, Patient};
use futures_util::future::BoxFuture;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::Service,
    server::{Grpc, UnaryService},
};
use tonic_prost::ProstCodec;

/// Answers every path with one patient: decodes, clones, encodes, and nothing else.
#[derive(Clone, Debug)]
pub(super) struct Echo(pub(super) Patient);

/// Takes whatever a telemetry exporter sends.
#[derive(Clone, Debug)]
pub(super) struct Sink;

impl UnaryService<GetPatientRequest> for Echo {
    type Response = Patient;
    type Future = std::future::Ready<Result<Response<Patient>, Status>>;

    fn call(&mut self, _: Request<GetPatientRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.0.clone())))
    }
}

impl UnaryService<()> for Sink {
    type Response = ();
    type Future = std::future::Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(())))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(echo, request).await) })
    }
}

impl Service<http::Request<Body>> for Sink {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<(), ()>::default();
            let limit = 64 << 20;
            Ok(Grpc::new(codec).max_decoding_message_size(limit).unary(Sink, request).await)
        })
    }
}
