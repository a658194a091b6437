//! Holdfast plugins in Rust, without crates: the C ABI, and a thin safe layer over it. Copy it beside your lib.rs.
//! The headers in holdfast/abi and holdfast/ext are the contract; the sizes asserted below are theirs.
#![allow(dead_code)]
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

pub const OK: i32 = 0;
pub const PENDING: i32 = 1;
pub const INTERNAL: i32 = -1;
pub const INVALID: i32 = -2;
pub const NOT_FOUND: i32 = -3;
pub const EXISTS: i32 = -4;
pub const UNSUPPORTED: i32 = -5;
pub const TRANSPORT: i32 = -11;

/// What crosses. Every struct begins with its size; fields are only ever appended.
pub mod abi {
    use std::ffi::c_void;
    pub type P = *mut c_void;

    #[repr(C)] #[derive(Clone, Copy)]
    pub struct Str { pub data: *const u8, pub length: usize }
    pub type Bytes = Str;
    #[repr(C)]
    pub struct Buf { pub size: u32, pub reserved: u32, pub data: *const u8, pub length: usize, pub owner: P, pub release: Option<unsafe extern "C" fn(*mut Buf)> }
    #[repr(C)]
    pub struct Error { pub size: u32, pub code: i32, pub retryable: i32, pub peer_status: i32, pub retry_after_ms: i64, pub message: [u8; 480] }
    #[repr(C)] #[derive(Clone, Copy)]
    pub struct Call {
        pub size: u32, pub reserved: u32, pub id: u64, pub deadline_ns: i64, pub method: Str, pub request: Bytes, pub ctx: P,
        pub on_chunk: Option<unsafe extern "C" fn(P, u64, Bytes)>, pub on_done: Option<unsafe extern "C" fn(P, u64, *const Error, Bytes)>,
    }
    #[repr(C)]
    pub struct Host { pub size: u32, pub abi: u32, pub ctx: P, pub log_level: *const i32, pub instance_id: Str, pub get_ext: unsafe extern "C" fn(P, Str) -> *const c_void }
    #[repr(C)]
    pub struct Instance {
        pub size: u32, pub reserved: u32, pub this: P,
        pub init: unsafe extern "C" fn(P, *mut Error) -> i32, pub start: unsafe extern "C" fn(P, *mut Error) -> i32,
        pub quiesce: unsafe extern "C" fn(P, i64, *mut Error) -> i32, pub stop: unsafe extern "C" fn(P, *mut Error) -> i32,
        pub destroy: unsafe extern "C" fn(P), pub get_ext: unsafe extern "C" fn(P, Str) -> *const c_void,
    }
    #[repr(C)]
    pub struct Entry {
        pub size: u32, pub abi: u32, pub init: unsafe extern "C" fn(*mut Error) -> i32, pub deinit: unsafe extern "C" fn(),
        pub create: unsafe extern "C" fn(*const Host, Bytes, *mut *const Instance, *mut Error) -> i32,
    }
    /// hf.llm/1 and hf.store/1
    #[repr(C)]
    pub struct Calls { pub size: u32, pub reserved: u32, pub submit: unsafe extern "C" fn(P, *const Call, *mut Error) -> i32, pub cancel: unsafe extern "C" fn(P, u64) }
    #[repr(C)]
    pub struct Ui {
        pub size: u32, pub reserved: u32, pub describe: unsafe extern "C" fn(P, *mut Buf, *mut Error) -> i32,
        pub export_state: unsafe extern "C" fn(P, *mut Buf, *mut Error) -> i32, pub import_state: unsafe extern "C" fn(P, Bytes, *mut Error) -> i32,
    }
    #[repr(C)] #[derive(Clone, Copy)]
    pub struct TransportSink {
        pub size: u32, pub reserved: u32, pub ctx: P, pub on_open: Option<unsafe extern "C" fn(P, Bytes)>, pub on_message: Option<unsafe extern "C" fn(P, Bytes)>,
        pub on_request_failed: Option<unsafe extern "C" fn(P, Bytes, *const Error)>, pub on_log: Option<unsafe extern "C" fn(P, Str)>, pub on_closed: Option<unsafe extern "C" fn(P, *const Error)>,
    }
    #[repr(C)]
    pub struct Transport {
        pub size: u32, pub reserved: u32, pub open: unsafe extern "C" fn(P, u64, Bytes, *const TransportSink, *mut Error) -> i32,
        pub send: unsafe extern "C" fn(P, u64, Bytes, *mut Error) -> i32, pub abandon: unsafe extern "C" fn(P, u64, Bytes), pub close: unsafe extern "C" fn(P, u64, i64),
    }
    #[repr(C)] #[derive(Clone, Copy)]
    pub struct Permit { pub size: u32, pub granted: i32, pub generation: u64, pub retry_after_ns: i64 }
    #[repr(C)] #[derive(Clone, Copy)]
    pub struct BreakerState {
        pub size: u32, pub state: i32, pub generation: u64, pub consecutive_failures: u32, pub open_count: u32, pub until_ns: i64,
        pub calls: u64, pub failures: u64, pub rejected: u64,
    }
    #[repr(C)]
    pub struct Breaker {
        pub size: u32, pub thread_safe: i32, pub open: unsafe extern "C" fn(P, Bytes, u64, i64, *mut P, *mut Error) -> i32, pub close: unsafe extern "C" fn(P, P),
        pub permit: unsafe extern "C" fn(P, P, i64, *mut Permit), pub report: unsafe extern "C" fn(P, P, u64, i32, i64, i64),
        pub state: unsafe extern "C" fn(P, P, i64, *mut BreakerState), pub force: unsafe extern "C" fn(P, P, i32, i64),
    }
    #[repr(C)] #[derive(Clone, Copy)]
    pub struct HealthSample { pub size: u32, pub kind: i32, pub ok: i32, pub fault: i32, pub latency_ns: i64, pub now_ns: i64, pub memory_bytes: f64, pub cpu_percent: f64, pub queue_length: f64 }
    #[repr(C)] #[derive(Clone, Copy)]
    pub struct HealthVerdict { pub size: u32, pub state: i32, pub score: f64, pub next_check_ns: i64, pub probe_timeout_ns: i64, pub reason: [u8; 160] }
    #[repr(C)]
    pub struct Health {
        pub size: u32, pub reserved: u32, pub open: unsafe extern "C" fn(P, Bytes, u64, i64, *mut P, *mut Error) -> i32, pub close: unsafe extern "C" fn(P, P),
        pub observe: unsafe extern "C" fn(P, P, *const HealthSample), pub verdict: unsafe extern "C" fn(P, P, i64, *mut HealthVerdict), pub reset: unsafe extern "C" fn(P, P, i64),
    }
    #[repr(C)]
    pub struct Log { pub size: u32, pub reserved: u32, pub write: unsafe extern "C" fn(P, i32, Str, Bytes) }
    #[repr(C)]
    pub struct EventSink { pub size: u32, pub reserved: u32, pub ctx: P, pub on_event: unsafe extern "C" fn(P, Bytes) }
    #[repr(C)]
    pub struct Events {
        pub size: u32, pub reserved: u32, pub publish: unsafe extern "C" fn(P, Bytes, *mut Error) -> i32,
        pub subscribe: unsafe extern "C" fn(P, Bytes, *const EventSink, *mut u64, *mut u64, *mut Error) -> i32, pub unsubscribe: unsafe extern "C" fn(P, u64),
    }
    #[repr(C)]
    pub struct ProcessSink {
        pub size: u32, pub reserved: u32, pub ctx: P, pub on_stdout: unsafe extern "C" fn(P, Bytes), pub on_stderr: unsafe extern "C" fn(P, Str),
        pub on_overflow: unsafe extern "C" fn(P, u64), pub on_exit: unsafe extern "C" fn(P, Bytes),
    }
    #[repr(C)]
    pub struct Process {
        pub size: u32, pub reserved: u32, pub spawn: unsafe extern "C" fn(P, Bytes, *const ProcessSink, *mut u64, *mut i64, *mut Error) -> i32,
        pub write: unsafe extern "C" fn(P, u64, Bytes, *mut Error) -> i32, pub stop: unsafe extern "C" fn(P, u64, u32),
        pub stats: unsafe extern "C" fn(P, u64, *mut Buf, *mut Error) -> i32,
    }

    macro_rules! sizes { ($($t:ty = $n:expr),*) => { $(const _: () = assert!(std::mem::size_of::<$t>() == $n);)* } }
    #[cfg(target_pointer_width = "64")]
    sizes!(Str = 16, Buf = 40, Error = 504, Call = 80, Host = 48, Instance = 64, Entry = 32, Calls = 24, Ui = 32, TransportSink = 56, Transport = 40,
           Permit = 24, BreakerState = 56, Breaker = 56, HealthSample = 56, HealthVerdict = 192, Health = 48, Log = 16, EventSink = 24, Events = 32,
           ProcessSink = 48, Process = 40);
}
use abi::*;

/// An HF_E_ code and one sentence for people.
#[derive(Debug, Clone)]
pub struct Fail { pub code: i32, pub message: String }
pub type Result<T> = std::result::Result<T, Fail>;
pub fn fail<T>(code: i32, message: impl Into<String>) -> Result<T> { Err(Fail { code, message: message.into() }) }

// ---- between Rust and the ABI ------------------------------------------------------------------------------------------
fn lend(s: &str) -> Str { Str { data: s.as_ptr(), length: s.len() } }
/// What was lent, for as long as the call lasts. Bytes that are not UTF-8 are an empty text.
unsafe fn text<'a>(s: Str) -> &'a str {
    if s.length == 0 { return ""; }
    std::str::from_utf8(std::slice::from_raw_parts(s.data, s.length)).unwrap_or("")
}
unsafe fn fill(err: *mut Error, f: &Fail) -> i32 {
    if !err.is_null() && (*err).size as usize >= std::mem::size_of::<Error>() {
        let e = &mut *err;
        e.code = f.code;
        (e.retryable, e.peer_status, e.retry_after_ms) = (0, 0, 0);
        e.message = [0; 480];
        let mut n = f.message.len().min(479);
        while !f.message.is_char_boundary(n) { n -= 1; }
        e.message[..n].copy_from_slice(&f.message.as_bytes()[..n]);
    }
    f.code
}
fn filled(f: &Fail) -> Error {
    let mut e = Error { size: std::mem::size_of::<Error>() as u32, code: 0, retryable: 0, peer_status: 0, retry_after_ms: 0, message: [0; 480] };
    unsafe { fill(&mut e, f) };
    e
}
fn empty() -> Error { filled(&Fail { code: 0, message: String::new() }) }
fn said(code: i32, e: &Error) -> Result<()> {
    if code >= 0 { return Ok(()); }
    let end = e.message.iter().position(|b| *b == 0).unwrap_or(0);
    fail(code, String::from_utf8_lossy(&e.message[..end]))
}
/// Nothing unwinds across the boundary: a panic is an internal error.
fn caught<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|p| {
        let what = p.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| p.downcast_ref::<String>().cloned());
        fail(INTERNAL, what.unwrap_or_else(|| "the plugin panicked".into()))
    })
}
unsafe fn guard(err: *mut Error, f: impl FnOnce() -> Result<()>) -> i32 { match caught(f) { Ok(()) => OK, Err(e) => fill(err, &e) } }
/// Reads a struct from a caller who may know fewer or more fields; the missing ones are zero.
unsafe fn read<T: Copy>(from: *const T) -> T {
    let mut out: T = std::mem::zeroed();
    let size = (*(from as *const u32) as usize).min(std::mem::size_of::<T>());
    std::ptr::copy_nonoverlapping(from as *const u8, &mut out as *mut T as *mut u8, size);
    out
}
/// Writes no more than the caller has room for; the caller's `size` stays.
unsafe fn write<T: Copy>(to: *mut T, value: T) {
    let size = *(to as *const u32);
    std::ptr::copy_nonoverlapping(&value as *const T as *const u8, to as *mut u8, (size as usize).min(std::mem::size_of::<T>()));
    *(to as *mut u32) = size;
}
unsafe extern "C" fn release(b: *mut Buf) {
    drop(Box::from_raw((*b).owner as *mut String));
    ((*b).data, (*b).length, (*b).owner) = (std::ptr::null(), 0, std::ptr::null_mut());
    (*b).release = None;
}
unsafe fn give(out: *mut Buf, s: String) {
    let owner = Box::new(s);
    ((*out).data, (*out).length) = (owner.as_ptr(), owner.len());
    (*out).owner = Box::into_raw(owner) as P;
    (*out).release = Some(release);
}

// ---- the host ----------------------------------------------------------------------------------------------------------
/// The host's services for one instance; valid as long as the instance.
#[derive(Clone, Copy)]
pub struct HostRef(*const Host);
unsafe impl Send for HostRef {}
unsafe impl Sync for HostRef {}
impl HostRef {
    fn ext<T>(&self, id: &str) -> Option<&'static T> { unsafe { (((*self.0).get_ext)((*self.0).ctx, lend(id)) as *const T).as_ref() } }
    fn ctx(&self) -> P { unsafe { (*self.0).ctx } }
    pub fn id(&self) -> &str { unsafe { text((*self.0).instance_id) } }
    /// 2 info, 3 warn, 4 error; dropped below the host's level. `fields`: a JSON object or "".
    pub fn log(&self, level: i32, message: &str, fields: &str) {
        if unsafe { std::ptr::read_volatile((*self.0).log_level) } > level { return; }
        if let Some(log) = self.ext::<Log>("hf.log/1") { unsafe { (log.write)(self.ctx(), level, lend(message), lend(fields)) } }
    }
    /// `f` runs on any thread, one event at a time, until the subscription is dropped.
    pub fn subscribe(&self, topic: &str, f: impl Fn(&str) + Send + Sync + 'static) -> Result<Subscription> {
        unsafe extern "C" fn on_event(ctx: P, event: Bytes) { let _ = caught(|| { (*(ctx as *const Box<dyn Fn(&str) + Send + Sync>))(text(event)); Ok(()) }); }
        let events = match self.ext::<Events>("hf.events/1") { Some(t) => t, None => return fail(UNSUPPORTED, "the host offers no hf.events/1") };
        let f: Box<Box<dyn Fn(&str) + Send + Sync>> = Box::new(Box::new(f));
        let sink = EventSink { size: std::mem::size_of::<EventSink>() as u32, reserved: 0, ctx: &*f as *const _ as P, on_event };
        let (mut id, mut seq, mut e) = (0, 0, empty());
        let options = format!("{{\"topic\":{}}}", json::quote(topic));
        said(unsafe { (events.subscribe)(self.ctx(), lend(&options), &sink, &mut id, &mut seq, &mut e) }, &e)?;
        Ok(Subscription { host: *self, id, _f: f })
    }
    /// The sink keeps account of the child; its `exited` comes exactly once, last. On an error nothing is called.
    pub fn spawn(&self, spec: &str, sink: Arc<dyn ProcessEvents>) -> Result<Child> {
        type Shared = Arc<dyn ProcessEvents>;
        unsafe extern "C" fn out(ctx: P, line: Bytes) { let _ = caught(|| { (*(ctx as *const Shared)).out(text(line)); Ok(()) }); }
        unsafe extern "C" fn err(ctx: P, line: Str) { let _ = caught(|| { (*(ctx as *const Shared)).err(text(line)); Ok(()) }); }
        unsafe extern "C" fn over(ctx: P, _: u64) { let _ = caught(|| { (*(ctx as *const Shared)).err("a line was too long and was dropped"); Ok(()) }); }
        unsafe extern "C" fn exit(ctx: P, _: Bytes) { let _ = caught(|| { Box::from_raw(ctx as *mut Shared).exited(); Ok(()) }); }
        let processes = match self.ext::<Process>("hf.process/1") { Some(t) => t, None => return fail(UNSUPPORTED, "the host offers no hf.process/1") };
        let ctx = Box::into_raw(Box::new(sink)) as P;
        let table = ProcessSink { size: std::mem::size_of::<ProcessSink>() as u32, reserved: 0, ctx, on_stdout: out, on_stderr: err, on_overflow: over, on_exit: exit };
        let (mut id, mut pid, mut e) = (0, 0, empty());
        let code = unsafe { (processes.spawn)(self.ctx(), lend(spec), &table, &mut id, &mut pid, &mut e) };
        if code < 0 { drop(unsafe { Box::from_raw(ctx as *mut Shared) }); }
        said(code, &e)?;
        Ok(Child { host: *self, table: processes, id, pid })
    }
}
pub struct Subscription { host: HostRef, id: u64, _f: Box<Box<dyn Fn(&str) + Send + Sync>> }
impl Drop for Subscription {
    fn drop(&mut self) { if let Some(e) = self.host.ext::<Events>("hf.events/1") { unsafe { (e.unsubscribe)(self.host.ctx(), self.id) } } }
}
pub trait ProcessEvents: Send + Sync {
    fn out(&self, line: &str);
    fn err(&self, line: &str);
    fn exited(&self);
}
/// A child process of the host's. Dropping this does not end it: stop() does.
#[derive(Clone, Copy)]
pub struct Child { host: HostRef, table: &'static Process, id: u64, pub pid: i64 }
impl Child {
    pub fn write(&self, data: &str) -> Result<()> { let mut e = empty(); said(unsafe { (self.table.write)(self.host.ctx(), self.id, lend(data), &mut e) }, &e) }
    pub fn stop(&self, grace_ms: u32) { unsafe { (self.table.stop)(self.host.ctx(), self.id, grace_ms) } }
}

// ---- an instance -------------------------------------------------------------------------------------------------------
/// One configured plugin. Functions take &self: interface functions come from any thread, several at once.
pub trait Plugin: Send + Sync + Sized + 'static {
    fn create(host: HostRef, settings: &str) -> Result<Self>;
    fn init(&self) -> Result<()> { Ok(()) }                       // check; no threads yet
    fn start(&self) -> Result<()> { Ok(()) }                      // begin
    fn quiesce(&self, _deadline_ns: i64) -> Result<()> { Ok(()) } // refuse new work
    fn stop(&self) -> Result<()> { Ok(()) }                       // end everything, complete every pending call
    /// The table of an interface: `(id == "hf.llm/1").then(|| llm::<Self>())`.
    fn ext(id: &str) -> Option<*const c_void>;
}
struct Holder<T> { table: Instance, plugin: T }
unsafe fn at<'a, T>(this: P) -> &'a T { &(*(this as *const Holder<T>)).plugin }

pub unsafe extern "C" fn create<T: Plugin>(host: *const Host, settings: Bytes, out: *mut *const Instance, err: *mut Error) -> i32 {
    unsafe extern "C" fn init<T: Plugin>(p: P, e: *mut Error) -> i32 { guard(e, || at::<T>(p).init()) }
    unsafe extern "C" fn start<T: Plugin>(p: P, e: *mut Error) -> i32 { guard(e, || at::<T>(p).start()) }
    unsafe extern "C" fn quiesce<T: Plugin>(p: P, deadline: i64, e: *mut Error) -> i32 { guard(e, || at::<T>(p).quiesce(deadline)) }
    unsafe extern "C" fn stop<T: Plugin>(p: P, e: *mut Error) -> i32 { guard(e, || at::<T>(p).stop()) }
    unsafe extern "C" fn destroy<T: Plugin>(p: P) { let _ = caught(|| { drop(Box::from_raw(p as *mut Holder<T>)); Ok(()) }); }
    unsafe extern "C" fn get_ext<T: Plugin>(_: P, id: Str) -> *const c_void { caught(|| Ok(T::ext(text(id)))).ok().flatten().unwrap_or(std::ptr::null()) }
    guard(err, || {
        let plugin = T::create(HostRef(host), text(settings))?;
        let table = Instance { size: std::mem::size_of::<Instance>() as u32, reserved: 0, this: std::ptr::null_mut(), init: init::<T>, start: start::<T>,
                               quiesce: quiesce::<T>, stop: stop::<T>, destroy: destroy::<T>, get_ext: get_ext::<T> };
        let holder = Box::into_raw(Box::new(Holder { table, plugin }));
        (*holder).table.this = holder as P;
        *out = &(*holder).table;
        Ok(())
    })
}
pub unsafe extern "C" fn entry_init(_: *mut Error) -> i32 { OK }
pub unsafe extern "C" fn entry_deinit() {}

/// plugin!(Mine, r#"{"id":…}"#) once, in lib.rs: the two exported symbols.
#[macro_export]
macro_rules! plugin {
    ($class:ty, $manifest:expr) => {
        const MANIFEST_SIZE: usize = concat!($manifest, "\0").len();
        #[no_mangle] #[allow(non_upper_case_globals)]
        pub static hf_plugin_manifest: [u8; MANIFEST_SIZE] = {
            let (from, mut to, mut i) = (concat!($manifest, "\0").as_bytes(), [0u8; MANIFEST_SIZE], 0);
            while i < MANIFEST_SIZE { to[i] = from[i]; i += 1; }
            to
        };
        #[no_mangle] #[allow(non_upper_case_globals)]
        pub static hf_plugin_entry_v1: $crate::holdfast::abi::Entry = $crate::holdfast::abi::Entry {
            size: std::mem::size_of::<$crate::holdfast::abi::Entry>() as u32, abi: 1, init: $crate::holdfast::entry_init,
            deinit: $crate::holdfast::entry_deinit, create: $crate::holdfast::create::<$class>,
        };
    };
}

// ---- calls: hf.llm/1, hf.store/1 -----------------------------------------------------------------------------------------
/// One call: any number of chunks, then one done or fail. Dropped unfinished, it fails.
pub struct Call { raw: abi::Call, pub method: String, pub request: String, finished: bool }
unsafe impl Send for Call {}
impl Call {
    pub fn chunk(&self, json: &str) { if let Some(f) = self.raw.on_chunk { unsafe { f(self.raw.ctx, self.raw.id, lend(json)) } } }
    pub fn done(mut self, json: &str) { self.finish(None, json) }
    pub fn fail(mut self, f: &Fail) { self.finish(Some(f), "") }
    pub fn answer(self, r: Result<String>) { match r { Ok(json) => self.done(&json), Err(f) => self.fail(&f) } }
    fn finish(&mut self, f: Option<&Fail>, json: &str) {
        if std::mem::replace(&mut self.finished, true) { return; }
        let e = f.map(filled);
        if let Some(done) = self.raw.on_done { unsafe { done(self.raw.ctx, self.raw.id, e.as_ref().map_or(std::ptr::null(), |e| e), lend(json)) } }
    }
}
impl Drop for Call { fn drop(&mut self) { self.finish(Some(&Fail { code: INTERNAL, message: "the plugin dropped the call unanswered".into() }), "") } }

pub trait Submit: Plugin {
    fn submit(&self, call: Call);
    fn cancel(&self, _id: u64) {}
}
struct SubmitTable<T>(std::marker::PhantomData<T>);
impl<T: Submit> SubmitTable<T> {
    unsafe extern "C" fn submit(p: P, raw: *const abi::Call, _: *mut Error) -> i32 {
        let raw = read(raw);
        let call = Call { method: text(raw.method).into(), request: text(raw.request).into(), raw, finished: false };
        let _ = caught(|| { at::<T>(p).submit(call); Ok(()) });
        PENDING // a call that was dropped has failed already
    }
    unsafe extern "C" fn cancel(p: P, id: u64) { let _ = caught(|| { at::<T>(p).cancel(id); Ok(()) }); }
    const TABLE: Calls = Calls { size: std::mem::size_of::<Calls>() as u32, reserved: 0, submit: Self::submit, cancel: Self::cancel };
}
pub fn calls<T: Submit>() -> *const c_void { &SubmitTable::<T>::TABLE as *const Calls as *const c_void }

// ---- hf.ui/1 -------------------------------------------------------------------------------------------------------------
pub trait UserInterface: Plugin {
    fn describe(&self) -> String;
    fn export_state(&self) -> String { "{}".into() }
    fn import_state(&self, _state: &str) -> Result<()> { Ok(()) }
}
struct UiTable<T>(std::marker::PhantomData<T>);
impl<T: UserInterface> UiTable<T> {
    unsafe extern "C" fn describe(p: P, out: *mut Buf, e: *mut Error) -> i32 { guard(e, || { give(out, at::<T>(p).describe()); Ok(()) }) }
    unsafe extern "C" fn export(p: P, out: *mut Buf, e: *mut Error) -> i32 { guard(e, || { give(out, at::<T>(p).export_state()); Ok(()) }) }
    unsafe extern "C" fn import(p: P, state: Bytes, e: *mut Error) -> i32 { guard(e, || at::<T>(p).import_state(text(state))) }
    const TABLE: Ui = Ui { size: std::mem::size_of::<Ui>() as u32, reserved: 0, describe: Self::describe, export_state: Self::export, import_state: Self::import };
}
pub fn ui<T: UserInterface>() -> *const c_void { &UiTable::<T>::TABLE as *const Ui as *const c_void }

// ---- hf.transport/1 ------------------------------------------------------------------------------------------------------
/// Where a connection reports: one call at a time, closed exactly once and last.
#[derive(Clone, Copy)]
pub struct Sink(TransportSink);
unsafe impl Send for Sink {}
unsafe impl Sync for Sink {}
impl Sink {
    pub fn opened(&self, info: &str) { if let Some(f) = self.0.on_open { unsafe { f(self.0.ctx, lend(info)) } } }
    pub fn message(&self, json: &str) { if let Some(f) = self.0.on_message { unsafe { f(self.0.ctx, lend(json)) } } }
    pub fn log(&self, line: &str) { if let Some(f) = self.0.on_log { unsafe { f(self.0.ctx, lend(line)) } } }
    pub fn closed(&self, why: Option<&Fail>) {
        let e = why.map(filled);
        if let Some(f) = self.0.on_closed { unsafe { f(self.0.ctx, e.as_ref().map_or(std::ptr::null(), |e| e)) } }
    }
}
pub trait Carrier: Plugin {
    fn open(&self, conn: u64, config: &str, sink: Sink) -> Result<()>;
    fn send(&self, conn: u64, message: &str) -> Result<()>;
    fn abandon(&self, _conn: u64, _request_id: &str) {}
    fn close(&self, conn: u64, deadline_ns: i64);
}
struct TransportTable<T>(std::marker::PhantomData<T>);
impl<T: Carrier> TransportTable<T> {
    unsafe extern "C" fn open(p: P, conn: u64, config: Bytes, sink: *const TransportSink, e: *mut Error) -> i32 { guard(e, || at::<T>(p).open(conn, text(config), Sink(read(sink)))) }
    unsafe extern "C" fn send(p: P, conn: u64, message: Bytes, e: *mut Error) -> i32 { guard(e, || at::<T>(p).send(conn, text(message))) }
    unsafe extern "C" fn abandon(p: P, conn: u64, id: Bytes) { let _ = caught(|| { at::<T>(p).abandon(conn, text(id)); Ok(()) }); }
    unsafe extern "C" fn close(p: P, conn: u64, deadline: i64) { let _ = caught(|| { at::<T>(p).close(conn, deadline); Ok(()) }); }
    const TABLE: Transport = Transport { size: std::mem::size_of::<Transport>() as u32, reserved: 0, open: Self::open, send: Self::send, abandon: Self::abandon, close: Self::close };
}
pub fn transport<T: Carrier>() -> *const c_void { &TransportTable::<T>::TABLE as *const Transport as *const c_void }

// ---- hf.breaker/1, hf.health/1: one thread at a time per policy --------------------------------------------------------------
pub trait BreakerPolicy: Sized {
    fn open(config: &str, seed: u64, now: i64) -> Result<Self>;
    fn permit(&mut self, now: i64) -> Permit;
    fn report(&mut self, generation: u64, outcome: i32, latency_ns: i64, now: i64);
    fn state(&mut self, now: i64) -> BreakerState;
    fn force(&mut self, state: i32, now: i64);
}
struct BreakerTable<B>(std::marker::PhantomData<B>);
impl<B: BreakerPolicy> BreakerTable<B> {
    unsafe extern "C" fn open(_: P, config: Bytes, seed: u64, now: i64, out: *mut P, e: *mut Error) -> i32 {
        guard(e, || { *out = Box::into_raw(Box::new(B::open(text(config), seed, now)?)) as P; Ok(()) })
    }
    unsafe extern "C" fn close(_: P, b: P) { drop(Box::from_raw(b as *mut B)) }
    unsafe extern "C" fn permit(_: P, b: P, now: i64, out: *mut Permit) { let _ = caught(|| { write(out, (*(b as *mut B)).permit(now)); Ok(()) }); }
    unsafe extern "C" fn report(_: P, b: P, g: u64, outcome: i32, latency: i64, now: i64) { let _ = caught(|| { (*(b as *mut B)).report(g, outcome, latency, now); Ok(()) }); }
    unsafe extern "C" fn state(_: P, b: P, now: i64, out: *mut BreakerState) { let _ = caught(|| { write(out, (*(b as *mut B)).state(now)); Ok(()) }); }
    unsafe extern "C" fn force(_: P, b: P, state: i32, now: i64) { let _ = caught(|| { (*(b as *mut B)).force(state, now); Ok(()) }); }
    const TABLE: Breaker = Breaker { size: std::mem::size_of::<Breaker>() as u32, thread_safe: 0, open: Self::open, close: Self::close, permit: Self::permit,
                                     report: Self::report, state: Self::state, force: Self::force };
}
pub fn breaker<B: BreakerPolicy>() -> *const c_void { &BreakerTable::<B>::TABLE as *const Breaker as *const c_void }

pub trait HealthMonitor: Sized {
    fn open(config: &str, seed: u64, now: i64) -> Result<Self>;
    fn observe(&mut self, sample: &HealthSample);
    /// state, score, next check, timeout of that probe, reason
    fn verdict(&mut self, now: i64) -> (i32, f64, i64, i64, String);
    fn reset(&mut self, now: i64);
}
struct HealthTable<M>(std::marker::PhantomData<M>);
impl<M: HealthMonitor> HealthTable<M> {
    unsafe extern "C" fn open(_: P, config: Bytes, seed: u64, now: i64, out: *mut P, e: *mut Error) -> i32 {
        guard(e, || { *out = Box::into_raw(Box::new(M::open(text(config), seed, now)?)) as P; Ok(()) })
    }
    unsafe extern "C" fn close(_: P, m: P) { drop(Box::from_raw(m as *mut M)) }
    unsafe extern "C" fn observe(_: P, m: P, s: *const HealthSample) { let _ = caught(|| { (*(m as *mut M)).observe(&read(s)); Ok(()) }); }
    unsafe extern "C" fn verdict(_: P, m: P, now: i64, out: *mut HealthVerdict) {
        let _ = caught(|| {
            let (state, score, next_check_ns, probe_timeout_ns, why) = (*(m as *mut M)).verdict(now);
            let mut reason = [0u8; 160];
            let mut n = why.len().min(159);
            while !why.is_char_boundary(n) { n -= 1; }
            reason[..n].copy_from_slice(&why.as_bytes()[..n]);
            write(out, HealthVerdict { size: 0, state, score, next_check_ns, probe_timeout_ns, reason });
            Ok(())
        });
    }
    unsafe extern "C" fn reset(_: P, m: P, now: i64) { let _ = caught(|| { (*(m as *mut M)).reset(now); Ok(()) }); }
    const TABLE: Health = Health { size: std::mem::size_of::<Health>() as u32, reserved: 0, open: Self::open, close: Self::close, observe: Self::observe,
                                   verdict: Self::verdict, reset: Self::reset };
}
pub fn health<M: HealthMonitor>() -> *const c_void { &HealthTable::<M>::TABLE as *const Health as *const c_void }

/// Just enough JSON: looking into texts without a tree, so that depth costs nothing.
pub mod json {
    fn space(s: &[u8], mut i: usize) -> usize { while i < s.len() && matches!(s[i], b' ' | b'\t' | b'\n' | b'\r') { i += 1; } i }
    fn string(s: &[u8], mut i: usize) -> Option<usize> {
        i += 1;
        while i < s.len() { match s[i] { b'\\' => i += 2, b'"' => return Some(i + 1), _ => i += 1 } }
        None
    }
    fn value(s: &[u8], mut i: usize) -> Option<usize> {
        let mut depth = 0usize;
        while i < s.len() {
            match s[i] {
                b'"' => { i = string(s, i)?; if depth == 0 { return Some(i); } continue; }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => { if depth == 0 { return Some(i); } depth -= 1; if depth == 0 { return Some(i + 1); } }
                b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return Some(i),
                _ => {}
            }
            i += 1;
        }
        (depth == 0).then_some(i)
    }
    /// The raw text of a member of an object; "" when there is none.
    pub fn member<'a>(json: &'a str, key: &str) -> &'a str { find(json, key).unwrap_or("") }
    fn find<'a>(json: &'a str, key: &str) -> Option<&'a str> {
        let s = json.as_bytes();
        let mut i = space(s, 0);
        if *s.get(i)? != b'{' { return None; }
        i = space(s, i + 1);
        while *s.get(i)? == b'"' {
            let end = string(s, i)?;
            let found = &s[i + 1..end - 1] == key.as_bytes();
            i = space(s, end);
            if *s.get(i)? != b':' { return None; }
            i = space(s, i + 1);
            let value_end = value(s, i)?;
            if found { return json.get(i..value_end); }
            i = space(s, value_end);
            if *s.get(i)? != b',' { return None; }
            i = space(s, i + 1);
        }
        None
    }
    /// The raw texts of an array's items; none when it is no array.
    pub fn items(json: &str) -> Vec<&str> {
        let s = json.as_bytes();
        let (mut out, mut i) = (Vec::new(), space(s, 0));
        if s.get(i) != Some(&b'[') { return out; }
        i = space(s, i + 1);
        while i < s.len() && s[i] != b']' {
            let end = match value(s, i) { Some(end) => end, None => break };
            if end == i { break; }
            out.push(&json[i..end]);
            i = space(s, end);
            if s.get(i) == Some(&b',') { i = space(s, i + 1); }
        }
        out
    }
    /// The text of a JSON string.
    pub fn text(raw: &str) -> Option<String> {
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        let (mut out, mut c) = (String::new(), inner.chars());
        let hex = |c: &mut std::str::Chars| u32::from_str_radix(&c.by_ref().take(4).collect::<String>(), 16).ok();
        while let Some(ch) = c.next() {
            if ch != '\\' { out.push(ch); continue; }
            match c.next()? {
                'n' => out.push('\n'), 't' => out.push('\t'), 'r' => out.push('\r'), 'b' => out.push('\u{8}'), 'f' => out.push('\u{c}'),
                'u' => {
                    let mut code = hex(&mut c)?;
                    if (0xD800..0xDC00).contains(&code) {
                        if c.next()? != '\\' || c.next()? != 'u' { return None; }
                        code = 0x10000 + ((code - 0xD800) << 10) + hex(&mut c)?.checked_sub(0xDC00)?;
                    }
                    out.push(char::from_u32(code)?);
                }
                other => out.push(other),
            }
        }
        Some(out)
    }
    pub fn number(raw: &str) -> Option<f64> { raw.parse().ok().filter(|n: &f64| n.is_finite()) }
    pub fn quote(s: &str) -> String {
        let mut out = String::from("\"");
        for c in s.chars() {
            match c { '"' => out += "\\\"", '\\' => out += "\\\\", c if (c as u32) < 0x20 => out += &format!("\\u{:04x}", c as u32), c => out.push(c) }
        }
        out + "\""
    }
}
