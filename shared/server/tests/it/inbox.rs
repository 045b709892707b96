//! A process with an inbox in memory behind its guard.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use caseward_api::notification::v1::inbox_service_server::{InboxService, InboxServiceServer};
use caseward_api::notification::v1::{self as pb};
use caseward_core::{Clock, Ctx};
use caseward_server::settings::Layers;
use caseward_server::{LOCAL_ORGANIZATION, Process, Service};
use caseward_store::Store;
use config::Value;
use futures_util::{Stream, StreamExt, stream};
use tempfile::TempDir;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// An inbox that is about one patient. It waits at the gate where its name says so; its stream has one item and no end.
#[derive(Clone, Default)]
pub struct Inbox {
    pub gate: Arc<Notify>,
}

impl Inbox {
    async fn act(&self, ctx: &Ctx, name: &str) {
        if name.ends_with("/wait") {
            self.gate.notified().await;
        }
        ctx.record.saw(Uuid::from_u128(1));
    }
}

#[tonic::async_trait]
impl InboxService for Inbox {
    async fn list_inbox_items(
        &self,
        req: Request<pb::ListInboxItemsRequest>,
    ) -> Result<Response<pb::ListInboxItemsResponse>, Status> {
        let (ctx, req) = Ctx::open(req)?;
        self.act(&ctx, &req.parent).await;
        Ok(Response::new(pb::ListInboxItemsResponse::default()))
    }

    async fn mark_read(
        &self,
        req: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::InboxItem>, Status> {
        let (ctx, req) = Ctx::open(req)?;
        self.act(&ctx, &req.name).await;
        Ok(Response::new(pb::InboxItem::default()))
    }

    type WatchInboxStream = Pin<Box<dyn Stream<Item = Result<pb::InboxItem, Status>> + Send>>;

    async fn watch_inbox(
        &self,
        _: Request<pb::WatchInboxRequest>,
    ) -> Result<Response<Self::WatchInboxStream>, Status> {
        let item = stream::iter([Ok(pb::InboxItem::default())]);
        Ok(Response::new(Box::pin(item.chain(stream::pending()))))
    }
}

/// A process that serves the inbox, with its log in `store`.
pub struct Desk {
    pub process: Process,
    pub inbox: Inbox,
    _data: TempDir,
}

impl Desk {
    pub async fn start(set: &[(&str, Value)], store: Option<Store>) -> Self {
        let data = TempDir::new().unwrap();
        let layers = Layers::load(None, &[]).unwrap();
        let layers = layers.with("data", data.path().to_str().unwrap()).unwrap();
        let layers = set
            .iter()
            .fold(layers, |layers, (key, value)| layers.with(key, value.clone()).unwrap());
        let mut process = Process::new(layers.common().unwrap()).await.unwrap();
        let inbox = Inbox::default();
        let service = Service::new("notification", store);
        process.serve(service.with(InboxServiceServer::new(inbox.clone()))).unwrap();
        process.ready().unwrap();
        Desk { process, inbox, _data: data }
    }

    /// The credentials of `subject`, who may do what a case manager may.
    pub fn bearer(&self, subject: &str) -> String {
        let (life, now) = (Duration::from_secs(600), Clock::System.now());
        let verifier = self.process.verifier();
        let token = verifier.mint(subject, &["case_manager"], LOCAL_ORGANIZATION, life, now);
        format!("Bearer {}", token.unwrap_or_default())
    }
}
