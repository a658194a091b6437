"""manifest_seeds.py DIRECTORY   Plugin files small enough to be mutated well: the two symbols and little else; and a manifest alone."""
import pathlib, subprocess, sys

CODE = r'''
const char hf_plugin_manifest[] = "{\"id\":\"x\",\"kind\":\"llm\",\"version\":\"1\",\"abi\":[1,1],\"interfaces\":[\"hf.llm/1\"],\"needs\":[],\"settings\":{\"type\":\"object\"}}";
const long hf_plugin_entry_v1[4] = {32};
'''
where = pathlib.Path(sys.argv[1])
for name, flags in {"good": [], "stripped": ["-s", "-Wl,--hash-style=sysv"]}.items():
    # Pages of 4 kB would be zeros for the most part.
    subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-Wl,-z,max-page-size=16", *flags, "-x", "c", "-o", where / f"{name}.so", "-"], input=CODE.encode(), check=True)
(where / "manifest.json").write_text('{"id":"x","kind":"llm","version":"1","abi":[1,1],"interfaces":["hf.llm/1"],"check":{}}')
