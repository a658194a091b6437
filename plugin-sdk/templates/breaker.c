/* A whole circuit breaker in C: opens after `failure_threshold` failures in a row, and passes the breaker contract tests.
 * It shows the rules of the C boundary: sizes first, no more written than the caller has room for, errors as codes. */
#include "holdfast/c.h"
#include "holdfast/ext/breaker.h"

enum { DEFAULT_THRESHOLD = 5, HALF_OPEN_LIMIT_S = 30, MAX_WAIT_S = 600 };
static const int64_t second = 1000000000;

struct breaker {
    int64_t wait_ns; /* first opening; doubles each time */
    uint32_t threshold;
    int probing; /* the one permit of half_open is out */
    hf_breaker_state s;
};

static void enter(struct breaker* b, int32_t state, int64_t until_ns) {
    b->s.state = state;
    b->s.until_ns = until_ns;
    b->s.generation++; /* results of permits given before count no more */
    b->s.consecutive_failures = 0;
    b->probing = 0;
}
static void open_it(struct breaker* b, int64_t now) {
    uint32_t doublings = b->s.open_count < 10 ? b->s.open_count : 10;
    int64_t wait = b->wait_ns << doublings;
    if (wait > MAX_WAIT_S * second) wait = MAX_WAIT_S * second;
    enter(b, HF_BREAKER_OPEN, now + wait);
    b->s.open_count++;
}
/* What the passing of time alone does. */
static void catch_up(struct breaker* b, int64_t now) {
    if (b->s.state == HF_BREAKER_OPEN && now >= b->s.until_ns)
        enter(b, HF_BREAKER_HALF_OPEN, b->s.until_ns + HALF_OPEN_LIMIT_S * second);
    if (b->s.state == HF_BREAKER_HALF_OPEN && b->probing && now >= b->s.until_ns) open_it(b, now);
}

static int number(hf_bytes config, const char* key, double otherwise, double* out) {
    const hf_bytes raw = hf_json_member(config, key);
    *out = otherwise;
    return raw.length == 0 || (hf_json_number(raw, out) && *out > 0 && *out <= MAX_WAIT_S);
}
static int32_t breaker_open(void* self, hf_bytes config, uint64_t seed, int64_t now, void** out, hf_error* err) {
    double threshold, timeout;
    struct breaker* b;
    (void)self, (void)seed, (void)now;
    if (!hf_json_begins(config, '{') || ((const char*)config.data)[config.length - 1] != '}')
        return hf_fail(err, HF_E_INVALID, "the configuration is not a JSON object");
    if (!number(config, "failure_threshold", DEFAULT_THRESHOLD, &threshold) || !number(config, "recovery_timeout_s", 30, &timeout))
        return hf_fail(err, HF_E_INVALID, "failure_threshold and recovery_timeout_s are numbers above 0");
    b = calloc(1, sizeof *b);
    if (!b) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    b->threshold = (uint32_t)threshold;
    b->wait_ns = (int64_t)(timeout * (double)second);
    b->s.size = sizeof b->s;
    b->s.generation = 1;
    *out = b;
    return HF_OK;
}
static void breaker_close(void* self, void* p) { (void)self, free(p); }

static void breaker_permit(void* self, void* p, int64_t now, hf_permit* out) {
    struct breaker* b = p;
    uint32_t room = out->size;
    hf_permit answer = {0};
    (void)self;
    catch_up(b, now);
    answer.size = room;
    answer.granted = b->s.state == HF_BREAKER_CLOSED || (b->s.state == HF_BREAKER_HALF_OPEN && !b->probing);
    answer.generation = b->s.generation;
    if (answer.granted) {
        b->s.calls++;
        if (b->s.state == HF_BREAKER_HALF_OPEN) {
            b->probing = 1;
            b->s.until_ns = now + HALF_OPEN_LIMIT_S * second;
        }
    } else {
        b->s.rejected++;
        answer.retry_after_ns = b->s.state == HF_BREAKER_DISABLED ? -1 : b->s.until_ns - now;
    }
    memcpy(out, &answer, room < sizeof answer ? room : sizeof answer);
}

static void breaker_report(void* self, void* p, uint64_t generation, int32_t outcome, int64_t latency, int64_t now) {
    struct breaker* b = p;
    (void)self, (void)latency;
    catch_up(b, now);
    if (outcome == HF_OUTCOME_FAILURE) b->s.failures++;
    if (generation != b->s.generation) return;
    if (b->s.state == HF_BREAKER_HALF_OPEN) {
        b->probing = 0;
        if (outcome == HF_OUTCOME_FAILURE) open_it(b, now);
        if (outcome == HF_OUTCOME_SUCCESS) enter(b, HF_BREAKER_CLOSED, 0), b->s.open_count = 0;
    } else if (outcome == HF_OUTCOME_SUCCESS) {
        b->s.consecutive_failures = 0;
    } else if (outcome == HF_OUTCOME_FAILURE && ++b->s.consecutive_failures >= b->threshold) {
        open_it(b, now);
    }
}

static void breaker_state(void* self, void* p, int64_t now, hf_breaker_state* out) {
    struct breaker* b = p;
    uint32_t room = out->size;
    (void)self;
    catch_up(b, now);
    memcpy(out, &b->s, room < sizeof b->s ? room : sizeof b->s);
    out->size = room;
}
static void breaker_force(void* self, void* p, int32_t state, int64_t now) {
    struct breaker* b = p;
    (void)self;
    if (state == HF_BREAKER_OPEN) {
        open_it(b, now);
    } else {
        enter(b, state == HF_BREAKER_DISABLED ? HF_BREAKER_DISABLED : HF_BREAKER_CLOSED, 0);
        b->s.open_count = 0;
    }
}

static const hf_breaker breaker_table = {sizeof(hf_breaker), 0,              breaker_open,  breaker_close,
                                         breaker_permit,     breaker_report, breaker_state, breaker_force};

static const void* get_ext(void* self, hf_str id) { return (void)self, hf_is(id, HF_EXT_BREAKER) ? &breaker_table : NULL; }
static void destroy(void* self) { free(self); }
static int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    hf_instance* i = calloc(1, sizeof *i);
    (void)host, (void)settings;
    if (!i) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    *i = (hf_instance){sizeof *i, 0, i, hf_c_nothing, hf_c_nothing, hf_c_no_quiesce, hf_c_nothing, destroy, get_ext};
    *out = i;
    return HF_OK;
}

HF_C_PLUGIN(create, "{\"id\":\"my-plugin\",\"kind\":\"breaker\",\"version\":\"0.1.0\",\"abi\":[1,1],\"interfaces\":[\"hf.breaker/1\"],\"needs\":[],"
                    "\"description\":\"Opens after failures in a row\",\"settings\":{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}}")
