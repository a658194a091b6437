/* A user interface without a face, in C: it counts the messages of every session. */
#include <stdatomic.h>

#include "holdfast/c.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/ui.h"

struct ui {
    hf_instance table;
    const hf_host* host;
    const hf_events* events;
    uint64_t subscription; /* 0: none */
    atomic_int seen;
};

static void on_event(void* ctx, hf_bytes event) { /* [any thread] */
    const hf_bytes type = hf_json_member(event, "type");
    if (type.length == 14 && !memcmp(type.data, "\"MessageAdded\"", 14)) atomic_fetch_add(&((struct ui*)ctx)->seen, 1);
}

static int32_t start(void* self, hf_error* err) {
    struct ui* u = self;
    const hf_event_sink sink = {sizeof sink, 0, u, on_event};
    uint64_t seq;
    u->events = u->host->get_ext(u->host->ctx, hf_s(HF_EXT_EVENTS));
    if (!u->events) return hf_fail(err, HF_E_UNSUPPORTED, "the host offers no hf.events/1");
    return u->events->subscribe(u->host->ctx, hf_b("{\"topic\":\"session:*\"}"), &sink, &u->subscription, &seq, err);
}
static int32_t stop(void* self, hf_error* err) {
    struct ui* u = self;
    (void)err;
    if (u->subscription) u->events->unsubscribe(u->host->ctx, u->subscription); /* no callback runs after this */
    u->subscription = 0;
    return HF_OK;
}
static int32_t describe(void* self, hf_buf* out, hf_error* err) {
    hf_text t = {0};
    (void)self;
    hf_puts(&t, "{\"terminal\":false,\"url\":\"log:my-plugin\",\"clients\":0}");
    return hf_give(out, &t, err);
}
static int32_t export_state(void* self, hf_buf* out, hf_error* err) {
    hf_text t = {0};
    hf_puts(&t, "{\"seen\":");
    hf_put_number(&t, atomic_load(&((struct ui*)self)->seen));
    hf_puts(&t, "}");
    return hf_give(out, &t, err);
}
static int32_t import_state(void* self, hf_bytes state, hf_error* err) {
    double seen;
    (void)err;
    if (hf_json_number(hf_json_member(state, "seen"), &seen) && seen >= 0 && seen < 1e9) atomic_store(&((struct ui*)self)->seen, (int)seen);
    return HF_OK;
}
static const hf_ui ui = {sizeof(hf_ui), 0, describe, export_state, import_state};

static const void* get_ext(void* self, hf_str id) { return (void)self, hf_is(id, HF_EXT_UI) ? &ui : NULL; }
static void destroy(void* self) { free(self); }
static int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    struct ui* u = calloc(1, sizeof *u);
    (void)settings;
    if (!u) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    u->host = host;
    u->table = (hf_instance){sizeof u->table, 0, u, hf_c_nothing, start, hf_c_no_quiesce, stop, destroy, get_ext};
    *out = &u->table;
    return HF_OK;
}

HF_C_PLUGIN(create, "{\"id\":\"my-plugin\",\"kind\":\"ui\",\"version\":\"0.1.0\",\"abi\":[1,1],\"interfaces\":[\"hf.ui/1\"],\"needs\":[\"hf.events/1\"],"
                    "\"description\":\"Counts messages\",\"settings\":{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}}")
