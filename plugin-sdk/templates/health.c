/* A health policy in C: up after `success_threshold` good probes in a row, down after `failure_threshold` bad ones. Time is an
 * argument; no more is written than the caller has room for. */
#include "holdfast/c.h"
#include "holdfast/ext/health.h"

struct monitor {
    int64_t interval, timeout, last;
    int failures, successes, good, bad, sampled;
    int32_t state;
};

static int number(hf_bytes config, const char* key, double otherwise, double* out) {
    const hf_bytes raw = hf_json_member(config, key);
    *out = otherwise;
    return raw.length == 0 || (hf_json_number(raw, out) && *out > 0 && *out <= 3600);
}
static int32_t open_monitor(void* self, hf_bytes config, uint64_t seed, int64_t now, void** out, hf_error* err) {
    double interval, timeout, failures, successes;
    struct monitor* m;
    (void)self, (void)seed, (void)now;
    if (!hf_json_begins(config, '{') || ((const char*)config.data)[config.length - 1] != '}')
        return hf_fail(err, HF_E_INVALID, "the configuration is not a JSON object");
    if (!number(config, "interval_s", 30, &interval) || !number(config, "timeout_s", 5, &timeout) ||
        !number(config, "failure_threshold", 1, &failures) || !number(config, "success_threshold", 1, &successes))
        return hf_fail(err, HF_E_INVALID, "interval_s, timeout_s and the thresholds are numbers above 0, at most 3600");
    m = calloc(1, sizeof *m);
    if (!m) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    m->interval = (int64_t)(interval * 1e9), m->timeout = (int64_t)(timeout * 1e9);
    m->failures = (int)failures, m->successes = (int)successes;
    *out = m;
    return HF_OK;
}
static void close_monitor(void* self, void* m) { (void)self, free(m); }
static void observe(void* self, void* p, const hf_health_sample* s) {
    struct monitor* m = p;
    (void)self;
    if (s->kind != HF_SAMPLE_ACTIVE) return; /* what real calls say is left aside */
    m->last = s->now_ns, m->sampled = 1;
    m->good = s->ok ? m->good + 1 : 0;
    m->bad = s->ok ? 0 : m->bad + 1;
    if (m->good >= m->successes) m->state = HF_HEALTH_UP;
    if (m->bad >= m->failures) m->state = HF_HEALTH_DOWN;
}
static void verdict(void* self, void* p, int64_t now, hf_health_verdict* out) {
    const struct monitor* m = p;
    hf_health_verdict v = {0};
    const uint32_t room = out->size;
    int64_t next = m->last + m->interval;
    (void)self;
    if (next <= now) next = now + 1;
    if (next > now + m->interval) next = now + m->interval;
    v.size = room;
    v.state = m->state;
    v.score = m->bad;
    v.next_check_ns = m->sampled ? next : now;
    v.probe_timeout_ns = m->timeout;
    if (m->state == HF_HEALTH_DOWN) snprintf(v.reason, sizeof v.reason, "%d probes in a row failed", m->bad);
    memcpy(out, &v, room < sizeof v ? room : sizeof v);
}
static void reset(void* self, void* p, int64_t now) {
    struct monitor* m = p;
    (void)self, (void)now;
    m->state = HF_HEALTH_UNKNOWN, m->good = m->bad = m->sampled = 0;
}
static const hf_health health = {sizeof(hf_health), 0, open_monitor, close_monitor, observe, verdict, reset};

static const void* get_ext(void* self, hf_str id) { return (void)self, hf_is(id, HF_EXT_HEALTH) ? &health : NULL; }
static void destroy(void* self) { free(self); }
static int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    hf_instance* i = calloc(1, sizeof *i);
    (void)host, (void)settings;
    if (!i) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    *i = (hf_instance){sizeof *i, 0, i, hf_c_nothing, hf_c_nothing, hf_c_no_quiesce, hf_c_nothing, destroy, get_ext};
    *out = i;
    return HF_OK;
}

HF_C_PLUGIN(create, "{\"id\":\"my-plugin\",\"kind\":\"health\",\"version\":\"0.1.0\",\"abi\":[1,1],\"interfaces\":[\"hf.health/1\"],\"needs\":[],"
                    "\"description\":\"Up and down after probes in a row\",\"settings\":{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}}")
