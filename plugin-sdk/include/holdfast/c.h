/* holdfast/c.h — small things for plugins written in C: errors, buffers, a little JSON, the exported symbols.
 * Everything is static inline; nothing of it crosses the ABI. C++ plugins have holdfast/plugin.hpp. */
#ifndef HOLDFAST_C_H
#define HOLDFAST_C_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holdfast/abi/call.h"
#include "holdfast/abi/plugin.h"

#ifdef __cplusplus
#error "C++ plugins include holdfast/plugin.hpp"
#endif
#if defined(__GNUC__)
#define HF_C_UNUSED __attribute__((unused))
#else
#define HF_C_UNUSED
#endif

/* ---- errors: return hf_fail(err, HF_E_INVALID, "what to do") -------------------------------------------------------- */
static HF_C_UNUSED int32_t hf_fail(hf_error* err, int32_t code, const char* message) {
    if (err && err->size >= sizeof *err) {
        const uint32_t size = err->size;
        memset(err, 0, sizeof *err);
        err->size = size;
        err->code = code;
        strncpy(err->message, message, sizeof err->message - 1);
    }
    return code;
}
static HF_C_UNUSED hf_error hf_no_error(void) {
    hf_error e;
    memset(&e, 0, sizeof e);
    e.size = sizeof e;
    return e;
}

/* ---- texts ----------------------------------------------------------------------------------------------------------- */
static HF_C_UNUSED int hf_is(hf_str s, const char* text) { return s.length == strlen(text) && (s.length == 0 || !memcmp(s.data, text, s.length)); }
static HF_C_UNUSED hf_str hf_s(const char* text) {
    hf_str s = {text, strlen(text)};
    return s;
}
static HF_C_UNUSED hf_bytes hf_b(const char* text) {
    hf_bytes b = {text, strlen(text)};
    return b;
}

/* A text that grows. `failed` when memory ran out: then it is empty. */
typedef struct hf_text {
    char* data;
    size_t length, room;
    int failed;
} hf_text;
static HF_C_UNUSED void hf_put(hf_text* t, const void* data, size_t n) {
    if (t->failed) return;
    if (t->length + n + 1 > t->room) {
        const size_t room = (t->length + n + 1) * 2;
        char* const more = (char*)realloc(t->data, room);
        if (!more) {
            free(t->data);
            t->data = NULL, t->length = t->room = 0, t->failed = 1;
            return;
        }
        t->data = more, t->room = room;
    }
    if (n) memcpy(t->data + t->length, data, n);
    t->length += n;
    t->data[t->length] = '\0';
}
static HF_C_UNUSED void hf_puts(hf_text* t, const char* s) { hf_put(t, s, strlen(s)); }
static HF_C_UNUSED void hf_put_number(hf_text* t, int64_t n) {
    char digits[32];
    snprintf(digits, sizeof digits, "%lld", (long long)n);
    hf_puts(t, digits);
}
/* With its quotes, as JSON. */
static HF_C_UNUSED void hf_put_quoted(hf_text* t, const char* s, size_t n) {
    size_t i;
    char escaped[8];
    hf_puts(t, "\"");
    for (i = 0; i < n; ++i) {
        const unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\', escaped[1] = (char)c;
            hf_put(t, escaped, 2);
        } else if (c < 0x20) {
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
            hf_puts(t, escaped);
        } else {
            hf_put(t, s + i, 1);
        }
    }
    hf_puts(t, "\"");
}
static HF_C_UNUSED hf_bytes hf_text_bytes(const hf_text* t) {
    hf_bytes b = {t->data, t->length};
    return b;
}
static HF_C_UNUSED void hf_c_release(hf_buf* b) {
    free(b->owner);
    b->data = b->owner = NULL, b->length = 0, b->release = NULL;
}
/* Hands the text over; it is empty afterwards. */
static HF_C_UNUSED int32_t hf_give(hf_buf* out, hf_text* t, hf_error* err) {
    if (t->failed) return hf_fail(err, HF_E_INTERNAL, "out of memory");
    out->data = t->data, out->owner = t->data, out->length = t->length, out->release = hf_c_release;
    memset(t, 0, sizeof *t);
    return HF_OK;
}

/* ---- JSON: looking into texts, without a tree. Depth costs nothing ------------------------------------------------------ */
static HF_C_UNUSED size_t hf_c_space(hf_bytes j, size_t i) {
    const char* s = (const char*)j.data;
    while (i < j.length && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r')) ++i;
    return i;
}
/* One past the string or value that begins at i; j.length + 1 when it does not end. */
static HF_C_UNUSED size_t hf_c_string(hf_bytes j, size_t i) {
    const char* s = (const char*)j.data;
    for (++i; i < j.length; ++i) {
        if (s[i] == '\\') ++i;
        else if (s[i] == '"') return i + 1;
    }
    return j.length + 1;
}
static HF_C_UNUSED size_t hf_c_value(hf_bytes j, size_t i) {
    const char* s = (const char*)j.data;
    size_t depth = 0;
    while (i < j.length) {
        const char c = s[i];
        if (c == '"') {
            i = hf_c_string(j, i);
            if (i > j.length || depth == 0) return i;
            continue;
        }
        if (c == '{' || c == '[') ++depth;
        else if (c == '}' || c == ']') {
            if (depth == 0) return i;
            if (--depth == 0) return i + 1;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r')) return i;
        ++i;
    }
    return depth == 0 ? i : j.length + 1;
}
static HF_C_UNUSED hf_bytes hf_c_part(hf_bytes j, size_t from, size_t to) {
    hf_bytes b = {(const char*)j.data + from, to - from};
    return b;
}
/* The raw text of member `key` of an object; length 0 when there is none. Members of nested objects are not seen. */
static HF_C_UNUSED hf_bytes hf_json_member(hf_bytes j, const char* key) {
    static const hf_bytes none = {NULL, 0};
    const char* s = (const char*)j.data;
    const size_t n = strlen(key);
    size_t i = hf_c_space(j, 0);
    if (i >= j.length || s[i] != '{') return none;
    i = hf_c_space(j, i + 1);
    while (i < j.length && s[i] == '"') {
        const size_t end = hf_c_string(j, i);
        int found;
        size_t value_end;
        if (end > j.length) return none;
        found = end - i - 2 == n && !memcmp(s + i + 1, key, n);
        i = hf_c_space(j, end);
        if (i >= j.length || s[i] != ':') return none;
        i = hf_c_space(j, i + 1);
        value_end = hf_c_value(j, i);
        if (value_end > j.length) return none;
        if (found) return hf_c_part(j, i, value_end);
        i = hf_c_space(j, value_end);
        if (i >= j.length || s[i] != ',') return none;
        i = hf_c_space(j, i + 1);
    }
    return none;
}
/* Item by item: size_t at = 0; hf_bytes item; while (hf_json_next(array, &at, &item)) … */
static HF_C_UNUSED int hf_json_next(hf_bytes array, size_t* at, hf_bytes* item) {
    const char* s = (const char*)array.data;
    size_t i = *at ? *at : hf_c_space(array, 0), end;
    if (!*at && (i >= array.length || s[i] != '[')) return 0;
    i = hf_c_space(array, *at ? i : i + 1);
    if (*at && i < array.length && s[i] == ',') i = hf_c_space(array, i + 1);
    if (i >= array.length || s[i] == ']') return 0;
    end = hf_c_value(array, i);
    if (end > array.length || end == i) return 0;
    *item = hf_c_part(array, i, end);
    *at = end;
    return 1;
}
static HF_C_UNUSED int hf_json_begins(hf_bytes raw, char c) { return raw.length > 0 && ((const char*)raw.data)[0] == c; }
/* 1 and *out when raw is a number, else 0. */
static HF_C_UNUSED int hf_json_number(hf_bytes raw, double* out) {
    char text[64];
    char* end;
    if (raw.length == 0 || raw.length >= sizeof text) return 0;
    memcpy(text, raw.data, raw.length);
    text[raw.length] = '\0';
    *out = strtod(text, &end);
    return *end == '\0' && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
}
/* The text of a JSON string, NUL-terminated, to be freed; NULL when raw is no string or memory ran out. */
static HF_C_UNUSED char* hf_json_text(hf_bytes raw, size_t* length) {
    const char* s = (const char*)raw.data;
    size_t i, n = 0;
    char* out;
    if (raw.length < 2 || s[0] != '"' || s[raw.length - 1] != '"') return NULL;
    out = (char*)malloc(raw.length);
    if (!out) return NULL;
    for (i = 1; i + 1 < raw.length; ++i) {
        unsigned code = 0, low = 0;
        if (s[i] != '\\') {
            out[n++] = s[i];
            continue;
        }
        ++i;
        switch (s[i]) {
            case 'n': out[n++] = '\n'; break;
            case 't': out[n++] = '\t'; break;
            case 'r': out[n++] = '\r'; break;
            case 'b': out[n++] = '\b'; break;
            case 'f': out[n++] = '\f'; break;
            case 'u':
                if (i + 5 > raw.length || sscanf(s + i + 1, "%4x", &code) != 1) {
                    free(out);
                    return NULL;
                }
                i += 4;
                if (code >= 0xD800 && code < 0xDC00 && i + 7 < raw.length && s[i + 1] == '\\' && s[i + 2] == 'u' && sscanf(s + i + 3, "%4x", &low) == 1) {
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                    i += 6;
                }
                if (code < 0x80) out[n++] = (char)code;
                else if (code < 0x800) out[n++] = (char)(0xC0 | code >> 6), out[n++] = (char)(0x80 | (code & 63));
                else if (code < 0x10000) out[n++] = (char)(0xE0 | code >> 12), out[n++] = (char)(0x80 | (code >> 6 & 63)), out[n++] = (char)(0x80 | (code & 63));
                else out[n++] = (char)(0xF0 | code >> 18), out[n++] = (char)(0x80 | (code >> 12 & 63)), out[n++] = (char)(0x80 | (code >> 6 & 63)), out[n++] = (char)(0x80 | (code & 63));
                break;
            default: out[n++] = s[i];
        }
    }
    out[n] = '\0';
    if (length) *length = n;
    return out;
}

/* ---- the exported symbols --------------------------------------------------------------------------------------------- */
static HF_C_UNUSED int32_t hf_c_nothing(void* self, hf_error* err) { return (void)self, (void)err, HF_OK; }
static HF_C_UNUSED int32_t hf_c_no_quiesce(void* self, int64_t deadline_ns, hf_error* err) { return (void)self, (void)deadline_ns, (void)err, HF_OK; }
static HF_C_UNUSED int32_t hf_c_entry_init(hf_error* err) { return (void)err, HF_OK; }
static HF_C_UNUSED void hf_c_entry_deinit(void) {}

#define HF_C_PLUGIN(create, ...)                     \
    HF_EXPORT const char hf_plugin_manifest[] = __VA_ARGS__; \
    HF_EXPORT const hf_entry hf_plugin_entry_v1 = {sizeof(hf_entry), HF_ABI_VERSION, hf_c_entry_init, hf_c_entry_deinit, create};

#endif
