// A health policy: up after `success_threshold` good probes in a row, down after `failure_threshold` bad ones.
#[macro_use]
mod holdfast;
use holdfast::abi::HealthSample;
use holdfast::*;

const UNKNOWN: i32 = 0;
const UP: i32 = 1;
const DOWN: i32 = 3;

struct Monitor { interval: i64, timeout: i64, failures: u32, successes: u32, good: u32, bad: u32, last: Option<i64>, state: i32 }
fn number(config: &str, key: &str, otherwise: f64) -> Result<f64> {
    let raw = json::member(config, key);
    if raw.is_empty() { return Ok(otherwise); }
    match json::number(raw) { Some(n) if n > 0.0 && n <= 3600.0 => Ok(n), _ => fail(INVALID, format!("{key} is a number above 0, at most 3600")) }
}
impl HealthMonitor for Monitor {
    fn open(config: &str, _seed: u64, _now: i64) -> Result<Self> {
        if !config.starts_with('{') || !config.ends_with('}') { return fail(INVALID, "the configuration is not a JSON object"); }
        Ok(Monitor { interval: (number(config, "interval_s", 30.0)? * 1e9) as i64, timeout: (number(config, "timeout_s", 5.0)? * 1e9) as i64,
                     failures: number(config, "failure_threshold", 1.0)? as u32, successes: number(config, "success_threshold", 1.0)? as u32,
                     good: 0, bad: 0, last: None, state: UNKNOWN })
    }
    fn observe(&mut self, s: &HealthSample) {
        if s.kind != 0 { return; } // what real calls say is left aside
        self.last = Some(s.now_ns);
        (self.good, self.bad) = if s.ok != 0 { (self.good + 1, 0) } else { (0, self.bad + 1) };
        if self.good >= self.successes { self.state = UP; }
        if self.bad >= self.failures { self.state = DOWN; }
    }
    fn verdict(&mut self, now: i64) -> (i32, f64, i64, i64, String) {
        let next = self.last.map_or(now, |last| (last + self.interval).clamp(now + 1, now + self.interval));
        let reason = if self.state == DOWN { format!("{} probes in a row failed", self.bad) } else { String::new() };
        (self.state, self.bad as f64, next, self.timeout, reason)
    }
    fn reset(&mut self, _now: i64) { (self.good, self.bad, self.last, self.state) = (0, 0, None, UNKNOWN); }
}

struct Mine;
impl Plugin for Mine {
    fn create(_: HostRef, _settings: &str) -> Result<Self> { Ok(Mine) }
    fn ext(id: &str) -> Option<*const std::ffi::c_void> { (id == "hf.health/1").then(health::<Monitor>) }
}
plugin!(Mine, r#"{"id":"my-plugin","kind":"health","version":"0.1.0","abi":[1,1],"interfaces":["hf.health/1"],"needs":[],
    "description":"Up and down after probes in a row","settings":{"type":"object","properties":{},"additionalProperties":false}}"#);
