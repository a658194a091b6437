/* A whole circuit breaker in C: opens after `failure_threshold` failures in a row, and passes the breaker contract tests.
 * It shows the rules of the C boundary: sizes first, no more written than the caller has room for, errors as codes. */
#include <stdlib.h>
#include <string.h>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/breaker.h"

enum { DEFAULT_THRESHOLD = 5, HALF_OPEN_LIMIT_S = 30, MAX_WAIT_S = 600 };
static const int64_t second = 1000000000;

struct breaker {
    int64_t wait_ns; /* first opening; doubles each time */
    uint32_t threshold;
    int probing; /* the one permit of half_open is out */
    hf_breaker_state s;
};

static int32_t fail(hf_error* err, int32_t code, const char* message) {
    if (err && err->size >= sizeof *err) {
        err->code = code;
        err->retryable = err->peer_status = 0;
        err->retry_after_ms = 0;
        strncpy(err->message, message, sizeof err->message - 1);
        err->message[sizeof err->message - 1] = '\0';
    }
    return code;
}

/* The number after "key": in a JSON object; `otherwise` when it is absent, -1 when it is not a number above 0. */
static double number(const char* json, const char* key, double otherwise) {
    const char* at = strstr(json, key);
    char* end;
    double value;
    if (!at) return otherwise;
    at += strlen(key);
    value = strtod(at, &end);
    return end != at && value > 0 ? value : -1;
}

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

static int32_t breaker_open(void* self, hf_bytes config, uint64_t seed, int64_t now, void** out, hf_error* err) {
    char text[4096];
    double threshold, timeout;
    struct breaker* b;
    (void)self, (void)seed, (void)now;
    if (config.length < 2 || config.length >= sizeof text) return fail(err, HF_E_INVALID, "the configuration is not a JSON object");
    memcpy(text, config.data, config.length);
    text[config.length] = '\0';
    if (text[0] != '{' || text[config.length - 1] != '}') return fail(err, HF_E_INVALID, "the configuration is not a JSON object");
    threshold = number(text, "\"failure_threshold\":", DEFAULT_THRESHOLD);
    timeout = number(text, "\"recovery_timeout_s\":", 30);
    if (threshold < 1 || timeout < 0 || timeout > MAX_WAIT_S)
        return fail(err, HF_E_INVALID, "failure_threshold and recovery_timeout_s are numbers above 0");
    b = calloc(1, sizeof *b);
    if (!b) return fail(err, HF_E_INTERNAL, "out of memory");
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

static int32_t nothing(void* self, hf_error* err) { return (void)self, (void)err, HF_OK; }
static int32_t quiesce(void* self, int64_t deadline, hf_error* err) { return (void)self, (void)deadline, (void)err, HF_OK; }
static const void* get_ext(void* self, hf_str id) {
    (void)self;
    return id.length == strlen(HF_EXT_BREAKER) && !memcmp(id.data, HF_EXT_BREAKER, id.length) ? &breaker_table : NULL;
}
static void destroy(void* self) { free(self); }

static int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    hf_instance* i = calloc(1, sizeof *i);
    (void)host, (void)settings;
    if (!i) return fail(err, HF_E_INTERNAL, "out of memory");
    *i = (hf_instance){sizeof *i, 0, i, nothing, nothing, quiesce, nothing, destroy, get_ext};
    *out = i;
    return HF_OK;
}
static int32_t entry_init(hf_error* err) { return (void)err, HF_OK; }
static void entry_deinit(void) {}

HF_EXPORT const char hf_plugin_manifest[] =
    "{\"id\":\"breaker-in-c\",\"kind\":\"breaker\",\"version\":\"1.0.0\",\"abi\":[1,1],\"interfaces\":[\"hf.breaker/1\"]}";
HF_EXPORT const hf_entry hf_plugin_entry_v1 = {sizeof(hf_entry), HF_ABI_VERSION, entry_init, entry_deinit, create};
