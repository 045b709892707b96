//! What is too large, cut off, bent or blown up is refused as the caller's fault, and costs the process nothing.
use std::{io::Write, sync::LazyLock};

use caseward_testkit::{Member, Suite, wire};
use flate2::{Compression, write::GzEncoder};
use prost_reflect::Kind;
use tonic::Code;

use crate::{
    Run, Tier, Trial,
    sight::{
        ask::{Answer, Voice},
        contract::{Rpc, rpc, rpcs},
        coverage::ports,
        world::ROLES,
    },
};

/// The largest message.
const LIMIT: usize = 4 << 20;
/// The largest head.
const HEAD: usize = 16 << 10;
const MEMORY: u64 = 64 << 20;

/// Parts of which a body of JSON is full.
const HOLLOW: [(&str, &str); 3] =
    [("empty objects", "{}"), ("objects of one field", r#"{"text":""}"#), ("numbers", "1")];

/// A field that no message of ours has: number 20,000, a string of bytes.
const UNKNOWN: [u8; 3] = [0x82, 0xe2, 0x09];

/// How a request must be answered.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// As the empty one.
    BeAsEmpty,
    /// With one of these codes.
    Be(&'static [Code]),
    /// With this status of HTTP, before gRPC begins.
    Http(u16),
}

struct Form {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    must: Must,
    /// Whether it is so large that a pull request tries it at a few methods only.
    large: bool,
}

/// A message of exactly `size` bytes of which the contract knows nothing.
fn unknown(size: usize) -> Vec<u8> {
    // A length of four bytes, as every size here has.
    let inside = size - UNKNOWN.len() - 4;
    let mut varint = length(inside);
    while varint.len() < 4 {
        let last = varint.len() - 1;
        varint[last] |= 128;
        varint.push(0);
    }
    [&UNKNOWN[..], &varint, &vec![0; inside]].concat()
}

static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bomb = GzEncoder::new(vec![], Compression::best());
    bomb.write_all(&vec![0; 8 << 20]).expect("memory takes it");
    bomb.finish().expect("memory takes it")
});

fn forms(rpc: &Rpc) -> Vec<Form> {
    const TOO_LARGE: Must = Must::Be(&[Code::ResourceExhausted]);
    const BENT: Must = Must::Be(&[Code::InvalidArgument]);
    let form = |name, body, must| Form { name, headers: vec![], body, must, large: false };
    let mut packed = wire::message(&BOMB);
    packed[0] = 1;
    let mut declared = wire::message(&[0; 16]);
    declared[1..5].fill(0xff);
    let mut cut = wire::message(&[0; 100]);
    cut.truncate(20);
    let head = |bytes: usize| ("x-large", "h".repeat(bytes));
    let mut forms = vec![
        Form {
            large: true,
            ..form("one byte less than fits", wire::message(&unknown(LIMIT - 1)), Must::BeAsEmpty)
        },
        Form {
            large: true,
            ..form("as much as fits", wire::message(&unknown(LIMIT)), Must::BeAsEmpty)
        },
        Form {
            large: true,
            ..form("one byte more than fits", wire::message(&unknown(LIMIT + 1)), TOO_LARGE)
        },
        Form {
            large: true,
            ..form(
                "a million fields that nobody knows",
                wire::message(&[0xf8, 0x01, 0x01].repeat(1 << 20)),
                Must::BeAsEmpty,
            )
        },
        Form {
            large: true,
            ..form("unknown fields of 1 MiB", wire::message(&unknown(1 << 20)), Must::BeAsEmpty)
        },
        form("a declared length of 4 GiB", declared, TOO_LARGE),
        form("a message that is cut off", cut, BENT),
        form("a thousand groups in each other", wire::message(&[0xf3, 0x01].repeat(1000)), BENT),
        form("a field that ends beyond the message", wire::message(&[0x0a, 0x7f]), BENT),
        form("a key of no kind", wire::message(&[0x0f]), BENT),
        Form {
            headers: vec![("grpc-encoding", "gzip".to_owned())],
            ..form("8 MiB packed into 8 KiB", packed, Must::Be(&[Code::Unimplemented]))
        },
        Form {
            headers: vec![head(HEAD - 2048)],
            ..form("metadata that fits", wire::message(&[]), Must::BeAsEmpty)
        },
        Form {
            headers: vec![head(HEAD + 1)],
            ..form("metadata that is too large", wire::message(&[]), Must::Http(431))
        },
    ];
    let text = rpc
        .method
        .input()
        .fields()
        .find(|field| matches!(field.kind(), Kind::String) && !field.is_map());
    if let Some(field) = text.filter(|field| field.number() < 16) {
        let bytes = [(field.number() as u8) << 3 | 2, 2, 0xc3, 0x28];
        forms.push(form("text that is no UTF-8", wire::message(&bytes), BENT));
    }
    forms
}

pub async fn messages(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let suites = match run.tier {
        Tier::Pr => vec![Suite::one().await],
        Tier::Nightly => caseward_testkit::suites().await,
    };
    let mut random = run.random();
    let mut most = 0;
    for suite in &suites {
        let token = suite.caller("sam", &ROLES).token().to_owned();
        for (port, member) in ports(suite).into_iter().zip(suite.members()) {
            let all = Voice::new(&port.door, &token);
            let mut served: Vec<&Rpc> =
                rpcs().iter().filter(|rpc| port.serves(&rpc.service) && !rpc.streams).collect();
            random.shuffle(&mut served);
            served.truncate(run.of(20, 10_000) as usize);
            run.expect(served.len() as u64);
            let large = run.of(2, 10_000) as usize;
            for (n, rpc) in served.into_iter().enumerate() {
                let empty = all.bytes(&rpc.path, &[], wire::message(&[])).await;
                for form in forms(rpc).iter().filter(|form| n < large || !form.large) {
                    let before = peak(member);
                    let headers: Vec<(&str, &str)> =
                        form.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    let answer = all.bytes(&rpc.path, &headers, form.body.clone()).await;
                    let grown = peak(member).saturating_sub(before);
                    most = most.max(grown);
                    trial.tried();
                    let what = || format!("{} to {} at {}", form.name, rpc.name, port.label);
                    trial.check(is_as_it_must(form.must, &empty, &answer), || {
                        let said = (answer.http, answer.code, &answer.message);
                        format!("{}: {said:?}, must {:?} ({:?})", what(), form.must, empty.code)
                    });
                    trial
                        .check(grown <= MEMORY, || format!("{}: {} MiB more", what(), grown >> 20));
                    trial.check(member.program().is_running(), || format!("{}: died", what()));
                }
                run.step();
            }
            let mut hollow = vec![];
            if port.serves("caseward.patient") {
                hollow.push(("two million empty names", None));
            }
            if ["caseward-0", "gateway-0"].contains(&port.label.as_str()) {
                hollow.extend(HOLLOW.map(|(name, part)| (name, Some(part))));
            }
            for (name, part) in hollow {
                let before = peak(member);
                let answer = match part {
                    None => all.bytes(&rpc("CreatePatient").path, &[], nameless()).await,
                    Some(part) => {
                        let parts = vec![part; LIMIT / (part.len() + 2)].join(",");
                        let body = format!("{{\"names\":[{parts}]}}");
                        all.text("/v1/patients", body).await
                    }
                };
                let grown = peak(member).saturating_sub(before);
                most = most.max(grown);
                trial.tried();
                let what = || format!("{name} at {}", port.label);
                let refused = answer.code == Code::ResourceExhausted || answer.http == 413;
                let said = (answer.http, answer.code, &answer.message);
                trial.check(refused, || format!("{}: {said:?}", what()));
                trial.check(grown <= MEMORY, || format!("{}: {} MiB more", what(), grown >> 20));
            }
            let fits = all.bytes(&rpc("ListPatients").path, &[], wire::message(&[])).await;
            let works = !port.serves("caseward.patient") || fits.code == Code::Ok;
            trial.control(format!("{}: a request as it should be is answered", port.label), works);
        }
    }
    trial.note(format!("{} MiB more at most", most >> 20));
    trial
}

/// A patient with as many names as fit, each of two bytes of which a name with all its fields would be made.
fn nameless() -> Vec<u8> {
    let input = rpc("CreatePatient").method.input();
    let patient = input.get_field_by_name("patient").expect("a patient is created");
    let names = patient.kind().as_message().and_then(|kind| kind.get_field_by_name("names"));
    let key = |number: u32| (number as u8) << 3 | 2;
    let names = [key(names.expect("a patient has names").number()), 0].repeat(LIMIT / 2 - 8);
    wire::message(&[&[key(patient.number())][..], &length(names.len()), &names].concat())
}

fn length(mut n: usize) -> Vec<u8> {
    let mut bytes = vec![];
    while n >= 128 {
        bytes.push(n as u8 | 128);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn peak(member: &Member) -> u64 {
    member.program().peak().unwrap_or_default()
}

fn is_as_it_must(must: Must, empty: &Answer, answer: &Answer) -> bool {
    match must {
        Must::BeAsEmpty => answer.http == empty.http && answer.code == empty.code,
        Must::Be(codes) => answer.http == 200 && codes.contains(&answer.code),
        Must::Http(status) => answer.http == status,
    }
}
