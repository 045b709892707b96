//! Each service itself refuses every token that is not exactly what it should be, and accepts what is.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use caseward_server::{LOCAL_ORGANIZATION, Transport};
use caseward_testkit::{Plan, Provider, Suite};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

use super::{
    ask::{Answer, Voice},
    contract::{Rpc, rpcs},
    coverage::{Port, ports},
};
use crate::{Run, Trial};

/// No two questions for keys by one process are closer.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// How a caller says who it is.
struct Form {
    what: String,
    authorization: Vec<String>,
}

pub async fn forms(_run: &Run) -> Trial {
    let mut trial = Trial::default();
    let mut accepted = 0;
    for trusting in Trusting::suites().await {
        let forms = every_form(&trusting.provider);
        trial.note(format!("{}: {} forms", trusting.suite.shape(), forms.len()));
        for port in ports(&trusting.suite) {
            for rpc in one_per_service(&port) {
                let nobody = Voice::nobody(&port.door);
                let garbage = authorized(&nobody, rpc, &["Bearer garbage".to_owned()]).await;
                trial
                    .check(garbage.code == Code::Unauthenticated, || format!("{:?}", garbage.code));
                for form in &forms {
                    // What is too large for any header is refused before anybody reads it, and may cost its sender
                    // the connection; so it gets one of its own.
                    let own = format!("http://{}", port.address).parse().expect("an address");
                    let own = Voice::nobody(&Transport::remote(own));
                    let from = if form.is_large() { &own } else { &nobody };
                    let answer = authorized(from, rpc, &form.authorization).await;
                    let alike = answer.essence() == garbage.essence();
                    let cut = matches!(answer.http.as_u16(), 400 | 431)
                        || answer.code == Code::Unavailable;
                    let unread = form.is_large() && cut;
                    trial.tried();
                    trial.check(alike || unread, || {
                        format!("{} at {}: {}", form.what, port.label, answer.essence())
                    });
                }
                for good in trusting.good() {
                    let answer = authorized(&nobody, rpc, &[format!("Bearer {good}")]).await;
                    accepted += u32::from(answer.code != Code::Unauthenticated);
                    trial.check(answer.code != Code::Unauthenticated, || {
                        format!("a good token is refused at {}", port.label)
                    });
                }
            }
        }
    }
    trial.control(
        format!("tokens that are as they should be are accepted, {accepted} times"),
        accepted > 0,
    );
    trial
}

impl Form {
    fn is_large(&self) -> bool {
        self.authorization.iter().map(String::len).sum::<usize>() > 12 << 10
    }
}

async fn authorized(nobody: &Voice, rpc: &Rpc, values: &[String]) -> Answer {
    let headers: Vec<(&str, &str)> =
        values.iter().map(|value| ("authorization", value.as_str())).collect();
    nobody.raw(&rpc.path, &headers, &[]).await
}

fn one_per_service(port: &Port) -> Vec<&'static Rpc> {
    let mut found: Vec<&Rpc> = vec![];
    for rpc in rpcs().iter().filter(|rpc| port.serves(&rpc.service) && !rpc.streams) {
        if found.iter().all(|known| known.service != rpc.service) {
            found.push(rpc);
        }
    }
    found
}

/// A suite that believes a provider.
struct Trusting {
    provider: Provider,
    suite: Suite,
    _folder: tempfile::TempDir,
}

impl Trusting {
    async fn suites() -> Vec<Trusting> {
        let mut all = vec![];
        let (provider, plan, folder) = Trusting::plan().await;
        all.push(Trusting { provider, suite: plan.one().await, _folder: folder });
        let (provider, plan, folder) = Trusting::plan().await;
        if let Some(suite) = plan.cluster().await {
            all.push(Trusting { provider, suite, _folder: folder });
        }
        all
    }

    async fn plan() -> (Provider, Plan, tempfile::TempDir) {
        let provider = Provider::start().await;
        // Published before anybody asks, as a provider does long before a key signs.
        provider.announce();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, provider.token(LOCAL_ORGANIZATION, "service", &["service"]))
            .expect("a token is written");
        let plan = Suite::plan()
            .with("CASEWARD__AUTH__ISSUER", provider.issuer())
            .with("CASEWARD__IDENTITY__TOKEN_FILE", file.display().to_string());
        (provider, plan, folder)
    }

    fn token(&self) -> String {
        self.provider.token(LOCAL_ORGANIZATION, "sam", &["supervisor"])
    }

    /// Tokens of every allowed form.
    fn good(&self) -> Vec<String> {
        let claims = self.provider.claims(LOCAL_ORGANIZATION, "sam", &["supervisor"]);
        let mut listed = claims.clone();
        listed["aud"] = json!(["another", "caseward"]);
        let mut plain = self.provider.header();
        plain["typ"] = json!("JWT");
        vec![
            self.token(),
            self.provider.sign(&listed),
            self.provider.sign_as(&plain.to_string(), &claims.to_string()),
        ]
    }
}

fn every_form(provider: &Provider) -> Vec<Form> {
    let mut forms = Forms { provider, all: vec![] };
    forms.algorithms();
    forms.signatures();
    forms.claims();
    forms.headers();
    forms.spellings();
    forms.all
}

struct Forms<'a> {
    provider: &'a Provider,
    all: Vec<Form>,
}

impl Forms<'_> {
    fn add(&mut self, what: impl Into<String>, token: impl AsRef<str>) {
        let authorization = vec![format!("Bearer {}", token.as_ref())];
        self.all.push(Form { what: what.into(), authorization });
    }

    fn good_claims(&self) -> Value {
        self.provider.claims(LOCAL_ORGANIZATION, "sam", &["supervisor"])
    }

    fn good(&self) -> String {
        self.provider.sign(&self.good_claims())
    }

    /// A good token but for its header.
    fn header(&mut self, what: &str, bend: impl FnOnce(&mut Value)) {
        let mut header = self.provider.header();
        bend(&mut header);
        let token = self.provider.sign_as(&header.to_string(), &self.good_claims().to_string());
        self.add(what, token);
    }

    /// A good token but for its claims.
    fn claim(&mut self, what: impl Into<String>, bend: impl FnOnce(&mut Value)) {
        let mut claims = self.good_claims();
        bend(&mut claims);
        let token = self.provider.sign(&claims);
        self.add(what, token);
    }

    fn algorithms(&mut self) {
        for none in ["none", "None", "NONE", "nOnE", ""] {
            self.header(&format!("alg {none:?}, signed"), |header| header["alg"] = json!(none));
            let mut header = self.provider.header();
            header["alg"] = json!(none);
            let parts = [header, self.good_claims()].map(|part| BASE64.encode(part.to_string()));
            self.add(format!("alg {none:?}, unsigned"), parts.join(".") + ".");
        }
        for other in
            ["RS256", "RS512", "PS256", "ES256", "ES384", "eddsa", "EDDSA", "Ed448", "HS256"]
        {
            self.header(&format!("alg {other} over the signature of another"), |header| {
                header["alg"] = json!(other);
            });
        }
        self.header("alg as a list", |header| header["alg"] = json!(["EdDSA"]));
        self.header("alg null", |header| header["alg"] = Value::Null);
        self.header("no alg", |header| remove(header, "alg"));
        // The public key taken for a shared secret.
        let public = self.provider.public_key();
        let secrets = [("raw", public.clone()), ("base64", BASE64.encode(&public).into_bytes())];
        let hashes = [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ];
        for (spelling, secret) in &secrets {
            for (name, hash) in hashes {
                let mut header = self.provider.header();
                header["alg"] = json!(name);
                let signed = [header, self.good_claims()]
                    .map(|part| BASE64.encode(part.to_string()))
                    .join(".");
                let tag = hmac::sign(&hmac::Key::new(hash, secret), signed.as_bytes());
                self.add(
                    format!("{name} by the public key, {spelling}"),
                    format!("{signed}.{}", BASE64.encode(tag)),
                );
            }
        }
    }

    fn signatures(&mut self) {
        let good = self.good();
        let (signed, signature) = good.rsplit_once('.').expect("a signature");
        let (signed, signature) = (signed.to_owned(), signature.to_owned());
        self.add("an empty signature", format!("{signed}."));
        self.add("no signature", &signed);
        self.add("four parts", format!("{good}.{signature}"));
        self.add(
            "five parts, as an encrypted token has",
            format!("{good}.{signature}.{signature}"),
        );
        self.add("a cut signature", &good[..good.len() - 2]);
        self.add("a padded signature", format!("{good}=="));
        self.add("a signature twice", format!("{good}{signature}"));
        let mut bytes = BASE64.decode(&signature).expect("base64");
        bytes[7] ^= 1;
        self.add("a flipped bit", format!("{signed}.{}", BASE64.encode(&bytes)));
        self.add("a signature of zeros", format!("{signed}.{}", BASE64.encode([0; 64])));
        let other = self.provider.sign(&json!({ "iss": "another" }));
        let other = other.rsplit('.').next().unwrap_or_default().to_owned();
        self.add("the signature of another token", format!("{signed}.{other}"));
        let stranger = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("a key is made");
        let by_stranger = BASE64.encode(stranger.sign(signed.as_bytes()));
        self.add("another key under a known id", format!("{signed}.{by_stranger}"));
        self.add("no dots", "token");
        self.add("dots only", "..");
    }

    fn claims(&mut self) {
        for claim in ["iss", "aud", "sub", "org", "roles", "nbf", "exp"] {
            self.claim(format!("no {claim}"), |claims| remove(claims, claim));
            self.claim(format!("{claim} null"), |claims| claims[claim] = Value::Null);
        }
        let now = self.good_claims()["iat"].as_u64().expect("a time");
        for claim in ["exp", "nbf", "iat"] {
            self.claim(format!("{claim} as text"), |claims| {
                claims[claim] = json!((now + 60).to_string())
            });
            self.claim(format!("{claim} as a list"), |claims| claims[claim] = json!([now]));
        }
        self.claim("exp before 1970", |claims| claims["exp"] = json!(-1));
        self.claim("exp a fraction", |claims| claims["exp"] = json!(now as f64 + 0.5));
        self.claim("exp beyond all time", |claims| claims["exp"] = json!(u64::MAX));
        self.claim("expired an hour ago", |claims| {
            claims["nbf"] = json!(now - 7200);
            claims["iat"] = json!(now - 7200);
            claims["exp"] = json!(now - 3600);
        });
        self.claim("expired a minute ago", |claims| {
            claims["nbf"] = json!(now - 120);
            claims["iat"] = json!(now - 120);
            claims["exp"] = json!(now - 60);
        });
        self.claim("valid in an hour", |claims| {
            claims["nbf"] = json!(now + 3600);
            claims["exp"] = json!(now + 4000);
        });
        self.claim("issued in an hour", |claims| claims["iat"] = json!(now + 3600));
        self.claim("ends before it begins", |claims| claims["exp"] = json!(now - 10));
        self.claim("lives two hours", |claims| claims["exp"] = json!(now + 7200));
        self.claim("lives two hours, the second half of it", |claims| {
            claims["iat"] = json!(now - 3700);
            claims["nbf"] = json!(now - 3700);
            claims["exp"] = json!(now + 600);
        });
        let audiences = [
            json!("caseward-portal"),
            json!("Caseward"),
            json!("caseward "),
            json!("another caseward"),
            json!([]),
            json!(["another", "caseward "]),
            json!([["caseward"]]),
            json!({ "0": "caseward" }),
            json!(""),
        ];
        for audience in audiences {
            self.claim(format!("aud {audience}"), |claims| claims["aud"] = audience);
        }
        let issuer = self.provider.issuer();
        let issuers = [
            json!(issuer.clone() + "/"),
            json!([issuer.clone()]),
            json!(issuer.to_uppercase()),
            json!("local"),
            json!(""),
        ];
        for issuer in issuers {
            self.claim(format!("iss {issuer}"), |claims| claims["iss"] = issuer);
        }
        self.claim("an empty sub", |claims| claims["sub"] = json!(""));
        self.claim("a number for a sub", |claims| claims["sub"] = json!(7));
        self.claim("a nil org", |claims| claims["org"] = json!(uuid::Uuid::nil()));
        self.claim("an org that is no id", |claims| claims["org"] = json!("county"));
        self.claim("two orgs", |claims| claims["org"] = json!([LOCAL_ORGANIZATION]));
        self.claim("a role for roles", |claims| claims["roles"] = json!("supervisor"));
        self.claim("numbers for roles", |claims| claims["roles"] = json!([1, 2]));
        let whole = self.good_claims().to_string();
        for repeated in [
            r#""sub":"eve""#,
            r#""exp":99999999999"#,
            r#""roles":["operator"]"#,
            r#""iss":"local""#,
        ] {
            let claims = format!("{{{repeated},{}", &whole[1..]);
            let token = self.provider.sign_as(&self.provider.header().to_string(), &claims);
            self.add(format!("{repeated} and once more"), token);
        }
        for payload in ["", "null", "[]", "\"sam\"", "{", "\u{0}"] {
            let token = self.provider.sign_as(&self.provider.header().to_string(), payload);
            self.add(format!("claims {payload:?}"), token);
        }
        let nested = self.good();
        let token = self.provider.sign_as(&self.provider.header().to_string(), &nested);
        self.add("a token in a token", token);
        for size in [15_400, 15_900, 16_000, 16_100, 16_200, 16_300, 16_384] {
            let bytes = size / 4 * 3;
            self.claim(format!("{size} bytes or so"), |claims| {
                claims["name"] = json!("x".repeat(bytes - 400))
            });
        }
        self.claim("nine KiB", |claims| claims["name"] = json!("x".repeat(9 << 10)));
        self.claim("a MiB", |claims| claims["name"] = json!("x".repeat(1 << 20)));
    }

    fn headers(&mut self) {
        self.header("no kid", |header| remove(header, "kid"));
        for kid in [
            "",
            "../../../../etc/passwd",
            "/dev/null",
            "' OR '1'='1",
            "x'; DROP TABLE relation; --",
            "http://127.0.0.1/key",
            "\u{0}",
        ] {
            self.header(&format!("kid {kid:?}"), |header| header["kid"] = json!(kid));
        }
        self.header("kid a number", |header| header["kid"] = json!(7));
        self.header("kid a list", |header| header["kid"] = json!([header["kid"]]));
        self.header("kid of a MiB", |header| header["kid"] = json!("k".repeat(1 << 20)));
        let public = BASE64.encode(self.provider.public_key());
        let own = json!({ "kty": "OKP", "crv": "Ed25519", "x": public });
        let extra = [
            ("jwk", own),
            ("jku", json!("http://127.0.0.1:9/keys")),
            ("x5u", json!("http://127.0.0.1:9/chain")),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(false)),
            ("b64", json!(true)),
            ("zip", json!("DEF")),
            ("cty", json!("JWT")),
        ];
        for (name, value) in extra {
            self.header(&format!("{name} {value}"), |header| header[name] = value.clone());
        }
        for typ in ["JWE", "id_token", "dpop+jwt", "logout+jwt", ""] {
            self.header(&format!("typ {typ:?}"), |header| header["typ"] = json!(typ));
        }
        let whole = self.provider.header().to_string();
        for repeated in [r#""alg":"none""#, r#""kid":"x""#] {
            let header = format!("{{{repeated},{}", &whole[1..]);
            let token = self.provider.sign_as(&header, &self.good_claims().to_string());
            self.add(format!("{repeated} and once more"), token);
        }
        for header in ["", "null", "[]", "{}", "{"] {
            let token = self.provider.sign_as(header, &self.good_claims().to_string());
            self.add(format!("header {header:?}"), token);
        }
    }

    fn spellings(&mut self) {
        let good = self.good();
        let whole = format!("Bearer {good}");
        let mut as_is = |what: &str, authorization: Vec<String>| {
            self.all.push(Form { what: what.to_owned(), authorization });
        };
        as_is("no token", vec![]);
        as_is("twice", vec![whole.clone(), whole.clone()]);
        as_is("a bad one, then a good one", vec!["Bearer x".to_owned(), whole.clone()]);
        as_is("a good one, then a bad one", vec![whole, "Bearer x".to_owned()]);
        let spellings = [
            format!("bearer {good}"),
            format!("BEARER {good}"),
            format!("Bearer\t{good}"),
            format!("Bearer  {good}"),
            format!("Bearer {good}\t"),
            format!("Bearer {good},"),
            format!("Bearer {good}, Bearer {good}"),
            format!("Bearer \"{good}\""),
            format!("Bearer{good}"),
            format!("Token {good}"),
            format!("Basic {good}"),
            format!("DPoP {good}"),
            format!("Bearer Bearer {good}"),
            good.clone(),
            "Bearer".to_owned(),
            "Bearer null".to_owned(),
            "Bearer undefined".to_owned(),
        ];
        for spelling in spellings {
            let what = spelling.replace(&good, "…");
            as_is(&format!("{what:?}"), vec![spelling]);
        }
    }
}

fn remove(value: &mut Value, member: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(member);
    }
}

pub async fn unknown_keys(run: &Run) -> Trial {
    let mut trial = Trial::default();
    for trusting in Trusting::suites().await {
        let Trusting { provider, suite, .. } = &trusting;
        let sam = Voice::new(&suite.transport(), &trusting.token());
        let rpc = super::contract::rpc("ListPatients");
        let quiet = slowest(&sam, rpc, 30).await;
        let (before, began) = (provider.asked(), Instant::now());
        let unknown = run.of(100, 1000);
        let flood = async {
            for n in 0..unknown {
                let mut header = provider.header();
                header["kid"] = json!(format!("unknown-{n}"));
                let claims = provider.claims(LOCAL_ORGANIZATION, "sam", &["supervisor"]);
                let token = provider.sign_as(&header.to_string(), &claims.to_string());
                for port in ports(suite) {
                    let rpc = one_per_service(&port)[0];
                    let answer = Voice::new(&port.door, &token).raw(&rpc.path, &[], &[]).await;
                    trial.tried();
                    trial.check(answer.code == Code::Unauthenticated, || {
                        format!("an unknown key at {}: {:?}", port.label, answer.code)
                    });
                }
            }
        };
        let ((), busy) = tokio::join!(flood, slowest(&sam, rpc, 30));
        let questions = provider.asked() - before;
        let periods = 1 + began.elapsed().as_secs() / COOL_DOWN.as_secs();
        let allowed = suite.members().len() as u64 * periods;
        trial.check(questions as u64 <= allowed, || {
            format!(
                "{questions} questions for keys in {:?}, where {allowed} are allowed",
                began.elapsed()
            )
        });
        trial.note(format!(
            "{}: {questions} questions by {} processes for {unknown} unknown keys; good callers' slowest call {} ms, {} ms before",
            suite.shape(), suite.members().len(), busy.as_millis(), quiet.as_millis()
        ));
        // A key that the provider has is asked for, so the counter can move.
        tokio::time::sleep(COOL_DOWN).await;
        let before = provider.asked();
        // Past the one that was announced, to one that nobody has heard of.
        provider.rotate();
        provider.rotate();
        let fresh = Voice::new(&suite.transport(), &trusting.token());
        let answer = fresh.raw(&rpc.path, &[], &[]).await;
        trial.control(
            format!("one new key in {} is asked for and then known", suite.shape()),
            provider.asked() > before && answer.code == Code::Ok,
        );
    }
    trial
}

/// The slowest of some good calls, each of which must be answered.
async fn slowest(voice: &Voice, rpc: &Rpc, calls: u32) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..calls {
        let began = Instant::now();
        let answer = voice.raw(&rpc.path, &[], &[]).await;
        assert_eq!(answer.code, Code::Ok, "a good caller is answered");
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

/// How long a key signs. It is published that long before, and that long after.
const PERIOD: Duration = Duration::from_secs(6);

pub async fn rotation(run: &Run) -> Trial {
    let mut trial = Trial::default();
    let shapes = Trusting::suites().await;
    let mut rotating = tokio::task::JoinSet::new();
    for trusting in shapes {
        let periods = run.of(3, 100);
        rotating.spawn(async move { rotate(trusting, periods).await });
    }
    let mut believed = true;
    while let Some(found) = rotating.join_next().await {
        let found = found.expect("a rotation comes to its end");
        trial.tries += found.rotations;
        found.failures.into_iter().for_each(|why| trial.fail(why));
        trial.note(found.note);
        believed &= found.believed;
    }
    trial.control("a key that is still published is believed, so a refusal can be seen", believed);
    trial
}

struct Rotated {
    rotations: u64,
    failures: Vec<String>,
    believed: bool,
    note: String,
}

async fn rotate(trusting: Trusting, periods: u64) -> Rotated {
    // A key is asked for when it first signs, and brings the one after it; so what was withdrawn is forgotten
    // every second period.
    const FORGOTTEN: Duration = PERIOD.saturating_mul(2).saturating_add(Duration::from_secs(5));
    let Trusting { provider, suite, _folder } = trusting;
    let (provider, over) = (Arc::new(provider), Arc::new(AtomicBool::new(false)));
    let rpc = super::contract::rpc("ListPatients");
    let token = {
        let provider = provider.clone();
        move || provider.token(LOCAL_ORGANIZATION, "sam", &["supervisor"])
    };
    let calls = Arc::new(AtomicU64::new(0));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (token, door, calls, over) =
            (token.clone(), suite.transport(), calls.clone(), over.clone());
        load.spawn(async move {
            let mut failed = vec![];
            while !over.load(Relaxed) {
                let answer = Voice::new(&door, &token()).raw(&rpc.path, &[], &[]).await;
                calls.fetch_add(1, Relaxed);
                if answer.code != Code::Ok {
                    failed.push(format!(
                        "a good token was refused: {:?} {}",
                        answer.code, answer.message
                    ));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            failed
        });
    }
    let mut found = Rotated { rotations: 0, failures: vec![], believed: true, note: String::new() };
    let (mut yesterday, mut watching): (Option<String>, _) = (None, tokio::task::JoinSet::new());
    for _ in 0..periods {
        tokio::time::sleep(PERIOD).await;
        let today = token();
        provider.retire();
        if let Some(withdrawn) = yesterday.replace(today.clone()) {
            let (old, began) = (Voice::new(&suite.transport(), &withdrawn), Instant::now());
            watching.spawn(async move {
                while old.raw(&rpc.path, &[], &[]).await.code != Code::Unauthenticated {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                began.elapsed()
            });
        }
        provider.rotate();
        provider.announce();
        found.rotations += 1;
        found.believed &=
            Voice::new(&suite.transport(), &today).raw(&rpc.path, &[], &[]).await.code == Code::Ok;
    }
    // The keys are asked for as long as new ones sign.
    let more = async {
        loop {
            tokio::time::sleep(PERIOD).await;
            provider.retire();
            provider.rotate();
            provider.announce();
        }
    };
    let mut longest = Duration::ZERO;
    let all = async {
        while let Some(took) = watching.join_next().await {
            longest = longest.max(took.expect("a caller is answered"));
        }
    };
    tokio::select! {
        () = more => {}
        done = tokio::time::timeout(FORGOTTEN, all) => {
            if done.is_err() {
                found.failures.push(format!("a withdrawn key was believed for {FORGOTTEN:?}"));
            }
        }
    }
    over.store(true, Relaxed);
    found.failures.extend(load.join_all().await.into_iter().flatten());
    found.note = format!(
        "{}: {} calls; a withdrawn key was refused after at most {:.1} s",
        suite.shape(),
        calls.load(Relaxed),
        longest.as_secs_f64()
    );
    found
}
