//! Every method on every port refuses whoever has no right to it, and says nothing while it does.
use std::net::SocketAddr;

use caseward_server::Transport;
use caseward_testkit::{Suite, suites};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use super::{
    ask::{Answer, Voice, encode},
    contract::{Rpc, rpcs},
    rows,
    world::{ROLES, World, elsewhere},
};
use crate::{Run, Trial};

/// Roles that see nobody without a relation.
const RELATED: [&str; 4] = ["case_manager", "care_team", "patient", "caregiver"];

/// Another tenant, in which the same names mean others.
const OTHER: Uuid = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0002);

/// Services that belong to no port but the gateway's: they tell of no tenant.
const OPEN: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

/// What every service answers of its own log.
const EVERYWHERE: &str = "caseward.audit.v1.AccessLogService";

/// One port of a suite.
pub struct Port {
    pub label: String,
    pub door: Transport,
    pub address: SocketAddr,
    section: &'static str,
}

/// The ports of a suite.
pub fn ports(suite: &Suite) -> Vec<Port> {
    let members = suite.members().iter().map(|member| {
        let (section, replica) = member.name();
        Port {
            label: format!("{section}-{replica}"),
            door: suite.replica(section, replica),
            address: member.address(),
            section,
        }
    });
    members.collect()
}

impl Port {
    /// Whether it is the port of the whole suite.
    pub fn is_gateway(&self) -> bool {
        matches!(self.section, "gateway" | "caseward")
    }

    /// Whether it answers calls of a service.
    pub fn serves(&self, service: &str) -> bool {
        let section = match service.split('.').nth(1) {
            Some("careplan") => "care_plan",
            Some(package) => package,
            None => "",
        };
        self.is_gateway() || service == EVERYWHERE || self.section == section
    }
}

pub async fn every_port(_run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (mut seen, mut told) = (0, 0);
    for suite in suites().await {
        let world = World::furnish(&suite).await;
        reflection_agrees(&suite, &mut trial).await;
        // Each tenant gets what ships with the product when it first asks, which is no trace of a refusal.
        let other = Voice::new(&suite.transport(), suite.caller_of(OTHER, "ana", &ROLES).token());
        other.get("ListTemplates", json!({})).await;
        other.get("ListQuestionnaires", json!({})).await;
        let before = rows::settled(&suite).await;
        for port in ports(&suite) {
            for rpc in rpcs() {
                if port.serves(&rpc.service) {
                    refuses(&suite, &world, &port, rpc, &mut trial).await;
                } else {
                    let all = Voice::new(&port.door, suite.caller("sam", &ROLES).token());
                    let strayed = all.raw(&rpc.path, &[], &[]).await;
                    trial.tried();
                    trial.check(strayed.code == Code::Unimplemented, || {
                        format!("{} at {}: {:?}", rpc.path, port.label, strayed.code)
                    });
                }
            }
        }
        let after = rows::settled(&suite).await;
        trial.check(before == after, || {
            format!("a refused call left a trace: {before:?} {after:?}")
        });
        // The checks must see a right where there is one.
        let (all, door) = (suite.caller("sam", &ROLES), suite.transport());
        let all = Voice::new(&door, all.token());
        for rpc in rpcs().iter().filter(|rpc| !rpc.streams && !rpc.mutates) {
            let request = world.target(rpc).map_or(json!({}), |name| rpc.about(name));
            let answer = all.ask(&rpc.name, &request).await;
            seen += u32::from(!is_refused(&answer));
            if let Some(name) = world.target(rpc) {
                let nowhere = all.ask(&rpc.name, &rpc.about(&elsewhere(name))).await;
                told += u32::from(nowhere.essence() != answer.essence());
            }
        }
    }
    trial.control(
        format!("a caller with every role is seen to get in ({seen} methods), and what is there to differ from what is not ({told})"),
        seen > 80 && told > 40,
    );
    trial
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer.code, Code::Unauthenticated | Code::PermissionDenied)
}

async fn refuses(suite: &Suite, world: &World, port: &Port, rpc: &Rpc, trial: &mut Trial) {
    let target = world.target(rpc);
    let request = target.map_or(json!({}), |name| rpc.about(name));
    let mut fails = |who: &str, answer: &Answer, wanted: Code| {
        trial.tried();
        trial.check(answer.code == wanted, || {
            format!("{} at {} by {who}: {:?} {}", rpc.path, port.label, answer.code, answer.message)
        });
    };
    let nobody = Voice::nobody(&port.door);
    let idle = Voice::new(&port.door, suite.caller("eve", &["nothing_at_all"]).token());
    let message = encode(rpc.method.input(), &request);
    fails("nobody", &nobody.raw(&rpc.path, &[], &message).await, Code::Unauthenticated);
    fails(
        "somebody without a role",
        &idle.raw(&rpc.path, &[], &message).await,
        Code::PermissionDenied,
    );
    if port.is_gateway() {
        let (verb, _) = &rpc.rest;
        let mut url = rpc.url(target.unwrap_or_default());
        if *verb == http::Method::PATCH {
            // What names no field is refused by the form of the request, whoever sends it.
            url += "?updateMask=title";
        }
        let answer = nobody.rest(verb.clone(), &url, &json!({})).await;
        trial.tried();
        trial.check(answer.http == 401, || format!("{verb} {url} by nobody: {}", answer.http));
        let answer = idle.rest(verb.clone(), &url, &json!({})).await;
        trial.tried();
        trial.check(answer.http == 403, || format!("{verb} {url} without a role: {}", answer.http));
    }
    let other = suite.caller_of(OTHER, "ana", &ROLES);
    tells_nothing("another tenant", &Voice::new(&port.door, other.token()), world, rpc, trial)
        .await;
    if target.is_some_and(of_a_patient) {
        let stranger = suite.caller("eve", &RELATED);
        tells_nothing("a stranger", &Voice::new(&port.door, stranger.token()), world, rpc, trial)
            .await;
    }
}

fn of_a_patient(name: &str) -> bool {
    ["patients/", "cases/", "messages/", "inboxes/"].iter().any(|kind| name.starts_with(kind))
}

/// What is there is answered like what is not, and names nothing.
async fn tells_nothing(who: &str, voice: &Voice, world: &World, rpc: &Rpc, trial: &mut Trial) {
    trial.tried();
    let Some(name) = world.target(rpc) else {
        let answer = if rpc.mutates { return } else { voice.ask(&rpc.name, &json!({})).await };
        let leaks = ["patients/*", "cases/*", "messages/*", "organizations/*"];
        let leaks = leaks.iter().any(|form| answer.holds(world.name(form)));
        trial.check(!leaks, || format!("{} tells {who} a name", rpc.path));
        return;
    };
    let there = voice.ask(&rpc.name, &rpc.about(name)).await;
    let nowhere = voice.ask(&rpc.name, &rpc.about(&elsewhere(name))).await;
    trial.check(there.essence() == nowhere.essence(), || {
        format!(
            "{} tells {who} what is there:\n{}\nfrom\n{}",
            rpc.path,
            there.essence(),
            nowhere.essence()
        )
    });
    // An empty list of one's own is an answer; a resource is not.
    let granted = there.code == Code::Ok && !there.body.iter().skip(5).all(|byte| *byte == 0);
    trial.check(!granted, || format!("{} answers {who}: {:?}", rpc.path, there.json(rpc)));
}

/// Reflection names the services that the descriptors hold, and none besides but the open ones.
async fn reflection_agrees(suite: &Suite, trial: &mut Trial) {
    // Field 7 of a reflection request lists services; the answer holds each by its full name.
    let ask = [0x3a, 0x01, b'*'];
    let answer = Voice::nobody(&suite.transport())
        .raw("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[], &ask)
        .await;
    let ours: std::collections::BTreeSet<&str> =
        rpcs().iter().map(|rpc| rpc.service.as_str()).chain(OPEN).collect();
    for service in &ours {
        trial.tried();
        trial.check(answer.holds(service), || format!("reflection does not know {service}"));
    }
    let told = String::from_utf8_lossy(&answer.body);
    let told = told.matches("caseward.").count();
    let known = ours.iter().filter(|name| name.starts_with("caseward.")).count();
    trial.check(told == known, || format!("reflection tells {told} services of ours, not {known}"));
}
