#!/bin/sh
# Usage: tools/stage.sh DIR
# Lay out in DIR what an installed host has. The RPM is made of the same tree, which also runs in place.
#
# STAGE_PYTHON  the host's Python (/usr/bin/python3): runs the command and dnf
# LIBDIR        parent of the vendored libraries (/usr/lib64)
# DNF_PLUGINS   where dnf looks for plugins (asked of STAGE_PYTHON)
# VENDOR        1: vendor the libraries of requirements.txt, from build/vendor/ if they are there; 0: leave them out
set -eu
umask 022
root=${1:?usage: make stage DESTDIR=DIR}
cd "$(dirname "$0")/.."
case $root in /*) ;; *) root=$PWD/$root ;; esac
python=$("${STAGE_PYTHON:-/usr/bin/python3}" -c 'import sys; print(sys.executable)')
tag=$("$python" -c 'import sys; print("cp{}{}".format(*sys.version_info))')
libdir=${LIBDIR:-/usr/lib64}
dnf_plugins=${DNF_PLUGINS:-$("$python" -c '
import importlib.util, os, sys
dnf = importlib.util.find_spec("dnf")
site = os.path.dirname(os.path.dirname(dnf.origin)) if dnf else "/usr/lib/python{}.{}/site-packages".format(*sys.version_info)
print(os.path.join(site, "dnf-plugins"))')}
share=/usr/share/xcpng-mirrors

put() { # SOURCE TARGET
    install -D -m 0644 "$1" "$root$2"
}

# plugin HOST FOLDER: the manager finds the plugin here; the plugin finds bridge.py beside its real path
plugin() {
    install -d "$root$2"
    ln -srf "$root$share/yum_plugin/hosts/$1.py" "$root$2/xcpng-mirrors.py"
}

# compile FOLDER INSTALLED: the bytecode names the installed path only, and is valid by content
# rather than by time (SOURCE_DATE_EPOCH makes py_compile do so)
compile() {
    SOURCE_DATE_EPOCH=0 "$python" -m compileall -q -d "$2" "$1"
}

vendor() { # keep build/vendor/TAG in step with requirements.txt
    libraries=build/vendor/$tag
    if ! cmp -s requirements.txt "$libraries/requirements.txt"; then
        rm -rf "$libraries"
        tools/venv.sh "$python" "build/vendor/$tag-venv"
        "build/vendor/$tag-venv/bin/python" -m pip install -q --no-compile --target "$libraries" -r requirements.txt
        rm -rf "$libraries/bin" # scripts that name this machine's Python
        compile "$libraries" "$libdir/xcpng-mirrors/$tag"
        cp requirements.txt "$libraries/"
    fi
    install -d "$root$libdir/xcpng-mirrors"
    cp -R "$libraries" "$root$libdir/xcpng-mirrors/"
    chmod -R u=rwX,go=rX "$root$libdir/xcpng-mirrors"
}

find yum_plugin -name '*.py' | while read -r module; do put "$module" "$share/$module"; done
compile "$root$share/yum_plugin" "$share/yum_plugin"
[ "${VENDOR:-1}" = 0 ] || vendor

install -d "$root/usr/bin"
sed -e "s|@PYTHON@|$python|" -e "s|@LIB@|${libdir#/usr/}|" tools/xcpng-mirrors.in >"$root/usr/bin/xcpng-mirrors"
chmod 0755 "$root/usr/bin/xcpng-mirrors"

plugin dnf "$dnf_plugins"
compile "$root$dnf_plugins" "$dnf_plugins"
put etc/xcpng-mirrors.dnf.conf /etc/dnf/plugins/xcpng-mirrors.conf
if [ -e yum_plugin/hosts/yum.py ]; then
    plugin yum /usr/lib/yum-plugins
    put etc/xcpng-mirrors.yum.conf /etc/yum/pluginconf.d/xcpng-mirrors.conf
fi
put etc/xcpng-mirrors.logrotate /etc/logrotate.d/xcpng-mirrors
put LICENSE /usr/share/licenses/xcpng-mirrors/LICENSE
[ ! -e README.md ] || put README.md /usr/share/doc/xcpng-mirrors/README.md
install -d -m 0755 "$root/var/lib/xcpng-mirrors" "$root/etc/xcpng-mirrors.d"
