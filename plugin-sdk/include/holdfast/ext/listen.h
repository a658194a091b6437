/* hf.listen/1 — listening sockets that outlive the plugin (host side). The host owns them and lends duplicates. */
#ifndef HOLDFAST_EXT_LISTEN_H
#define HOLDFAST_EXT_LISTEN_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_LISTEN "hf.listen/1"
typedef struct hf_listen {
    uint32_t size;
    uint32_t reserved;
    /* [any & created..active] A TCP socket that listens at `address` (numeric, without brackets, or a name: its first address) and
     * `port` (0: any free one; ask the socket which). *fd is a duplicate, close-on-exec and non-blocking: the plugin accepts from
     * it and closes it. The same instance gets a duplicate of the same socket whenever it asks for the same address and port
     * again, after a restart, a crash or a reload too; in between, clients that connect wait for whoever accepts next. So leave
     * its flags and options alone, and to accept no more, close the duplicate and do not shut it down. The port is free again
     * once the instance is stopped, removed or given up, or is active without having asked for it.
     * HF_E_UNAVAILABLE: the port is in use. HF_E_INVALID: no such address here, or not allowed. */
    int32_t (*open)(void* ctx, hf_str address, uint16_t port, int32_t* fd, hf_error* err);
} hf_listen;
#ifdef __cplusplus
}
#endif
#endif
