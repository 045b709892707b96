//! The gateway against Envoy: the same upstream, the same callers, one worker on a core of its own.
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use caseward_api::patient::v1::GetPatientRequest;
use serde_json::{Value, json};

use super::{
    Bench,
    compare::{Subject, compare},
    floor::GET,
    home::{Base, PEERS},
    load::Target,
    part::{Part, pin_callers},
    report::Section,
};

/// The core of the callers and of the upstream, and that of the proxy.
const NEAR: usize = 0;
const FAR: usize = 1;

const NAME: &str = "patients/01930000-0000-7000-8000-000000000001";
const SERVICE: &str = "caseward.patient.v1.PatientService";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("The gateway against Envoy, a bare echo behind both");
    let home = bench.home(Base::Sqlite)?;
    let token = home.token("bench", "supervisor")?;
    pin_callers(&NEAR.to_string());
    let upstream = Part::start("echo", &[], Some(NEAR)).await?;
    let settings = PEERS.map(|peer| (peer, format!("http://{}", upstream.address)));
    let ours = Part::start("gateway", &settings, Some(FAR)).await?;
    let theirs = match &bench.envoy {
        Some(program) => Some(envoy(program, &bench.folder, upstream.address).await?),
        None => {
            section.skipped.push("Envoy: no --envoy given".to_owned());
            None
        }
    };
    let grpc = |address| {
        let request = |_| GetPatientRequest { name: NAME.to_owned() };
        Target::grpc(address, GET, &token, request)
    };
    let json = |address| Target::json(address, &format!("/v1/{NAME}"), &token);
    for callers in [1, 16, 64] {
        let mut subjects = vec![
            Subject::new("gRPC, direct", grpc(upstream.address)?, &upstream),
            Subject::new("gRPC, gateway", grpc(ours.address)?, &ours),
            Subject::new("JSON, gateway", json(ours.address)?, &ours),
        ];
        if let Some((envoy, json_address)) = &theirs {
            subjects.push(Subject::new("gRPC, Envoy", grpc(envoy.address)?, envoy));
            subjects.push(Subject::new("JSON, Envoy", json(*json_address)?, envoy));
        }
        let found = compare(bench, callers, &subjects).await?;
        if let ([_, ours, ours_json, theirs, theirs_json], 64) = (&found[..], callers) {
            section.at_least("gRPC, the gateway's throughput of Envoy's", 2.0, ours.of(theirs));
            let cpu = ours.line.cpu_micros / theirs.line.cpu_micros;
            section.at_most("gRPC, the gateway's CPU of Envoy's", 0.6, cpu);
            section.at_least(
                "JSON, the gateway's throughput of Envoy's",
                2.0,
                ours_json.of(theirs_json),
            );
        }
        section.lines.extend(found.into_iter().map(|found| found.line));
    }
    pin_callers(&bench.cores);
    if let Some((envoy, _)) = theirs {
        envoy.stop().await?;
    }
    ours.stop().await?;
    upstream.stop().await?;
    Ok(section)
}

/// Starts Envoy with one worker; answers it, at its gRPC address, and its JSON address.
async fn envoy(
    program: &Path,
    folder: &Path,
    upstream: SocketAddr,
) -> anyhow::Result<(Part, SocketAddr)> {
    // Both taken at once, so that they differ.
    let ports = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [grpc, json] = [ports[0].local_addr()?, ports[1].local_addr()?];
    drop(ports);
    let descriptors = folder.join("descriptors.bin");
    std::fs::write(&descriptors, caseward_api::DESCRIPTORS)?;
    let file = folder.join("envoy.json");
    std::fs::write(&file, settings(grpc, json, upstream, &descriptors).to_string())?;
    let file = file.to_string_lossy().into_owned();
    let args = ["-c", &file, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "off"];
    Ok((Part::foreign(program, &args, grpc, Some(FAR)).await?, json))
}

fn settings(grpc: SocketAddr, json: SocketAddr, upstream: SocketAddr, descriptors: &Path) -> Value {
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters";
    let socket = |address: SocketAddr| json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{FILTERS}.http.router.v3.Router") },
    });
    let transcoder = json!({
        "name": "envoy.filters.http.grpc_json_transcoder",
        "typed_config": {
            "@type": format!("{FILTERS}.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"),
            "proto_descriptor": descriptors,
            "services": [SERVICE],
        },
    });
    let listener = |name: &str, address: SocketAddr, filters: Value| {
        json!({
            "name": name,
            "address": socket(address),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": name,
                    "codec_type": "AUTO",
                    "http2_protocol_options": { "max_concurrent_streams": 1024 },
                    "route_config": { "virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }],
                    }] },
                    "http_filters": filters,
                },
            }] }],
        })
    };
    json!({ "static_resources": {
        "listeners": [
            listener("grpc", grpc, json!([router])),
            listener("json", json, json!([transcoder, router])),
        ],
        "clusters": [{
            "name": "upstream",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": { "max_concurrent_streams": 1024 } },
                },
            },
            "circuit_breakers": { "thresholds": [
                { "max_requests": 10000, "max_pending_requests": 10000, "max_connections": 1000 },
            ] },
            "load_assignment": { "cluster_name": "upstream", "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": socket(upstream) } },
            ] }] },
        }],
    } })
}
