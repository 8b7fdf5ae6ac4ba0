#!/usr/bin/env bash
# Slips that no compiler finds: paths of somebody's machine, scripts that do not parse, leftovers.
set -euo pipefail
cd "$(dirname "$0")/.."

found=$(git grep -nIE '(^|[^[:alnum:]_.])/(root|work|tmp|Users)/[[:alnum:]]' -- . ':!*.lock' ':!scripts/check_text.sh' || true)
if [ -n "$found" ]; then
    printf 'these lines name a path of one machine:\n%s\n' "$found" >&2
    exit 1
fi
found=$(git grep -nIE '\b(TODO|FIXME|XXX|todo!|unimplemented!)' -- '*.rs' '*.c' '*.h' '*.py' '*.sh' ':!scripts/check_text.sh' || true)
if [ -n "$found" ]; then
    printf 'unfinished:\n%s\n' "$found" >&2
    exit 1
fi
git ls-files '*.sh' .ci/run | while read -r script; do
    bash -n "$script"
    [ -x "$script" ] || { echo "$script is not executable" >&2; exit 1; }
done
