//! The least that a gRPC service can do, as the measure of all others.
use std::net::SocketAddr;

use caseward_api::access::v1::{
    AdvanceRequest, Clock, GetClockRequest,
    clock_service_server::{ClockService, ClockServiceServer},
};
use caseward_server::Process;
use tonic::{Request, Response, Status, service::Routes};

/// Answers at once.
#[derive(Debug)]
struct Echo;

#[tonic::async_trait]
impl ClockService for Echo {
    async fn get_clock(&self, _: Request<GetClockRequest>) -> Result<Response<Clock>, Status> {
        Ok(Response::new(Clock::default()))
    }

    async fn advance(&self, _: Request<AdvanceRequest>) -> Result<Response<Clock>, Status> {
        Ok(Response::new(Clock::default()))
    }
}

/// Serves on the listener of `process`, without guard, database or telemetry. Answers where.
pub(super) async fn serve(process: &Process) -> anyhow::Result<SocketAddr> {
    let routes = Routes::new(ClockServiceServer::new(Echo)).prepare();
    process.listen(([127, 0, 0, 1], 0).into(), routes).await
}
