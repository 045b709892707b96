//! `TemplateService`.
use std::sync::Arc;

use caseward_api::notification::v1::{self as pb, template_service_server::TemplateService};
use caseward_core::{Ctx, Error, Name, Page, check};
use caseward_store::Store;
use tonic::{Request, Response};

use super::Reply;
use crate::{
    channel::Channel,
    shipped::Installed,
    template::{self, FALLBACK},
};

#[derive(Debug)]
pub(crate) struct Templates {
    pub(crate) store: Store,
    pub(crate) installed: Arc<Installed>,
    pub(crate) portal: String,
}

#[tonic::async_trait]
impl TemplateService for Templates {
    async fn get_template(&self, req: Request<pb::GetTemplateRequest>) -> Reply<pb::Template> {
        let (ctx, req) = Ctx::open(req)?;
        let row = template::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        Ok(Response::new(row.into()))
    }

    async fn list_templates(
        &self,
        req: Request<pb::ListTemplatesRequest>,
    ) -> Reply<pb::ListTemplatesResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let (page, select) = check::all((Page::open(&ctx, &req), template::asked(&ctx, &req)))?;
        self.installed.ensure(&self.store, &ctx).await?;
        let (rows, next_page_token) =
            caseward_store::page(&self.store.read(&ctx), select, &page).await?;
        let templates = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListTemplatesResponse { templates, next_page_token }))
    }

    async fn create_template(
        &self,
        req: Request<pb::CreateTemplateRequest>,
    ) -> Reply<pb::Template> {
        let (ctx, req) = Ctx::open(req)?;
        let row = template::Model::draft(&ctx, &req.template.clone().unwrap_or_default())?;
        self.installed.ensure(&self.store, &ctx).await?;
        let reply =
            self.store.write(&ctx, &req, move |tx| template::create(tx, row.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn update_template(
        &self,
        req: Request<pb::UpdateTemplateRequest>,
    ) -> Reply<pb::Template> {
        let (ctx, req) = Ctx::open(req)?;
        let from = req.template.clone().unwrap_or_default();
        let id = Name::parse("template.name", &from.name)?;
        let mask = req.update_mask.clone().unwrap_or_default();
        let reply = self
            .store
            .write(&ctx, &req, move |tx| template::update(tx, id, from.clone(), mask.clone()))
            .await?;
        Ok(Response::new(reply))
    }

    async fn approve_template(
        &self,
        req: Request<pb::ApproveTemplateRequest>,
    ) -> Reply<pb::Template> {
        let (ctx, req) = Ctx::open(req)?;
        let (id, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let reply =
            self.store.write(&ctx, &req, move |tx| template::approve(tx, id, etag.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn retire_template(
        &self,
        req: Request<pb::RetireTemplateRequest>,
    ) -> Reply<pb::Template> {
        let (ctx, req) = Ctx::open(req)?;
        let (id, etag) = (Name::parse("name", &req.name)?, req.etag.clone());
        let reply =
            self.store.write(&ctx, &req, move |tx| template::retire(tx, id, etag.clone())).await?;
        Ok(Response::new(reply))
    }

    async fn render_template(
        &self,
        req: Request<pb::RenderTemplateRequest>,
    ) -> Reply<pb::RenderTemplateResponse> {
        let (ctx, req) = Ctx::open(req)?;
        let channel =
            Channel::checked(req.channel).map_err(|why| Error::invalid("channel", why))?;
        let language = match req.language.as_str() {
            "" => FALLBACK.to_owned(),
            code => check::code(code, 2..=35).map_err(|why| Error::invalid("language", why))?,
        };
        let row = template::get(&self.store.read(&ctx), Name::parse("name", &req.name)?).await?;
        let values = row.values(&req.variables)?;
        let variant = row.variant(channel, &language).ok_or_else(|| {
            Error::invalid("channel", "is one for which the template has no text")
        })?;
        let (subject, body) = row.render(variant, &values, &self.portal)?;
        Ok(Response::new(pb::RenderTemplateResponse {
            content: Some(pb::MessageContent { subject, body }),
            language: variant.language.clone(),
            phi_class: row.phi_of(variant),
        }))
    }
}
