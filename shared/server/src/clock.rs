//! The deployment's clock as a service: told to whoever asks, moved where it is simulated.
use std::time::Duration;

use caseward_api::access::v1::{self as pb, clock_service_server::ClockService};
use caseward_core::{Clock, Ctx, Error, Time};
use caseward_events::{Bus, Settle};
use tonic::{Request, Response, Status};

/// How far one call moves the clock at most.
const MOST: i64 = 366 * 24 * 3600;

/// How long what comes due on the way may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// Tells and moves the clock of a deployment.
#[derive(Debug)]
pub struct Clocks {
    pub(crate) clock: Clock,
    pub(crate) settle: Settle,
}

#[tonic::async_trait]
impl ClockService for Clocks {
    async fn get_clock(
        &self,
        _: Request<pb::GetClockRequest>,
    ) -> Result<Response<pb::Clock>, Status> {
        Ok(Response::new(self.wire(self.clock.now())))
    }

    async fn advance(
        &self,
        req: Request<pb::AdvanceRequest>,
    ) -> Result<Response<pb::Clock>, Status> {
        let (_, req) = Ctx::open(req)?;
        if !self.clock.is_simulated() {
            let why = "the clock is the machine's; set clock.simulated_start to play time";
            return Err(Error::precondition("CLOCK_NOT_SIMULATED", why).into());
        }
        let by = req.by.unwrap_or_default();
        let total = i128::from(by.seconds) * 1_000_000_000 + i128::from(by.nanos);
        if total <= 0 || total > i128::from(MOST) * 1_000_000_000 {
            return Err(Error::invalid("by", "wants more than zero and at most 366 days").into());
        }
        let to = Time::from_micros(self.clock.now().micros() + (total / 1000) as i64);
        let now = self.settle.advance(to, PATIENCE).await?;
        if let Bus::JetStream(bus) = &self.settle.bus {
            bus.tell_time(now).await?;
        }
        Ok(Response::new(self.wire(now)))
    }
}

impl Clocks {
    fn wire(&self, now: Time) -> pb::Clock {
        pb::Clock { now: Some(now.into()), simulated: self.clock.is_simulated() }
    }
}
