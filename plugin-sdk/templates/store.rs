// A store that keeps everything in memory, under one mutex: the whole of hf.store/1 but durability. Answer a write only when your
// storage has it.
#[macro_use]
mod holdfast;
use holdfast::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Mutex;

#[derive(Default)]
struct Stream { events: BTreeMap<i64, String>, keys: HashSet<String> }
impl Stream { fn last(&self) -> i64 { self.events.keys().next_back().copied().unwrap_or(0) } }
#[derive(Default)]
struct Data { streams: BTreeMap<String, Stream>, tables: HashMap<String, BTreeMap<String, String>> }

// The members of a request. A missing or wrong one is the caller's mistake.
fn text(q: &str, key: &str) -> Result<String> { json::text(json::member(q, key)).map_or_else(|| fail(INVALID, format!("\"{key}\" is missing or wrong")), Ok) }
fn number(q: &str, key: &str, otherwise: Option<i64>) -> Result<i64> {
    match (json::member(q, key), otherwise) {
        ("", Some(n)) => Ok(n),
        (raw, _) => raw.parse::<i64>().ok().filter(|n| *n >= 0).map_or_else(|| fail(INVALID, format!("\"{key}\" is missing or wrong")), Ok),
    }
}
fn maybe(q: &str, key: &str) -> String { json::text(json::member(q, key)).unwrap_or_default() }

impl Data {
    fn run(&mut self, method: &str, q: &str) -> Result<String> {
        match method {
            "append" => self.append(q),
            "read" => {
                let (after, limit) = (number(q, "after", Some(0))?, number(q, "limit", None)?);
                Ok(self.events(&text(q, "stream")?, |s| s.events.range((Excluded(after), Unbounded)).take(limit as usize).map(|e| e.1.clone()).collect()))
            }
            "tail" => {
                let (before, limit) = (number(q, "before", Some(i64::MAX))?, number(q, "limit", None)?);
                Ok(self.events(&text(q, "stream")?, |s| {
                    let mut out: Vec<String> = s.events.range(..before).rev().take(limit as usize).map(|e| e.1.clone()).collect();
                    out.reverse();
                    out
                }))
            }
            "last" => Ok(format!("{{\"last\":{}}}", self.streams.get(&text(q, "stream")?).map_or(0, Stream::last))),
            "streams" => {
                let (prefix, after, limit) = (text(q, "prefix")?, maybe(q, "after"), number(q, "limit", None)?);
                let out: Vec<String> = self.streams.iter().filter(|(n, _)| n.starts_with(&prefix) && **n > after).take(limit as usize)
                    .map(|(n, s)| format!("{{\"stream\":{},\"last\":{},\"events\":{}}}", json::quote(n), s.last(), s.events.len())).collect();
                Ok(format!("{{\"streams\":[{}]}}", out.join(",")))
            }
            "drop" => Ok(format!("{{\"dropped\":{}}}", self.streams.remove(&text(q, "stream")?).map_or(0, |s| s.events.len()))),
            "put" => {
                let value = json::member(q, "value");
                if value.is_empty() { return fail(INVALID, "\"value\" is missing"); }
                let (table, key) = (text(q, "table")?, text(q, "key")?);
                self.tables.entry(table).or_default().insert(key, value.into());
                Ok("{}".into())
            }
            "get" => {
                let (table, key) = (text(q, "table")?, text(q, "key")?);
                Ok(format!("{{\"value\":{}}}", self.tables.get(&table).and_then(|t| t.get(&key)).map_or("null", String::as_str)))
            }
            "list" => {
                let (table, prefix, after, limit) = (text(q, "table")?, maybe(q, "prefix"), maybe(q, "after"), number(q, "limit", None)?);
                let out: Vec<String> = self.tables.get(&table).into_iter().flatten().filter(|(k, _)| k.starts_with(&prefix) && **k > after).take(limit as usize)
                    .map(|(k, v)| format!("{{\"key\":{},\"value\":{v}}}", json::quote(k))).collect();
                Ok(format!("{{\"rows\":[{}]}}", out.join(",")))
            }
            "delete" => {
                let (table, key) = (text(q, "table")?, text(q, "key")?);
                Ok(format!("{{\"deleted\":{}}}", self.tables.get_mut(&table).and_then(|t| t.remove(&key)).is_some()))
            }
            "status" => Ok(r#"{"writable":true,"reason":"","path":"","schema":1,"last_error":""}"#.into()),
            _ => fail(UNSUPPORTED, "hf.store/1 has no such method"),
        }
    }
    fn events(&self, name: &str, of: impl FnOnce(&Stream) -> Vec<String>) -> String {
        let (items, last) = self.streams.get(name).map_or((Vec::new(), 0), |s| (of(s), s.last()));
        format!("{{\"events\":[{}],\"last\":{last}}}", items.join(","))
    }
    fn append(&mut self, q: &str) -> Result<String> {
        let list = json::member(q, "events");
        if !list.starts_with('[') { return fail(INVALID, "\"events\" is not an array"); }
        let mut news = Vec::new();
        let mut seen: HashMap<String, (i64, HashSet<String>)> = HashMap::new(); // checked as a whole before anything is written
        for e in json::items(list) {
            let (stream, seq, key) = (text(e, "stream")?, number(e, "seq", None)?, maybe(e, "idem_key"));
            text(e, "type")?;
            let stored = self.streams.get(&stream);
            let (last, keys) = seen.entry(stream.clone()).or_insert_with(|| (stored.map_or(0, Stream::last), HashSet::new()));
            let repeated = !key.is_empty() && (stored.map_or(false, |s| s.keys.contains(&key)) || !keys.insert(key.clone()));
            if seq <= *last || repeated { return fail(EXISTS, format!("there is such an event in {stream}")); }
            *last = seq;
            news.push((stream, seq, key, e.to_string()));
        }
        let count = news.len();
        for (stream, seq, key, json) in news {
            let s = self.streams.entry(stream).or_default();
            if !key.is_empty() { s.keys.insert(key); }
            s.events.insert(seq, json);
        }
        Ok(format!("{{\"appended\":{count}}}"))
    }
}

#[derive(Default)]
struct Mine { data: Mutex<Data> }
impl Plugin for Mine {
    fn create(_: HostRef, _settings: &str) -> Result<Self> { Ok(Mine::default()) }
    fn ext(id: &str) -> Option<*const std::ffi::c_void> { (id == "hf.store/1").then(calls::<Self>) }
}
impl Submit for Mine {
    fn submit(&self, call: Call) {
        let answer = self.data.lock().unwrap().run(&call.method, &call.request); // the lock is gone before the call completes
        call.answer(answer);
    }
}
plugin!(Mine, r#"{"id":"my-plugin","kind":"store","version":"0.1.0","abi":[1,1],"interfaces":["hf.store/1"],"needs":[],
    "description":"Keeps everything in memory","settings":{"type":"object","properties":{},"additionalProperties":false}}"#);
