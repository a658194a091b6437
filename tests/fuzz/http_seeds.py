"""http_seeds.py DIRECTORY   Requests, the first byte before them: how the host answers. 0xFF: the client waits a moment."""
import pathlib, sys

HOST = "Host: 127.0.0.1\r\n"
TOKEN = "Authorization: Bearer secret-of-the-host\r\n"
JSON = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
BODY = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}'
CALL = JSON + "Mcp-Method: tools/call\r\nMcp-Name: a\r\nMcp-Param-X: 1\r\nMCP-Protocol-Version: 2026-07-28\r\n"

def ask(method, path, headers="", body=None, token=TOKEN, version="1.1"):
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    return (f"{method} {path} HTTP/{version}\r\n{HOST}{token}{headers}{length}\r\n" + (body or "")).encode()

def upgrade(path, protocol):
    return ask("GET", path, f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {protocol}\r\n")

def frame(text, first=0x81):  # masked with zeros: as it reads
    return bytes([first, 0x80 | len(text)]) + bytes(4) + (text if isinstance(text, bytes) else text.encode())

post = ask("POST", "/mcp", CALL, BODY)
chunked = ask("POST", "/mcp", JSON + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n")
SEEDS = {
    "post": b"\0" + post,
    "stream": b"\1" + post,
    "stream-1.0": b"\1" + ask("POST", "/mcp", CALL, BODY, version="1.0"),
    "waits": b"\2" + post,
    "waits-unanswered": b"\6" + post,
    "refused": b"\3" + post,
    "stranger": b"\0" + ask("POST", "/mcp", CALL, BODY, token=""),
    "origin": b"\0" + ask("OPTIONS", "/mcp", "Origin: https://trusted.example\r\n", token="") + ask("POST", "/mcp", CALL + "Origin: http://127.0.0.1\r\n", BODY),
    "chunks": b"\0" + chunked + b"\xff2;a=b\r\n{\"\r\n\xff4\r\na\":1\r\n1\r\n}\r\n0\r\nT: x\r\n\r\n",
    "pieces": b"\0" + post[:9] + b"\xff" + post[9:30] + b"\xff" + post[30:-20] + b"\xff" + post[-20:] + post,
    "listen": b"\0" + ask("DELETE", "/mcp", "Mcp-Session-Id: s\r\n") + ask("GET", "/mcp", 'Mcp-Session-Id: s\r\nLast-Event-ID: 3\r\nAccept: text/event-stream\r\nCookie: a=b; c="d"\r\n') + b"\xff",
    "invalid": b"\0" + ask("POST", "/mcp", JSON, '{"a":1,"a":2}') + ask("POST", "/mcp", JSON, '["\\ud800"]') + ask("POST", "/mcp", JSON, "[" * 61 + "1e999" + "]" * 61),
    "old": b"\0" + ask("POST", "/mcp/messages?sessionId=%41b", "Content-Type: application/json; charset=utf-8\r\n", "{}") + ask("GET", "/mcp/sse", "Accept: text/event-stream\r\n") + b"\xff",
    "websocket": b"\1" + upgrade("/mcp/ws", "mcp") + b"\xff" + frame(BODY) + frame("now", 0x89) + frame('{"method":', 1) + b"\xff" + frame('"initialize","id":2}', 0x80) + frame(b"\3\xe8", 0x88),
    "control": b"\0" + upgrade("/ws", "holdfast.v1") + b"\xff" + frame('{"id":1,"method":"subscribe","params":{"topic":"x"}}') + frame('{"id":2,"method":"server.list"}'),
    "pages": b"\0" + ask("HEAD", "/", version="1.0", headers="Connection: keep-alive\r\n") + ask("GET", "/healthz", token="") + ask("GET", "/%2e%2e/app.js?x=%zz", token=""),
    "login": b"\0" + ask("POST", "/auth/exchange", JSON, '{"token":"secret-of-the-host"}', token="") + ask("GET", "/api/v1/servers"),
}
for name, text in SEEDS.items():
    pathlib.Path(sys.argv[1], name).write_bytes(text)
