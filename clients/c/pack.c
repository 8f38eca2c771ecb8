/* msgpack, as docs/protocol.md has it under "Values", and messages of it. */
#include "actord.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_BODY = 16 << 20, MAX_MESSAGE = 64 << 20, MAX_NAME = 256 };

/* Writing */

static void put(actord_pack *pack, const void *bytes, size_t size) {
    if (pack->size + size > pack->room) {
        size_t room = (pack->size + size) * 2;
        unsigned char *larger = realloc(pack->bytes, room);
        if (larger == NULL) {
            pack->failed = 1;
            return;
        }
        pack->bytes = larger;
        pack->room = room;
    }
    if (size > 0)
        memcpy(pack->bytes + pack->size, bytes, size);
    pack->size += size;
}

static void put_number(actord_pack *pack, unsigned char tag, uint64_t value, int width) {
    unsigned char bytes[9] = {tag};
    for (int i = 0; i < width; i++)
        bytes[1 + i] = (unsigned char)(value >> (8 * (width - 1 - i)));
    put(pack, bytes, 1 + (size_t)width);
}

static void put_tag(actord_pack *pack, unsigned char tag) { put(pack, &tag, 1); }

void actord_pack_map(actord_pack *pack, uint32_t pairs) {
    if (pairs < 16)
        put_tag(pack, (unsigned char)(0x80 | pairs));
    else if (pairs < 65536)
        put_number(pack, 0xde, pairs, 2);
    else
        put_number(pack, 0xdf, pairs, 4);
}

void actord_pack_array(actord_pack *pack, uint32_t elements) {
    if (elements < 16)
        put_tag(pack, (unsigned char)(0x90 | elements));
    else if (elements < 65536)
        put_number(pack, 0xdc, elements, 2);
    else
        put_number(pack, 0xdd, elements, 4);
}

/* `tag` is that of the form with one byte of size; those with two and four follow it. */
static void put_sized(actord_pack *pack, unsigned char tag, const void *bytes, size_t size) {
    if (size < 256)
        put_number(pack, tag, size, 1);
    else if (size < 65536)
        put_number(pack, tag + 1, size, 2);
    else
        put_number(pack, tag + 2, size, 4);
    put(pack, bytes, size);
}

void actord_pack_text(actord_pack *pack, const char *text, size_t size) {
    if (size >= 32) {
        put_sized(pack, 0xd9, text, size);
        return;
    }
    put_tag(pack, (unsigned char)(0xa0 | size));
    put(pack, text, size);
}

void actord_pack_str(actord_pack *pack, const char *text) { actord_pack_text(pack, text, strlen(text)); }

void actord_pack_bin(actord_pack *pack, const void *bytes, size_t size) { put_sized(pack, 0xc4, bytes, size); }

void actord_pack_uint(actord_pack *pack, uint64_t value) {
    if (value < 128)
        put_tag(pack, (unsigned char)value);
    else if (value <= UINT8_MAX)
        put_number(pack, 0xcc, value, 1);
    else if (value <= UINT16_MAX)
        put_number(pack, 0xcd, value, 2);
    else if (value <= UINT32_MAX)
        put_number(pack, 0xce, value, 4);
    else
        put_number(pack, 0xcf, value, 8);
}

void actord_pack_int(actord_pack *pack, int64_t value) {
    if (value >= 0)
        actord_pack_uint(pack, (uint64_t)value);
    else if (value >= -32)
        put_tag(pack, (unsigned char)value);
    else if (value >= INT8_MIN)
        put_number(pack, 0xd0, (uint64_t)value, 1);
    else if (value >= INT16_MIN)
        put_number(pack, 0xd1, (uint64_t)value, 2);
    else if (value >= INT32_MIN)
        put_number(pack, 0xd2, (uint64_t)value, 4);
    else
        put_number(pack, 0xd3, (uint64_t)value, 8);
}

void actord_pack_double(actord_pack *pack, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_number(pack, 0xcb, bits, 8);
}

void actord_pack_bool(actord_pack *pack, int value) { put_tag(pack, value ? 0xc3 : 0xc2); }

void actord_pack_nil(actord_pack *pack) { put_tag(pack, 0xc0); }

void actord_pack_free(actord_pack *pack) {
    free(pack->bytes);
    memset(pack, 0, sizeof *pack);
}

/* Reading */

static int take(const unsigned char **at, const unsigned char *end, int width, uint64_t *value) {
    if (end - *at < width)
        return -1;
    *value = 0;
    for (int i = 0; i < width; i++)
        *value = *value << 8 | *(*at)++;
    return 0;
}

static int take_bytes(const unsigned char **at, const unsigned char *end, actord_kind kind, uint64_t size,
                      actord_value *value) {
    if ((uint64_t)(end - *at) < size)
        return -1;
    value->kind = kind;
    value->text = (const char *)*at;
    value->size = (uint32_t)size;
    *at += size;
    return 0;
}

static int take_many(const unsigned char *at, const unsigned char *end, actord_kind kind, uint64_t size,
                     actord_value *value) {
    value->kind = kind;
    value->size = (uint32_t)size;
    value->at = at;
    value->end = end;
    /* Each element has at least a byte: a promise of more is refused before anybody counts on it. */
    return (uint64_t)(end - at) < size * (kind == ACTORD_MAP ? 2 : 1) ? -1 : 0;
}

static int is_of(actord_value *value, actord_kind kind, int64_t number) {
    value->kind = kind;
    value->number = number;
    return 0;
}

static int take_unsigned(const unsigned char **at, const unsigned char *end, int width, actord_value *value) {
    if (take(at, end, width, &value->large))
        return -1;
    return is_of(value, value->large > INT64_MAX ? ACTORD_UINT : ACTORD_INT, (int64_t)value->large);
}

static int take_signed(const unsigned char **at, const unsigned char *end, int width, actord_value *value) {
    uint64_t bits;
    if (take(at, end, width, &bits))
        return -1;
    int unused = 64 - 8 * width;
    return is_of(value, ACTORD_INT, (int64_t)(bits << unused) >> unused);
}

static int take_real(const unsigned char **at, const unsigned char *end, int width, actord_value *value) {
    uint64_t bits;
    if (take(at, end, width, &bits))
        return -1;
    if (width == 8) {
        memcpy(&value->real, &bits, sizeof value->real);
    } else {
        uint32_t narrow = (uint32_t)bits;
        float real;
        memcpy(&real, &narrow, sizeof real);
        value->real = real;
    }
    return is_of(value, ACTORD_DOUBLE, 0);
}

/* The forms whose size stands in 1, 2 or 4 bytes of their own. */
static int take_sized(const unsigned char **at, const unsigned char *end, int width, actord_kind kind,
                      actord_value *value) {
    uint64_t size;
    if (take(at, end, width, &size))
        return -1;
    if (kind == ACTORD_STR || kind == ACTORD_BIN)
        return take_bytes(at, end, kind, size, value);
    return take_many(*at, end, kind, size, value);
}

int actord_read(const unsigned char **at, const unsigned char *end, actord_value *value) {
    memset(value, 0, sizeof *value);
    if (*at >= end)
        return -1;
    unsigned char tag = *(*at)++;
    if (tag < 0x80 || tag >= 0xe0)
        return is_of(value, ACTORD_INT, (signed char)tag);
    if (tag < 0x90)
        return take_many(*at, end, ACTORD_MAP, tag & 15, value);
    if (tag < 0xa0)
        return take_many(*at, end, ACTORD_ARRAY, tag & 15, value);
    if (tag < 0xc0)
        return take_bytes(at, end, ACTORD_STR, tag & 31, value);
    switch (tag) {
    case 0xc0: return is_of(value, ACTORD_NIL, 0);
    case 0xc2: case 0xc3: return is_of(value, ACTORD_BOOL, tag & 1);
    case 0xc4: case 0xc5: case 0xc6: return take_sized(at, end, 1 << (tag - 0xc4), ACTORD_BIN, value);
    case 0xca: case 0xcb: return take_real(at, end, 4 << (tag - 0xca), value);
    case 0xcc: case 0xcd: case 0xce: case 0xcf: return take_unsigned(at, end, 1 << (tag - 0xcc), value);
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: return take_signed(at, end, 1 << (tag - 0xd0), value);
    case 0xd9: case 0xda: case 0xdb: return take_sized(at, end, 1 << (tag - 0xd9), ACTORD_STR, value);
    case 0xdc: case 0xdd: return take_sized(at, end, 2 << (tag - 0xdc), ACTORD_ARRAY, value);
    case 0xde: case 0xdf: return take_sized(at, end, 2 << (tag - 0xde), ACTORD_MAP, value);
    default: return -1; /* extensions, and what msgpack has no use for */
    }
}

static int is_utf8(const unsigned char *at, const unsigned char *end) {
    while (at < end) {
        int more = *at < 0x80 ? 0 : *at >= 0xc2 && *at < 0xe0 ? 1 : (*at & 0xf0) == 0xe0 ? 2 : *at >= 0xf0 && *at < 0xf5 ? 3 : -1;
        if (more < 0 || end - at <= more)
            return 0;
        if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) || (at[0] == 0xf0 && at[1] < 0x90) ||
            (at[0] == 0xf4 && at[1] >= 0x90))
            return 0;
        for (at++; more > 0; more--, at++)
            if ((*at & 0xc0) != 0x80)
                return 0;
    }
    return 1;
}

/* Moves *at over a value and all that it holds. */
static int skip(const unsigned char **at, const unsigned char *end, int depth, int is_key) {
    actord_value value;
    if (actord_read(at, end, &value) || (is_key && value.kind != ACTORD_STR))
        return -1;
    if (value.kind == ACTORD_STR)
        return is_utf8((const unsigned char *)value.text, (const unsigned char *)value.text + value.size) ? 0 : -1;
    if (value.kind != ACTORD_ARRAY && value.kind != ACTORD_MAP)
        return 0;
    if (depth == 0)
        return -1;
    for (uint32_t i = 0; i < value.size; i++)
        if ((value.kind == ACTORD_MAP && skip(at, end, depth - 1, 1)) || skip(at, end, depth - 1, 0))
            return -1;
    return 0;
}

int actord_is_value(const unsigned char *at, const unsigned char *end) {
    return end - at <= MAX_BODY && skip(&at, end, MAX_DEPTH, 0) == 0 && at == end;
}

actord_value actord_get(actord_value map, const char *key) {
    actord_value name, none = {0};
    const unsigned char *at = map.at;
    for (uint32_t i = 0; map.kind == ACTORD_MAP && i < map.size; i++) {
        if (actord_read(&at, map.end, &name))
            return none;
        const unsigned char *value = at;
        if (actord_equals(name, key))
            return actord_read(&value, map.end, &name) ? none : name;
        if (skip(&at, map.end, MAX_DEPTH, 0))
            return none;
    }
    return none;
}

actord_value actord_at(actord_value array, uint32_t index) {
    actord_value found = {0};
    const unsigned char *at = array.at;
    if (array.kind != ACTORD_ARRAY || index >= array.size)
        return found;
    for (; index > 0; index--)
        if (skip(&at, array.end, MAX_DEPTH, 0))
            return found;
    if (actord_read(&at, array.end, &found))
        found.kind = ACTORD_NONE;
    return found;
}

int64_t actord_number(actord_value value, int64_t otherwise) {
    return value.kind == ACTORD_INT ? value.number : otherwise;
}

int actord_equals(actord_value value, const char *text) {
    return (value.kind == ACTORD_STR || value.kind == ACTORD_BIN) && value.size == strlen(text) &&
           memcmp(value.text, text, value.size) == 0;
}

/* Messages */

static const struct {
    const char *name;
    actord_kind kind;
} KEYS[] = {{"t", ACTORD_STR}, {"id", ACTORD_BIN}, {"re", ACTORD_BIN}, {"to", ACTORD_STR}, {"fr", ACTORD_STR},
            {"inc", ACTORD_INT}, {"m", ACTORD_STR}, {"dl", ACTORD_INT}, {"ik", ACTORD_STR}, {"sq", ACTORD_INT},
            {"nr", ACTORD_INT}, {"cr", ACTORD_INT}, {"tr", ACTORD_STR}};
static const char *const TYPES[] = {"HELLO", "WELCOME", "REQ", "NOTE", "PART", "FIN", "ERR",
                                    "CANCEL", "CREDIT", "SUB", "EVT", "PING", "PONG", "BYE"};

static int is_header(actord_value header) {
    if (header.kind != ACTORD_MAP)
        return 0;
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        actord_value value = actord_get(header, KEYS[i].name);
        if (value.kind == ACTORD_NONE || (value.kind == ACTORD_UINT && KEYS[i].kind == ACTORD_INT))
            continue;
        if (value.kind != KEYS[i].kind || value.number < 0 || value.size > 4 * MAX_NAME)
            return 0;
        uint32_t letters = 0; /* the limit is one of characters */
        for (uint32_t at = 0; at < value.size; at++)
            letters += value.kind == ACTORD_BIN || (value.text[at] & 0xc0) != 0x80;
        if (letters > MAX_NAME)
            return 0;
    }
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (actord_equals(actord_get(header, "t"), TYPES[i]))
            return 1;
    return 0;
}

int actord_may_be_sent(const actord_pack *header, size_t others) {
    const unsigned char *at = header->bytes, *end = at + header->size;
    actord_value value;
    return sizeof "ACTD1" - 1 + header->size + others <= MAX_MESSAGE && actord_is_value(at, end) &&
           actord_read(&at, end, &value) == 0 && is_header(value);
}

static int value_of(zmq_msg_t *frame, actord_value *value) {
    const unsigned char *at = zmq_msg_data(frame), *end = at + zmq_msg_size(frame);
    return actord_is_value(at, end) ? actord_read(&at, end, value) : -1;
}

const char *actord_decode(actord_message *message) {
    static const unsigned char EMPTY[] = {0x80};
    const unsigned char *empty = EMPTY;
    size_t bytes = 0;
    for (int i = 0; i < message->count; i++)
        bytes += zmq_msg_size(&message->frames[i]);
    message->first = message->count > 0 && zmq_msg_size(&message->frames[0]) == 0; /* as REQ sockets send */
    zmq_msg_t *frames = message->frames + message->first;
    int count = message->count - message->first;
    if (count < 2 || count > 3 + ACTORD_MAX_BUFFERS || bytes > MAX_MESSAGE || zmq_msg_size(&frames[0]) != 5 ||
        memcmp(zmq_msg_data(&frames[0]), "ACTD1", 5) != 0)
        return "message";
    if (value_of(&frames[1], &message->header) || !is_header(message->header))
        return "message";
    if (count > 2)
        return value_of(&frames[2], &message->body) ? "body" : NULL;
    return actord_read(&empty, EMPTY + 1, &message->body) ? "body" : NULL;
}

int actord_buffers(const actord_message *message) {
    int count = message->count - message->first - 3;
    return count < 0 ? 0 : count;
}

const void *actord_buffer(actord_message *message, int index, size_t *size) {
    zmq_msg_t *frame = &message->frames[message->first + 3 + index];
    *size = zmq_msg_size(frame);
    return zmq_msg_data(frame);
}

void actord_message_close(actord_message *message) {
    for (int i = 0; i < message->count; i++)
        zmq_msg_close(&message->frames[i]);
    memset(message, 0, sizeof *message);
}
