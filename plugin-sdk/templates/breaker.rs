// A circuit breaker that opens after `failure_threshold` failures in a row, and for twice as long each time it opens again.
#[macro_use]
mod holdfast;
use holdfast::abi::{BreakerState, Permit};
use holdfast::*;

const CLOSED: i32 = 0;
const OPEN: i32 = 1;
const HALF_OPEN: i32 = 2;
const DISABLED: i32 = 3;
const SECOND: i64 = 1_000_000_000;
const HALF_OPEN_LIMIT: i64 = 30 * SECOND; // a probe that takes longer counts as failed

struct Policy { threshold: u32, wait: i64, probing: bool, s: BreakerState }
impl Policy {
    fn enter(&mut self, state: i32, until: i64) {
        (self.s.state, self.s.until_ns, self.s.consecutive_failures, self.probing) = (state, until, 0, false);
        self.s.generation += 1; // results of permits given before count no more
    }
    fn trip(&mut self, now: i64) {
        self.enter(OPEN, now + (self.wait << self.s.open_count.min(10)).min(600 * SECOND));
        self.s.open_count += 1;
    }
    fn catch_up(&mut self, now: i64) { // what the passing of time alone does
        if self.s.state == OPEN && now >= self.s.until_ns { self.enter(HALF_OPEN, self.s.until_ns + HALF_OPEN_LIMIT); }
        if self.s.state == HALF_OPEN && self.probing && now >= self.s.until_ns { self.trip(now); }
    }
}
fn number(config: &str, key: &str, otherwise: f64) -> Result<f64> {
    let raw = json::member(config, key);
    if raw.is_empty() { return Ok(otherwise); }
    match json::number(raw) { Some(n) if n > 0.0 && n <= 600.0 => Ok(n), _ => fail(INVALID, format!("{key} is a number above 0, at most 600")) }
}
impl BreakerPolicy for Policy {
    fn open(config: &str, _seed: u64, _now: i64) -> Result<Self> {
        if !config.starts_with('{') || !config.ends_with('}') { return fail(INVALID, "the configuration is not a JSON object"); }
        let s = BreakerState { size: 0, state: CLOSED, generation: 1, consecutive_failures: 0, open_count: 0, until_ns: 0, calls: 0, failures: 0, rejected: 0 };
        Ok(Policy { threshold: number(config, "failure_threshold", 5.0)? as u32, wait: (number(config, "recovery_timeout_s", 30.0)? * SECOND as f64) as i64, probing: false, s })
    }
    fn permit(&mut self, now: i64) -> Permit {
        self.catch_up(now);
        let granted = self.s.state == CLOSED || (self.s.state == HALF_OPEN && !self.probing);
        if granted {
            self.s.calls += 1;
            if self.s.state == HALF_OPEN { (self.probing, self.s.until_ns) = (true, now + HALF_OPEN_LIMIT); }
            return Permit { size: 0, granted: 1, generation: self.s.generation, retry_after_ns: 0 };
        }
        self.s.rejected += 1;
        Permit { size: 0, granted: 0, generation: self.s.generation, retry_after_ns: if self.s.state == DISABLED { -1 } else { self.s.until_ns - now } }
    }
    fn report(&mut self, generation: u64, outcome: i32, _latency: i64, now: i64) {
        self.catch_up(now);
        let (success, failure) = (outcome == 0, outcome == 1);
        self.s.failures += failure as u64;
        if generation != self.s.generation { return; }
        if self.s.state == HALF_OPEN {
            self.probing = false;
            if failure { self.trip(now); }
            if success { self.enter(CLOSED, 0); self.s.open_count = 0; }
        } else if success {
            self.s.consecutive_failures = 0;
        } else if failure {
            self.s.consecutive_failures += 1;
            if self.s.consecutive_failures >= self.threshold { self.trip(now); }
        }
    }
    fn state(&mut self, now: i64) -> BreakerState { self.catch_up(now); self.s }
    fn force(&mut self, state: i32, now: i64) {
        if state == OPEN { return self.trip(now); }
        self.enter(if state == DISABLED { DISABLED } else { CLOSED }, 0);
        self.s.open_count = 0;
    }
}

struct Mine;
impl Plugin for Mine {
    fn create(_: HostRef, _settings: &str) -> Result<Self> { Ok(Mine) }
    fn ext(id: &str) -> Option<*const std::ffi::c_void> { (id == "hf.breaker/1").then(breaker::<Policy>) }
}
plugin!(Mine, r#"{"id":"my-plugin","kind":"breaker","version":"0.1.0","abi":[1,1],"interfaces":["hf.breaker/1"],"needs":[],
    "description":"Opens after failures in a row","settings":{"type":"object","properties":{},"additionalProperties":false}}"#);
