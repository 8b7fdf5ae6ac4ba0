#!/usr/bin/env bash
# Every test, after `scripts/setup.sh --tests` and `make build`: Rust's (units, properties, C programs, mpirun), then
# the HDF5 clients', two files at a time. Ends with each runner's closing lines and, by name, whatever was skipped.
# With CI=1 a skipped test is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${TARGET:-target}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

cargo test --workspace --no-fail-fast --locked --target-dir "$target" </dev/null 2>&1 | tee "$logs/cargo"
# `sae train` under mpirun. The same packages as above, so that only the tool is built anew. Without the feature Cargo
# passes this test by without a word.
if command -v mpirun >/dev/null && command -v mpicc >/dev/null; then
    cargo test --workspace --features h5z-sae-cli/mpi --test mpi --locked --target-dir "$target" </dev/null 2>&1 |
        tee -a "$logs/cargo"
else
    echo "mpi: cli/tests/mpi.rs (mpirun or mpicc not found: Debian's openmpi-bin, libopenmpi-dev)" >"$logs/missing"
fi
"${VENV:-.venv}/bin/python" -m pytest -ra -n 2 --dist loadfile tests/clients </dev/null 2>&1 | tee "$logs/pytest"

# "test result: ok. 12 passed; 0 failed; 1 ignored; …" of every test binary, added up.
rust_passed=$(awk '/^test result:/ { passed += $4 } END { print passed + 0 }' "$logs/cargo")
skipped=$(
    sed -n 's/^test \(.*\) \.\.\. ignored.*/cargo: \1/p' "$logs/cargo"
    sed -n 's/^SKIPPED /pytest: /p' "$logs/pytest"
    [ ! -e "$logs/missing" ] || cat "$logs/missing"
)
echo
echo "== cargo test: $rust_passed passed, 0 failed, in $(grep -c '^test result:' "$logs/cargo") binaries"
echo "== pytest: $(tail -n 1 "$logs/pytest" | tr -d '=' | sed 's/^ *//; s/ *$//')"
if [ -z "$skipped" ]; then
    echo "== skipped: none"
else
    echo "== skipped: $(wc -l <<<"$skipped")"
    sed 's/^/     /' <<<"$skipped"
    [ -z "${CI:-}" ]
fi
