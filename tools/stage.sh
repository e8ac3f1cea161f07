#!/bin/sh
# Usage: tools/stage.sh DIR
# Install into DIR the files that a host gets. The RPM is built from the same tree, which also runs in place.
#
# STAGE_PYTHON  the host's Python (/usr/bin/python3): runs the command and dnf
# LIBDIR        parent of the vendored libraries (/usr/lib64)
# DNF_PLUGINS   folder of the dnf plugins (default: as STAGE_PYTHON finds it)
# VENDOR        1: include libraries, fetched if necessary; 0: leave them out; unpacked: include build/vendor as it is
# SETS          sets of libraries, e.g. "cp36 cp312" (default: the one for STAGE_PYTHON)
# PYTHONS       more interpreters that compile bytecode for the other sets, beside python3.6 and so on in PATH
# SOURCE_DATE_EPOCH  modification time of all files (0)
set -eu
umask 022
root=${1:?usage: make stage DESTDIR=DIR}
cd "$(dirname "$0")/.."
case $root in /*) ;; *) root=$PWD/$root ;; esac
ask_tag='import sys; print("cp{}{}".format(*sys.version_info))'
python=$("${STAGE_PYTHON:-/usr/bin/python3}" -c 'import sys; print(sys.executable)')
tag=$("$python" -c "$ask_tag")
libdir=${LIBDIR:-/usr/lib64}
dnf_plugins=${DNF_PLUGINS:-$("$python" -c '
import importlib.util, os, sys
dnf = importlib.util.find_spec("dnf")
site = os.path.dirname(os.path.dirname(dnf.origin)) if dnf else "/usr/lib/python{}.{}/site-packages".format(*sys.version_info)
print(os.path.join(site, "dnf-plugins"))')}
share=/usr/share/xcpng-mirrors
sets=
[ "${VENDOR:-1}" = 0 ] || sets=${SETS:-$tag}

put() { # SOURCE TARGET
    install -D -m 0644 "$1" "$root$2"
}

# plugin NAME FOLDER: the package manager finds the plugin by this link; the plugin finds bridge.py beside its real path
plugin() {
    install -d "$root$2"
    ln -srf "$root$share/yum_plugin/plugins/$1.py" "$root$2/xcpng-mirrors.py"
}

# interpreter TAG: print the Python of a set, if one is found that runs; without it the set has no bytecode, and the
# command starts a second later
interpreter() {
    if [ "$1" = "$tag" ]; then
        echo "$python"
    else
        for candidate in ${PYTHONS:-} "python$(echo "${1#cp}" | sed 's/./&./')"; do
            [ "$("$candidate" -c "$ask_tag" 2>/dev/null)" != "$1" ] || { command -v "$candidate" && break; }
        done
    fi
}

# compile PYTHON FOLDER: the bytecode names only the installed path. It is validated by content, because
# SOURCE_DATE_EPOCH is set (py_compile); with Python 3.6, by the time that settle sets
compile() {
    SOURCE_DATE_EPOCH=0 "$1" -m compileall -q -d "$2" "$root$2"
}

settle() { # set the same time everywhere
    find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
}

vendor() { # TAG
    [ "${VENDOR:-1}" = unpacked ] || tools/vendor.sh "$1"
    install -d "$root$libdir/xcpng-mirrors" "$root/usr/share/licenses/xcpng-mirrors"
    rm -rf "$root$libdir/xcpng-mirrors/$1"
    cp -R "build/vendor/$1/lib" "$root$libdir/xcpng-mirrors/$1"
    cp -R "build/vendor/$1/licenses/." "$root/usr/share/licenses/xcpng-mirrors"
}

find yum_plugin -name '*.py' -o -name py.typed | while read -r module; do put "$module" "$share/$module"; done
for set in $sets; do vendor "$set"; done

install -d "$root/usr/bin"
sed -e "s|@PYTHON@|$python|" -e "s|@LIB@|${libdir#/usr/}|" tools/xcpng-mirrors.in >"$root/usr/bin/xcpng-mirrors"
chmod 0755 "$root/usr/bin/xcpng-mirrors"

plugin dnf "$dnf_plugins"
put etc/xcpng-mirrors.conf /etc/dnf/plugins/xcpng-mirrors.conf
if [ -e yum_plugin/plugins/yum.py ]; then
    plugin yum /usr/lib/yum-plugins
    yum_conf=/etc/yum/pluginconf.d/xcpng-mirrors.conf
    put etc/xcpng-mirrors.conf $yum_conf
    sed -i '1s/the dnf plugin/the yum plugin/' "$root$yum_conf"
fi
xapi=$share/yum_plugin/plugins/xapi.py
sed -i "1s|/usr/bin/python3|$python|" "$root$xapi"
chmod 0755 "$root$xapi"
install -d "$root/etc/xapi.d/plugins"
ln -srf "$root$xapi" "$root/etc/xapi.d/plugins/xcpng-mirrors"
put etc/xcpng-mirrors.logrotate /etc/logrotate.d/xcpng-mirrors
put etc/xcpng-mirrors.bash-completion /usr/share/bash-completion/completions/xcpng-mirrors
for unit in service timer; do
    for job in refresh sync@; do
        put "etc/xcpng-mirrors-$job.$unit" "/usr/lib/systemd/system/xcpng-mirrors-$job.$unit"
    done
done
put etc/xcpng-mirrors-newer.conf /usr/lib/systemd/system/xcpng-mirrors-.service.d/10-newer.conf
put etc/xcpng-mirrors.sysusers /usr/lib/sysusers.d/xcpng-mirrors.conf
put etc/xcpng-mirrors.preset /usr/lib/systemd/system-preset/90-xcpng-mirrors.preset
install -d "$root/usr/share/man/man8"
for page in man/*.8; do
    gzip -9n <"$page" >"$root/usr/share/man/man8/$(basename "$page").gz"
done
put LICENSE /usr/share/licenses/xcpng-mirrors/LICENSE
for page in *.md $(find docs -name '*.md'); do
    put "$page" "/usr/share/doc/xcpng-mirrors/$page"
done
install -d -m 0755 "$root/var/lib/xcpng-mirrors" "$root/etc/xcpng-mirrors.d"

settle
compile "$python" "$dnf_plugins"
for set in $(echo "$tag" $sets | tr ' ' '\n' | sort -u); do
    found=$(interpreter "$set")
    [ -n "$found" ] || continue
    compile "$found" "$share/yum_plugin"
    [ ! -d "$root$libdir/xcpng-mirrors/$set" ] || compile "$found" "$libdir/xcpng-mirrors/$set"
done
settle
