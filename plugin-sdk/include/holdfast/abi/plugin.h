/* holdfast/abi/plugin.h — entry, instance, host. A plugin exports exactly two symbols:
 *
 *   const char     hf_plugin_manifest[]   UTF-8 JSON, NUL-terminated, read from the file before any of its code runs
 *   const hf_entry hf_plugin_entry_v1     the table below
 *
 * Thread tags:  [control]  the instance's control thread: calls never overlap, but may come from different OS threads
 *               [any]      any thread, several at once
 * State tags:   loaded → created → ready (after init) → active (after start) → quiescing → stopped → destroyed
 * Nothing may unwind across a function of this file. */
#ifndef HOLDFAST_ABI_PLUGIN_H
#define HOLDFAST_ABI_PLUGIN_H

#include "holdfast/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#error "Holdfast plugins are ELF shared objects"
#endif
#define HF_EXPORT __attribute__((visibility("default")))

/* Log levels, also the value behind hf_host.log_level. */
enum { HF_LOG_TRACE = 0, HF_LOG_DEBUG = 1, HF_LOG_INFO = 2, HF_LOG_WARN = 3, HF_LOG_ERROR = 4, HF_LOG_CRITICAL = 5, HF_LOG_OFF = 6 };

/* What the host gives an instance. Lives as long as the instance. */
typedef struct hf_host {
    uint32_t size;
    uint32_t abi;                   /* the generation the host speaks with this plugin */
    void* ctx;                      /* first argument of every host function */
    const volatile int32_t* log_level; /* [any] messages below it are dropped; read before formatting */
    hf_str instance_id;             /* the name in the configuration, e.g. "claude" */
    /* [any & created..stopped] A host interface by id (holdfast/ext), e.g. "hf.log/1"; NULL when the host has none. */
    const void* (*get_ext)(void* ctx, hf_str id);
} hf_host;

/* One configured plugin. The table is owned by the plugin and stays valid until destroy returns. */
typedef struct hf_instance {
    uint32_t size;
    uint32_t reserved;
    void* self; /* first argument of every instance function */
    /* [control & created] Check settings, open files; no threads yet. May fail: the instance is then destroyed. */
    int32_t (*init)(void* self, hf_error* err);
    /* [control & ready] Begin work: start workers, listen. */
    int32_t (*start)(void* self, hf_error* err);
    /* [control & active] Refuse new work, finish what is under way until deadline_ns (CLOCK_MONOTONIC). */
    int32_t (*quiesce)(void* self, int64_t deadline_ns, hf_error* err);
    /* [control & active|quiescing|ready] End everything; every pending call is completed before it returns. */
    int32_t (*stop)(void* self, hf_error* err);
    /* [control & created|ready|stopped] Free everything. Called once, last. */
    void (*destroy)(void* self);
    /* [any & created..stopped] One of the plugin's interfaces, e.g. "hf.llm/1"; NULL when it has none. */
    const void* (*get_ext)(void* self, hf_str id);
} hf_instance;

typedef struct hf_entry {
    uint32_t size;
    uint32_t abi;
    /* [control & loaded] Once per load, before the first create. */
    int32_t (*init)(hf_error* err);
    /* [control & loaded] Once, after the last destroy. */
    void (*deinit)(void);
    /* [control & loaded] A new instance. `settings`: the resolved "settings" object of the configuration as JSON, checked
     * against the manifest's schema. `host` outlives the instance. On success *out is the instance's table. */
    int32_t (*create)(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err);
} hf_entry;

#ifdef __cplusplus
}
#endif
#endif
