#!/bin/sh
# Makes the virtual environment, or says in one line what this machine lacks. Called by the Makefile.
set -eu
venv=$1
python=
for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
	if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		python=$name
		break
	fi
done
if [ -z "$python" ]; then
	echo "Sekisho needs Python 3.11 or newer (found: $(python3 --version 2>/dev/null || echo none)). Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv" >&2
	exit 1
fi
# Debian splits ensurepip off: without it a half-made environment would be left behind.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
	echo "$python cannot make virtual environments here: the package python3-venv is missing. Debian, Ubuntu: apt-get install python3-venv" >&2
	exit 1
fi
if ! "$python" -m venv "$venv"; then
	rm -rf "$venv"
	exit 1
fi
