//! `MessageService`.
use std::sync::Arc;

use caseward_api::notification::v1::{
    self as pb, message_service_server::MessageService, recipient::Who,
};
use caseward_core::{Ctx, Name, Page, check};
use caseward_server::relation::Relations;
use caseward_store::Store;
use tonic::{Request, Response};

use super::Reply;
use crate::{
    message::{self, Recipient},
    shipped::Installed,
};

#[derive(Debug)]
pub(crate) struct Messages {
    pub(crate) store: Store,
    pub(crate) installed: Arc<Installed>,
    pub(crate) relations: Relations,
}

impl Messages {
    /// What was granted a moment ago counts for what is asked about the patient in `name`. A name that does not read
    /// is refused where it is used.
    async fn acquaint(&self, ctx: &Ctx, name: &str) -> caseward_core::Result<()> {
        match Recipient::read(name).and_then(|named| named.patient()) {
            Some(patient) => self.relations.ensure(ctx, patient.uuid()).await,
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl MessageService for Messages {
    async fn get_message(&self, req: Request<pb::GetMessageRequest>) -> Reply<pb::Message> {
        let (ctx, req) = Ctx::open(req)?;
        let row = message::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.wire(req.view() == pb::MessageView::Full)))
    }

    async fn list_messages(
        &self,
        req: Request<pb::ListMessagesRequest>,
    ) -> Reply<pb::ListMessagesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) = check::all((Page::open(&ctx, &req), message::asked(&ctx, &req)))?;
        self.acquaint(&ctx, &req.patient).await?;
        let (rows, next_page_token) =
            caseward_store::page(&self.store.read(&ctx), select, &page).await?;
        let messages = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListMessagesResponse { messages, next_page_token }))
    }

    async fn send_message(&self, req: Request<pb::SendMessageRequest>) -> Reply<pb::Message> {
        let (ctx, req) = Ctx::open(req)?;
        self.installed.ensure(&self.store, &ctx).await?;
        let message = req.message.as_ref();
        let recipient = message.and_then(|message| message.recipient.as_ref()?.who.as_ref());
        let about = match recipient {
            Some(Who::Patient(name) | Who::RelatedPerson(name)) => name,
            _ => message.map_or("", |message| &message.patient),
        };
        self.acquaint(&ctx, about).await?;
        let ask = req.clone();
        let reply = self.store.write(&ctx, &req, move |tx| message::send(tx, ask.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn cancel_message(&self, req: Request<pb::CancelMessageRequest>) -> Reply<pb::Message> {
        let (ctx, req) = Ctx::open(req)?;
        let (id, ask) = (Name::parse("name", &req.name)?, req.clone());
        let reply =
            self.store.write(&ctx, &req, move |tx| message::cancel(tx, id, ask.clone())).await?;
        Ok(Response::new(reply))
    }
}
