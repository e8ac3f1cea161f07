#!/bin/sh
# Usage: tools/rpm.sh [FLAG OF rpmbuild]...
# Build the packages of HEAD into build/rpm. The libraries are fetched here, by hash, and never by rpmbuild; they are its
# second source, unless --without bundled is among the flags.
# The same commit makes the same packages, byte for byte (make rpm-twice proves it); only the source package depends on the
# folder.
#
# SETS      of libraries: the Pythons that the package is for (those of hosts, rpm/requirements-el*.txt, and this machine's)
# RPM_TOP   where to build (build/rpm)
set -eu
umask 022
export LC_ALL=C
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' yum_plugin/__init__.py)
top=${RPM_TOP:-$PWD/build/rpm}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
rm -rf "$top"
mkdir -p "$top/SOURCES"
git archive --prefix="xcpng-mirrors-$version/" -o "$top/SOURCES/xcpng-mirrors-$version.tar.gz" HEAD

# Write the part of the specification that follows from the libraries: their names, versions and licences.
describe() {
    cat "$@" | sort -u | awk -F '\t' '{ print "Provides: bundled(python3dist(" $1 ")) = " $2 }'
    echo "%global bundled_licenses $(cat "$@" | cut -f 3 | sed 's/ AND /\n/g' | sort -u | sed 's/^/AND /' | xargs)"
}

case " $* " in
*" --without bundled "*) ;;
*)
    here=$("${STAGE_PYTHON:-/usr/bin/python3}" -c 'import sys; print("cp{}{}".format(*sys.version_info))')
    sets=${SETS:-$({ tools/vendor.sh | grep -x "$here" || :; sed -n 's/^# set: \([^ ]*\) .*/\1/p' rpm/requirements-el*.txt; } | sort -u)}
    tools/vendor.sh $sets
    folders=$(for set in $sets; do echo "build/vendor/$set"; done)
    describe $(for set in $sets; do echo "build/vendor/$set/bundled"; done) >"$top/SOURCES/xcpng-mirrors-bundled-$version.inc"
    find $folders | sort | # tar of XCP-ng 8.3 cannot sort
        tar --no-recursion --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -c -T - |
        gzip -n1 >"$top/SOURCES/xcpng-mirrors-libraries-$version.tar.gz"
    ;;
esac
date=$(date -u -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')
sed -e "s/@VERSION@/$version/" -e "s/@DATE@/$date/" rpm/xcpng-mirrors.spec >"$top/SOURCES/xcpng-mirrors.spec"
touch -d "@$SOURCE_DATE_EPOCH" "$top"/SOURCES/*
git cat-file -e HEAD:yum_plugin/plugins/yum.py 2>/dev/null || set -- "$@" --without yum
# On a system without rpm packages (Debian), rpm does not know what is installed.
rpm -q rpm >/dev/null 2>&1 || set -- "$@" --nodeps
# Two steps: rpm writes the name of its folder into a source package, and built together, the packages would name that.
for what in -bb -bs; do
    rpmbuild $what --define "_topdir $top" "$@" "$top/SOURCES/xcpng-mirrors.spec" >>"$top/log" 2>&1 || { tail -n 30 "$top/log" >&2; exit 1; }
done
find "$top/RPMS" "$top/SRPMS" -name '*.rpm'
