#!/bin/sh
# Usage: tools/venv.sh PYTHON FOLDER [ARGUMENT OF pip install]...
# Make a virtual environment, or bring it up to date.
set -eu
python=$1
folder=$2
shift 2
PYTHON=$python "$(dirname "$0")/need.sh" venv
[ -x "$folder/bin/pip" ] || "$python" -m venv "$folder"
# pip below 19.3 cannot read manylinux2014 wheels; pip 22 does not run on Python 3.6. Newer ones satisfy this as they are.
"$folder/bin/python" -m pip install -q 'pip>=19.3,<22; python_version < "3.7"' 'pip>=19.3; python_version >= "3.7"'
[ $# = 0 ] || "$folder/bin/python" -m pip install -q "$@"
