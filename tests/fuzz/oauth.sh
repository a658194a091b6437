#!/usr/bin/env bash
# tests/fuzz/oauth.sh BUILD_DIR [SECONDS]   What OAuth reads of strangers, and whole logins, under libFuzzer with address and undefined
# sanitizers, from a login that succeeds. 5 seconds unless told. Exit 77: clang-19 is not installed. What it finds stays in
# BUILD_DIR/tests/fuzz/oauth; give such a file instead of SECONDS to see it again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$(cd "$1" && pwd)
seconds=${2:-5}
command -v clang++-19 >/dev/null || { echo "clang++-19 is not installed"; exit 77; }
work=$build/tests/fuzz/oauth
mkdir -p "$work/corpus" "$work/seeds" "$work/objects"
common=$root/plugins/common
sources=("$here/oauth_fuzz.cpp" "$common"/oauth/{challenge,client_identity,credential_file,flow,form,metadata,proof_key,reach,settings,token}.cpp
         "$common"/net-client/{http_client,http_text,url}.cpp)
flags=(-std=c++20 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
       -I"$common" -I"$root/plugin-sdk/include" -include "$root/cmake/pch.hpp")
if [ ! -x "$work/fuzz" ] || [ -n "$(find "${sources[@]}" "$here" "$common" "$root/plugin-sdk/include" -newer "$work/fuzz" \( -name '*.?pp' -o -name '*.h' \))" ]; then
    compiler=(clang++-19)
    command -v ccache >/dev/null && compiler=(ccache clang++-19)
    for source in "${sources[@]}"; do printf '%s\0' "$source"; done |
        xargs -0 -P "$(nproc)" -I{} sh -c 'source=$1; shift; out=$1/$(basename "$source" .cpp).o; shift; exec "$@" -c -o "$out" "$source"' sh {} "$work/objects" "${compiler[@]}" "${flags[@]}"
    clang++-19 -fsanitize=fuzzer,address,undefined -o "$work/fuzz" "$work"/objects/*.o -lcurl -lcrypto
fi
resource='{"resource":"https://mcp.example/mcp","authorization_servers":["https://as.example"],"scopes_supported":["a","b"]}'
server='{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t","registration_endpoint":"https://as.example/r","code_challenge_methods_supported":["S256"],"authorization_response_iss_parameter_supported":true,"token_endpoint_auth_methods_supported":["client_secret_basic"],"client_id_metadata_document_supported":true,"scopes_supported":["offline_access"]}'
client='{"client_id":"c","client_secret":"s","client_secret_expires_at":2000000000,"token_endpoint_auth_method":"client_secret_post"}'
token='{"access_token":"t","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"a b"}'
back='code=C&state=state&iss=https%3A%2F%2Fas.example'
printf '1\xff.\xff%s\xff.\xff%s\xff.\xff%s\xff%s\xff.\xff%s' "$resource" "$server" "$client" "$back" "$token" >"$work/seeds/login"
printf '0\xffuBearer resource_metadata="https://mcp.example/doc", scope="a", error="invalid_token"\xff\xffr/other\xff\xff.\xff%s\xffn\xff\xff.\xff%s\xff.\xff%s\xff%s\xffe\xff' "$resource" "$server" "$client" "$back" >"$work/seeds/detours"
n=0
for one in "$resource" "$server" "$client" "$token" "$back" 'Bearer scope="a b", error=insufficient_scope, resource_metadata="https://x/\"y", Basic realm=z' \
    '{"type":"oauth","client_id":"a","client_secret":"b","scopes":["x"],"redirect_port":1234,"issuer":"https://as","action":"login"}' \
    '{"version":1,"grants":{"s":{"server_url":"u","issuer":"i","resource":"r","token_endpoint":"t","client":{"client_id":"c","method":"none"},"access_token":"a","refresh_token":"r","expires_at":1,"fresh_until":1,"scopes":["x"],"server_reach":0}},"clients":{"i":{"client_id":"c","method":"client_secret_basic","client_secret":"s","redirect_uri":"x"}}}' \
    'https://[::ffff:127.0.0.1]:8080/.well-known/x?y#z'; do
    printf %s "$one" >"$work/seeds/$((n++))"
done
[ ! -f "$seconds" ] || exec "$work/fuzz" "$seconds"
exec "$work/fuzz" -max_total_time="$seconds" -timeout=30 -error_exitcode=1 -timeout_exitcode=1 -max_len=16384 -rss_limit_mb=2048 -artifact_prefix="$work/" -print_final_stats=1 "$work/corpus" "$work/seeds"
