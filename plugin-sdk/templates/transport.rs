// A transport: an MCP server as a child process, one JSON-RPC message to a line of its stdin and stdout. The process belongs to the
// host, which names it, limits it and ends it.
#[macro_use]
mod holdfast;
use holdfast::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

type Links = Arc<Mutex<HashMap<u64, (Arc<Link>, Child)>>>;
struct Link {
    conn: u64,
    all: Links,
    closing: AtomicBool,
    sink: Mutex<Option<Sink>>, // held by open until opened has been said; None: closed has been said
}
impl Link {
    fn tell(&self, f: impl FnOnce(&Sink)) { if let Some(s) = &*self.sink.lock().unwrap() { f(s) } }
    fn closed(&self, why: Option<&Fail>) {
        let mut last = self.sink.lock().unwrap();
        if let Some(s) = last.take() { s.closed(why) }
    }
}
impl ProcessEvents for Link {
    fn out(&self, line: &str) { if !line.is_empty() { self.tell(|s| s.message(line)) } }
    fn err(&self, line: &str) { self.tell(|s| s.log(line)) }
    fn exited(&self) {
        drop(self.sink.lock().unwrap()); // open has finished
        let gone = self.all.lock().unwrap().remove(&self.conn);
        drop(gone);
        let lost = Fail { code: TRANSPORT, message: "the server ended by itself".into() };
        self.closed((!self.closing.load(SeqCst)).then_some(&lost));
    }
}

struct Mine { host: HostRef, links: Links }
impl Plugin for Mine {
    fn create(host: HostRef, _settings: &str) -> Result<Self> { Ok(Mine { host, links: Links::default() }) }
    fn stop(&self) -> Result<()> {
        let rest = std::mem::take(&mut *self.links.lock().unwrap());
        for (link, child) in rest.values() {
            link.closed(Some(&Fail { code: TRANSPORT, message: "the transport was stopped".into() }));
            child.stop(500);
        }
        Ok(())
    }
    fn ext(id: &str) -> Option<*const std::ffi::c_void> { (id == "hf.transport/1").then(transport::<Self>) }
}
impl Carrier for Mine {
    fn open(&self, conn: u64, config: &str, sink: Sink) -> Result<()> {
        let (command, args, env) = (json::member(config, "command"), json::member(config, "args"), json::member(config, "env"));
        if json::text(command).map_or(true, |c| c.is_empty()) { return fail(INVALID, "the connection needs \"command\": the program to start"); }
        let spec = format!(r#"{{"name":"server","lines":true,"command":{command},"args":{},"env":{}}}"#,
                           if args.is_empty() { "[]" } else { args }, if env.is_empty() { "{}" } else { env });
        let link = Arc::new(Link { conn, all: self.links.clone(), closing: AtomicBool::new(false), sink: Mutex::new(Some(sink)) });
        let turn = link.sink.lock().unwrap();
        let child = self.host.spawn(&spec, link.clone())?;
        self.links.lock().unwrap().insert(conn, (link.clone(), child));
        sink.opened(&format!("{{\"pid\":{}}}", child.pid));
        drop(turn);
        Ok(())
    }
    fn send(&self, conn: u64, message: &str) -> Result<()> {
        let line = message.replace(['\n', '\r'], " ") + "\n"; // between tokens only: inside strings they are escaped
        match self.links.lock().unwrap().get(&conn) { Some((_, child)) => child.write(&line), None => fail(NOT_FOUND, "the connection is closed") }
    }
    fn close(&self, conn: u64, _deadline_ns: i64) {
        if let Some((link, child)) = self.links.lock().unwrap().get(&conn) {
            link.closing.store(true, SeqCst);
            child.stop(500); // exited follows
        }
    }
}
plugin!(Mine, r#"{"id":"my-plugin","kind":"transport","version":"0.1.0","abi":[1,1],"interfaces":["hf.transport/1"],"needs":["hf.process/1"],
    "description":"Servers as child processes","settings":{"type":"object","properties":{},"additionalProperties":false},
    "check":{"config":{"command":"cat"},"unreachable":{"command":"/nonexistent/command"}}}"#);
