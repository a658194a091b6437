#!/usr/bin/env python3
"""Conversations for gateway_fuzz: one file each, in the language the fuzzer's head describes. The first byte is the options."""
import json, pathlib, sys

def text(**k): return json.dumps({"jsonrpc": "2.0", **k}, separators=(",", ":"))
def meta(**caps): return {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
                          "io.modelcontextprotocol/clientCapabilities": caps}
def said(method, name=None): return "h" + json.dumps({"protocol_version": "2026-07-28", "method": method, **({"name": name} if name else {})})
def modern(method, id=1, caps={}, name=None, **params):
    name = name or params.get("uri")
    if name and not name.startswith(("old:", "new:")): params["name"] = name
    return [said(method, name), "p" + text(id=id, method=method, params={**params, "_meta": {**meta(**caps), "progressToken": "t"}})]
def note(method, **params): return text(method="notifications/" + method, params=params)
def begin(caps={}, version="2025-11-25"):
    return ["h{}", "f", "p" + text(id=0, method="initialize", params={"protocolVersion": version, "capabilities": caps, "clientInfo": {"name": "c", "version": "1"}}), "b",
            'h{"protocol_version":"%s"}' % version, "p" + note("initialized")]
def old(method, id=1, via="p", **params): return via + text(id=id, method=method, params=params)

everything = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
lists = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
form = {"message": "?", "requestedSchema": {"type": "object", "properties": {"a": {"type": "string"}}}}
talks = {
    "modern_lists": ["0", *[l for i, m in enumerate(["server/discover", *lists]) for l in modern(m, i)]],
    "modern_calls": ["0", *modern("tools/call", name="old__t0", arguments={"a": 1}), *modern("tools/call", 2, name="new__t1"), *modern("resources/read", 3, uri="old:1"),
                     *modern("prompts/get", 4, name="new__ask"), *modern("completion/complete", 5, ref={"type": "ref/prompt", "name": "old__ask"}, argument={"name": "a", "value": "x"})],
    "modern_rounds": ["0", "qask", *modern("tools/call", "a", everything, name="new__t0"), *modern("tools/call", "b", everything, name="new__t0", requestState="^", inputResponses={"ask": {"action": "accept"}}),
                      "k", *modern("tools/call", "c", everything, name="old__t0"), "o" + text(id="q", method="elicitation/create", params=form), "t1500",
                      *modern("tools/call", "d", everything, name="old__t0", requestState="^", inputResponses={"q": {"action": "decline"}}), "w", "t3000"],
    "modern_slow": ["0", "k", *modern("tools/call", 1, name="old__t0"), "o" + note("progress", progressToken=1, progress=1), "t1200", "x", *modern("tools/call", 2, name="new__t0"), "t6000"],
    "watching": ["0", *modern("subscriptions/listen", notifications={"toolsListChanged": True, "resourcesListChanged": True, "resourceSubscriptions": ["old:1", "new:1"]}),
                 "o" + note("resources/updated", uri="old:1"), "o" + note("resources/updated", uri="old:1/a" + "/" * 500), "n" + note("tools/list_changed"), "t2000", 'c{"prefix":"none"}', "x"],
    "session": ["0", *begin(everything), *[old(m, i) for i, m in enumerate(lists)], old("tools/call", 9, name="old__t0", arguments={}), "l", old("ping", "p"), old("logging/setLevel", 10, level="debug"),
                old("resources/subscribe", 11, uri="old:1"), "o" + note("resources/updated", uri="old:1"), old("resources/unsubscribe", 12, uri="old:1"), "d", old("ping", 13)],
    "session_asked": ["0", *begin(everything), "l", "k", old("tools/call", 1, name="old__t0"), "o" + text(id="q", method="sampling/createMessage", params={"messages": [], "maxTokens": 5}),
                      'p{"jsonrpc":"2.0","id":"1","result":{}}', "qask", old("tools/call", 2, name="new__t0"), 'p{"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"no"}}',
                      "p" + note("cancelled", requestId=1), "p" + note("roots/list_changed"), "w", "t2000"],
    "session_resumed": ["0", *begin(), "k", old("tools/call", 1, name="new__t0"), "t1200", "x", "l1-1", "w", "t500", "l", "x", "l1-2"],
    "batches": ["0", *begin(version="2025-03-26"), "p[" + text(id=1, method="ping") + "," + old("tools/call", 2, "", name="old__t0") + "]", "p[]", "p[1,{}]"],
    "others": ["0", *begin(), "u", old("ping"), "l", "d", "u", old("ping", 2)],
    "stdio": ["0", "s" + text(id=0, method="initialize", params={"protocolVersion": "2024-11-05", "capabilities": {}}), "b", old("tools/list", 1, "s"), "l"],
    "viewer": ["2", *begin(), old("tools/list"), old("tools/call", 2, name="old__t0"), "f", *modern("tools/call", 3, name="old__t0")],
    "pages": ["9", *begin(), old("tools/list"), old("tools/list", 2, cursor="1"), old("tools/call", 3, name="t0")],
    "dying": ["0", *begin(), "k", old("tools/call", 1, name="old__t0"), "f", *modern("tools/call", 2, name="old__t0"), "r", "t100", "t5000"],
    "broken": ["0", "p{", "p1", "p{\"jsonrpc\":\"2.0\",\"id\":1}", "p" + text(id=None, method="ping"), said("tools/list"), "p" + text(id=1, method="tools/call", params={"_meta": meta()})],
}
where = pathlib.Path(sys.argv[1])
for name, lines in talks.items():
    (where / name).write_text(lines[0] + "\n".join(["", *lines[1:]]))
