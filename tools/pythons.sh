#!/bin/sh
# Usage: tools/pythons.sh FOLDER
# Run the tests that need no lab on the Python of production and on the newest one here, each in a virtual environment below
# FOLDER that is made once. Whatever is missing costs one line that says so, and no failure; a failing test does.
# TESTED_PYTHONS="3.6 3.13" names others.
set -u
mkdir -p "$1"
folder=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here" || exit 2
# Rules, tables and parsers: what decides, and what reads bytes. test_rpmfile and test_sources also measure time and memory of
# the largest input, which takes half of the time and is the same on every Python.
tests=$(ls tests/test_simulated_*.py tests/test_bounds.py tests/test_candidates.py tests/test_checksum_file.py tests/test_config.py \
  tests/test_files.py tests/test_freshness.py tests/test_history.py tests/test_identity.py tests/test_key_change.py tests/test_key_corpus.py \
  tests/test_keys.py tests/test_metalink.py tests/test_net.py tests/test_signature_corpus.py \
  tests/test_openpgp.py tests/test_outcome.py tests/test_packages.py tests/test_packets.py tests/test_places.py tests/test_primary.py \
  tests/test_refresh_policy.py tests/test_repomd.py tests/test_rpmfile.py tests/test_safe_parsers.py tests/test_selection.py tests/test_snapshot_pin.py \
  tests/test_sources.py tests/test_state.py tests/test_sync_plan.py tests/test_text.py tests/test_tls_chain.py tests/test_urls.py)
measures='memory or linear or largest or endless_package or fifty_kills or changed_byte'

# Print the path of a Python that runs: of PATH, or of pyenv.
find_python() {
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null && echo "$candidate" && return
  done
}

newest() {
  for minor in 20 19 18 17 16 15 14 13 12 11 10 9 8 7; do
    [ -n "$(find_python "3.$minor")" ] && echo "3.$minor" && return
  done
}

failed=0
for version in ${TESTED_PYTHONS:-3.6 $(newest)}; do
  python=$(find_python "$version")
  if [ -z "$python" ]; then
    echo "left out: Python $version: not found"
    continue
  fi
  venv=$folder/$version
  if ! [ -e "$venv/.up-to-date" ] || [ rpm/requirements-el7.txt -nt "$venv/.up-to-date" ] || [ requirements.txt -nt "$venv/.up-to-date" ]; then
    # For 3.6 exactly the libraries that the RPM brings to XCP-ng 8.3.
    pinned="-r requirements.txt"
    [ "$version" = 3.6 ] && pinned="--no-deps --require-hashes -r rpm/requirements-el7.txt"
    # shellcheck disable=SC2086 # several words
    if ! { tools/venv.sh "$python" "$venv" $pinned && "$venv/bin/pip" install -q pytest pytest-xdist hypothesis trustme &&
      touch "$venv/.up-to-date"; } >"$folder.log" 2>&1; then
      echo "left out: Python $version: its libraries could not be installed, see $folder.log"
      continue
    fi
  fi
  echo "Python $version:"
  # shellcheck disable=SC2086 # several words
  "$venv/bin/python" -m pytest -q -n auto -p no:cacheprovider -m "not lab and not dnf and not fuzz" -k "not ($measures)" $tests || failed=1
done
exit $failed
