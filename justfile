# What CI checks before it tests.
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cd proto && npx --yes @bufbuild/buf lint
    cargo deny check

test:
    cargo test --workspace
