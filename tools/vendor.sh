#!/bin/sh
# Usage: tools/vendor.sh [TAG]...
# Make the sets of libraries that the RPM brings, build/vendor/TAG, TAG being cp36, cp312 and so on: the files that
# rpm/requirements-*.txt pin by hash, fetched and unpacked. A set that is up to date is left as it is.
# Without a TAG: print the tags.
set -eu
umask 022
cd "$(dirname "$0")/.."
python=${STAGE_PYTHON:-/usr/bin/python3}
[ $# -gt 0 ] || sed -n 's/^# set: \([^ ]*\) .*/\1/p' rpm/requirements-*.txt
for tag in "$@"; do
    list=$(grep -l "^# set: $tag " rpm/requirements-*.txt) || {
        echo "No set of libraries is pinned for $tag, only for:" $(tools/vendor.sh) >&2
        echo "Write the first lines of an rpm/requirements-NAME.txt and run tools/lock.sh, or leave the libraries out: VENDOR=0" >&2
        exit 1
    }
    set=build/vendor/$tag
    cat "$list" tools/unpack.py | cmp -s - "$set/made-of" && continue
    if ! cmp -s "$list" "$set-files.list"; then
        rm -rf "$set-files"
        [ -x build/pip/bin/pip ] || tools/venv.sh "$python" build/pip setuptools wheel
        wanted=$(sed -n 's/^# set: [^ ]* //p' "$list") # PYTHON PLATFORM...
        options=$(for platform in ${wanted#* }; do echo "--platform $platform"; done)
        build/pip/bin/python -m pip download -qq -d "$set-files" --no-deps --no-build-isolation --require-hashes \
            --python-version "${wanted%% *}" $options -r "$list"
        cp "$list" "$set-files.list"
    fi
    rm -rf "$set"
    "$python" tools/unpack.py "$set" "$set-files"/*
    cat "$list" tools/unpack.py >"$set/made-of"
done
