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

# 10,000 edits of the audit log on each database, each of which must show (P12.d).
edits:
    cargo test --release -p caseward-store --test it -- --ignored

# 1,000,000 inputs, or ten minutes, for each target named, or for all: with AddressSanitizer, on the stable toolchain.
# Needs `cargo install cargo-fuzz` and a C++ compiler.
fuzz *targets:
    #!/usr/bin/env bash
    set -euo pipefail
    cd tests/fuzz
    export RUSTC_BOOTSTRAP=1
    targets="{{ targets }}"
    for target in ${targets:-$(cargo fuzz list --fuzz-dir .)}; do
      mkdir -p "corpus/$target"
      words=()
      if [ -f "seeds/$target.dict" ]; then words=("-dict=seeds/$target.dict"); fi
      cargo fuzz run --fuzz-dir . --no-cfg-fuzzing "$target" "corpus/$target" "seeds/$target" -- \
        -runs=1000000 -max_total_time=600 -timeout=10 -rss_limit_mb=2048 "${words[@]}"
    done
