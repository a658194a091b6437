#!/usr/bin/env python3
"""The arrows of the architecture, checked on the includes; and a few rules that a compiler does not know.

    plugins -> plugin-sdk <- host;  app -> api -> {sessions, servers, mcp} -> kernel;  sessions -> servers -> mcp
    app -> authors (tools of plugin authors) -> {kernel, plugin-sdk}
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
if ROOT.is_file():
    ROOT = ROOT.parents[2]

ALLOWED = {  # box -> boxes whose headers it may include (besides its own and holdfast/)
    "kernel/core": set(),
    "kernel/events": {"kernel/core"},
    "kernel/supervise": {"kernel/core"},
    "kernel/config": {"kernel/core", "kernel/supervise"},
    "kernel/plugins": {"kernel/core", "kernel/events", "kernel/supervise"},
    "mcp": {"kernel/core"},
    "servers": {"mcp", "kernel/core", "kernel/config", "kernel/events", "kernel/supervise", "kernel/plugins"},
    "sessions": {"servers", "kernel/core", "kernel/events", "kernel/supervise", "kernel/plugins"},
    "authors": {"kernel/core", "kernel/config", "kernel/plugins"},
    "api": {"sessions", "servers", "mcp", "kernel/core", "kernel/events", "kernel/supervise", "kernel/config"},
}
ALLOWED["app"] = set(ALLOWED)
HEAVY = {  # header prefix -> places that may include it: what is slow to compile hides behind an interface
    "boost/beast": ["plugins/common/net-server"],
    "boost/asio": ["plugins/common/net-server"],
    "boost/dll": ["host/kernel/plugins"],
    "curl/": ["plugins/common/net-client", "plugins/common/net-stream"],
    "spdlog/": ["host/app/logging.cpp"],
    "sqlite3.h": ["plugins/store-sqlite"],
    "CLI/": ["host/app/command_line.cpp"],
}
# A program of its own, not a plugin: it may use the host's smallest box.
STANDALONE = {"plugins/demo-server": {"kernel/core"}}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)
problems = []


def box_of(path):
    for box in sorted(ALLOWED, key=len, reverse=True):
        if path.startswith(box + "/"):
            return box
    return None


def check_host(file, where):
    box = box_of(where.removeprefix("host/"))
    if box is None:
        problems.append(f"{where}: belongs to no box of the architecture")
        return
    for quote, name in INCLUDE.findall(file):
        target = box_of(name)
        if target and target != box and target not in ALLOWED[box]:
            problems.append(f"{where}: '{box}' must not include '{name}': the arrow {box} -> {target} is not in the architecture")


def check_plugin(file, where):
    allowed = next((a for d, a in STANDALONE.items() if where.startswith(d + "/")), set())
    for quote, name in INCLUDE.findall(file):
        target = box_of(name)
        if quote == '"' and target and target not in allowed and (ROOT / "host" / name).exists() and not (ROOT / "plugins" / name).exists():
            problems.append(f"{where}: a plugin must not include the host's '{name}': plugins see plugin-sdk only")


def check_common(text, where):
    for _, name in INCLUDE.findall(text):
        for prefix, places in HEAVY.items():
            if name.startswith(prefix) and not any(where.startswith(p) for p in places):
                problems.append(f"{where}: '{name}' belongs behind an interface in {', '.join(places)}")
    code = re.sub(r'R"(\w*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"', "", text, flags=re.S)
    if re.search(r"\bco_(await|return|yield)\b", code):
        problems.append(f"{where}: coroutines are not used in this tree (host/doc/adr/0001): g++ 12 miscompiles some forms")
    if re.search(r"\bpthread_cancel\b", code):
        problems.append(f"{where}: pthread_cancel is forbidden (rule T3)")
    if re.search(r"\bwaitpid\s*\(\s*-1", code) and "guardian" not in where:
        problems.append(f"{where}: waitpid(-1) takes exits from others (rule O2)")


count = 0
for top in ("host", "plugins", "plugin-sdk"):
    for path in sorted((ROOT / top).rglob("*")):
        if path.suffix not in (".hpp", ".cpp", ".h", ".c", ".ipp"):
            continue
        where = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        count += 1
        check_common(text, where)
        if top == "host":
            check_host(text, where)
        elif top == "plugins":
            check_plugin(text, where)

for p in problems:
    print(p)
print(f"{count} files, {len(problems)} problems")
sys.exit(1 if problems or count < 100 else 0)
