"""wire_seeds.py DIRECTORY   What the other end of a stream says; the first two bytes are wire_fuzz's choices."""
import pathlib, sys

SEEDS = {
    "sse": b'\0\5event: endpoint\ndata: /messages\n\n: ping\r\nid: 7\rdata: {"a":1}\ndata:b\nretry: 10\n\n',
    "lines": b'\1\3{"id":1}\n\r\n{"id":2}\r\n{',
    "frames": b"\2\2\x81\2{}\1\1a\x89\3now\0\1b\x80\1c\x81\x7e\1\4" + b"x" * 0x104 + b"\x88\5\3\xe9bye",
    "open": b"\3\4\x81\2{}\x8a\0\x88\2\3\xe8",
    "refused": b"\3\1HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n",
    "address": b"\4\0wss://[::1]:8443/mcp?key=x",
    "unix": b"\4\0unix:///run/server.sock",
}
for name, text in SEEDS.items():
    pathlib.Path(sys.argv[1], name).write_bytes(text)
