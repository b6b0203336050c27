#!/bin/sh
# Installs one lock file into .venv and makes the project importable there; a dot is printed for each package found.
#
# The project itself is linked, not built: a build would need its own isolated tools, and the sources are here anyway.
set -eu
lock=$1
count=$(grep -c '^[A-Za-z0-9]' "$lock")
printf 'Installing %s packages of %s, a minute or two: ' "$count" "$lock"
{
    status=0
    .venv/bin/python -m pip install --disable-pip-version-check --no-input --require-hashes -r "$lock" 2>&1 || status=$?
    echo "pip-status=$status"
} | {
    status=1
    while IFS= read -r line; do
        case $line in
            pip-status=*) status=${line#pip-status=} ;;
            Collecting*) printf '.' ;;
            "Installing collected"*) printf ' unpacking' ;;
            *ERROR* | *rror:*) printf '\n%s' "$line" ;;
        esac
    done
    echo
    if [ "$status" -ne 0 ]; then
        echo "The packages could not be installed; mend what pip says above and run make again."
        exit "$status"
    fi
}
.venv/bin/python tools/link_project.py
echo "Translating the loops of the features to machine code, a quarter of a minute."
.venv/bin/python -m modelkit.features.translate
