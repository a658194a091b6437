#!/bin/sh
# tests/browser/run.sh SCRIPTED_WEB_BINARY [SHOTS]            the pages against the scripted host
# tests/browser/run.sh --host BASE_URL TOKEN [SHOTS]          the chat against a running host
# Installs what is missing (chromium from Debian, playwright-core from npm). Exit 77: it cannot be installed here.
set -e
cd "$(dirname "$0")"
command -v node >/dev/null || { echo "node is missing: apt-get install -y nodejs npm"; exit 77; }
if [ -z "$CHROMIUM" ] && ! command -v chromium >/dev/null; then
  apt-get install -y --no-install-recommends chromium >/dev/null 2>&1 || { echo "chromium is missing and cannot be installed"; exit 77; }
fi
[ -d node_modules/playwright-core ] || npm install --no-audit --no-fund --loglevel=error || { echo "playwright-core cannot be installed"; exit 77; }
if [ "$1" = "--host" ]; then
  shift
  exec node chat.mjs "$@"
fi
node --test units.test.mjs
exec node pages.mjs "$@"
