/* hf.events/1 — publish and subscribe (host side). */
#ifndef HOLDFAST_EXT_EVENTS_H
#define HOLDFAST_EXT_EVENTS_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_EVENTS "hf.events/1"

/* [any thread; one at a time per subscription] Texts are JSON objects with topic, seq, epoch, type, timestamp and the
 * type's own fields. Besides real events: {"type":"gap","topic",…,"from":n,"to":n}, {"type":"epoch","topic",…,"epoch":n}
 * and, last, {"type":"closed","reason":"overrun"|"unsubscribed"|"topic_closed","topic",…,"seq":n}. */
typedef struct hf_event_sink {
    uint32_t size;
    uint32_t reserved;
    void* ctx;
    void (*on_event)(void* ctx, hf_bytes event);
} hf_event_sink;

typedef struct hf_events {
    uint32_t size;
    uint32_t reserved;
    /* [any & active] Publishes on "plugin:<instance>" only. `event` JSON object with "type". */
    int32_t (*publish)(void* ctx, hf_bytes event, hf_error* err);
    /* [any & active] options JSON: {"topic":"session:<id>"|"session:*"|…,"from"?:seq to replay from,"epoch"?:n,
     * "types"?:[…],"policy"?:"disconnect"|"drop_oldest"}. *subscription names it; *seq: the topic's number at that moment. */
    int32_t (*subscribe)(void* ctx, hf_bytes options, const hf_event_sink* sink, uint64_t* subscription, uint64_t* seq, hf_error* err);
    /* [any] After it returns no callback starts. */
    void (*unsubscribe)(void* ctx, uint64_t subscription);
} hf_events;
#ifdef __cplusplus
}
#endif
#endif
