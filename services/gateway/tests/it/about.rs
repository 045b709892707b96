//! What the door says about itself and about the services behind it.
use std::{
    collections::BTreeSet, convert::Infallible, sync::atomic::Ordering::SeqCst, time::Duration,
};

use axum::body::{Body, Bytes};
use caseward_api::DESCRIPTORS;
use caseward_gateway::{Settings, Shown};
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode, Version};
use prost_reflect::DescriptorPool;
use serde_json::Value;
use tokio::time::Instant;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::peer::{CASES, Door, PATIENTS, Peer, counted, unreachable};

#[tokio::test]
async fn openapi_holds_every_call_and_every_reference_resolves() {
    let (status, openapi) = Door::open().get("/openapi.json").await;
    assert_eq!((status, &openapi["openapi"]), (StatusCode::OK, &"3.1.0".into()));
    let mut ids = BTreeSet::new();
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        for (verb, operation) in operations.as_object().unwrap() {
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "twice: {verb} {path}"
            );
            let held: BTreeSet<_> =
                path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            let parameters = operation["parameters"].as_array().unwrap();
            let said = parameters
                .iter()
                .filter(|it| it["in"] == "path")
                .map(|it| it["name"].as_str().unwrap());
            assert_eq!(held, said.collect(), "{verb} {path}");
            assert!(!operation["description"].as_str().unwrap().is_empty(), "{verb} {path}");
        }
    }
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let called = methods.filter(|method| method.options().has_extension(&http));
    let expected: BTreeSet<_> = called
        .map(|method| format!("{}_{}", method.parent_service().name(), method.name()))
        .collect();
    assert!(expected.is_subset(&ids), "missing: {:?}", expected.difference(&ids));

    resolve(&openapi, &openapi);
    let create = &openapi["paths"]["/v1/patients"]["post"];
    assert_eq!(
        create["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/caseward.patient.v1.Patient"
    );
    let patient = &openapi["components"]["schemas"]["caseward.patient.v1.Patient"];
    assert_eq!(patient["required"], serde_json::json!(["names"]));
    assert_eq!(patient["properties"]["state"]["readOnly"], true);
    assert_eq!(
        patient["properties"]["gender"]["$ref"],
        "#/components/schemas/caseward.patient.v1.Patient.Gender"
    );
    assert_eq!(patient["properties"]["createTime"]["format"], "date-time");
}

#[tokio::test]
async fn openapi_holds_requests_to_what_the_comments_say() {
    let (_, openapi) = Door::open().get("/openapi.json").await;
    // No wildcard takes anything: each is an id, or the subject of somebody.
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        for operation in operations.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().unwrap() {
                if parameter["in"] == "path" {
                    let pattern = parameter["schema"]["pattern"].as_str().unwrap();
                    let free = parameter["name"] == "subject";
                    assert_eq!(pattern == "^([^/]+)$", free, "{path}: {parameter}");
                }
            }
        }
    }
    let paths = &openapi["paths"];
    assert!(paths["/v1/inboxes/{subject}/items"].is_object());
    let queue = &paths["/v1/patients/{patient}/emergencyAccesses"]["get"]["parameters"][0];
    assert!(queue["schema"]["pattern"].as_str().unwrap().ends_with("|-)$"), "{queue}");

    let schema = |name: &str| openapi["components"]["schemas"][name].clone();
    let names = &schema("caseward.patient.v1.Patient")["properties"]["names"];
    assert_eq!((&names["minItems"], &names["maxItems"]), (&1.into(), &20.into()));
    let loaded = &schema("caseward.patient.v1.IngestPatientsRequest")["properties"]["patients"];
    assert_eq!((&loaded["minItems"], &loaded["maxItems"]), (&1.into(), &200.into()));
    let name = schema("caseward.type.v1.HumanName");
    let given = &name["properties"]["given"];
    assert_eq!((&given["maxItems"], &given["items"]["maxLength"]), (&10.into(), &100.into()));
    let date = schema("caseward.type.v1.Date");
    assert_eq!(date["required"], serde_json::json!(["year"]));
    assert_eq!(date["properties"]["day"]["maximum"], 31);
    let recipient = schema("caseward.notification.v1.Recipient");
    assert_eq!(recipient["allOf"][0]["oneOf"].as_array().unwrap().len(), 4);

    // A body of which nothing has to be there may be left out.
    let needed = |path: &str| paths[path]["post"]["requestBody"]["required"].clone();
    assert_eq!(needed("/v1/patients:ingest"), true);
    assert_eq!(needed("/v1/directory:verify"), true);
    let reason = &paths["/v1/cases/{case}:decline"]["post"]["requestBody"]["content"];
    let reason = &reason["application/json"]["schema"]["properties"]["reason"];
    assert_eq!(reason["maxLength"], 1000, "{reason}");

    let pages = openapi["paths"]["/v1/patients"]["get"]["parameters"].as_array().unwrap();
    let size = pages.iter().find(|it| it["name"] == "pageSize").unwrap();
    assert_eq!(size["schema"]["minimum"], 0);
    // An update changes what it names; a new patient has a name.
    let body = &paths["/v1/patients/{patient}"]["patch"]["requestBody"]["content"];
    let body = &body["application/json"]["schema"];
    assert!(body["properties"]["names"].is_object() && body["required"].is_null(), "{body}");
}

fn resolve(root: &Value, at: &Value) {
    match at {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(root.pointer(pointer).is_some_and(Value::is_object), "{reference}");
            }
            object.values().for_each(|value| resolve(root, value));
        }
        Value::Array(list) => list.iter().for_each(|value| resolve(root, value)),
        _ => {}
    }
}

#[tokio::test]
async fn ready_means_every_service() {
    let door = Door::open();
    assert_eq!(door.get("/healthz").await.0, StatusCode::OK);
    let (status, report) = door.get("/readyz").await;
    assert_eq!((status, &report["ready"]), (StatusCode::OK, &true.into()));
    assert_eq!(report["services"][PATIENTS], "SERVING");

    let peer = Peer::default();
    let owners = [(PATIENTS.to_owned(), unreachable()), (CASES.to_owned(), peer.owner())].into();
    let router = caseward_gateway::routes(owners, &Settings::default()).unwrap();
    let door = Door { router, peer };
    let (status, report) = door.get("/readyz").await;
    assert_eq!((status, &report["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &false.into()));
    assert_eq!(
        (&report["services"][PATIENTS], &report["services"][CASES]),
        (&"UNREACHABLE".into(), &"SERVING".into())
    );
    assert_eq!(door.get("/healthz").await.0, StatusCode::OK);
    let mut health = HealthClient::new(door.router.clone());
    let mut check = async |service: &str| {
        let req = HealthCheckRequest { service: service.into() };
        health.check(req).await.map(|reply| reply.into_inner().status)
    };
    assert_eq!(check("").await.unwrap(), 2);
    assert_eq!(check(CASES).await.unwrap(), 1);
    assert_eq!(check("caseward.unknown").await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn callers_who_leave_do_not_have_the_services_asked_again() {
    let (owner, calls) = counted();
    let owners = [(PATIENTS.to_owned(), owner)].into();
    let router = caseward_gateway::routes(owners, &Settings::default()).unwrap();
    let door = Door { router, peer: Peer::default() };
    for _ in 0..10 {
        let left = tokio::time::timeout(Duration::from_millis(10), door.get("/readyz")).await;
        assert!(left.is_err(), "the service does not answer");
    }
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(door.get("/readyz").await.1["services"][PATIENTS], "UNREACHABLE");
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_anybody_may_ask_is_short_and_soon_said() {
    let door = Door::open();
    let mut health = HealthClient::new(door.router.clone());
    let long = HealthCheckRequest { service: "x".repeat(2 << 10) };
    assert_eq!(health.check(long.clone()).await.unwrap_err().code(), tonic::Code::OutOfRange);
    assert_eq!(health.watch(long).await.unwrap_err().code(), tonic::Code::OutOfRange);
    let long = MessageRequest::FileContainingSymbol("x".repeat(2 << 10));
    assert!(reflected(&door, long).await.is_err());

    let half = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"\0\0\0\0\x08half"))]);
    let req = Request::post("/grpc.health.v1.Health/Watch").version(Version::HTTP_2);
    let req = req.header("content-type", "application/grpc");
    let began = Instant::now();
    let reply = door.raw(req.body(Body::from_stream(half.chain(stream::pending()))).unwrap()).await;
    assert_eq!(reply.headers()["grpc-status"], "4");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_comes_back_is_seen_within_a_second() {
    let door = Door::open();
    *door.peer.down.lock().unwrap() = true;
    assert_eq!(door.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    *door.peer.down.lock().unwrap() = false;
    assert_eq!(door.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(door.get("/readyz").await.0, StatusCode::OK);
}

fn every() -> MessageRequest {
    MessageRequest::ListServices(String::new())
}

async fn reflected(door: &Door, asked: MessageRequest) -> Result<MessageResponse, tonic::Status> {
    let mut client = ServerReflectionClient::new(door.router.clone());
    let req = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut replies = client.server_reflection_info(stream::iter([req])).await?.into_inner();
    let reply = replies.message().await?.and_then(|reply| reply.message_response);
    reply.ok_or_else(|| tonic::Status::data_loss("no answer"))
}

#[tokio::test]
async fn reflection_lists_what_answers() {
    let MessageResponse::ListServicesResponse(list) =
        reflected(&Door::open(), every()).await.unwrap()
    else {
        panic!("another answer")
    };
    let names: BTreeSet<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in [PATIENTS, CASES, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
}

#[tokio::test]
async fn off_loopback_no_contract_is_told_unless_the_settings_say_so() {
    let told = async |listen: &str, reflection, openapi| {
        let peer = Peer::default();
        let settings =
            Settings { listen: listen.into(), reflection, openapi, ..Settings::default() };
        let router = caseward_gateway::routes(peer.owns_all(), &settings).unwrap();
        let door = Door { router, peer };
        let (status, _) = door.get("/openapi.json").await;
        let linked = door.get("/").await.1["links"].get("openapi").is_some();
        assert_eq!(status, if linked { StatusCode::OK } else { StatusCode::NOT_FOUND });
        let reflected = reflected(&door, every()).await.map_err(|status| status.code());
        assert!(matches!(reflected, Ok(_) | Err(tonic::Code::Unimplemented)), "{reflected:?}");
        (reflected.is_ok(), linked)
    };
    let Settings { reflection, openapi, .. } = Settings::default();
    for here in ["127.0.0.1:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
        assert_eq!(told(here, reflection, openapi).await, (true, true), "{here}");
    }
    for elsewhere in ["0.0.0.0:8080", "[::]:8080", "10.0.0.7:8080", "nonsense"] {
        assert_eq!(told(elsewhere, reflection, openapi).await, (false, false), "{elsewhere}");
    }
    assert_eq!(told("0.0.0.0:8080", Shown::Always, Shown::Never).await, (true, false));
    assert_eq!(told("0.0.0.0:8080", Shown::Never, Shown::Always).await, (false, true));
    assert_eq!(told("127.0.0.1:8080", Shown::Never, Shown::Always).await, (false, true));
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_where_listed() {
    let peer = Peer::default();
    let settings =
        Settings { cors_origins: vec!["https://care.example.org".into()], ..Settings::default() };
    let router = caseward_gateway::routes(peer.owns_all(), &settings).unwrap();
    let door = Door { router, peer };
    let ask = async |door: &Door, verb: &str, origin: &str| {
        let req = Request::builder().method(verb).uri("/v1/patients").header("origin", origin);
        let req = req.header("access-control-request-method", "POST");
        let req = req.header("access-control-request-headers", "authorization");
        let reply = door.raw(req.body(Body::empty()).unwrap()).await;
        reply.headers().get("access-control-allow-origin").cloned()
    };
    assert_eq!(
        ask(&door, "OPTIONS", "https://care.example.org").await.unwrap(),
        "https://care.example.org"
    );
    assert_eq!(
        ask(&door, "GET", "https://care.example.org").await.unwrap(),
        "https://care.example.org"
    );
    assert_eq!(ask(&door, "OPTIONS", "https://evil.example.org").await, None);
    assert_eq!(ask(&Door::open(), "OPTIONS", "https://care.example.org").await, None);
}

#[test]
fn settings_refuse_a_key_they_do_not_know() {
    let read = serde_json::from_str::<Settings>;
    assert_eq!(read("{}").unwrap().listen, "127.0.0.1:8080");
    assert!(read(r#"{"cors_origin":[]}"#).unwrap_err().to_string().contains("cors_origin"));
}
