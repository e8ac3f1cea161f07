#!/bin/sh
# Usage: tools/rpm.sh [FLAG OF rpmbuild]...
# Build the packages of HEAD into build/rpm. Libraries are fetched here, never by rpmbuild:
# they go in as a second source, unless --without bundled is among the flags.
set -eu
cd "$(dirname "$0")/.."
python=${STAGE_PYTHON:-/usr/bin/python3}
version=$(sed -n 's/^Version: *//p' rpm/xcpng-mirrors.spec)
top=$PWD/build/rpm
rm -rf "$top"
mkdir -p "$top/SOURCES"
git archive --prefix="xcpng-mirrors-$version/" -o "$top/SOURCES/xcpng-mirrors-$version.tar.gz" HEAD
case " $* " in
*" --without bundled "*) ;;
*)
    STAGE_PYTHON=$python tools/stage.sh "$top/stage"
    tag=$("$python" -c 'import sys; print("cp{}{}".format(*sys.version_info))')
    tar -czf "$top/SOURCES/xcpng-mirrors-libraries-$version.tar.gz" "build/vendor/$tag"
    rm -rf "$top/stage"
    ;;
esac
git cat-file -e HEAD:yum_plugin/hosts/yum.py 2>/dev/null || set -- "$@" --without yum
# Where packages are not rpms, rpm cannot know what is installed.
rpm -q rpm >/dev/null 2>&1 || set -- "$@" --nodeps
rpmbuild -ba --define "_topdir $top" "$@" rpm/xcpng-mirrors.spec >"$top/log" 2>&1 || { tail -n 30 "$top/log" >&2; exit 1; }
find "$top/RPMS" "$top/SRPMS" -name '*.rpm'
