#!/usr/bin/env python3
"""Conversations for mcp_fuzz: one file each, in the language the fuzzer's head describes. The first byte is the options."""
import json, pathlib, sys

def m(**k): return "m" + json.dumps({"jsonrpc": "2.0", **k}, separators=(",", ":")).replace('"$"', "$").replace('"^"', "^").replace('"~"', "~")
def ok(result, id="$"): return m(id=id, result=result)
def no(code, data=None, id="$"): return m(id=id, error={"code": code, "message": "no", **({"data": data} if data else {})})
def note(method, **params): return m(method="notifications/" + method, params=params)

tool = {"name": "echo", "inputSchema": {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "A"}}}}
caps = {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}}
lists = [ok({"tools": [tool], "ttlMs": 5000, "nextCursor": "x"}, "2"), ok({"tools": [tool]}, "5"),
         ok({"resources": [{"uri": "a:1", "name": "a"}]}, "3"), ok({"resourceTemplates": []}, "4")]
modern = [ok({"supportedVersions": ["2026-07-28"], "capabilities": caps}), *lists]
meta = {"io.modelcontextprotocol/subscriptionId": "~"}
form = {"method": "elicitation/create", "params": {"requestedSchema": {"properties": {"n": {"default": 1}}}}}
legacy = [no(-32601), ok({"protocolVersion": "2025-11-25", "capabilities": caps}), *[l.replace('"id":%d' % n, '"id":%d' % (n + 1)) for n, l in zip((2, 5, 3, 4), [
    ok({"tools": [tool]}, "3"), ok({"resources": []}, "4"), ok({"resourceTemplates": []}, "5")])]]
talks = {
    "modern": ["0", *modern, note("subscriptions/acknowledged", _meta=meta), "c", note("progress", progressToken="$", progress=1),
               note("message", level="info", data="x"), ok({"content": [], "resultType": "complete"}), note("tools/list_changed", _meta=meta), "t2000", "p", ok({}), "c",
               "m$`" + note("message", level="error", data=1)[1:]],
    "input": ["0", *modern, "c", ok({"resultType": "input_required", "inputRequests": {"k": form, "l": {"method": "roots/list"}}, "requestState": "s"}),
              'a{"action":"accept"}', 'a{"roots":[]}', ok({"content": []}), "c", ok({"resultType": "input_required", "requestState": "s"}), "x"],
    "reads": ["4", *modern, "r", ok({"contents": [], "ttlMs": 1000, "cacheScope": "public"}), "r", "t500", note("resources/updated", uri="a:1", _meta=meta), "r", "wb:2", "l"],
    "headers": ["1", *modern, "c", no(-32020), ok({"tools": [tool]}), ok({"content": []}), "c", no(-32022, {"supported": ["2099-01-01"]})],
    "legacy": ["0", *legacy, "c", m(id="q", method="elicitation/create", params=form["params"]), "a{}", m(id=7, method="ping"), note("cancelled", requestId="q"),
               m(id="s", method="sampling/createMessage", params={}), 'a{"error":{}}', ok({"content": []}), note("tools/list_changed"), "t3000", "f", "q"],
    "urls": ["0", *legacy, "c", no(-32042, {"elicitations": [{"mode": "url", "url": "u", "elicitationId": "e", "message": "m"}]}), 'a{"action":"accept"}',
             note("elicitation/complete", elicitationId="e"), ok({"content": []})],
    "versions": ["1", no(-32022, {"supported": ["2026-07-28"]}), no(-32022, {"supported": ["2025-03-26"]}), ok({"protocolVersion": "2025-03-26", "capabilities": {}}),
                 'm[{"jsonrpc":"2.0","id":1,"result":{}},5]', "l4", "n", "t60000"],
    "hinted": ["2", no(-32601), ok({"supportedVersions": ["2026-07-28", "2025-11-25"], "capabilities": {}}), "p", no(-32601), "c", "t5000"],
}
where = pathlib.Path(sys.argv[1])
for name, lines in talks.items():
    (where / name).write_text(lines[0] + "\n".join(["", *lines[1:]]))
