//! Which tokens are believed, and for how long.

mod provider;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use caseward_core::{Error, Time};
use caseward_server::token::{Auth, Refused, Verifier, bearer};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;
use uuid::Uuid;

pub(crate) use provider::silent;
use provider::{Key, Provider, encode};

const ORGANIZATION: Uuid = Uuid::from_u128(7);
const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds as i64 * 1_000_000)
}

fn header(key: &Key) -> Value {
    json!({ "alg": key.algorithm(), "kid": key.kid, "typ": "JWT" })
}

fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "aud": "caseward", "sub": "ana", "iat": NOW, "nbf": NOW, "exp": NOW + 600,
        "org": ORGANIZATION, "roles": ["case_manager"], "name": "Ana", "azp": "portal",
    })
}

/// A token whose key nobody knows.
pub(crate) fn made_up(issuer: &str) -> String {
    let key = Key::ed25519("made-up");
    key.token(&header(&key), &claims(issuer))
}

/// `claims` with one member replaced.
fn but(issuer: &str, name: &str, value: Value) -> Value {
    let mut claims = claims(issuer);
    claims[name] = value;
    claims
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

#[tokio::test]
async fn a_token_of_each_algorithm_becomes_claims() {
    for key in [Key::ed25519("a"), Key::p256("b"), Key::rsa("c")] {
        let provider = Provider::start([&key]).await;
        let verifier = provider.verifier();
        let token = key.token(&header(&key), &claims(&provider.issuer));
        let claims = verifier.verify(&token, at(NOW)).await.unwrap();
        assert_eq!(claims.subject, "ana");
        assert_eq!(claims.organization, ORGANIZATION);
        assert_eq!(claims.roles, ["case_manager"]);
        assert_eq!(claims.name.as_deref(), Some("Ana"));
        assert_eq!((claims.not_before, claims.expires), (at(NOW), at(NOW + 600)));
    }
}

#[tokio::test]
async fn claims_that_must_be_refused() {
    let key = Key::ed25519("a");
    let provider = Provider::start([&key]).await;
    let verifier = provider.verifier();
    let iss = provider.issuer.as_str();
    let mut forms: Vec<(String, Value)> = ["iss", "aud", "sub", "nbf", "exp", "org", "roles"]
        .map(|name| (format!("no {name}"), without(claims(iss), name)))
        .into();
    forms.extend(
        [
            ("expired", but(iss, "exp", json!(NOW - 31))),
            ("nbf ahead", but(iss, "nbf", json!(NOW + 31))),
            ("iat ahead", but(iss, "iat", json!(NOW + 31))),
            ("lives too long", but(iss, "exp", json!(NOW + 3601))),
            ("lives too long by nbf", but(iss, "nbf", json!(NOW - 3600))),
            ("ends before it begins", but(iss, "exp", json!(0))),
            ("exp as text", but(iss, "exp", json!((NOW + 600).to_string()))),
            ("nbf as text", but(iss, "nbf", json!(NOW.to_string()))),
            ("exp negative", but(iss, "exp", json!(-1))),
            ("exp without end", but(iss, "exp", json!(u64::MAX))),
            ("exp null", but(iss, "exp", Value::Null)),
            ("another issuer", but(iss, "iss", json!("https://elsewhere.test"))),
            ("issuer with a slash", but(iss, "iss", json!(format!("{iss}/")))),
            ("list of issuers", but(iss, "iss", json!([iss]))),
            ("another audience", but(iss, "aud", json!("caseward-billing"))),
            ("prefix of the audience", but(iss, "aud", json!("case"))),
            ("other audiences", but(iss, "aud", json!(["caseward ", "CASEWARD"]))),
            ("nested audience", but(iss, "aud", json!([["caseward"]]))),
            ("no audience", but(iss, "aud", json!([]))),
            ("empty subject", but(iss, "sub", json!(""))),
            ("endless subject", but(iss, "sub", json!("a".repeat(201)))),
            ("subject with a control", but(iss, "sub", json!("ana\u{7}"))),
            ("organization not a uuid", but(iss, "org", json!("acme"))),
            ("nil organization", but(iss, "org", json!(Uuid::nil()))),
            ("roles as text", but(iss, "roles", json!("supervisor"))),
        ]
        .map(|(form, claims)| (form.to_owned(), claims)),
    );
    for (form, claims) in forms {
        let token = key.token(&header(&key), &claims);
        assert!(verifier.verify(&token, at(NOW)).await.is_err(), "accepted: {form}");
    }
}

#[tokio::test]
async fn headers_and_shapes_that_must_be_refused() {
    let key = Key::ed25519("a");
    let rsa = Key::rsa("r");
    let other = Key::ed25519("a");
    let provider = Provider::start([&key, &rsa]).await;
    let verifier = provider.verifier();
    let claims = claims(&provider.issuer);
    let with = |name: &str, value: Value| {
        let mut header = header(&key);
        header[name] = value;
        key.token(&header, &claims)
    };
    let good = key.token(&header(&key), &claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    let repeated = format!(r#"{{"exp":1,{}"#, &claims.to_string()[1..]);
    let confused = json!({ "alg": "HS256", "kid": "r", "typ": "JWT" });
    let forms = [
        ("alg none", with("alg", json!("none"))),
        ("alg None", with("alg", json!("None"))),
        ("alg NONE", with("alg", json!("NONE"))),
        ("alg nOnE", with("alg", json!("nOnE"))),
        ("alg empty", with("alg", json!(""))),
        ("alg missing", key.token(&without(header(&key), "alg"), &claims)),
        ("alg of another key", with("alg", json!("RS256"))),
        ("alg ES256", with("alg", json!("ES256"))),
        ("alg by another case", with("alg", json!("eddsa"))),
        ("HS256 by the public key", rsa.hmac_token(&confused, &claims)),
        ("kid of another key", with("kid", json!("r"))),
        ("kid missing", key.token(&without(header(&key), "kid"), &claims)),
        ("kid null", with("kid", Value::Null)),
        ("kid a number", with("kid", json!(1))),
        ("kid a path", with("kid", json!("../../etc/passwd"))),
        ("kid a query", with("kid", json!("a' or '1'='1"))),
        ("kid long", with("kid", json!("a".repeat(5_000)))),
        ("crit", with("crit", json!(["exp"]))),
        ("crit empty", with("crit", json!([]))),
        ("crit null", with("crit", Value::Null)),
        ("b64 false", with("b64", json!(false))),
        ("zip", with("zip", json!("DEF"))),
        ("nested", with("cty", json!("JWT"))),
        ("jku", with("jku", json!("https://elsewhere.test/keys"))),
        ("x5u", with("x5u", json!("https://elsewhere.test/chain"))),
        ("jwk", with("jwk", key.jwk())),
        ("a logout token", with("typ", json!("logout+jwt"))),
        ("signed by another", other.token(&header(&key), &claims)),
        ("no signature", format!("{signed}.")),
        ("no third part", signed.to_owned()),
        ("a fourth part", format!("{good}.{signature}")),
        ("signature of other claims", format!("{head}.{}.{signature}", encode(b"{}"))),
        ("padded", format!("{good}==")),
        ("repeated claim", key.token_of(&header(&key).to_string(), &repeated)),
        (
            "repeated alg",
            key.token_of(r#"{"alg":"none","alg":"EdDSA","kid":"a"}"#, &claims.to_string()),
        ),
        ("too long", with("pad", json!("x".repeat(8 << 10)))),
        ("a megabyte", "x".repeat(1 << 20)),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("not ascii", format!("{head}.{body}é.{signature}")),
    ];
    let mut answers = Vec::new();
    for (form, token) in &forms {
        let refused = verifier.verify(token, at(NOW)).await.expect_err(form);
        answers.push(Error::from(refused).to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answer tells forms apart: {answers:?}");
    verifier.verify(&good, at(NOW)).await.expect("the form all others were made of");
}

#[tokio::test]
async fn a_verified_token_is_still_checked_against_time() {
    let key = Key::ed25519("a");
    let provider = Provider::start([&key]).await;
    let verifier = provider.verifier();
    let token = key.token(&header(&key), &claims(&provider.issuer));
    assert!(verifier.verify(&token, at(NOW - 31)).await.is_err(), "before nbf and leeway");
    verifier.verify(&token, at(NOW - 30)).await.unwrap();
    verifier.verify(&token, at(NOW + 629)).await.unwrap();
    assert!(verifier.verify(&token, at(NOW + 630)).await.is_err(), "after exp and leeway");
    assert!(
        verifier.verify(&token, at(NOW - 31)).await.is_err(),
        "cached, and the clock went back"
    );
}

#[tokio::test]
async fn a_rotated_key_is_fetched_and_the_old_one_forgotten() {
    let (old, new) = (Key::ed25519("old"), Key::ed25519("new"));
    let provider = Provider::start([&old]).await;
    let verifier = provider.verifier();
    let by_old = old.token(&header(&old), &claims(&provider.issuer));
    let by_new = new.token(&header(&new), &claims(&provider.issuer));
    verifier.verify(&by_old, at(NOW)).await.unwrap();
    provider.publish([&new]);
    verifier.verify(&by_old, at(NOW + 9)).await.expect("verified before, keys still believed");
    assert!(verifier.verify(&by_new, at(NOW + 9)).await.is_err(), "fetched within the cool-down");
    verifier.verify(&by_new, at(NOW + 10)).await.expect("fetched after the cool-down");
    assert!(verifier.verify(&by_old, at(NOW + 10)).await.is_err(), "cached beyond its key");
    assert_eq!(provider.fetches(), 2);
}

#[tokio::test]
async fn unknown_keys_cause_one_fetch_per_cool_down() {
    let key = Key::ed25519("a");
    let provider = Provider::start([&key]).await;
    let verifier = provider.verifier();
    for second in 0..20 {
        for n in 0..10 {
            let header = json!({ "alg": "EdDSA", "kid": format!("{second}-{n}") });
            let token = key.token(&header, &claims(&provider.issuer));
            assert!(verifier.verify(&token, at(NOW + second)).await.is_err());
        }
    }
    assert_eq!(provider.fetches(), 2);
}

#[tokio::test]
async fn callers_that_come_together_cause_one_fetch() {
    let key = Key::ed25519("a");
    let provider = Provider::start([&key]).await;
    let verifier = provider.verifier();
    let token = key.token(&header(&key), &claims(&provider.issuer));
    let calls = (0..20).map(|_| verifier.verify(&token, at(NOW)));
    for claims in futures_util::future::join_all(calls).await {
        claims.unwrap();
    }
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn who_came_a_moment_before_the_asking_does_not_ask_again() {
    let key = Key::ed25519("a");
    let provider = Provider::start([&key]).await;
    let verifier = provider.verifier();
    let unknown = |kid: &str| {
        let header = json!({ "alg": "EdDSA", "kid": kid });
        key.token(&header, &claims(&provider.issuer))
    };
    for (kid, now) in [("one", NOW), ("two", NOW - 5), ("three", NOW - 9)] {
        assert!(verifier.verify(&unknown(kid), at(now)).await.is_err());
    }
    assert_eq!(provider.fetches(), 1);
    assert!(verifier.verify(&unknown("four"), at(NOW - 10)).await.is_err());
    assert_eq!(provider.fetches(), 2, "the clock went back");
}

#[tokio::test]
async fn a_few_wait_for_a_slow_provider_and_others_are_told_that_nobody_can_tell() {
    let (auth, _silent) = silent().await;
    let verifier = Verifier::open(&auth, TempDir::new().unwrap().path()).unwrap();
    let key = Key::ed25519("a");
    let token = |n: usize| {
        let header = json!({ "alg": "EdDSA", "kid": format!("made-up-{n}") });
        key.token(&header, &claims(&auth.issuer))
    };
    let mut waiting = vec![];
    for n in 0..32 {
        let (verifier, token) = (verifier.clone(), token(n));
        let mut waits = Box::pin(async move { verifier.verify(&token, at(NOW)).await });
        assert!(waits.as_mut().now_or_never().is_none());
        waiting.push(waits);
    }
    let told = || verifier.verify(&token(32), at(NOW)).now_or_never();
    assert_eq!(told().expect("at once").unwrap_err(), Refused::NoKeys);
    // Who leaves makes no room while the provider is asked: it is not more that wait then.
    drop(waiting);
    assert_eq!(told().expect("at once").unwrap_err(), Refused::NoKeys);
}

#[tokio::test]
async fn keys_are_believed_for_an_hour_without_their_provider_then_nobody_can_tell() {
    let key = Key::ed25519("a");
    let provider = Provider::start([&key]).await;
    let verifier = provider.verifier();
    let token = key.token(&header(&key), &claims(&provider.issuer));
    verifier.verify(&token, at(NOW)).await.unwrap();
    provider.stop().await;
    let later = |offset: u64| {
        let mut claims = claims(&provider.issuer);
        for name in ["iat", "nbf", "exp"] {
            claims[name] = json!(claims[name].as_u64().unwrap() + offset);
        }
        (key.token(&header(&key), &claims), at(NOW + offset))
    };
    let (token, now) = later(3_599);
    verifier.verify(&token, now).await.expect("the keys are not an hour old");
    let (_, now) = later(3_600);
    let judged = verifier.verify(&token, now).await;
    assert_eq!(judged.unwrap_err(), Refused::NoKeys, "cached token, keys an hour old");
    let (token, now) = later(3_700);
    let refused = verifier.verify(&token, now).await.unwrap_err();
    assert_eq!(refused, Refused::NoKeys, "new token, keys an hour old");
    // Whoever were told UNAUTHENTICATED would throw a good token away.
    assert_eq!(Error::from(refused).code(), Code::Unavailable);
    assert_eq!(Error::from(Refused::from("wrong signature")).code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_provider_that_names_another_issuer_is_not_believed() {
    let key = Key::ed25519("a");
    let provider = Provider::start([&key]).await;
    let auth = Auth { issuer: format!("{}/", provider.issuer), ..Auth::default() };
    let verifier = Verifier::open(&auth, TempDir::new().unwrap().path()).unwrap();
    let token = key.token(&header(&key), &claims(&auth.issuer));
    assert!(verifier.verify(&token, at(NOW)).await.is_err());
}

#[test]
fn only_this_machine_is_asked_without_tls() {
    let data = TempDir::new().unwrap();
    let open = |issuer: &str| {
        Verifier::open(&Auth { issuer: issuer.to_owned(), ..Auth::default() }, data.path())
    };
    for issuer in ["https://id.example.org/realms/care", "http://127.0.0.1:8080", "http://[::1]:1"]
    {
        assert!(open(issuer).is_ok(), "{issuer}");
    }
    for issuer in ["http://id.example.org", "http://localhost.example.org", "ftp://a", "locale", ""]
    {
        assert!(open(issuer).is_err(), "{issuer}");
    }
}

#[tokio::test]
async fn the_local_issuer_keeps_its_key() {
    let data = TempDir::new().unwrap();
    let auth = Auth::default();
    let verifier = Verifier::open(&auth, data.path()).unwrap();
    let ttl = Duration::from_secs(600);
    let token = verifier.mint("ana", &["supervisor"], ORGANIZATION, ttl, at(NOW)).unwrap();
    let key = data.path().join("issuer.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 1, "a draft was left");

    let again = Verifier::open(&auth, data.path()).unwrap();
    let claims = again.verify(&token, at(NOW)).await.unwrap();
    assert_eq!((claims.subject.as_str(), claims.organization), ("ana", ORGANIZATION));
    assert_eq!(claims.roles, ["supervisor"]);

    let elsewhere = Verifier::open(&auth, TempDir::new().unwrap().path()).unwrap();
    assert!(elsewhere.verify(&token, at(NOW)).await.is_err(), "another installation's token");
    let long = Duration::from_secs(3_601);
    assert!(verifier.mint("ana", &["supervisor"], ORGANIZATION, long, at(NOW)).is_err());
}

#[tokio::test]
async fn only_the_local_issuer_mints() {
    let provider = Provider::start([&Key::ed25519("a")]).await;
    let ttl = Duration::from_secs(60);
    assert!(provider.verifier().mint("ana", &["auditor"], ORGANIZATION, ttl, at(NOW)).is_err());
}

#[test]
fn one_authorization_header_in_one_spelling_counts() {
    let headers = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    };
    assert_eq!(bearer(&headers(&["Bearer a.b.c"])).unwrap(), "a.b.c");
    for values in [
        &[][..],
        &["Bearer a.b.c", "Bearer a.b.c"],
        &["bearer a.b.c"],
        &["Bearer\ta.b.c"],
        &["Bearer  a.b.c"],
        &["Bearer a.b.c d"],
        &["Bearer "],
        &["Basic YTpi"],
        &["a.b.c"],
    ] {
        assert!(bearer(&headers(values)).is_err(), "{values:?}");
    }
}

#[test]
fn auth_settings_refuse_unknown_keys() {
    let auth: Auth = serde_json::from_str(r#"{"max_lifetime_seconds": 900}"#).unwrap();
    assert_eq!((auth.issuer.as_str(), auth.max_lifetime_seconds), ("local", 900));
    assert!(serde_json::from_str::<Auth>(r#"{"issuers": ["local"]}"#).is_err());
}
