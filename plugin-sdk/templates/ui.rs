// A user interface without a face: it counts the messages of every session.
#[macro_use]
mod holdfast;
use holdfast::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

struct Mine {
    host: HostRef,
    seen: Arc<AtomicU64>,
    following: Mutex<Option<Subscription>>,
}
impl Plugin for Mine {
    fn create(host: HostRef, _settings: &str) -> Result<Self> { Ok(Mine { host, seen: Arc::default(), following: Mutex::new(None) }) }
    fn start(&self) -> Result<()> {
        let seen = self.seen.clone();
        let s = self.host.subscribe("session:*", move |event| {
            if json::member(event, "type") == "\"MessageAdded\"" { seen.fetch_add(1, Relaxed); }
        })?;
        *self.following.lock().unwrap() = Some(s);
        Ok(())
    }
    fn stop(&self) -> Result<()> {
        let last = self.following.lock().unwrap().take(); // no callback runs once it is dropped
        drop(last);
        self.host.log(2, "messages seen", &format!("{{\"count\":{}}}", self.seen.load(Relaxed)));
        Ok(())
    }
    fn ext(id: &str) -> Option<*const std::ffi::c_void> { (id == "hf.ui/1").then(ui::<Self>) }
}
impl UserInterface for Mine {
    fn describe(&self) -> String { r#"{"terminal":false,"url":"log:my-plugin","clients":0}"#.into() }
    fn export_state(&self) -> String { format!("{{\"seen\":{}}}", self.seen.load(Relaxed)) }
    fn import_state(&self, state: &str) -> Result<()> {
        if let Some(n) = json::number(json::member(state, "seen")) { self.seen.store(n as u64, Relaxed); }
        Ok(())
    }
}
plugin!(Mine, r#"{"id":"my-plugin","kind":"ui","version":"0.1.0","abi":[1,1],"interfaces":["hf.ui/1"],"needs":["hf.events/1"],
    "description":"Counts messages","settings":{"type":"object","properties":{},"additionalProperties":false}}"#);
