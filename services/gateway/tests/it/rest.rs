//! REST calls: templates, queries, bodies, masks, streams and errors.
use std::{convert::Infallible, time::Duration};

use axum::body::{Body, Bytes};
use caseward_api::careplan::v1::TimelineEntry;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tonic::Status;

use crate::peer::{Door, KNOWN, fields, json};

const PATIENT: &str = "/v1/patients/0190a5a0-0000-7000-8000-000000000001";

#[tokio::test(start_paused = true)]
async fn a_resource_is_proto_json() {
    let door = Door::open();
    let (status, patient) = door.get(PATIENT).await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "name": KNOWN,
        "names": [{ "family": "Byron" }],
        "gender": "GENDER_FEMALE",
        "createTime": "2023-11-14T22:13:20Z",
        "etag": "1",
    });
    assert_eq!(patient, expected);
    let (path, headers) = door.peer.last();
    assert_eq!(path, "/caseward.patient.v1.PatientService/GetPatient");
    assert_eq!(headers["authorization"], "Bearer a.b.c");
    assert_eq!(headers["grpc-timeout"], "15000m");
}

#[tokio::test]
async fn queries_take_json_names_and_those_of_the_proto() {
    let door = Door::open();
    for path in [
        "/v1/patients?pageSize=7&identifier=a%7Cb+c",
        "/v1/patients?page_size=7&identifier=a|b%20c",
    ] {
        let (status, page) = door.get(path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        assert_eq!(page["nextPageToken"], "7|a|b c");
    }
    let (status, error) =
        door.get("/v1/patients?pageSize=many&colour=red&pageToken=a&pageToken=b").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(fields(&error), ["pageSize", "colour", "pageToken"]);
    let (status, error) = door.get(&format!("{PATIENT}?name=patients/other")).await;
    assert_eq!((status, fields(&error)), (StatusCode::BAD_REQUEST, vec!["name".to_owned()]));
}

#[tokio::test]
async fn a_body_is_one_field_and_the_query_the_others() {
    let door = Door::open();
    let body = r#"{"names":[{"family":"Byron","given":["Ada"]}],"gender":2,"birthDate":{"year":1815},"time_zone":"UTC"}"#;
    let (status, patient) = door.send("POST", "/v1/patients?requestId=r1", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{patient}");
    let expected = json!({
        "names": [{ "given": ["Ada"], "family": "Byron" }],
        "gender": "GENDER_FEMALE",
        "birthDate": { "year": 1815 },
        "timeZone": "UTC",
        "etag": "r1",
    });
    assert_eq!(patient, expected);
}

#[tokio::test]
async fn a_patch_has_the_mask_it_gives_or_else_that_of_its_body() {
    let door = Door::open();
    let body = r#"{"name":"","etag":"1","timeZone":"UTC","birthDate":{"year":1815},"state":"STATE_ACTIVE"}"#;
    let (status, patient) = door.send("PATCH", PATIENT, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{patient}");
    assert_eq!(patient["timeZone"], "birth_date+time_zone");
    assert_eq!(patient["name"], KNOWN);

    let given = format!("{PATIENT}?updateMask=timeZone,birth_date,names");
    let (_, patient) = door.send("PATCH", &given, Some(r#"{"etag":"1"}"#)).await;
    assert_eq!(patient["timeZone"], "time_zone+birth_date+names");

    let (status, error) = door.send("PATCH", PATIENT, Some(r#"{"etag":"1"}"#)).await;
    assert_eq!((status, fields(&error)), (StatusCode::BAD_REQUEST, vec!["update_mask".to_owned()]));
    let (status, error) =
        door.send("PATCH", PATIENT, Some(r#"{"name":"patients/other","etag":"1"}"#)).await;
    assert_eq!(
        (status, fields(&error)),
        (StatusCode::BAD_REQUEST, vec!["patient.name".to_owned()])
    );
}

#[tokio::test]
async fn every_wrong_field_is_named_and_no_value_repeated() {
    let door = Door::open();
    let body = r#"{"nickname":"Secret","gender":"GENDER_SECRET","names":[{},{"family":7,"given":[null,"Secret"]}],
        "deceasedTime":"Secret","birthDate":"Secret","telecoms":{},"deceased":"Secret","addresses":null}"#;
    let (status, error) = door.send("POST", "/v1/patients", Some(body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let expected = [
        "patient.nickname",
        "patient.gender",
        "patient.names[1].family",
        "patient.names[1].given[0]",
        "patient.deceased_time",
        "patient.birth_date",
        "patient.telecoms",
        "patient.deceased",
    ];
    assert_eq!(fields(&error), expected);
    assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
    assert!(!error.to_string().contains("Secret"), "{error}");
    assert_eq!(door.peer.calls(), 0);
}

#[tokio::test]
async fn of_what_is_wrong_in_many_places_the_first_hundred_are_named() {
    let door = Door::open();
    let list = format!(r#"{{"names":[{}1]}}"#, "1,".repeat(50_000));
    let names: Vec<_> = (0..500).map(|n| format!(r#""odd{n}":1"#)).collect();
    let object = format!("{{{}}}", names.join(","));
    let query = format!("/v1/patients?{}", "odd=1&".repeat(500));
    for (verb, path, body) in [
        ("POST", "/v1/patients", Some(list.as_str())),
        ("POST", "/v1/patients", Some(object.as_str())),
        ("GET", query.as_str(), None),
    ] {
        let (status, error) = door.send(verb, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let named = fields(&error);
        assert_eq!((named.len(), named.last().unwrap().as_str()), (101, ""));
        assert!(error.to_string().contains("there may be more"));
    }
    assert_eq!(door.peer.calls(), 0);
}

#[tokio::test]
async fn who_shows_no_token_is_not_told_what_is_wrong_with_the_body() {
    let door = Door::open();
    for authorization in [
        None,
        Some("Bearer "),
        Some("Basic dDp0"),
        Some("bearer a.b.c"),
        Some("Bearer a b.c.d"),
        Some("Bearer 0"),
        Some("Bearer a..c"),
        Some("Bearer a.b.c.d"),
    ] {
        let req = Request::post("/v1/patients").header("content-type", "text/plain");
        let req = match authorization {
            Some(value) => req.header("authorization", value),
            None => req,
        };
        let reply = door.raw(req.body(Body::from("{")).unwrap()).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "{authorization:?}");
        assert_eq!(reply.headers()["www-authenticate"], "Bearer");
    }
    assert_eq!(door.peer.calls(), 0);
}

#[tokio::test]
async fn what_is_not_json_says_where() {
    let door = Door::open();
    for body in [
        "{",
        "",
        "[]",
        "null",
        "{}{}",
        "{\"names\":[}",
        "\u{0}",
        &"[".repeat(10_000),
        "{\"etag\":\"\\ud800\"}",
    ] {
        let (status, error) = door.send("POST", "/v1/patients", Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(fields(&error), ["patient"], "{body}");
    }
    let (_, error) = door.send("POST", "/v1/patients", Some("{\n  \"names\": oops}")).await;
    assert!(error["error"]["message"].as_str().unwrap().ends_with("line 2, column 12"), "{error}");
    assert_eq!(door.peer.calls(), 0);
}

#[tokio::test]
async fn bodies_have_a_type_and_a_limit() {
    let door = Door::open();
    let post = |kind: Option<&str>, body: Vec<u8>| {
        let mut req = Request::post("/v1/patients").header("authorization", "Bearer a.b.c");
        if let Some(kind) = kind {
            req = req.header("content-type", kind);
        }
        door.raw(req.body(Body::from(body)).unwrap())
    };
    assert_eq!(
        post(Some("text/plain"), b"{}".into()).await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(post(None, b"{}".into()).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = vec![b' '; (4 << 20) + 1];
    let reply = post(Some("application/json"), large).await;
    assert_eq!(reply.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(json(reply).await["error"]["status"], "RESOURCE_EXHAUSTED");
}

#[tokio::test]
async fn methods_and_paths_that_are_not_there() {
    let door = Door::open();
    let ask = |verb: Method, path: &str| {
        let req = Request::builder().method(verb).uri(path).header("authorization", "Bearer a.b.c");
        door.raw(req.body(Body::empty()).unwrap())
    };
    let reply = ask(Method::DELETE, PATIENT).await;
    assert_eq!(
        (reply.status(), &reply.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, PATCH, HEAD, OPTIONS".parse().unwrap())
    );
    let reply = ask(Method::GET, "/v1/patients:ingest").await;
    assert_eq!(
        (reply.status(), &reply.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST, OPTIONS".parse().unwrap())
    );
    assert_eq!(json(reply).await["error"]["code"], 405);
    let reply = ask(Method::OPTIONS, PATIENT).await;
    assert_eq!(
        (reply.status(), &reply.headers()["allow"]),
        (StatusCode::NO_CONTENT, &"GET, PATCH, HEAD, OPTIONS".parse().unwrap())
    );
    for path in [
        "/v1",
        "/v1/",
        "/v2/patients",
        "/v1/Patients",
        "/v1/patients/",
        "//v1/patients",
        "/v1/patients/a%2Fb",
        "/v1/patients/../patients",
        "/v1/patients/a/b",
        "/v1/patients/a:enrol",
    ] {
        assert_eq!(ask(Method::GET, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(door.peer.calls(), 0);
    let reply = ask(Method::HEAD, PATIENT).await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert!(reply.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn errors_keep_their_details() {
    let door = Door::open();
    let (status, error) = door.get("/v1/patients/merged").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let expected = json!({ "error": {
        "code": 400,
        "status": "FAILED_PRECONDITION",
        "message": "is merged",
        "details": [
            {
                "reason": "STATE_NOT_ALLOWED", "domain": "caseward", "metadata": { "allowed": "ACTIVE" },
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            },
            {
                "violations": [{ "type": "STATE", "subject": "patients/merged", "description": "can become ACTIVE" }],
                "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
            },
        ],
    }});
    assert_eq!(error, expected);
    let (status, _) = door.get("/v1/patients/unknown").await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let ask = |path: &str| {
        let req = Request::get(path).header("authorization", "Bearer a.b.c");
        door.raw(req.body(Body::empty()).unwrap())
    };
    let busy = ask("/v1/patients/busy").await;
    assert_eq!(
        (busy.status(), &busy.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"2".parse().unwrap())
    );
    assert_eq!(json(busy).await["error"]["details"][0]["retryDelay"], "1.5s");
    let nobody = ask("/v1/patients/nobody").await;
    assert_eq!(
        (nobody.status(), &nobody.headers()["www-authenticate"]),
        (StatusCode::UNAUTHORIZED, &"Bearer".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_says_how_long_it_waits() {
    let door = Door::open();
    let ask = async |name: &str, value: &str| {
        let req = Request::get(PATIENT).header("authorization", "Bearer a.b.c").header(name, value);
        door.raw(req.body(Body::empty()).unwrap()).await.status()
    };
    assert_eq!(ask("x-request-timeout", "2.5").await, StatusCode::OK);
    assert_eq!(door.peer.last().1["grpc-timeout"], "2500m");
    assert_eq!(ask("grpc-timeout", "3S").await, StatusCode::OK);
    assert_eq!(door.peer.last().1["grpc-timeout"], "3000m");
    for odd in ["0", "-1", "soon", "1e300", "inf", "NaN"] {
        assert_eq!(ask("x-request-timeout", odd).await, StatusCode::BAD_REQUEST, "{odd}");
    }
    for odd in ["", "S", "1", "123456789S", "1X", "-1S", "1é"] {
        assert_eq!(ask("grpc-timeout", odd).await, StatusCode::BAD_REQUEST, "{odd}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_has_the_time_of_the_door_whatever_its_caller_says() {
    let door = Door::open();
    let endless = stream::pending::<Result<Bytes, Infallible>>();
    let began = Instant::now();
    let reply = door.raw(create("3600", Body::from_stream(endless))).await;
    assert_eq!(reply.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(began.elapsed().as_secs(), 15);
    assert_eq!(door.peer.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_body_takes_is_taken_from_its_call() {
    let door = Door::open();
    let late = stream::once(async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok::<_, Infallible>(Bytes::from_static(b"{}"))
    });
    let reply = door.raw(create("3", Body::from_stream(late))).await;
    assert_eq!(reply.status(), StatusCode::OK);
    // The runtime's timers count in milliseconds.
    let (_, headers) = door.peer.last();
    assert!(["999m", "1000m"].iter().any(|left| headers["grpc-timeout"] == **left), "{headers:?}");
}

fn create(timeout: &str, body: Body) -> Request<Body> {
    let req = Request::post("/v1/patients").header("authorization", "Bearer a.b.c");
    let req = req.header("content-type", "application/json").header("x-request-timeout", timeout);
    req.body(body).unwrap()
}

#[tokio::test]
async fn a_stream_is_lines_each_sent_as_it_comes() {
    let door = Door::open();
    let (entries, receiver) = mpsc::unbounded_channel();
    *door.peer.entries.lock().unwrap() = Some(receiver);
    let entry = |name: &str| TimelineEntry { resource: name.into(), ..Default::default() };
    entries.send(Ok(entry("one"))).unwrap();
    let req =
        Request::get("/v1/cases/7:watch?resumeToken=t").header("authorization", "Bearer a.b.c");
    let reply = door.raw(req.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.headers()["content-type"], "application/x-ndjson");
    assert!(!door.peer.last().1.contains_key("grpc-timeout"));

    let mut body = reply.into_body();
    let mut line = async || {
        let frame = body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    };
    // The first line is here while the second is not yet sent.
    assert_eq!(line().await.unwrap(), "{\"resource\":\"one\"}\n");
    entries.send(Ok(entry("two"))).unwrap();
    assert_eq!(line().await.unwrap(), "{\"resource\":\"two\"}\n");
    entries.send(Err(Status::permission_denied("no longer yours"))).unwrap();
    assert!(line().await.unwrap().contains("\"status\":\"PERMISSION_DENIED\""));
    assert_eq!(line().await, None);
}
