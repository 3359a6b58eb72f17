#!/bin/sh
# Measures the service and, where they are installed, comparable ones: bench/run.sh --help
set -eu
cd "$(dirname "$0")/.."
command -v wrk >/dev/null || { echo "wrk is missing: install the Debian package with \`apt-get install wrk\`." >&2; exit 1; }
python=${PYTHON:-.venv/bin/python}
if ! command -v "$python" >/dev/null; then
  python3 -m venv .venv
  .venv/bin/python -m pip install --quiet --requirement requirements.txt --requirement requirements-local.txt
  python=.venv/bin/python
fi
exec "$python" -m bench.run "$@"
