/* A transport in C: an MCP server as a child process, one JSON-RPC message to a line of its stdin and stdout. The process belongs to
 * the host, which names it, limits it and ends it. */
#include <pthread.h>

#include "holdfast/c.h"
#include "holdfast/ext/process.h"
#include "holdfast/ext/transport.h"

/* One connection. Locks: turn, then lock of the transport. Freed by on_exit, or by destroy once stop has seen it. */
struct link {
    struct link* next;
    struct transport* owner;
    uint64_t conn, process;
    hf_transport_sink sink;
    pthread_mutex_t turn; /* one report at a time; held by open until on_open has been said */
    int told;             /* under turn: on_closed has been said */
    int closing, orphan;  /* under lock: close was asked for; stop has taken it off the list */
};
struct transport {
    hf_instance table;
    const hf_host* host;
    const hf_process* processes;
    pthread_mutex_t lock; /* guards the lists */
    struct link *links, *orphans;
};

static struct link** find(struct transport* t, uint64_t conn) {
    struct link** at = &t->links;
    while (*at && (*at)->conn != conn) at = &(*at)->next;
    return at;
}
static void tell_closed(struct link* l, const hf_error* err) { /* under turn */
    if (!l->told) l->sink.on_closed(l->sink.ctx, err);
    l->told = 1;
}

static void on_stdout(void* ctx, hf_bytes line) {
    struct link* l = ctx;
    pthread_mutex_lock(&l->turn);
    if (!l->told && line.length) l->sink.on_message(l->sink.ctx, line);
    pthread_mutex_unlock(&l->turn);
}
static void on_stderr(void* ctx, hf_str line) {
    struct link* l = ctx;
    pthread_mutex_lock(&l->turn);
    if (!l->told) l->sink.on_log(l->sink.ctx, line);
    pthread_mutex_unlock(&l->turn);
}
static void on_overflow(void* ctx, uint64_t bytes) {
    (void)bytes;
    on_stderr(ctx, hf_s("a line was too long and was dropped"));
}
static void on_exit_(void* ctx, hf_bytes status) {
    struct link* l = ctx;
    struct transport* t = l->owner;
    int orphan, asked;
    hf_error err = hf_no_error();
    (void)status;
    hf_fail(&err, HF_E_TRANSPORT, "the server ended by itself");
    pthread_mutex_lock(&l->turn);
    pthread_mutex_lock(&t->lock);
    orphan = l->orphan, asked = l->closing;
    if (!orphan) *find(t, l->conn) = l->next;
    pthread_mutex_unlock(&t->lock);
    tell_closed(l, asked ? NULL : &err);
    pthread_mutex_unlock(&l->turn);
    if (orphan) return;
    pthread_mutex_destroy(&l->turn);
    free(l);
}

static void put_member(hf_text* spec, const char* name, hf_bytes raw, const char* otherwise) {
    hf_puts(spec, name);
    hf_put(spec, raw.length ? raw.data : otherwise, raw.length ? raw.length : strlen(otherwise));
}
static int32_t transport_open(void* self, uint64_t conn, hf_bytes config, const hf_transport_sink* sink, hf_error* err) {
    struct transport* t = self;
    const hf_bytes command = hf_json_member(config, "command");
    const hf_process_sink on = {sizeof on, 0, NULL, on_stdout, on_stderr, on_overflow, on_exit_};
    hf_process_sink mine = on;
    hf_text spec = {0}, info = {0};
    struct link* l;
    int64_t pid = 0;
    int32_t code;
    if (!hf_json_begins(command, '"') || command.length <= 2) return hf_fail(err, HF_E_INVALID, "the connection needs \"command\": the program to start");
    if (!t->processes) return hf_fail(err, HF_E_UNSUPPORTED, "the host offers no hf.process/1");
    put_member(&spec, "{\"name\":\"server\",\"lines\":true,\"command\":", command, "");
    put_member(&spec, ",\"args\":", hf_json_member(config, "args"), "[]");
    put_member(&spec, ",\"env\":", hf_json_member(config, "env"), "{}");
    hf_puts(&spec, "}");
    l = calloc(1, sizeof *l);
    if (!l || spec.failed) {
        free(l), free(spec.data);
        return hf_fail(err, HF_E_INTERNAL, "out of memory");
    }
    l->owner = t, l->conn = conn;
    memcpy(&l->sink, sink, sink->size < sizeof l->sink ? sink->size : sizeof l->sink); /* a newer host's may be longer */
    pthread_mutex_init(&l->turn, NULL);
    pthread_mutex_lock(&l->turn);
    mine.ctx = l;
    code = t->processes->spawn(t->host->ctx, hf_text_bytes(&spec), &mine, &l->process, &pid, err);
    free(spec.data);
    if (code < 0) { /* no callback comes */
        pthread_mutex_unlock(&l->turn);
        pthread_mutex_destroy(&l->turn);
        free(l);
        return code;
    }
    pthread_mutex_lock(&t->lock);
    l->next = t->links, t->links = l;
    pthread_mutex_unlock(&t->lock);
    hf_puts(&info, "{\"pid\":"), hf_put_number(&info, pid), hf_puts(&info, "}");
    l->sink.on_open(l->sink.ctx, hf_text_bytes(&info));
    free(info.data);
    pthread_mutex_unlock(&l->turn);
    return HF_OK;
}
static int32_t transport_send(void* self, uint64_t conn, hf_bytes message, hf_error* err) {
    struct transport* t = self;
    hf_text line = {0};
    struct link* l;
    size_t i;
    int32_t code = HF_E_NOT_FOUND;
    hf_put(&line, message.data, message.length), hf_puts(&line, "\n");
    if (line.failed) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    for (i = 0; i + 1 < line.length; ++i)
        if (line.data[i] == '\n' || line.data[i] == '\r') line.data[i] = ' '; /* between tokens only: inside strings they are escaped */
    pthread_mutex_lock(&t->lock);
    l = *find(t, conn);
    if (l) code = t->processes->write(t->host->ctx, l->process, hf_text_bytes(&line), err);
    pthread_mutex_unlock(&t->lock);
    free(line.data);
    return l ? code : hf_fail(err, HF_E_NOT_FOUND, "the connection is closed");
}
static void transport_abandon(void* self, uint64_t conn, hf_bytes request_id) { (void)self, (void)conn, (void)request_id; }
static void transport_close(void* self, uint64_t conn, int64_t deadline_ns) {
    struct transport* t = self;
    struct link* l;
    (void)deadline_ns;
    pthread_mutex_lock(&t->lock);
    l = *find(t, conn);
    if (l) l->closing = 1, t->processes->stop(t->host->ctx, l->process, 500); /* on_exit follows */
    pthread_mutex_unlock(&t->lock);
}
static const hf_transport transport = {sizeof(hf_transport), 0, transport_open, transport_send, transport_abandon, transport_close};

static int32_t init(void* self, hf_error* err) {
    struct transport* t = self;
    (void)err;
    t->processes = t->host->get_ext(t->host->ctx, hf_s(HF_EXT_PROCESS));
    return HF_OK;
}
static int32_t stop(void* self, hf_error* e) {
    struct transport* t = self;
    hf_error err = hf_no_error();
    (void)e;
    hf_fail(&err, HF_E_TRANSPORT, "the transport was stopped");
    for (;;) {
        struct link* l;
        pthread_mutex_lock(&t->lock);
        l = t->links;
        if (l) t->links = l->next, l->orphan = 1, l->next = t->orphans, t->orphans = l;
        pthread_mutex_unlock(&t->lock);
        if (!l) return HF_OK;
        pthread_mutex_lock(&l->turn);
        tell_closed(l, &err);
        pthread_mutex_unlock(&l->turn);
        t->processes->stop(t->host->ctx, l->process, 500);
    }
}
static void destroy(void* self) { /* the host has ended every process: no callback runs any more */
    struct transport* t = self;
    struct link* lists[] = {t->links, t->orphans};
    size_t i;
    for (i = 0; i < 2; ++i)
        while (lists[i]) {
            struct link* next = lists[i]->next;
            pthread_mutex_destroy(&lists[i]->turn);
            free(lists[i]);
            lists[i] = next;
        }
    pthread_mutex_destroy(&t->lock);
    free(t);
}
static const void* get_ext(void* self, hf_str id) { return (void)self, hf_is(id, HF_EXT_TRANSPORT) ? &transport : NULL; }
static int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    struct transport* t = calloc(1, sizeof *t);
    (void)settings;
    if (!t) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    t->host = host;
    pthread_mutex_init(&t->lock, NULL);
    t->table = (hf_instance){sizeof t->table, 0, t, init, hf_c_nothing, hf_c_no_quiesce, stop, destroy, get_ext};
    *out = &t->table;
    return HF_OK;
}

HF_C_PLUGIN(create, "{\"id\":\"my-plugin\",\"kind\":\"transport\",\"version\":\"0.1.0\",\"abi\":[1,1],\"interfaces\":[\"hf.transport/1\"],"
                    "\"needs\":[\"hf.process/1\"],\"description\":\"Servers as child processes\","
                    "\"settings\":{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false},"
                    "\"check\":{\"config\":{\"command\":\"cat\"},\"unreachable\":{\"command\":\"/nonexistent/command\"}}}")
