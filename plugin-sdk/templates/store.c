/* A store in C that keeps everything in memory, in sorted lists under one mutex: the whole of hf.store/1 but durability. Answer a
 * write only when your storage has it. */
#include <pthread.h>

#include "holdfast/c.h"
#include "holdfast/ext/store.h"

struct event {
    struct event* next; /* by rising seq */
    int64_t seq;
    char *key, *json; /* key: idem_key or NULL; json: the event as it came */
};
struct stream {
    struct stream* next; /* by name */
    char* name;
    struct event* events;
};
struct row {
    struct row* next; /* by table, then key */
    char *table, *key, *value;
};
struct store {
    hf_instance table;
    pthread_mutex_t lock; /* guards the lists */
    struct stream* streams;
    struct row* rows;
};

static int64_t last_of(const struct stream* s) {
    const struct event* e = s ? s->events : NULL;
    int64_t last = 0;
    for (; e; e = e->next) last = e->seq;
    return last;
}
static struct stream* stream_of(struct store* st, const char* name) {
    struct stream* s = st->streams;
    while (s && strcmp(s->name, name) != 0) s = s->next;
    return s;
}
static void free_events(struct event* e) {
    while (e) {
        struct event* next = e->next;
        free(e->key), free(e->json), free(e);
        e = next;
    }
}
static char* copy(hf_bytes b) {
    char* c = malloc(b.length + 1);
    if (c) memcpy(c, b.data, b.length), c[b.length] = '\0';
    return c;
}
/* The members of a request. A missing or wrong one is the caller's mistake. */
static char* text(hf_bytes q, const char* key) { return hf_json_text(hf_json_member(q, key), NULL); }
static int whole(hf_bytes q, const char* key, double otherwise, int64_t* out) {
    const hf_bytes raw = hf_json_member(q, key);
    double n = otherwise;
    if (raw.length && !hf_json_number(raw, &n)) n = -1;
    *out = (int64_t)n;
    return n >= 0;
}
static int begins(const char* s, const char* prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

/* The events of one append, chained as a list of streams to be merged: all or none. */
static int32_t append(struct store* st, hf_bytes q, hf_text* out) {
    const hf_bytes events = hf_json_member(q, "events");
    struct pending {
        struct pending* next;
        char* stream;
        struct event* event;
    } *head = NULL, **tail = &head, *p, *o;
    size_t at = 0;
    int64_t count = 0;
    int32_t code = hf_json_begins(events, '[') ? HF_OK : HF_E_INVALID;
    hf_bytes item;
    while (code == HF_OK && hf_json_next(events, &at, &item)) {
        char* type = text(item, "type");
        p = calloc(1, sizeof *p);
        if (p) p->event = calloc(1, sizeof *p->event);
        if (!p || !p->event) {
            free(p), free(type);
            code = HF_E_INTERNAL;
            break;
        }
        *tail = p, tail = &p->next;
        p->stream = text(item, "stream");
        p->event->key = text(item, "idem_key");
        p->event->json = copy(item);
        if (!type || !p->stream || !p->event->json || !whole(item, "seq", -1, &p->event->seq)) code = HF_E_INVALID;
        free(type);
        ++count;
    }
    for (p = head; p && code == HF_OK; p = p->next) { /* against what is stored, and what comes before it in this request */
        const struct stream* s = stream_of(st, p->stream);
        int64_t last = last_of(s);
        const struct event* e;
        for (e = s ? s->events : NULL; e; e = e->next)
            if (p->event->key && e->key && !strcmp(e->key, p->event->key)) code = HF_E_EXISTS;
        for (o = head; o != p; o = o->next) {
            if (strcmp(o->stream, p->stream) != 0) continue;
            last = o->event->seq;
            if (p->event->key && o->event->key && !strcmp(o->event->key, p->event->key)) code = HF_E_EXISTS;
        }
        if (p->event->seq <= last) code = HF_E_EXISTS;
    }
    for (p = head; p; p = o) {
        o = p->next;
        if (code == HF_OK) {
            struct stream** s = &st->streams;
            struct event** e;
            while (*s && strcmp((*s)->name, p->stream) < 0) s = &(*s)->next;
            if (!*s || strcmp((*s)->name, p->stream) != 0) {
                struct stream* made = calloc(1, sizeof *made);
                if (!made) abort(); /* not in the middle of all or none */
                made->name = p->stream, p->stream = NULL;
                made->next = *s, *s = made;
            }
            for (e = &(*s)->events; *e;) e = &(*e)->next;
            *e = p->event;
        } else {
            free_events(p->event);
        }
        free(p->stream), free(p);
    }
    hf_puts(out, "{\"appended\":"), hf_put_number(out, count), hf_puts(out, "}");
    return code;
}
static int32_t read_or_tail(struct store* st, hf_bytes q, int tail, hf_text* out) {
    char* name = text(q, "stream");
    const struct stream* s = name ? stream_of(st, name) : NULL;
    const struct event* e;
    int64_t after, limit, before, n = 0, skip;
    free(name);
    if (!name || !whole(q, "after", 0, &after) || !whole(q, "limit", -1, &limit) || !whole(q, "before", 9e15, &before)) return HF_E_INVALID;
    for (e = s ? s->events : NULL; e; e = e->next) n += e->seq < before;
    skip = tail && n > limit ? n - limit : 0;
    hf_puts(out, "{\"events\":[");
    for (e = s ? s->events : NULL; e && limit > 0; e = e->next) {
        if (tail ? skip-- > 0 || e->seq >= before : e->seq <= after) continue;
        if (out->data[out->length - 1] != '[') hf_puts(out, ",");
        hf_puts(out, e->json);
        --limit;
    }
    hf_puts(out, "],\"last\":"), hf_put_number(out, last_of(s)), hf_puts(out, "}");
    return HF_OK;
}
static int32_t last(struct store* st, hf_bytes q, hf_text* out) {
    char* name = text(q, "stream");
    if (!name) return HF_E_INVALID;
    hf_puts(out, "{\"last\":"), hf_put_number(out, last_of(stream_of(st, name))), hf_puts(out, "}");
    free(name);
    return HF_OK;
}
static int32_t streams(struct store* st, hf_bytes q, hf_text* out) {
    char *prefix = text(q, "prefix"), *after = text(q, "after");
    const struct stream* s;
    int64_t limit;
    const int ok = prefix && whole(q, "limit", -1, &limit);
    hf_puts(out, "{\"streams\":[");
    for (s = ok ? st->streams : NULL; s && limit > 0; s = s->next) {
        const struct event* e;
        int64_t n = 0;
        if (!begins(s->name, prefix) || (after && strcmp(s->name, after) <= 0)) continue;
        for (e = s->events; e; e = e->next) ++n;
        hf_puts(out, out->data[out->length - 1] == '[' ? "{\"stream\":" : ",{\"stream\":");
        hf_put_quoted(out, s->name, strlen(s->name));
        hf_puts(out, ",\"last\":"), hf_put_number(out, last_of(s)), hf_puts(out, ",\"events\":"), hf_put_number(out, n), hf_puts(out, "}");
        --limit;
    }
    hf_puts(out, "]}");
    free(prefix), free(after);
    return ok ? HF_OK : HF_E_INVALID;
}
static int32_t drop(struct store* st, hf_bytes q, hf_text* out) {
    char* name = text(q, "stream");
    struct stream** s = &st->streams;
    const struct event* e;
    int64_t n = 0;
    if (!name) return HF_E_INVALID;
    while (*s && strcmp((*s)->name, name) != 0) s = &(*s)->next;
    if (*s) {
        struct stream* gone = *s;
        *s = gone->next;
        for (e = gone->events; e; e = e->next) ++n;
        free_events(gone->events), free(gone->name), free(gone);
    }
    hf_puts(out, "{\"dropped\":"), hf_put_number(out, n), hf_puts(out, "}");
    free(name);
    return HF_OK;
}
static int order(const struct row* r, const char* table, const char* key) {
    const int by_table = strcmp(r->table, table);
    return by_table ? by_table : strcmp(r->key, key);
}
/* put, get, delete */
static int32_t one_row(struct store* st, hf_bytes q, char what, hf_text* out) {
    char *table = text(q, "table"), *key = text(q, "key");
    const hf_bytes value = hf_json_member(q, "value");
    struct row** r = &st->rows;
    int found;
    if (!table || !key || (what == 'p' && !value.length)) {
        free(table), free(key);
        return HF_E_INVALID;
    }
    while (*r && order(*r, table, key) < 0) r = &(*r)->next;
    found = *r && order(*r, table, key) == 0;
    if (what == 'g') {
        hf_puts(out, "{\"value\":"), hf_puts(out, found ? (*r)->value : "null"), hf_puts(out, "}");
    } else if (what == 'd') {
        struct row* gone = *r;
        if (found) *r = gone->next, free(gone->table), free(gone->key), free(gone->value), free(gone);
        hf_puts(out, found ? "{\"deleted\":true}" : "{\"deleted\":false}");
    } else {
        char* text_of_it = copy(value);
        struct row* made = found ? NULL : calloc(1, sizeof *made);
        if (!text_of_it || (!found && !made)) {
            free(table), free(key), free(text_of_it), free(made);
            return HF_E_INTERNAL;
        }
        if (made) made->table = table, made->key = key, made->next = *r, *r = made, table = key = NULL;
        free((*r)->value), (*r)->value = text_of_it;
        hf_puts(out, "{}");
    }
    free(table), free(key);
    return HF_OK;
}
static int32_t list(struct store* st, hf_bytes q, hf_text* out) {
    char *table = text(q, "table"), *prefix = text(q, "prefix"), *after = text(q, "after");
    const struct row* r;
    int64_t limit;
    const int ok = table && whole(q, "limit", -1, &limit);
    hf_puts(out, "{\"rows\":[");
    for (r = ok ? st->rows : NULL; r && limit > 0; r = r->next) {
        if (strcmp(r->table, table) != 0 || (prefix && !begins(r->key, prefix)) || (after && strcmp(r->key, after) <= 0)) continue;
        hf_puts(out, out->data[out->length - 1] == '[' ? "{\"key\":" : ",{\"key\":");
        hf_put_quoted(out, r->key, strlen(r->key));
        hf_puts(out, ",\"value\":"), hf_puts(out, r->value), hf_puts(out, "}");
        --limit;
    }
    hf_puts(out, "]}");
    free(table), free(prefix), free(after);
    return ok ? HF_OK : HF_E_INVALID;
}

static int32_t submit(void* self, const hf_call* call, hf_error* err) {
    struct store* st = self;
    hf_text out = {0};
    int32_t code = HF_E_UNSUPPORTED;
    pthread_mutex_lock(&st->lock);
    if (hf_is(call->method, "append")) code = append(st, call->request, &out);
    if (hf_is(call->method, "read")) code = read_or_tail(st, call->request, 0, &out);
    if (hf_is(call->method, "tail")) code = read_or_tail(st, call->request, 1, &out);
    if (hf_is(call->method, "last")) code = last(st, call->request, &out);
    if (hf_is(call->method, "streams")) code = streams(st, call->request, &out);
    if (hf_is(call->method, "drop")) code = drop(st, call->request, &out);
    if (hf_is(call->method, "put")) code = one_row(st, call->request, 'p', &out);
    if (hf_is(call->method, "get")) code = one_row(st, call->request, 'g', &out);
    if (hf_is(call->method, "delete")) code = one_row(st, call->request, 'd', &out);
    if (hf_is(call->method, "list")) code = list(st, call->request, &out);
    if (hf_is(call->method, "status"))
        code = HF_OK, hf_puts(&out, "{\"writable\":true,\"reason\":\"\",\"path\":\"\",\"schema\":1,\"last_error\":\"\"}");
    pthread_mutex_unlock(&st->lock); /* never complete with a lock held: the caller may call again from inside */
    if (code == HF_OK && out.failed) code = HF_E_INTERNAL;
    if (code == HF_OK) call->on_done(call->ctx, call->id, NULL, hf_text_bytes(&out));
    free(out.data);
    if (code == HF_OK) return HF_PENDING;
    return hf_fail(err, code, code == HF_E_INVALID       ? "a member of the request is missing or wrong"
                              : code == HF_E_EXISTS      ? "there is such an event already"
                              : code == HF_E_UNSUPPORTED ? "hf.store/1 has no such method"
                                                         : "out of memory");
}
static void cancel(void* self, uint64_t id) { (void)self, (void)id; /* nothing is ever pending */ }
static const hf_store store = {sizeof(hf_store), 0, submit, cancel};

static const void* get_ext(void* self, hf_str id) { return (void)self, hf_is(id, HF_EXT_STORE) ? &store : NULL; }
static void destroy(void* self) {
    struct store* st = self;
    while (st->streams) {
        struct stream* next = st->streams->next;
        free_events(st->streams->events), free(st->streams->name), free(st->streams);
        st->streams = next;
    }
    while (st->rows) {
        struct row* next = st->rows->next;
        free(st->rows->table), free(st->rows->key), free(st->rows->value), free(st->rows);
        st->rows = next;
    }
    pthread_mutex_destroy(&st->lock);
    free(st);
}
static int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    struct store* st = calloc(1, sizeof *st);
    (void)host, (void)settings;
    if (!st) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    pthread_mutex_init(&st->lock, NULL);
    st->table = (hf_instance){sizeof st->table, 0, st, hf_c_nothing, hf_c_nothing, hf_c_no_quiesce, hf_c_nothing, destroy, get_ext};
    *out = &st->table;
    return HF_OK;
}

HF_C_PLUGIN(create, "{\"id\":\"my-plugin\",\"kind\":\"store\",\"version\":\"0.1.0\",\"abi\":[1,1],\"interfaces\":[\"hf.store/1\"],\"needs\":[],"
                    "\"description\":\"Keeps everything in memory\",\"settings\":{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}}")
