#!/bin/sh
# Usage: tools/release.sh VERSION
# Release a version, x.y.z: write it into yum_plugin/__init__.py (its only place), date the changelog's "Unreleased"
# section, commit, build the source archive, the packages and SHA256SUMS into build/release, and tag the commit.
# If any step fails, the branch is put back as it was and there is no tag. Nothing is pushed; docs/releasing.md says what
# comes before and after.
#
# WITHOUT_RPM   1: build no packages, only the source archive (for a machine without rpmbuild, and for the tests)
set -eu
cd "$(dirname "$0")/.."
source=yum_plugin/__init__.py
changelog=CHANGELOG.md
folder=build/release

refuse() {
    echo "release: $1; nothing was changed" >&2
    exit 1
}

version=${1:-}
echo "$version" | grep -Exq '(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)' || refuse "VERSION=$version is not of the form x.y.z"
[ -z "$(git status --porcelain)" ] || refuse "the working tree has changes or unknown files (git status)"
! git rev-parse -q --verify "refs/tags/v$version" >/dev/null || refuse "the tag v$version exists already"
current=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' $source)
[ "$version" != "$current" ] && [ "$(printf '%s\n' "$current" "$version" | sort -V | tail -n 1)" = "$version" ] ||
    refuse "$version is not newer than $current"
sed -n '/^## \[Unreleased\]$/,/^## \[[0-9]/p' $changelog | grep -q '^- ' || refuse "$changelog has nothing under [Unreleased]"

before=$(git rev-parse HEAD)
trap '[ $? = 0 ] || { git reset -q --hard "$before"; echo "release: failed; the branch is as it was" >&2; }' EXIT
trap 'exit 130' INT TERM

sed -i "s/^__version__ = .*/__version__ = \"$version\"/" $source
sed -i "s/^## \[Unreleased\]\$/&\n\n## [$version] - $(date -u +%Y-%m-%d)/" $changelog
git commit -q -m "Release $version" $source $changelog

rm -rf $folder
mkdir -p $folder
git archive --prefix="xcpng-mirrors-$version/" -o "$folder/xcpng-mirrors-$version.tar.gz" HEAD
if [ "${WITHOUT_RPM:-0}" != 1 ]; then
    packages=$(tools/rpm.sh)
    cp $packages $folder/
fi
(cd $folder && sha256sum -- *.tar.gz $(ls | grep '\.rpm$' || :) >SHA256SUMS)
git tag -a -m "xcpng-mirrors $version" "v$version"
ls $folder/*
