#!/bin/sh
# Usage: tools/lock.sh
# Pin the newest libraries of each set by hash: rewrite rpm/requirements-*.txt below their first lines, which say which
# Python a set is for. Run it to take in new versions, and read the difference.
set -eu
cd "$(dirname "$0")/.."
tools/venv.sh "${STAGE_PYTHON:-/usr/bin/python3}" build/pip setuptools wheel
for list in rpm/requirements-*.txt; do
    set -- $(sed -n 's/^# set: //p' "$list") # TAG PYTHON PLATFORM...
    folder=build/lock/$1
    python=$2
    shift 2
    options=$(for platform in "$@"; do echo "--platform $platform"; done)
    rm -rf "$folder"
    build/pip/bin/python -m pip download -qq -d "$folder" --only-binary :all: --python-version "$python" $options \
        requests lxml cryptography pyasn1
    # PGPy has no wheel. It needs pyasn1 and cryptography, which are downloaded above.
    build/pip/bin/python -m pip download -qq -d "$folder" --no-deps --no-binary :all: --no-build-isolation 'PGPy>=0.6.0'
    rm -f "$folder"/pycparser-* # only for cffi's API, which nothing here uses
    {
        sed '/^#/!d' "$list"
        for file in $(ls -f "$folder" | LC_ALL=C sort -f); do
            case $file in .*) continue ;; esac
            name=$(echo "$file" | sed -E 's/^([A-Za-z0-9_.]+)-([0-9][^-]*)(-.*|\.tar\.gz)$/\1==\2/; s/\.tar\.gz$//')
            echo "$name --hash=sha256:$(sha256sum "$folder/$file" | cut -c -64)"
        done
    } >"$list.new"
    mv "$list.new" "$list"
done
