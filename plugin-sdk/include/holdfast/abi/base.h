/* holdfast/abi/base.h — strings, buffers, errors: the only things that cross the boundary besides function tables.
 * Part of the frozen core: fields are only ever appended; every struct begins with its own size. */
#ifndef HOLDFAST_ABI_BASE_H
#define HOLDFAST_ABI_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The ABI generation. A plugin states the range it supports in its manifest: "abi": [min, max]. */
#define HF_ABI_VERSION 1u

/* Borrowed UTF-8 text. Valid until the call it was passed to returns. Not NUL-terminated. */
typedef struct hf_str {
    const char* data;
    size_t length;
} hf_str;

/* Borrowed bytes. Valid until the call they were passed to return. JSON crosses as hf_bytes holding UTF-8. */
typedef struct hf_bytes {
    const void* data;
    size_t length;
} hf_bytes;

/* Owned bytes. Whoever fills it supplies `release`; whoever receives it calls release(buf) exactly once
 * (release may be NULL: nothing to free). A receiver zero-initialises it and sets `size` before the call. */
typedef struct hf_buf {
    uint32_t size;
    uint32_t reserved;
    const void* data;
    size_t length;
    void* owner;
    void (*release)(struct hf_buf* buf);
} hf_buf;

/* Result of every fallible call. */
enum {
    HF_OK = 0,
    HF_PENDING = 1,           /* accepted: exactly one completion follows, perhaps before the call returns */
    HF_E_INTERNAL = -1,       /* the callee's own fault, an exception included */
    HF_E_INVALID = -2,        /* an argument or a setting is wrong; message says which */
    HF_E_NOT_FOUND = -3,
    HF_E_EXISTS = -4,
    HF_E_UNSUPPORTED = -5,    /* this method or option is not offered */
    HF_E_STATE = -6,          /* not in this state */
    HF_E_TIMEOUT = -7,
    HF_E_CANCELLED = -8,
    HF_E_UNAVAILABLE = -9,    /* try again later; retry_after_ms may say when */
    HF_E_OVERLOADED = -10,    /* a bounded queue is full */
    HF_E_TRANSPORT = -11,     /* the peer is gone; the request may or may not have been executed */
    HF_E_PROTOCOL = -12,      /* the peer broke its protocol */
    HF_E_PEER = -13,          /* the peer answered with an error */
    HF_E_IO = -14,
    HF_E_READ_ONLY = -15,     /* disk full, or a read-only file: reads still work */
    HF_E_CORRUPT = -16,
    HF_E_AUTH = -17,          /* credentials missing or refused */
    HF_E_RATE_LIMITED = -18,
    HF_E_COMMAND_NOT_FOUND = -19
};

#define HF_ERROR_MESSAGE_SIZE 480

/* Filled by the callee when it returns an HF_E_ code. `message` is one sentence for people, NUL-terminated. */
typedef struct hf_error {
    uint32_t size;
    int32_t code;
    int32_t retryable;       /* 1: the same call may succeed later */
    int32_t peer_status;     /* the peer's own number (HTTP status, errno, exit code), 0 = none */
    int64_t retry_after_ms;  /* 0 = not known */
    char message[HF_ERROR_MESSAGE_SIZE];
} hf_error;

#ifdef __cplusplus
}
#endif
#endif
