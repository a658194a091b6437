"""oauth_seeds.py DIRECTORY   A login that succeeds, one with detours, and each of the documents alone. Parts of a login end with 0xFF."""
import json, pathlib, sys

def text(**members): return json.dumps(members, separators=(",", ":")).encode()

resource = text(resource="https://mcp.example/mcp", authorization_servers=["https://as.example"], scopes_supported=["a", "b"])
server = text(issuer="https://as.example", authorization_endpoint="https://as.example/a", token_endpoint="https://as.example/t",
              registration_endpoint="https://as.example/r", code_challenge_methods_supported=["S256"],
              authorization_response_iss_parameter_supported=True, token_endpoint_auth_methods_supported=["client_secret_basic"],
              client_id_metadata_document_supported=True, scopes_supported=["offline_access"])
client = text(client_id="c", client_secret="s", client_secret_expires_at=2000000000, token_endpoint_auth_method="client_secret_post")
token = text(access_token="t", token_type="Bearer", expires_in=3600, refresh_token="r", scope="a b")
back = b"code=C&state=state&iss=https%3A%2F%2Fas.example"
challenge = b'uBearer resource_metadata="https://mcp.example/doc", scope="a", error="invalid_token"'
alone = [resource, server, client, token, back, b'Bearer scope="a b", error=insufficient_scope, resource_metadata="https://x/\\"y", Basic realm=z',
         text(type="oauth", client_id="a", client_secret="b", scopes=["x"], redirect_port=1234, issuer="https://as", action="login"),
         text(version=1, grants={"s": {"server_url": "u", "issuer": "i", "resource": "r", "token_endpoint": "t", "client": {"client_id": "c", "method": "none"},
                                       "access_token": "a", "refresh_token": "r", "expires_at": 1, "fresh_until": 1, "scopes": ["x"], "server_reach": 0}},
              clients={"i": {"client_id": "c", "method": "client_secret_basic", "client_secret": "s", "redirect_uri": "x"}}),
         b"https://[::ffff:127.0.0.1]:8080/.well-known/x?y#z"]
logins = {  # the choices, then the head and the body of each answer; the redirect; the token's answer
    "login": [b"1", b".", resource, b".", server, b".", client, back, b".", token],
    "detours": [b"0", challenge, b"", b"r/other", b"", b".", resource, b"n", b"", b".", server, b".", client, back, b"e", b""],
}
where = pathlib.Path(sys.argv[1])
for name, parts in logins.items():
    (where / name).write_bytes(b"\xff".join(parts))
for number, one in enumerate(alone):
    (where / str(number)).write_bytes(one)
