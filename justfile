# What CI checks before it tests.
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cd proto && npx --yes @bufbuild/buf lint
    .ci/breaking
    cargo deny check

test:
    cargo test --workspace

# Programs that others wrote call a suite: schemathesis, grpcio, buf, a browser (tests/foreign/README.md).
judges *which:
    tests/foreign/run {{which}}

# A bill of materials (CycloneDX) in target/caseward.cdx.json.
sbom:
    .ci/sbom
