/* A client of actord for C: actord.c, pack.c, and libzmq. Not thread-safe: one handle, one thread.
 *
 * Values are msgpack (docs/protocol.md, "Values"). What is sent is written with actord_pack; what comes is
 * read where it lies, by actord_value, which points into a message and lives as long as that.
 *
 * Functions that can fail return 0 for well and -1 for not, and say in `failure` why.
 */
#ifndef ACTORD_H
#define ACTORD_H

#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ACTORD_MAX_BUFFERS 16
#define ACTORD_MAX_FRAMES (4 + ACTORD_MAX_BUFFERS)
#define ACTORD_CREDIT (1 << 20)
#define ACTORD_PIECE 65536 /* bytes of standard input in one request */

/* Writing */

typedef struct {
    unsigned char *bytes;
    size_t size, room;
    int failed; /* memory ran out; what is sent then is refused */
} actord_pack;

void actord_pack_map(actord_pack *, uint32_t pairs);
void actord_pack_array(actord_pack *, uint32_t elements);
void actord_pack_str(actord_pack *, const char *text);
void actord_pack_text(actord_pack *, const char *text, size_t size);
void actord_pack_bin(actord_pack *, const void *bytes, size_t size);
void actord_pack_int(actord_pack *, int64_t);
void actord_pack_uint(actord_pack *, uint64_t);
void actord_pack_double(actord_pack *, double);
void actord_pack_bool(actord_pack *, int);
void actord_pack_nil(actord_pack *);
void actord_pack_free(actord_pack *);

/* Reading */

typedef enum {
    ACTORD_NONE, ACTORD_NIL, ACTORD_BOOL, ACTORD_INT, ACTORD_UINT, ACTORD_DOUBLE, ACTORD_STR, ACTORD_BIN,
    ACTORD_ARRAY, ACTORD_MAP
} actord_kind;

/* One value. A number that fits is ACTORD_INT; ACTORD_UINT is beyond 2^63 - 1. */
typedef struct {
    actord_kind kind;
    int64_t number;            /* of INT and BOOL */
    uint64_t large;            /* of UINT */
    double real;               /* of DOUBLE */
    const char *text;          /* of STR and BIN: not ended by a zero */
    uint32_t size;             /* bytes of STR and BIN, elements of ARRAY, pairs of MAP */
    const unsigned char *at, *end; /* where the elements are */
} actord_value;

/* Reads one value at *at and moves on behind it, or with `whole` over all that it holds. 0, or -1 for nonsense. */
int actord_read(const unsigned char **at, const unsigned char *end, actord_value *);
/* Whether exactly one value of the profile is there: keys, text, depth, no extensions. */
int actord_is_value(const unsigned char *at, const unsigned char *end);
/* The value of `key` in a map, the element `index` of an array; kind NONE when there is none. */
actord_value actord_get(actord_value map, const char *key);
actord_value actord_at(actord_value array, uint32_t index);
int64_t actord_number(actord_value, int64_t otherwise);
int actord_equals(actord_value, const char *text);

/* Messages */

typedef struct {
    zmq_msg_t frames[ACTORD_MAX_FRAMES];
    int count;            /* of frames */
    int first;            /* frame of the signature */
    actord_value header, body;
} actord_message;

/* Reads the frames that are there. NULL, or what is wrong: `message` if the envelope, `body` if only that. */
const char *actord_decode(actord_message *);
/* Whether a router takes a message with this header, and `others` bytes of body and buffers. */
int actord_may_be_sent(const actord_pack *header, size_t others);
int actord_buffers(const actord_message *);
const void *actord_buffer(actord_message *, int index, size_t *size);
void actord_message_close(actord_message *);

/* The client */

typedef struct actord actord;

typedef struct {
    char code[32];    /* as in docs/protocol.md, "Errors"; `connect` when there is no connection */
    char text[512];
    char outcome[16]; /* not_started, done, unknown */
    int retryable;
    int final;        /* a living actor said so */
} actord_failure;

/* `file`: /run/actord/connection.json (NULL for that), or one that actr keys new made. NULL when it fails. */
actord *actord_open(const char *file, actord_failure *);
void actord_close(actord *);
int actord_reconnections(const actord *);
int actord_protocol(const actord *); /* the router's major version */
/* What requests belong to: a trace id or a traceparent. From the beginning that of the environment (TRACEPARENT) if
 * it is one, else a new id. */
const char *actord_trace(const actord *);
void actord_set_trace(actord *, const char *trace);

/* One request of actor `to`, with at most one buffer beside it (NULL for none). What has not begun is tried
 * again until `limit` milliseconds are over; what may have happened only if it is `repeatable`. `answer` is
 * to be closed when 0 is returned. */
int actord_request(actord *, const char *to, const char *op, const actord_pack *body, const void *buffer,
                   size_t size, int64_t limit, int repeatable, actord_message *answer, actord_failure *);

/* A stream. `body` writes the request's body, for each attempt anew: after a break, or when an answer was lost on
 * the way, it says where to go on.
 * `part` gets each partial answer and event, and ends the stream when it returns other than 0. `answer` is
 * the final one, to be closed when 0 is returned; when `part` ended it, 1 is returned. */
typedef struct {
    void (*body)(void *closure, actord_pack *body);
    int (*part)(void *closure, actord_message *part);
    void *closure;
} actord_follower;
int actord_stream(actord *, const char *to, const char *op, int64_t credit, const actord_follower *,
                  actord_message *answer, actord_failure *);

/* For programs with many requests under way: a request with an id of 16 bytes, its cancellation, and whatever
 * comes next. actord_next returns 0, 1 for nothing within `wait` milliseconds, -1 for a broken connection;
 * actord_send 1 for what a router would refuse as malformed, and could not say whose it was: it is not sent. */
int actord_send(actord *, const unsigned char *id, const char *to, const char *op, const actord_pack *body,
                int64_t deadline, int64_t credit, const void *buffer, size_t size);
int actord_cancel(actord *, const unsigned char *id);
int actord_next(actord *, int64_t wait, actord_message *);
void actord_new_id(unsigned char *id);

#ifdef __cplusplus
}
#endif
#endif
