/* hf.ui/1 — a user interface (plugin side). It talks to the host through hf.api/1 and hf.events/1 only.
 * instance.start makes it visible (listen, take the terminal), instance.stop gives everything back. */
#ifndef HOLDFAST_EXT_UI_H
#define HOLDFAST_EXT_UI_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_UI "hf.ui/1"
typedef struct hf_ui {
    uint32_t size;
    uint32_t reserved;
    /* [control & ready|active] {"url"?: "http://127.0.0.1:7777/", "terminal": bool, "clients": n} */
    int32_t (*describe)(void* self, hf_buf* out, hf_error* err);
    /* [control & active|quiescing] What a successor needs to go on: {"session":"...","cursor":{"epoch":n,"seq":n}, …}. */
    int32_t (*export_state)(void* self, hf_buf* out, hf_error* err);
    /* [control & ready] Before start: go on where another UI stopped. Unknown fields are ignored. */
    int32_t (*import_state)(void* self, hf_bytes state, hf_error* err);
} hf_ui;
#ifdef __cplusplus
}
#endif
#endif
