// A model adapter that says hello. Chunks and results: holdfast/ext/llm.h.
#[macro_use]
mod holdfast;
use holdfast::*;

struct Mine;
impl Plugin for Mine {
    fn create(_: HostRef, _settings: &str) -> Result<Self> { Ok(Mine) }
    fn ext(id: &str) -> Option<*const std::ffi::c_void> { (id == "hf.llm/1").then(calls::<Self>) }
}
impl Submit for Mine {
    fn submit(&self, call: Call) {
        match call.method.as_str() {
            "describe" => call.done(r#"{"model":"my-plugin","available":true,"reason":"","local":true,"demonstration":true}"#),
            "chat" if json::member(&call.request, "messages").starts_with('[') => {
                let part = r#"{"type":"text","text":"Hello from my-plugin."}"#;
                call.chunk(part);
                call.done(&format!(r#"{{"model":"my-plugin","stop_reason":"end_turn","content":[{part}],"usage":{{"input_tokens":0,"output_tokens":0}}}}"#))
            }
            "chat" => call.fail(&Fail { code: INVALID, message: "a chat request needs \"messages\": […]".into() }),
            _ => call.fail(&Fail { code: UNSUPPORTED, message: "hf.llm/1 has no such method".into() }),
        }
    }
}
plugin!(Mine, r#"{"id":"my-plugin","kind":"llm","version":"0.1.0","abi":[1,1],"interfaces":["hf.llm/1"],"needs":[],
    "description":"Says hello","settings":{"type":"object","properties":{},"additionalProperties":false}}"#);
