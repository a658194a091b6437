# A service manager's notify socket. Binds the address given (@name: abstract) and prints each datagram as a line of JSON:
# {"at": milliseconds of the monotonic clock, "text": …}. Ends with its stdin.
import json
import os
import select
import socket
import sys
import time

address = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\0" + address[1:] if address[0] == "@" else address)
print(json.dumps({"at": 0, "text": "bound"}), flush=True)
while True:
    ready, _, _ = select.select([s, sys.stdin], [], [])
    if sys.stdin in ready and not os.read(0, 1):
        break
    if s in ready:
        print(json.dumps({"at": time.monotonic_ns() // 1_000_000, "text": s.recv(65536).decode()}), flush=True)
