"""runner_seeds.py DIRECTORY   Writes what runners said (runner_traffic.txt) as inputs of runner_fuzz: operations [code][length][payload]."""
import os
import struct
import sys

STEPS = {23: 0, 18: 1, 19: 2, 20: 3, 21: 4, 26: 5, 24: 6, 25: 7}  # kind of the question → session::step
USES = {67: 0, 68: 1, 69: 2}                                      # → session::use_connection
RAW_REPLY = bytes([255])
NUMBERED = (*range(192, 199), 201, 202)  # tells that begin with the number of a call, a connection or a worker
OPERATIONS = 24             # to an input


def operation(code, payload):
    return struct.pack("<BH", code, len(payload)) + payload


def small_number(frame):
    """The number a frame begins with, as one of the few that the fuzzer's host uses."""
    return frame[:2] + struct.pack("<Q", struct.unpack_from("<Q", frame, 2)[0] % 8) + frame[10:]


def read(line, number):
    where, *kind, text = line.split()
    frame = bytes.fromhex(text)
    if where == "tells":
        kind = struct.unpack_from("<H", frame)[0]
        return operation(14, b"\0" + (small_number(frame) if kind in NUMBERED else frame))
    if where == "services":
        return operation(14, b"\1" + frame)
    kind = int(kind[0])
    reply = RAW_REPLY + frame
    which = bytes([number % 8])
    if kind in STEPS:
        return operation(10, bytes([STEPS[kind]]) + reply)
    if kind in (64, 65):
        return operation(6, b"\1" + which + bytes([65 - kind]) + reply)
    if kind == 66:
        return operation(7, which + reply)
    if kind in USES:
        return operation(8, which + bytes([USES[kind]]) + reply)
    if 70 <= kind <= 78:
        return operation(9, bytes([kind - 70]) + reply)
    return b""  # said before an input begins


directory = sys.argv[1]
with open(os.path.join(os.path.dirname(__file__), "runner_traffic.txt"), encoding="ascii") as f:
    runners = f.read().split("\n\n")[1:]
for r, runner in enumerate(runners):
    made = [m for m in (read(line, n) for n, line in enumerate(runner.split("\n")) if line) if m]
    for at in range(0, len(made), OPERATIONS):
        with open(os.path.join(directory, f"runner-{r}-{at}"), "wb") as out:
            out.write(b"".join(made[at:at + OPERATIONS]))
