#!/bin/sh
# Checks the contracts with buf: format, lint, compatibility with the released baseline, and that gen/python is current.
set -eu
buf=$1
echo "buf format, lint, breaking"
"$buf" format -d --exit-code
"$buf" lint
"$buf" breaking proto --against proto/baseline.binpb
echo "generated clients are those of the contracts"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$buf" generate -o "$fresh"
diff -r -x __pycache__ "$fresh/gen/python" gen/python || {
    echo "gen/python is not what the contracts give; run make proto and commit."
    exit 1
}
