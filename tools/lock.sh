#!/bin/sh
# Writes both lock files: versions and hashes, no addresses. Called by `make lock`; further arguments go to pip-compile
# (`--upgrade`, `--upgrade-package NAME`).
set -eu
bin=$1
shift
export CUSTOM_COMPILE_COMMAND="make lock"
compile() {
	"$bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe --build-deps-for editable \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@" pyproject.toml
}
compile --output-file requirements.lock "$@"
# The second holds the first, at the same versions: one .venv serves both.
compile --extra dev --constraint requirements.lock --output-file requirements-dev.lock "$@"
