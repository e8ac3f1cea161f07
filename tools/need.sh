#!/bin/sh
# Usage: PYTHON=python3 tools/need.sh COMMAND...
# Make sure that these commands can be run; "venv" means that $PYTHON can make virtual environments.
# For root, missing packages are installed by apt-get or dnf; other users get a list of them.
set -eu
PATH=$PATH:/usr/sbin:/sbin

have() {
    command -v "$1" >/dev/null 2>&1
}

present() {
    case $1 in
    venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null ;;
    chromium) have chromium || have chromium-browser ;;
    *) have "$1" ;;
    esac
}

# package MANAGER COMMAND: the package's name where it differs from the command's
package() {
    case $1:$2 in
    apt-get:venv) echo python3-venv ;;
    apt-get:rpmbuild | apt-get:rpmsign) echo rpm ;;
    apt-get:createrepo_c) echo createrepo-c ;;
    apt-get:gpg) echo gnupg ;;
    apt-get:nginx) echo nginx-light ;;
    dnf:faketime) echo libfaketime ;;
    dnf:venv) echo python3 ;;
    dnf:rpmbuild) echo rpm-build ;;
    dnf:rpmsign) echo rpm-sign ;;
    dnf:gpg) echo gnupg2 ;;
    *) echo "$2" ;;
    esac
}

missing() {
    for wanted in "$@"; do
        present "$wanted" || echo "$wanted"
    done
}

lacking=$(missing "$@")
[ -n "$lacking" ] || exit 0

if have apt-get; then manager=apt-get; else manager=dnf; fi
packages=$(for wanted in $lacking; do package $manager "$wanted"; done | sort -u)
if [ "$(id -u)" = 0 ] && have $manager; then
    [ $manager = dnf ] || apt-get -q update
    DEBIAN_FRONTEND=noninteractive $manager -q -y install $packages
    lacking=$(missing "$@")
    [ -n "$lacking" ] || exit 0
fi
echo "Missing, and not installed:" >&2
for wanted in $lacking; do
    echo "    $wanted (package $(package $manager "$wanted"))" >&2
done
echo "As root: $manager install" $packages >&2
exit 1
