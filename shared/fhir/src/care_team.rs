//! CareTeam, read into members of the care team of a case.
use caseward_api::{
    careplan::v1::Member,
    types::v1::{Concept, Identifier},
};

use crate::{care_plan::part, datatype, link::Links, node::Node};

/// A team, and whose it is.
pub(crate) struct Team {
    pub(crate) patient: String,
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    pub(crate) identifiers: Vec<Identifier>,
}
caseward_core::confidential!(Team);

/// Reads a care team.
pub(crate) fn read(at: &Node<'_>, links: &Links<'_>, identifiers: Vec<Identifier>) -> Option<Team> {
    Some(Team {
        patient: links.patient(at, "subject")?,
        name: at.text("name", 200),
        members: members(at, links, &identifiers),
        identifiers,
    })
}

/// The members of a team, whosever it is.
pub(crate) fn members(at: &Node<'_>, links: &Links<'_>, team: &[Identifier]) -> Vec<Member> {
    let period = datatype::period(at, "period");
    let read = |(n, at): (usize, &Node<'_>)| {
        let roles = datatype::concepts(at, "role", 10);
        let role = roles
            .into_iter()
            .next()
            .unwrap_or_else(|| Concept { codings: vec![], text: "Care team member".to_owned() });
        let mut member = Member {
            identifiers: part(team, &format!("participant/{n}")),
            role: Some(role),
            period: datatype::period(at, "period").or(period),
            ..Member::default()
        };
        identify(&mut member, at, links);
        if let Some(behalf) = at.get("onBehalfOf")
            && member.organization.is_empty()
        {
            member.organization_display = behalf.text("display", 300);
            if let Some(to) = links.target(&behalf, &["Organization"]) {
                member.organization = to.name;
                member.organization_display.clear();
            }
        }
        member
    };
    at.list_of("participant", 200).iter().enumerate().map(read).collect()
}

/// Sets who the member is: by a record where there is one, and always by what they are called.
fn identify(member: &mut Member, at: &Node<'_>, links: &Links<'_>) {
    let mut kind = String::new();
    if let Some(at) = at.get("member") {
        member.display = at.text("display", 300);
        let types = [
            "Practitioner",
            "Organization",
            "RelatedPerson",
            "Patient",
            "PractitionerRole",
            "CareTeam",
        ];
        if let Some(to) = links.target(&at, &types) {
            match &*to.resource_type {
                "Practitioner" => member.practitioner = to.name,
                "Organization" => member.organization = to.name,
                "RelatedPerson" => member.related_person = to.name,
                _ => {}
            }
            kind = to.resource_type;
        }
    }
    let known = [&member.practitioner, &member.organization, &member.related_person];
    if member.display.is_empty() && known.iter().all(|name| name.is_empty()) {
        // A member without a name still has a part in the team.
        let role = member.role.as_ref().map(datatype::words).unwrap_or_default();
        member.display = match &*kind {
            "Patient" => "Patient".to_owned(),
            _ => role.chars().take(300).collect(),
        };
    }
}
