# What a contributor runs. Plain cargo does the same; nothing here sets anything up.

default:
    @just --list

# Format, lint and test: what CI runs.
check:
    bash .ci/run

test *ARGS:
    cargo test --workspace {{ARGS}}

run *ARGS:
    cargo run --release -- {{ARGS}}

demo:
    cargo run --release -- demo

# All benchmarks, each against its floor in the same run; one with `just bench call`.
bench *ARGS:
    cargo run --release -- bench {{ARGS}}

fmt:
    cargo fmt --all
    cd components && cargo fmt --all
    cd sdk && cargo fmt --all
    cd tests/guests && cargo fmt --all
