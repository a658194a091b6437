/* A model adapter in C that says hello. Chunks and results: holdfast/ext/llm.h. */
#include "holdfast/c.h"
#include "holdfast/ext/llm.h"

static int32_t submit(void* self, const hf_call* call, hf_error* err) {
    static const char part[] = "{\"type\":\"text\",\"text\":\"Hello from my-plugin.\"}";
    (void)self;
    if (hf_is(call->method, "describe")) {
        call->on_done(call->ctx, call->id, NULL,
                      hf_b("{\"model\":\"my-plugin\",\"available\":true,\"reason\":\"\",\"local\":true,\"demonstration\":true}"));
        return HF_PENDING; /* exactly one on_done, here already */
    }
    if (!hf_is(call->method, "chat")) return hf_fail(err, HF_E_UNSUPPORTED, "hf.llm/1 has no such method");
    if (!hf_json_begins(hf_json_member(call->request, "messages"), '['))
        return hf_fail(err, HF_E_INVALID, "a chat request needs \"messages\": […]"); /* and no on_done */
    call->on_chunk(call->ctx, call->id, hf_b(part));
    call->on_done(call->ctx, call->id, NULL,
                  hf_b("{\"model\":\"my-plugin\",\"stop_reason\":\"end_turn\",\"content\":[{\"type\":\"text\",\"text\":\"Hello from my-plugin.\"}],"
                       "\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}"));
    return HF_PENDING;
}
static void cancel(void* self, uint64_t id) { (void)self, (void)id; /* nothing is ever pending */ }
static const hf_llm llm = {sizeof(hf_llm), 0, submit, cancel};

static const void* get_ext(void* self, hf_str id) { return (void)self, hf_is(id, HF_EXT_LLM) ? &llm : NULL; }
static void destroy(void* self) { free(self); }
static int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    hf_instance* i = calloc(1, sizeof *i);
    (void)host, (void)settings;
    if (!i) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    *i = (hf_instance){sizeof *i, 0, i, hf_c_nothing, hf_c_nothing, hf_c_no_quiesce, hf_c_nothing, destroy, get_ext};
    *out = i;
    return HF_OK;
}

HF_C_PLUGIN(create, "{\"id\":\"my-plugin\",\"kind\":\"llm\",\"version\":\"0.1.0\",\"abi\":[1,1],\"interfaces\":[\"hf.llm/1\"],\"needs\":[],"
                    "\"description\":\"Says hello\",\"settings\":{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}}")
