//! A method answers to its exact path only, and to no header that a caller could set.
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use caseward_testkit::{Suite, suites, wire};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;

use super::{
    ask::{Voice, encode},
    contract::{rpc, rpcs},
    coverage::ports,
    world::{ROLES, World},
};
use crate::{Run, Trial};

/// Longer than it takes a port to refuse a stream, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn odd_paths(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let mut random = run.random();
    for suite in suites().await {
        let sam = suite.caller("sam", &ROLES);
        let all = Voice::new(&suite.transport(), sam.token());
        // Every form carries a change, by somebody who may make it: what reaches the handler is there afterwards.
        let create = rpc("CreatePatient");
        let exact = Form::http2(&create.path);
        let mut reached = vec![];
        let members = suite.members().iter();
        let owners =
            members.filter(|member| ["gateway", "caseward", "patient"].contains(&member.name().0));
        for member in owners {
            for (n, form) in forms(&create.path).into_iter().chain([exact.clone()]).enumerate() {
                let family = format!("Form-{}-{n}", member.name().0);
                let body = json!({ "patient": { "names": [{ "family": family }] } });
                let body = encode(create.method.input(), &body);
                form.send(member.address(), sam.token(), &body).await;
                trial.tried();
                reached.push((family, form));
            }
        }
        let made = names(&all).await;
        let (odd, exact): (Vec<_>, Vec<_>) = reached
            .iter()
            .filter(|(family, _)| made.contains(family))
            .partition(|(_, form)| *form != exact);
        for (family, form) in odd {
            trial.fail(format!("{family}: {form:?} reached the handler ({})", suite.shape()));
        }
        trial.control(
            format!("the exact path reaches the handler at {} ports", exact.len()),
            exact.len() == if suite.is_cluster() { 2 } else { 1 },
        );
        every_method(&suite, &mut random, run, &mut trial).await;
        overrides(&suite, &mut trial).await;
    }
    trial
}

/// The families of every patient.
async fn names(all: &Voice) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut token = String::new();
    loop {
        let page = all.get("ListPatients", json!({ "pageSize": 1000, "pageToken": token })).await;
        for patient in page["patients"].as_array().into_iter().flatten() {
            names.extend(patient["names"][0]["family"].as_str().map(str::to_owned));
        }
        match page["nextPageToken"].as_str() {
            Some(next) if !next.is_empty() => token = next.to_owned(),
            _ => return names,
        }
    }
}

/// Every method in those forms that an ordinary client can say, on every port.
async fn every_method(suite: &Suite, random: &mut fastrand::Rng, run: &Run, trial: &mut Trial) {
    let token = suite.caller("sam", &ROLES).token().to_owned();
    for port in ports(suite) {
        let all = Voice::new(&port.door, &token);
        for rpc in rpcs().iter().filter(|rpc| port.serves(&rpc.service)) {
            let mut forms = forms(&rpc.path);
            random.shuffle(&mut forms);
            let sayable = |form: &&Form| {
                form.twice.is_none()
                    && form.path.starts_with('/')
                    && form.path.parse::<http::Uri>().is_ok_and(|uri| {
                        uri.path_and_query().is_some_and(|path| path.as_str() == form.path)
                    })
            };
            for form in forms.iter().filter(sayable).take(run.of(3, 200) as usize) {
                let mut answer = all.raw(&form.path, &[], &[]).await;
                if answer.code == Code::Unavailable {
                    // A port ends a connection on which too much did not parse; another one is answered.
                    answer = all.raw(&form.path, &[], &[]).await;
                }
                let refused = answer.code == Code::Unimplemented || answer.http.is_client_error();
                trial.tried();
                trial.check(refused, || {
                    format!("{} at {}: {:?}", form.path, port.label, answer.code)
                });
            }
        }
    }
}

/// What asks a reader to take a request for another one is not heard.
async fn overrides(suite: &Suite, trial: &mut Trial) {
    let before = names(&Voice::new(&suite.transport(), suite.caller("sam", &ROLES).token())).await;
    let token = suite.caller("sam", &ROLES).token().to_owned();
    let address: SocketAddr =
        suite.url().trim_start_matches("http://").parse().expect("an address");
    let headers = [
        "x-http-method-override: POST",
        "x-http-method: POST",
        "x-method-override: POST",
        "x-original-url: /v1/patients",
        "x-original-path: /caseward.patient.v1.PatientService/CreatePatient",
        "x-rewrite-url: /v1/patients",
        "x-forwarded-prefix: /v1",
    ];
    for header in headers {
        for line in ["GET /v1/patients", "GET /healthz", "POST /v1/clock"] {
            let body = r#"{"names":[{"family":"Override"}]}"#;
            let request = format!(
                "{line} HTTP/1.1\r\nhost: suite\r\nauthorization: Bearer {token}\r\n{header}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = exchange(address, request.as_bytes()).await;
            trial.tried();
        }
    }
    let after = names(&Voice::new(&suite.transport(), &token)).await;
    trial.check(before == after, || "a header turned one request into another".to_owned());
}

/// One way to spell a path, as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    path: String,
    /// A second `:path`, before the first.
    twice: Option<String>,
}

impl Form {
    fn http2(path: impl Into<String>) -> Form {
        Form { path: path.into(), twice: None }
    }

    /// Sends a call of this form by frames, unread by any client library, and waits until it is answered or cut.
    async fn send(&self, address: SocketAddr, token: &str, message: &[u8]) {
        let bearer = format!("Bearer {token}");
        let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":authority", "suite")];
        fields.extend(self.twice.as_deref().map(|path| (":path", path)));
        fields.push((":path", &self.path));
        fields.extend([
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", &bearer),
        ]);
        let data = wire::frame(wire::DATA, wire::END_STREAM, 1, &wire::message(message));
        let sent = [wire::PREFACE, &wire::headers(1, &fields, false), &data].concat();
        let _ = exchange(address, &sent).await;
    }
}

/// Sends bytes; reads until the stream they opened ends, or the connection does.
async fn exchange(address: SocketAddr, wire: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(wire).await?;
    let mut read = vec![];
    let reading = async {
        let mut piece = [0; 4096];
        loop {
            match socket.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(n) => read.extend(&piece[..n]),
            }
            if is_over(&read) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, reading).await;
    Ok(read)
}

/// Whether frames hold the end of the first stream, or of the connection.
fn is_over(mut read: &[u8]) -> bool {
    while let Some((head, rest)) = read.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let ends = matches!((head[3], head[4] & 1), (0 | 1, 1)) && head[8] == 1;
        if ends || matches!(head[3], 3 | 7) {
            return true;
        }
        match rest.get(length..) {
            Some(rest) => read = rest,
            None => return false,
        }
    }
    false
}

/// Two hundred and more forms of a path, none of them the path.
fn forms(path: &str) -> Vec<Form> {
    let (service, method) = path[1..].split_once('/').expect("a service and a method");
    let long = "a".repeat(8 << 10);
    let mut forms: Vec<String> = [
        format!("{service}/{method}"),
        String::new(),
        "/".to_owned(),
        "//".to_owned(),
        "*".to_owned(),
        format!("//{service}/{method}"),
        format!("/{service}//{method}"),
        format!("/{service}/{method}/"),
        format!("/{service}/{method}//"),
        format!("/./{service}/{method}"),
        format!("/{service}/./{method}"),
        format!("/{service}/../{service}/{method}"),
        format!("/x/../{service}/{method}"),
        format!("/{service}/x/../{method}"),
        format!("/{service}/{method}/."),
        format!("/{service}/{method}/.."),
        format!("/{service}/{method}/../{method}"),
        format!("\\{service}\\{method}"),
        format!("/{service}\\{method}"),
        path.to_uppercase(),
        path.to_lowercase(),
        format!("/{service}/{}", method.to_lowercase()),
        format!("/{service}/{}", method.to_uppercase()),
        format!("/{}/{method}", service.to_uppercase()),
        format!("%2f{service}/{method}"),
        format!("/%2f{service}/{method}"),
        format!("/{service}%2f{method}"),
        format!("/{service}%2F{method}"),
        format!("/{service}%5c{method}"),
        format!("/{service}%252f{method}"),
        format!("/{service}/%2e/{method}"),
        format!("/%2e%2e/{service}/{method}"),
        format!("/{service}/{method}%00"),
        format!("/{service}/{method}%20"),
        format!("/{service}/{method}%0a"),
        format!("/{service}/{method}%0d%0a"),
        format!("/{service}/{method};x"),
        format!("/{service};x/{method}"),
        format!("/{service}/{method}?"),
        format!("/{service}/{method}?x=1"),
        format!("/{service}/{method}&x=1"),
        format!("/{service}/{method},/{service}/{method}"),
        format!("/{service}/{method}/{method}"),
        format!("/{service}/{service}/{method}"),
        format!("/{service}.{method}"),
        format!("/{service}:{method}"),
        format!("/{service}"),
        format!("/{service}/"),
        format!("/{method}"),
        format!("http://suite/{service}/{method}"),
        format!("https://suite/{service}/{method}"),
        format!("/http://suite/{service}/{method}"),
        format!("/{service}/{method} "),
        format!(" /{service}/{method}"),
        format!("/{service}/{method}\t"),
        format!("/{service}/{method}\u{0}"),
        format!("/{service}／{method}"),
        format!("/{service}%c0%af{method}"),
        format!("/{}/{method}", service.replace('.', "%2e")),
        format!("/{}/{method}", service.replace('.', "/")),
        format!("/{}/{method}", service.replace('e', "е")),
        format!("/{service}/{method}{long}"),
        format!("/{long}/{service}/{method}"),
        format!("/{service}/{method}/{long}"),
        format!("/v1{path}"),
        format!("/grpc.health.v1.Health{path}"),
        format!("/grpc.health.v1.Health/..{path}"),
        format!("/grpc.reflection.v1.ServerReflection/..{path}"),
        "/grpc.health.v1.Health/Nothing".to_owned(),
    ]
    .into();
    for (at, letter) in path.char_indices().skip(1) {
        let (before, after) = (&path[..at], &path[at + letter.len_utf8()..]);
        forms.push(format!("{before}%{:02x}{after}", u32::from(letter)));
        forms.push(format!("{before}{after}"));
        forms.push(format!("{before}{letter}{letter}{after}"));
        let other = if letter.is_lowercase() {
            letter.to_ascii_uppercase()
        } else {
            letter.to_ascii_lowercase()
        };
        forms.push(format!("{before}{other}{after}"));
    }
    forms.sort();
    forms.dedup();
    forms.retain(|form| form != path);
    let mut forms: Vec<Form> = forms.into_iter().map(Form::http2).collect();
    let twice =
        |first: &str, second: &str| Form { path: second.to_owned(), twice: Some(first.to_owned()) };
    forms.extend([
        twice(path, path),
        twice("/", path),
        twice(path, "/"),
        twice("/grpc.health.v1.Health/Check", path),
    ]);
    forms
}

pub async fn forged_headers(_run: &Run) -> Trial {
    let mut trial = Trial::default();
    let names = [
        "x-caseward-subject",
        "x-caseward-organization",
        "x-caseward-tenant",
        "x-caseward-roles",
        "x-caseward-permissions",
        "x-caseward-reach",
        "x-caseward-purpose",
        "x-caseward-token",
        "x-caseward-",
        "x-forwarded-user",
        "x-forwarded-for",
        "x-forwarded-client-cert",
        "forwarded",
        "x-real-ip",
        "x-remote-user",
        "remote-user",
        "x-client-cert",
        "x-envoy-peer-metadata",
        "baggage",
        "tracestate",
        "cookie",
        "grpc-tags-bin",
        "x-authorization",
        "proxy-authorization",
        "x-user-id",
        "x-original-authorization",
    ];
    let values = ["sam", "supervisor", "subject=sam,roles=supervisor", "Bearer x", "c2Ft"];
    let mut counted = 0;
    for suite in suites().await {
        let world = World::furnish(&suite).await;
        let patient = json!({ "name": world.name("patients/*") });
        let case = json!({ "name": world.name("cases/*") });
        for port in ports(&suite) {
            let ask = if port.serves("caseward.patient") {
                ("GetPatient", &patient)
            } else {
                ("GetCase", &case)
            };
            let rpc = rpc(ask.0);
            if !port.serves(&rpc.service) {
                continue;
            }
            let message = encode(rpc.method.input(), ask.1);
            let eve = Voice::new(&port.door, suite.caller("eve", &["case_manager"]).token());
            let (nobody, sam) = (Voice::nobody(&port.door), suite.caller("sam", &["supervisor"]));
            let (as_eve, as_nobody) = (
                eve.raw(&rpc.path, &[], &message).await,
                nobody.raw(&rpc.path, &[], &message).await,
            );
            for name in names {
                for value in values.iter().chain([&sam.token()]) {
                    let spellings = [
                        vec![(name, *value)],
                        vec![(name, *value), (name, *value)],
                        vec![(name, "")],
                    ];
                    for headers in spellings {
                        let forged = eve.raw(&rpc.path, &headers, &message).await;
                        let alone = nobody.raw(&rpc.path, &headers, &message).await;
                        trial.tries += 2;
                        trial.check(forged.essence() == as_eve.essence(), || {
                            format!(
                                "{headers:?} changes what {} tells a stranger: {}",
                                port.label,
                                forged.essence()
                            )
                        });
                        trial.check(alone.essence() == as_nobody.essence(), || {
                            format!(
                                "{headers:?} changes what {} tells nobody: {}",
                                port.label,
                                alone.essence()
                            )
                        });
                    }
                }
            }
            let real = Voice::new(&port.door, sam.token()).raw(&rpc.path, &[], &message).await;
            counted += u32::from(real.essence() != as_eve.essence() && real.code == Code::Ok);
        }
    }
    trial.control(
        format!("the one header that counts, a real token, is seen to change the answer at {counted} ports"),
        counted >= 1,
    );
    trial
}
