#!/usr/bin/env bash
# Run python-arango's own tests against `arangopipe serve-db`: tests/driver_suite.sh PATH [pytest arguments]
# where PATH is a checkout of github.com/arangodb/python-arango. Results and reasons: docs/embedded.md.
set -euo pipefail
suite=$(cd "$1" && pwd)/tests
shift
bin=$(cd "$(dirname "$0")/../.venv/bin" && pwd)
work=$(mktemp -d)
cp -r "$suite" "$work/tests"
# The suite's set-up wants a fulltext and a geo index, which are refused here: these two lines go.
sed -i -e '/tst_col.add_index({"type": "fulltext"/s/^.*$/        pass/' \
    -e 's/^    geo_index = tst_col.add_index.*/    geo_index = {"id": "none\/0"}/' "$work/tests/conftest.py"
port=$("$bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
ARANGO_ROOT_PASSWORD=passwd ARANGO_JWT_SECRET=secret "$bin/arangopipe" serve-db --file "$work/suite.db" --port "$port" &
server=$!
trap 'kill "$server"; wait "$server" || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
    "$bin/python" -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null && break
    sleep 0.1
done
cd "$work"
"$bin/pytest" tests/ "$@" -q -W ignore -p no:cacheprovider --port "$port" --password passwd --secret secret \
    --skip backup batch foxx js-transactions task enterprise jwt-secret-keyfile
