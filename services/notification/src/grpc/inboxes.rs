//! `InboxService`.
use std::{pin::Pin, sync::Arc};

use caseward_api::notification::v1::{self as pb, inbox_service_server::InboxService};
use caseward_core::{Ctx, Page, check};
use caseward_store::Store;
use futures_util::Stream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::Reply;
use crate::{inbox, watch::Watch};

#[derive(Debug)]
pub(crate) struct Inboxes {
    pub(crate) store: Store,
    pub(crate) arrived: Arc<Notify>,
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl InboxService for Inboxes {
    type WatchInboxStream = Pin<Box<dyn Stream<Item = Result<pb::InboxItem, Status>> + Send>>;

    async fn list_inbox_items(
        &self,
        req: Request<pb::ListInboxItemsRequest>,
    ) -> Reply<pb::ListInboxItemsResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let owner = inbox::owner(&ctx, "parent", &req.parent);
        let (owner, page) = check::all((owner, Page::open(&ctx, &req)))?;
        let (rows, next_page_token) =
            inbox::list(&self.store.read(&ctx), &owner, req.unread_only, &page).await?;
        let items = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListInboxItemsResponse { items, next_page_token }))
    }

    async fn mark_read(&self, req: Request<pb::MarkReadRequest>) -> Reply<pb::InboxItem> {
        let (ctx, req) = Ctx::open(req)?;
        let (item, etag) = (inbox::item(&ctx, &req.name)?, req.etag.clone());
        let reply = self
            .store
            .write(&ctx, &req, move |tx| inbox::mark_read(tx, item.clone(), etag.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn watch_inbox(
        &self,
        req: Request<pb::WatchInboxRequest>,
    ) -> Reply<Self::WatchInboxStream> {
        let (ctx, req) = Ctx::open(req)?;
        let resume = match req.resume_token.as_str() {
            "" => Ok(None),
            token => inbox::resume(token).map(Some),
        };
        let (owner, resume) = check::all((inbox::owner(&ctx, "name", &req.name), resume))?;
        let last = match resume {
            None => inbox::last(&self.store.read(&ctx), &owner).await?,
            Some(last) => last,
        };
        let (store, arrived) = (self.store.clone(), self.arrived.clone());
        let stopping = self.stopping.clone();
        let watch = Watch { store, ctx, arrived, stopping, owner, last, read: Default::default() };
        Ok(Response::new(Box::pin(watch.stream())))
    }
}
