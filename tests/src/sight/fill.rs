//! Requests with every field filled, written from the descriptors; what a service finds wrong with one mends the next.
use std::collections::HashMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use tonic::Status;
use tonic_types::StatusExt;

use super::{
    ask::{Answer, Voice, text},
    contract::{self, Rpc},
    marks::Marks,
    world::{World, form},
};

/// How deep a message is filled: forms nest without end.
const DEEP: usize = 6;
/// How often a request is mended before it is given up.
const MENDS: usize = 8;

/// What is no content of a request, but part of how it is asked.
const OURS: [&str; 7] =
    ["name", "parent", "etag", "request_id", "update_mask", "page_size", "page_token"];
/// With what people sign in. Those are names of the deployment, which events tell and logs of access hold.
const SUBJECTS: [&str; 8] =
    ["subject", "owner", "accountable", "person", "to", "actor", "author", "requester"];
const SOMEBODY: &str = "carl";
pub const PAST: &str = "2026-01-04T08:00:00Z";
pub const FUTURE: &str = "2026-03-02T08:00:00Z";

/// Fills requests about what is in a world.
#[derive(Debug)]
pub struct Filler<'a> {
    pub world: &'a World,
    pub marks: Marks,
    pub random: fastrand::Rng,
}

impl<'a> Filler<'a> {
    pub fn new(world: &'a World, random: fastrand::Rng) -> Filler<'a> {
        Filler { world, marks: Marks::default(), random }
    }

    /// A request with a value in every field that takes one.
    pub fn request(&mut self, rpc: &Rpc) -> Value {
        self.message(&rpc.method.input(), &rpc.name, 0)
    }

    /// Asks with every field filled, and mends what is wrong until it is accepted or cannot be mended. Answers all
    /// answers, the last one last.
    pub async fn asks(&mut self, voice: &Voice, rpc: &Rpc) -> Vec<Answer> {
        let mut request = self.request(rpc);
        let (mut tried, mut answers) = (HashMap::new(), vec![]);
        for _ in 0..MENDS {
            if let Some(name) = self.world.target(rpc) {
                aim(voice, rpc, name, &mut request).await;
            }
            let answer = voice.ask(&rpc.name, &request).await;
            let status = Status::with_details(
                answer.code,
                answer.message.clone(),
                answer.details.clone().into(),
            );
            let details = status.get_error_details();
            answers.push(answer);
            let Some(wrong) = details.bad_request() else { return answers };
            let before = request.clone();
            for violation in &wrong.field_violations {
                let times = tried.entry(violation.field.clone()).or_insert(0);
                self.mend(&mut request, &rpc.name, &violation.field, *times);
                *times += 1;
            }
            if request == before {
                return answers;
            }
        }
        answers
    }

    fn message(&mut self, of: &MessageDescriptor, path: &str, depth: usize) -> Value {
        let chosen: HashMap<String, usize> = of
            .oneofs()
            .map(|one| (one.name().to_owned(), self.random.usize(..one.fields().len())))
            .collect();
        let mut filled = Map::new();
        for field in of.fields() {
            let left_out = field.containing_oneof().is_some_and(|one| {
                !one.is_synthetic() && one.fields().nth(chosen[one.name()]) != Some(field.clone())
            });
            let path = format!("{path}.{}", field.name());
            if left_out || OURS.contains(&field.name()) || field.is_map() {
                continue;
            }
            if let Some(value) = self.value(&field, &path, depth) {
                let value = if field.is_list() { json!([value]) } else { value };
                filled.insert(field.json_name().to_owned(), value);
            }
        }
        Value::Object(filled)
    }

    fn value(&mut self, field: &FieldDescriptor, path: &str, depth: usize) -> Option<Value> {
        Some(match field.kind() {
            Kind::Message(of) => match of.full_name() {
                "google.protobuf.Timestamp" => json!(PAST),
                "google.protobuf.Duration" => json!("3600s"),
                "caseward.type.v1.Date" => {
                    let (year, month, day) = self.marks.day(path);
                    json!({ "year": year, "month": month, "day": day })
                }
                name if name.starts_with("google.protobuf.") || depth == DEEP => return None,
                _ => self.message(&of, path, depth + 1),
            },
            Kind::Enum(of) => {
                let known: Vec<_> = of.values().filter(|value| value.number() != 0).collect();
                json!(self.random.choice(known)?.number())
            }
            Kind::Bool => json!(self.random.bool()),
            Kind::String => json!(self.text(field, path)),
            Kind::Bytes => return None,
            Kind::Double | Kind::Float => json!(1.5),
            _ => json!(self.random.i32(1..4)),
        })
    }

    fn text(&mut self, field: &FieldDescriptor, path: &str) -> String {
        if SUBJECTS.contains(&field.name()) {
            return SOMEBODY.to_owned();
        }
        match self.world.called(field.json_name()) {
            Some(name) => name.to_owned(),
            None => self.marks.word(path),
        }
    }

    /// Puts something else where a service found something wrong, and in the end nothing.
    fn mend(&mut self, request: &mut Value, rpc: &str, field: &str, times: usize) {
        let Some((holder, last)) = place(request, field) else { return };
        let path = format!("{rpc}.{field}");
        let other = match (holder.get(&last), times) {
            (Some(Value::String(now)), _) if now == PAST => json!(FUTURE),
            (Some(Value::String(now)), _) if now == FUTURE => Value::Null,
            // Somebody else who signs in, and no value whose traces are looked for.
            (Some(Value::String(now)), _) if SUBJECTS.contains(&last.as_str()) => match &**now {
                SOMEBODY => json!("dora"),
                _ => Value::Null,
            },
            (Some(Value::String(_)), 0) => json!(format!("{}@example.org", self.marks.word(&path))),
            (Some(Value::String(_)), 1) => json!(self.marks.phone(&path)),
            (Some(Value::String(_)), 2) => json!(format!("urn:{}", self.marks.word(&path))),
            (Some(Value::String(_)), 3) => json!("en"),
            (Some(Value::Bool(now)), 0) => json!(!now),
            _ => Value::Null,
        };
        let Value::Object(holder) = holder else { return };
        match other {
            Value::Null => drop(holder.remove(&last)),
            other => drop(holder.insert(last, other)),
        }
    }
}

/// Makes `request` one about `name`, as it is now.
pub async fn aim(voice: &Voice, rpc: &Rpc, name: &str, request: &mut Value) {
    merge(request, rpc.about(name));
    let Some((field, _)) = rpc.target() else { return };
    let (holder, field) = match field.split_once('.') {
        Some((body, field)) => (&mut request[camel(body)], field),
        None => (request, field),
    };
    if field == "name" && rpc.mutates {
        holder["etag"] = json!(etag(voice, name).await);
    }
}

/// The etag of a resource, by the method that gets one of its form.
async fn etag(voice: &Voice, name: &str) -> String {
    let Some(rpc) = contract::getter(&form(name)) else { return String::new() };
    let answer = voice.ask(&rpc.name, &rpc.about(name)).await;
    text(&answer.json(rpc), "etag").to_owned()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Where `field` of a violation is in a request: what holds it, and under which name.
fn place<'r>(request: &'r mut Value, field: &str) -> Option<(&'r mut Value, String)> {
    let steps: Vec<&str> = field.split(['.', '[', ']']).filter(|step| !step.is_empty()).collect();
    // Where a whole member of a list is wrong, the list is.
    let last = steps.iter().rposition(|step| step.parse::<usize>().is_err())?;
    let mut at = request;
    for step in &steps[..last] {
        at = match step.parse::<usize>() {
            Ok(index) => at.get_mut(index)?,
            Err(_) => at.get_mut(camel(step))?,
        };
    }
    Some((at, camel(steps[last])))
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (head, rest) = part.split_at(part.len().min(1));
        name + &head.to_ascii_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_found_by_its_path() {
        let mut request = json!({ "carePlan": { "goals": [{ "dueTime": "x" }] } });
        let (holder, name) = place(&mut request, "care_plan.goals[0].due_time").unwrap();
        assert_eq!((holder.clone(), name.as_str()), (json!({ "dueTime": "x" }), "dueTime"));
        let (_, name) = place(&mut request, "care_plan.goals[0]").unwrap();
        assert_eq!(name, "goals");
        assert!(place(&mut request, "care_plan.nothing[3].x").is_none());
    }
}
