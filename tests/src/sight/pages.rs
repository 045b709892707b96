//! A page token goes on with its own list, for its own caller, and is worth nothing else.
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use caseward_testkit::{Suite, suites};
use serde_json::{Value, json};
use tonic::Code;

use super::{
    ask::{Voice, text},
    contract::{Rpc, rpcs},
    fill::Filler,
    world::{ROLES, World, elsewhere},
};
use crate::{Run, Trial};

/// A list that has a second page, and where that begins.
struct Listed {
    rpc: &'static Rpc,
    ask: Value,
    token: String,
}

pub async fn stray_tokens(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let (mut random, mut went_on) = (run.random(), 0);
    for suite in suites().await {
        let world = World::furnish(&suite).await;
        let all = Voice::new(&suite.transport(), suite.caller("sam", &ROLES).token());
        let mut filler = Filler::new(&world, run.random());
        for rpc in rpcs().iter().filter(|rpc| rpc.name.starts_with("Create")) {
            filler.asks(&all, rpc).await;
        }
        let lists = lists(&all, &world).await;
        went_on += lists.len();
        let tries = run.of(300, 10_000);
        run.expect(tries);
        for _ in 0..tries {
            let listed = random.choice(&lists).expect("a list with a second page");
            let other = random.choice(&lists).expect("a list with a second page");
            stray(&suite, &all, listed, other, &mut random, &mut trial).await;
            run.step();
        }
    }
    trial.control(format!("{went_on} lists go on with a token of their own"), went_on >= 20);
    trial
}

/// The lists that have more than one row, each asked again with its token, which it must take.
async fn lists(voice: &Voice, world: &World) -> Vec<Listed> {
    let mut lists = vec![];
    let pages =
        |rpc: &&Rpc| rpc.method.input().get_field_by_name("page_token").is_some() && !rpc.streams;
    for rpc in rpcs().iter().filter(pages) {
        let mut ask = world.target(rpc).map_or(json!({}), |name| rpc.about(name));
        ask["pageSize"] = json!(1);
        let first = voice.ask(&rpc.name, &ask).await;
        if first.code != Code::Ok {
            continue;
        }
        let token = text(&first.json(rpc), "nextPageToken").to_owned();
        let mut next = ask.clone();
        next["pageToken"] = json!(token);
        if !token.is_empty() && voice.ask(&rpc.name, &next).await.code == Code::Ok {
            lists.push(Listed { rpc, ask, token });
        }
    }
    lists
}

/// Shows the token where it does not belong, or one that is no token.
async fn stray(
    suite: &Suite,
    all: &Voice,
    listed: &Listed,
    other: &Listed,
    random: &mut fastrand::Rng,
    trial: &mut Trial,
) {
    let Listed { rpc, ask, token } = listed;
    let mut ask = ask.clone();
    ask["pageToken"] = json!(token);
    let mut voice = all.clone();
    let what = match random.u8(..8) {
        0 => {
            voice = Voice::new(&suite.transport(), suite.caller("sue", &ROLES).token());
            "another caller's"
        }
        1 if other.token != *token => {
            ask["pageToken"] = json!(other.token);
            "another list's"
        }
        2 if rpc.target().is_some() => {
            let (field, _) = rpc.target().expect("a target");
            ask[field] = json!(elsewhere(text(&ask, field)));
            "another parent's"
        }
        3 => {
            let Some(filtered) = filter(rpc, &ask) else { return };
            ask = filtered;
            "another query's"
        }
        4 => {
            let mut bytes = BASE64.decode(token).expect("a token is base64");
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
            ask["pageToken"] = json!(BASE64.encode(bytes));
            "a flipped one"
        }
        5 => {
            ask["pageToken"] = json!(token[..random.usize(1..token.len())]);
            "a cut one"
        }
        6 => {
            let row = uuid::Uuid::from_u128(random.u128(..));
            let seal: [u8; 8] = random.u64(..).to_le_bytes();
            ask["pageToken"] = json!(BASE64.encode([&seal[..], row.as_bytes()].concat()));
            "a guessed one"
        }
        _ => {
            let letters = 1..random.usize(2..80);
            ask["pageToken"] = json!(letters.map(|_| random.alphanumeric()).collect::<String>());
            "a made up one"
        }
    };
    let answer = voice.ask(&rpc.name, &ask).await;
    trial.tried();
    let refused = matches!(answer.code, Code::InvalidArgument | Code::NotFound);
    trial.check(refused && answer.body.is_empty(), || {
        format!("{} takes {what}: {:?} {}", rpc.name, answer.code, answer.message)
    });
}

/// The same list with some filter set, where it has one.
fn filter(rpc: &Rpc, ask: &Value) -> Option<Value> {
    let mut ask = ask.clone();
    let field = rpc.method.input().fields().find(|field| {
        let paging = ["page_size", "page_token"].contains(&field.name());
        !paging && rpc.target().is_none_or(|(target, _)| target != field.name())
    })?;
    let value = match field.kind() {
        prost_reflect::Kind::String => json!("urn:other|1"),
        prost_reflect::Kind::Bool => json!(true),
        prost_reflect::Kind::Enum(of) => json!(of.values().nth(1)?.name()),
        _ => return None,
    };
    ask[field.json_name()] = if field.is_list() { json!([value]) } else { value };
    Some(ask)
}
