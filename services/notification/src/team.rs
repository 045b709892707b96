//! Who is on a care team: asked of the care-plan service when a team is told, and forgotten after.
use std::collections::BTreeSet;

use caseward_api::careplan::v1::{ListMembersRequest, case_service_client::CaseServiceClient};
use caseward_core::{Ctx, Result};
use caseward_server::OwnPeer;
use tonic::Code;

use crate::message::Recipient;

/// The care-plan service.
#[derive(Clone, Debug)]
pub(crate) struct Teams(pub(crate) OwnPeer);

impl Teams {
    /// Those on the care team of `case` now whose work it is and who sign in, each once. Family is told as family.
    pub(crate) async fn staff(&self, ctx: &Ctx, case: &str) -> Result<Vec<Recipient>> {
        let ask = ListMembersRequest {
            parent: case.to_owned(),
            page_size: 1000,
            time: Some(ctx.now().into()),
            ..Default::default()
        };
        let mut client = CaseServiceClient::new(self.0.in_task(ctx)?);
        let members = match client.list_members(ask).await {
            Ok(reply) => reply.into_inner().members,
            Err(status) if status.code() == Code::NotFound => vec![],
            Err(status) => return Err(status.into()),
        };
        let staff = members.into_iter().filter(|member| member.related_person.is_empty());
        let people: BTreeSet<String> =
            staff.map(|member| member.person).filter(|person| !person.is_empty()).collect();
        Ok(people.into_iter().map(Recipient::Subject).collect())
    }
}
