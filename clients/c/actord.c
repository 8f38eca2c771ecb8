/* The client: one connection, watched, renewed when it breaks. */
#define _DEFAULT_SOURCE
#include "actord.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SHAKE_HANDS = 5000, PATIENCE = 10000, RETRY = 50, LATE = 1000, QUEUE = 10000, TEXT = 512, TRACE = 55 };
static const char DEFAULT[] = "/run/actord/connection.json";

struct actord {
    void *context, *socket, *monitor;
    char file[TEXT], endpoint[TEXT], server[TEXT], public[TEXT], secret[TEXT];
    char trace[TRACE + 1];
    int reconnections, protocol;
    unsigned monitors;
};

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000LL + at.tv_nsec / 1000000;
}

static void rest(void) {
    struct timespec for_a_while = {0, RETRY * 1000000L};
    nanosleep(&for_a_while, NULL);
}

static int fail(actord_failure *failure, const char *code, const char *outcome, const char *format, ...) {
    va_list words;
    memset(failure, 0, sizeof *failure);
    snprintf(failure->code, sizeof failure->code, "%s", code);
    snprintf(failure->outcome, sizeof failure->outcome, "%s", outcome);
    failure->retryable = strcmp(code, "unavailable") == 0;
    va_start(words, format);
    vsnprintf(failure->text, sizeof failure->text, format, words);
    va_end(words);
    return -1;
}

static int no_connection(actord_failure *failure, const char *what, const char *who) {
    return fail(failure, "connect", "not_started", what, who);
}

/* The connection file: the string behind `key`, which may stand in an array. No escapes: none are written. */
static void json_text(const char *json, const char *key, char *found) {
    char name[32];
    found[0] = 0;
    snprintf(name, sizeof name, "\"%s\"", key);
    const char *at = strstr(json, name);
    if (at == NULL)
        return;
    at += strlen(name);
    at += strspn(at, " \t\r\n:[");
    size_t size = *at == '"' ? strcspn(at + 1, "\"\\") : 0;
    if (size > 0 && size < TEXT && at[1 + size] == '"') {
        memcpy(found, at + 1, size);
        found[size] = 0;
    }
}

static int read_file(actord *client, actord_failure *failure) {
    char json[8192];
    FILE *file = fopen(client->file, "r");
    if (file == NULL)
        return fail(failure, "connect", "not_started", "cannot read %s: %s; is actord running on this host?",
                    client->file, strerror(errno));
    json[fread(json, 1, sizeof json - 1, file)] = 0;
    fclose(file);
    json_text(json, "endpoint", client->endpoint);
    if (!client->endpoint[0])
        json_text(json, "endpoints", client->endpoint);
    json_text(json, "server", client->server);
    json_text(json, "public", client->public);
    json_text(json, "secret", client->secret);
    if (!client->endpoint[0])
        return no_connection(failure, "%s is no connection file: actr keys new makes one", client->file);
    return 0;
}

/* The connection */

static void hang_up(actord *client) {
    int none = 0;
    if (client->socket == NULL)
        return;
    zmq_socket_monitor(client->socket, NULL, 0);
    zmq_setsockopt(client->socket, ZMQ_LINGER, &none, sizeof none);
    zmq_close(client->monitor);
    zmq_close(client->socket);
    client->monitor = client->socket = NULL;
}

static int set_options(actord *client) {
    static const struct {
        int option, value;
    } OPTIONS[] = {
        {ZMQ_LINGER, 0}, {ZMQ_IMMEDIATE, 1}, {ZMQ_SNDHWM, QUEUE}, {ZMQ_RCVHWM, QUEUE}, {ZMQ_IPV6, 1},
        {ZMQ_RECONNECT_IVL, -1}, /* who has lost a connection must know it: what was asked is lost too */
        {ZMQ_HANDSHAKE_IVL, 4000}, {ZMQ_TCP_KEEPALIVE, 1}, {ZMQ_TCP_KEEPALIVE_IDLE, 1},
        {ZMQ_TCP_KEEPALIVE_INTVL, 1}, {ZMQ_TCP_KEEPALIVE_CNT, 3}, {ZMQ_TCP_MAXRT, 3000}};
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++)
        if (zmq_setsockopt(client->socket, OPTIONS[i].option, &OPTIONS[i].value, sizeof(int)))
            return -1;
    if (!client->server[0])
        return 0;
    return zmq_setsockopt(client->socket, ZMQ_CURVE_SERVERKEY, client->server, strlen(client->server)) ||
           zmq_setsockopt(client->socket, ZMQ_CURVE_PUBLICKEY, client->public, strlen(client->public)) ||
           zmq_setsockopt(client->socket, ZMQ_CURVE_SECRETKEY, client->secret, strlen(client->secret));
}

static int dial(actord *client) {
    char name[64];
    /* A name that is used again may not be free yet. */
    snprintf(name, sizeof name, "inproc://monitor-%p-%u", (void *)client, client->monitors++);
    client->socket = zmq_socket(client->context, ZMQ_DEALER);
    client->monitor = zmq_socket(client->context, ZMQ_PAIR);
    return set_options(client) || zmq_socket_monitor(client->socket, name, ZMQ_EVENT_ALL) ||
           zmq_connect(client->monitor, name) || zmq_connect(client->socket, client->endpoint);
}

/* The next event of the socket's monitor: 16 bits of event, then its value; and a frame with the address. */
static int next_event(actord *client) {
    unsigned char bytes[6];
    uint16_t event;
    int size = zmq_recv(client->monitor, bytes, sizeof bytes, 0);
    zmq_msg_t address;
    zmq_msg_init(&address);
    zmq_msg_recv(&address, client->monitor, 0);
    zmq_msg_close(&address);
    memcpy(&event, bytes, sizeof event);
    return size < 2 ? -1 : event;
}

static int is_over(int event) {
    return event == ZMQ_EVENT_DISCONNECTED || event == ZMQ_EVENT_CLOSED || event == ZMQ_EVENT_CONNECT_RETRIED ||
           event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
}

static int shake_hands(actord *client, actord_failure *failure) {
    int64_t until = now() + SHAKE_HANDS, left;
    while ((left = until - now()) > 0) {
        zmq_pollitem_t item = {client->monitor, 0, ZMQ_POLLIN, 0};
        if (zmq_poll(&item, 1, left) < 1)
            continue;
        int event = next_event(client);
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            return 0;
        if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            return no_connection(failure, "the daemon at %s does not know this key: actr keys allow, there",
                                 client->endpoint);
        if (is_over(event))
            break;
    }
    return no_connection(failure, "nobody answers at %s, or it has another key", client->endpoint);
}

static int send_frames(actord *client, const actord_pack *header, const actord_pack *body, const void *buffer,
                       size_t size) {
    static const unsigned char EMPTY[] = {0x80};
    if (client->socket == NULL || header->failed || (body && body->failed))
        return -1;
    int timeout = PATIENCE; /* for room in the queue; a connection that is gone has none */
    zmq_setsockopt(client->socket, ZMQ_SNDTIMEO, &timeout, sizeof timeout);
    const void *packed = body && body->size ? body->bytes : EMPTY;
    size_t length = body && body->size ? body->size : sizeof EMPTY;
    if (zmq_send(client->socket, "ACTD1", 5, ZMQ_SNDMORE) < 0 ||
        zmq_send(client->socket, header->bytes, header->size, ZMQ_SNDMORE) < 0 ||
        zmq_send(client->socket, packed, length, buffer ? ZMQ_SNDMORE : 0) < 0 ||
        (buffer && zmq_send(client->socket, buffer, size, 0) < 0))
        return -1;
    return 0;
}

static void pack_type(actord_pack *header, uint32_t pairs, const char *type, const char *key,
                      const unsigned char *id) {
    actord_pack_map(header, pairs);
    actord_pack_str(header, "t");
    actord_pack_str(header, type);
    actord_pack_str(header, key);
    actord_pack_bin(header, id, 16);
}

static int send_about(actord *client, const char *type, const char *key, const unsigned char *id, int64_t credit) {
    actord_pack header = {0};
    pack_type(&header, credit ? 3 : 2, type, key, id);
    if (credit) {
        actord_pack_str(&header, "cr");
        actord_pack_int(&header, credit);
    }
    int failed = send_frames(client, &header, NULL, NULL, 0);
    actord_pack_free(&header);
    return failed;
}

int actord_cancel(actord *client, const unsigned char *id) { return send_about(client, "CANCEL", "re", id, 0); }

static void pack_pair(actord_pack *header, const char *key, int64_t value) {
    actord_pack_str(header, key);
    actord_pack_int(header, value);
}

int actord_send(actord *client, const unsigned char *id, const char *to, const char *op, const actord_pack *body,
                int64_t deadline, int64_t credit, const void *buffer, size_t size) {
    actord_pack header = {0};
    pack_type(&header, (uint32_t)(5 + (deadline > 0) + (credit > 0)), "REQ", "id", id);
    actord_pack_str(&header, "to");
    actord_pack_str(&header, to);
    actord_pack_str(&header, "m");
    actord_pack_str(&header, op);
    actord_pack_str(&header, "tr");
    actord_pack_str(&header, client->trace);
    if (deadline > 0)
        pack_pair(&header, "dl", deadline);
    if (credit > 0)
        pack_pair(&header, "cr", credit);
    int refused = !header.failed && !actord_may_be_sent(&header, (body ? body->size : 0) + size);
    int failed = refused ? 1 : send_frames(client, &header, body, buffer, size);
    actord_pack_free(&header);
    return failed;
}

void actord_new_id(unsigned char *id) {
    if (getentropy(id, 16) != 0)
        abort(); /* a kernel without randomness: no id would be safe */
}

static int receive(actord *client, actord_message *message) {
    size_t more_size = sizeof(int);
    int more = 1;
    memset(message, 0, sizeof *message);
    while (more) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, client->socket, 0) < 0)
            return -1;
        if (message->count < ACTORD_MAX_FRAMES)
            message->frames[message->count++] = frame;
        else
            zmq_msg_close(&frame);
        zmq_getsockopt(client->socket, ZMQ_RCVMORE, &more, &more_size);
    }
    return 0;
}

int actord_next(actord *client, int64_t wait, actord_message *message) {
    int64_t until = now() + wait;
    while (client->socket != NULL) {
        zmq_pollitem_t items[] = {{client->socket, 0, ZMQ_POLLIN, 0}, {client->monitor, 0, ZMQ_POLLIN, 0}};
        int64_t left = wait < 0 ? -1 : until - now();
        int ready = zmq_poll(items, 2, wait < 0 ? -1 : left > 0 ? left : 0);
        if (ready == 0)
            return 1;
        if (ready > 0 && items[0].revents) { /* what had come before the end still counts */
            if (receive(client, message))
                return -1;
            if (actord_decode(message) == NULL)
                return 0;
            actord_message_close(message);
        } else if (ready > 0 && is_over(next_event(client))) {
            return -1;
        }
    }
    return -1;
}

/* Passes over what does not concern `id`. As actord_next. */
static int next_about(actord *client, const unsigned char *id, int64_t until, actord_message *message) {
    for (;;) {
        int64_t left = until < 0 ? -1 : until - now();
        int failed = actord_next(client, until < 0 ? -1 : left > 0 ? left : 0, message);
        if (failed)
            return failed;
        actord_value re = actord_get(message->header, "re");
        if (re.size == 16 && memcmp(re.text, id, 16) == 0)
            return 0;
        actord_message_close(message);
    }
}

static int greet(actord *client, actord_failure *failure) {
    unsigned char id[16];
    actord_message message;
    actord_new_id(id);
    if (send_about(client, "HELLO", "id", id, 0) || next_about(client, id, now() + SHAKE_HANDS, &message))
        return no_connection(failure, "nobody answers at %s", client->endpoint);
    client->protocol = (int)actord_number(actord_get(message.body, "protocol"), 0);
    actord_message_close(&message);
    return client->protocol == 1 ? 0 : no_connection(failure, "what answers at %s is not actord", client->endpoint);
}

/* Whether it has the form of W3C Trace Context: version, trace, span, flags. */
static int is_traceparent(const char *text) {
    static const size_t DIGITS[] = {2, 32, 16, 2};
    if (strncmp(text, "ff", 2) == 0)
        return 0;
    for (int i = 0; i < 4; i++) {
        size_t digits = strspn(text, "0123456789abcdef");
        int is_nothing = digits > 2 && strspn(text, "0") == digits;
        if (digits != DIGITS[i] || is_nothing || text[digits] != (i < 3 ? '-' : 0))
            return 0;
        text += digits + 1;
    }
    return 1;
}

static void begin_trace(actord *client) {
    const char *parent = getenv("TRACEPARENT");
    unsigned char id[16];
    if (parent && is_traceparent(parent)) {
        actord_set_trace(client, parent);
        return;
    }
    actord_new_id(id);
    for (size_t i = 0; i < sizeof id; i++)
        sprintf(client->trace + 2 * i, "%02x", id[i]);
}

static int open_once(actord *client, actord_failure *failure) {
    hang_up(client);
    if (read_file(client, failure))
        return -1;
    if (dial(client)) {
        fail(failure, "connect", "not_started", "cannot connect to %s: %s", client->endpoint, zmq_strerror(errno));
    } else if (!shake_hands(client, failure) && !greet(client, failure)) {
        client->reconnections++;
        return 0;
    }
    hang_up(client);
    return -1;
}

actord *actord_open(const char *file, actord_failure *failure) {
    actord *client = calloc(1, sizeof *client);
    if (client == NULL || (client->context = zmq_ctx_new()) == NULL) {
        free(client);
        no_connection(failure, "%s", "no memory");
        return NULL;
    }
    snprintf(client->file, sizeof client->file, "%s", file ? file : DEFAULT);
    client->reconnections = -1;
    begin_trace(client);
    if (open_once(client, failure)) {
        actord_close(client);
        return NULL;
    }
    return client;
}

void actord_close(actord *client) {
    hang_up(client);
    zmq_ctx_term(client->context);
    free(client);
}

int actord_reconnections(const actord *client) { return client->reconnections; }

int actord_protocol(const actord *client) { return client->protocol; }

const char *actord_trace(const actord *client) { return client->trace; }

void actord_set_trace(actord *client, const char *trace) { snprintf(client->trace, sizeof client->trace, "%s", trace); }

/* Says what has become of the request, and renews the connection. */
static int lost(actord *client, const char *op, int sent, actord_failure *failure) {
    int64_t until = now() + PATIENCE;
    while (open_once(client, failure)) {
        if (now() > until)
            return -1;
        rest();
    }
    return fail(failure, "unavailable", sent ? "unknown" : "not_started", "%s: the connection broke before the answer", op);
}

/* Requests */

/* Of what actord_send has not sent. */
static int unsent(actord *client, const char *op, int failed, actord_failure *failure) {
    return failed < 0 ? lost(client, op, 0, failure)
                      : fail(failure, "invalid_argument", "not_started",
                             "%.80s: cannot be sent: a name of more than 256 letters, or more than 64 MiB", op);
}

static void copy(char *to, size_t room, actord_value value) {
    snprintf(to, room, "%.*s", value.kind == ACTORD_STR ? (int)value.size : 0, value.text ? value.text : "");
}

/* -1 with the failure when the message is an error; it is closed then. */
static int result(actord_message *message, actord_failure *failure) {
    if (!actord_equals(actord_get(message->header, "t"), "ERR"))
        return 0;
    memset(failure, 0, sizeof *failure);
    copy(failure->code, sizeof failure->code, actord_get(message->body, "code"));
    copy(failure->text, sizeof failure->text, actord_get(message->body, "msg"));
    copy(failure->outcome, sizeof failure->outcome, actord_get(message->body, "outcome"));
    failure->retryable = actord_get(message->body, "retryable").number == 1;
    failure->final = actord_get(message->header, "fr").size > 0;
    actord_message_close(message);
    return -1;
}

static int ask(actord *client, const char *to, const char *op, const actord_pack *body, const void *buffer,
               size_t size, int64_t until, actord_message *answer, actord_failure *failure) {
    unsigned char id[16];
    int64_t left = until - now();
    actord_new_id(id);
    int failed = actord_send(client, id, to, op, body, left > 0 ? left : 1, 0, buffer, size);
    if (failed)
        return unsent(client, op, failed, failure);
    failed = next_about(client, id, until + LATE, answer);
    if (failed < 0)
        return lost(client, op, 1, failure);
    if (failed)
        return fail(failure, "deadline_exceeded", "unknown", "%s: no answer from %s", op, to);
    return result(answer, failure);
}

int actord_request(actord *client, const char *to, const char *op, const actord_pack *body, const void *buffer,
                   size_t size, int64_t limit, int repeatable, actord_message *answer, actord_failure *failure) {
    int64_t until = now() + limit;
    while (ask(client, to, op, body, buffer, size, until, answer, failure)) {
        int safe = strcmp(failure->outcome, "not_started") == 0 || (repeatable && strcmp(failure->outcome, "done") != 0);
        if (!failure->retryable || !safe || now() + RETRY > until)
            return -1;
        rest();
    }
    return 0;
}

/* Streams */

static int is_partial(actord_message *message) {
    actord_value type = actord_get(message->header, "t");
    return actord_equals(type, "PART") ? 1 : actord_equals(type, "EVT") ? 2 : 0;
}

/* Whether it has another number than it ought to; one without any is taken at its word. */
static int is_astray(actord_message *message, int64_t number) {
    actord_value found = actord_get(message->header, "nr");
    return found.kind != ACTORD_NONE && actord_number(found, -1) != number;
}

static int64_t cost(actord_message *message) {
    size_t size, sum = 0;
    if (is_partial(message) == 2)
        return 1;
    for (int i = 0; i < actord_buffers(message); i++, sum += size)
        actord_buffer(message, i, &size);
    return (int64_t)sum;
}

/* 0: that was the final one. 1: the follower has enough. -1: see the failure. */
static int follow(actord *client, const char *to, const char *op, int64_t credit, const actord_follower *follower,
                  actord_message *answer, actord_failure *failure, int64_t *since) {
    unsigned char id[16];
    int64_t used = 0, heard = 0;
    actord_pack body = {0};
    actord_new_id(id);
    if (follower->body)
        follower->body(follower->closure, &body);
    int failed = actord_send(client, id, to, op, &body, 0, credit, NULL, 0);
    actord_pack_free(&body);
    if (failed)
        return unsent(client, op, failed, failure);
    while (next_about(client, id, -1, answer) == 0) {
        if (is_astray(answer, ++heard)) {
            actord_message_close(answer);
            actord_cancel(client, id);
            return fail(failure, "unavailable", "unknown", "%s: an answer was lost on the way", op);
        }
        if (!is_partial(answer))
            return result(answer, failure);
        *since = now();
        used += cost(answer);
        int enough = follower->part(follower->closure, answer);
        actord_message_close(answer);
        if (enough) {
            actord_cancel(client, id);
            return 1;
        }
        if (used * 2 >= credit && send_about(client, "CREDIT", "re", id, used) == 0)
            used = 0;
    }
    return lost(client, op, 1, failure);
}

int actord_stream(actord *client, const char *to, const char *op, int64_t credit, const actord_follower *follower,
                  actord_message *answer, actord_failure *failure) {
    int64_t since = now();
    for (;;) {
        int ended = follow(client, to, op, credit, follower, answer, failure, &since);
        if (ended >= 0)
            return ended;
        /* What a living actor says is the end, but for a stream whose credit ended before it did. */
        int over = failure->final && strcmp(failure->code, "overloaded") != 0;
        if (over || !failure->retryable || now() - since > PATIENCE)
            return -1;
        rest();
    }
}
