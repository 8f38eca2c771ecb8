/* What every client shows that it can do (clients/README.md).
 *
 *     session vectors | session session FILE IMAGE | session streams FILE
 */
#define _DEFAULT_SOURCE
#include "actord.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT = 200000, WAITS = 5000, ALLOWED = 4096, LINES = 60, LIMIT = 30000 };

static actord *client;
static actord_failure failure;

static void say(const char *text) {
    puts(text);
    fflush(stdout);
}

static void give_up(const char *what) {
    fprintf(stderr, "%s: %s\n", what, failure.text);
    exit(1);
}

/* The vectors */

static void write_again(const unsigned char **at, const unsigned char *end, actord_pack *pack) {
    actord_value value;
    if (actord_read(at, end, &value))
        return; /* cannot be: it has been checked */
    switch (value.kind) {
    case ACTORD_BOOL: actord_pack_bool(pack, value.number != 0); return;
    case ACTORD_INT: actord_pack_int(pack, value.number); return;
    case ACTORD_UINT: actord_pack_uint(pack, value.large); return;
    case ACTORD_DOUBLE: actord_pack_double(pack, value.real); return;
    case ACTORD_STR: actord_pack_text(pack, value.text, value.size); return;
    case ACTORD_BIN: actord_pack_bin(pack, value.text, value.size); return;
    case ACTORD_ARRAY: actord_pack_array(pack, value.size); break;
    case ACTORD_MAP: actord_pack_map(pack, value.size); break;
    default: actord_pack_nil(pack); return;
    }
    for (uint32_t i = 0; i < value.size * (value.kind == ACTORD_MAP ? 2 : 1); i++)
        write_again(at, end, pack);
}

static void print_hex(const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    fputs(size ? " " : " -", stdout);
    for (size_t i = 0; i < size; i++)
        printf("%02x", at[i]);
}

/* The header with the keys that the protocol knows, in its order. */
static void write_header(actord_value header, actord_pack *pack) {
    static const char *const KEYS[] = {"t", "id", "re", "to", "fr", "inc", "m", "dl", "ik", "sq", "nr", "cr", "tr"};
    uint32_t known = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            actord_pack_map(pack, known);
        for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
            actord_value value = actord_get(header, KEYS[i]);
            if (value.kind == ACTORD_NONE)
                continue;
            known++;
            if (pass == 0)
                continue;
            actord_pack_str(pack, KEYS[i]);
            if (value.kind == ACTORD_STR)
                actord_pack_text(pack, value.text, value.size);
            else if (value.kind == ACTORD_BIN)
                actord_pack_bin(pack, value.text, value.size);
            else
                actord_pack_uint(pack, value.kind == ACTORD_UINT ? value.large : (uint64_t)value.number);
        }
    }
}

static void answer_line(actord_message *message) {
    actord_pack header = {0}, body = {0};
    size_t size;
    const char *refused = actord_decode(message);
    if (refused) {
        printf("refused %s\n", refused);
        return;
    }
    write_header(message->header, &header);
    if (message->count - message->first > 2) {
        const unsigned char *at = zmq_msg_data(&message->frames[message->first + 2]);
        write_again(&at, at + zmq_msg_size(&message->frames[message->first + 2]), &body);
    } else {
        actord_pack_map(&body, 0);
    }
    fputs("ok", stdout);
    print_hex("ACTD1", 5);
    print_hex(header.bytes, header.size);
    print_hex(body.bytes, body.size);
    for (int i = 0; i < actord_buffers(message); i++) {
        const void *buffer = actord_buffer(message, i, &size);
        print_hex(buffer, size);
    }
    putchar('\n');
    actord_pack_free(&header);
    actord_pack_free(&body);
}

static void vectors(void) {
    static char line[1 << 20];
    while (fgets(line, sizeof line, stdin)) {
        actord_message message = {0};
        for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
            size_t size = *word == '-' ? 0 : strlen(word) / 2;
            zmq_msg_t *frame = &message.frames[message.count++];
            zmq_msg_init_size(frame, size);
            for (size_t i = 0; i < size; i++)
                sscanf(word + 2 * i, "%2hhx", (unsigned char *)zmq_msg_data(frame) + i);
        }
        answer_line(&message);
        actord_message_close(&message);
    }
}

/* Bodies */

/* A map of texts, given as key, value, ..., NULL. */
static actord_pack texts(const char **pairs) {
    actord_pack pack = {0};
    uint32_t count = 0;
    while (pairs[2 * count])
        count++;
    actord_pack_map(&pack, count);
    for (uint32_t i = 0; i < 2 * count; i++)
        actord_pack_str(&pack, pairs[i]);
    return pack;
}

static actord_message ask(const char *to, const char *op, actord_pack body, int repeatable) {
    actord_message answer;
    if (actord_request(client, to, op, &body, NULL, 0, LIMIT, repeatable, &answer, &failure))
        give_up(op);
    actord_pack_free(&body);
    return answer;
}

static void tell(const char *to, const char *op, actord_pack body, int repeatable) {
    actord_message answer = ask(to, op, body, repeatable);
    actord_message_close(&answer);
}

static actord_pack nothing(void) {
    actord_pack pack = {0};
    return pack;
}

static void keep(char *to, size_t room, actord_value text) { snprintf(to, room, "%.*s", (int)text.size, text.text); }

typedef struct {
    char id[128], actor[256];
} container;

static container create(const char *image, const char **args, int takes_input) {
    actord_pack pack = {0};
    uint32_t count = 0;
    while (args[count])
        count++;
    actord_pack_map(&pack, 3);
    actord_pack_str(&pack, "namespace");
    actord_pack_str(&pack, "default");
    actord_pack_str(&pack, "image");
    actord_pack_str(&pack, image);
    actord_pack_str(&pack, "options");
    actord_pack_map(&pack, 2);
    actord_pack_str(&pack, "stdin");
    actord_pack_bool(&pack, takes_input);
    actord_pack_str(&pack, "args");
    actord_pack_array(&pack, count);
    for (uint32_t i = 0; i < count; i++)
        actord_pack_str(&pack, args[i]);
    actord_message answer = ask("metadata", "containers.create", pack, 0);
    container made;
    keep(made.id, sizeof made.id, actord_get(answer.body, "id"));
    keep(made.actor, sizeof made.actor, actord_get(answer.body, "actor"));
    actord_message_close(&answer);
    tell(made.actor, "tasks.start", nothing(), 1);
    return made;
}

/* Its actor goes with it, at times before its answer: asked again, nobody is there. */
static void remove_container(const container *box) {
    actord_pack body = {0};
    actord_message answer;
    actord_pack_map(&body, 1);
    actord_pack_str(&body, "force");
    actord_pack_bool(&body, 1);
    if (actord_request(client, box->actor, "containers.remove", &body, NULL, 0, LIMIT, 1, &answer, &failure) == 0)
        actord_message_close(&answer);
    else if (strcmp(failure.code, "not_found") != 0)
        give_up("remove");
    actord_pack_free(&body);
}

/* Output, which goes on where it was */

typedef struct {
    const char *exec_id;
    char *text[3]; /* of streams 1 and 2 */
    size_t size[3];
    int told;      /* the one who drives this session, to kill the router */
    size_t lines;
} output;

static void output_body(void *closure, actord_pack *body) {
    const output *out = closure;
    actord_pack_map(body, 4);
    actord_pack_str(body, "stdout");
    actord_pack_uint(body, out->size[1]);
    actord_pack_str(body, "stderr");
    actord_pack_uint(body, out->size[2]);
    actord_pack_str(body, "follow");
    actord_pack_bool(body, 1);
    actord_pack_str(body, "exec_id");
    actord_pack_str(body, out->exec_id ? out->exec_id : "");
}

static int output_part(void *closure, actord_message *part) {
    output *out = closure;
    int64_t stream = actord_number(actord_get(part->body, "stream"), 0);
    size_t size;
    if (stream < 1 || stream > 2)
        return 0;
    for (int i = 0; i < actord_buffers(part); i++) {
        const void *bytes = actord_buffer(part, i, &size);
        out->text[stream] = realloc(out->text[stream], out->size[stream] + size + 1);
        memcpy(out->text[stream] + out->size[stream], bytes, size);
        out->size[stream] += size;
        out->text[stream][out->size[stream]] = 0;
    }
    return 0;
}

/* Gives the exit code. */
static int64_t read_output(const container *box, output *out) {
    actord_follower follower = {output_body, output_part, out};
    actord_message answer;
    if (actord_stream(client, box->actor, "tasks.output", ACTORD_CREDIT, &follower, &answer, &failure))
        give_up("output");
    int64_t code = actord_number(actord_get(answer.body, "exit_code"), -1);
    actord_message_close(&answer);
    return code;
}

static void forget_output(output *out) {
    free(out->text[1]);
    free(out->text[2]);
}

/* The steps */

static void list(void) {
    actord_message answer = ask("supervisor", "introspection.actors", nothing(), 1);
    actord_value actors = actord_get(answer.body, "actors");
    for (uint32_t i = 0; i < actors.size; i++)
        if (actord_equals(actord_get(actord_at(actors, i), "name"), "metadata"))
            say("list: metadata is there");
    actord_message_close(&answer);
}

static void look_for_nobody(void) {
    const char *pairs[] = {"namespace", "default", "id", "nobody", NULL};
    actord_pack body = texts(pairs);
    actord_message answer;
    if (actord_request(client, "metadata", "containers.get", &body, NULL, 0, LIMIT, 1, &answer, &failure) == 0)
        actord_message_close(&answer);
    else
        printf("error: %s\n", failure.code);
    actord_pack_free(&body);
}

static void send_nonsense(void) {
    char name[301];
    actord_message answer;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    if (actord_request(client, name, "containers.get", NULL, NULL, 0, LIMIT, 1, &answer, &failure) == 0)
        actord_message_close(&answer);
    else
        printf("malformed: %s\n", strcmp(failure.code, "invalid_argument") ? failure.code : "not sent");
}

static int count_part(void *closure, actord_message *part) {
    (void)part;
    ++*(int *)closure;
    return 0;
}

static void pull(const char *image) {
    const char *pairs[] = {"namespace", "default", "reference", image, NULL};
    char actor[256];
    int seen = 0;
    actord_follower follower = {NULL, count_part, &seen};
    actord_message answer = ask("supervisor", "images.pull", texts(pairs), 1);
    keep(actor, sizeof actor, actord_get(answer.body, "actor"));
    actord_message_close(&answer);
    if (actord_stream(client, actor, "transfers.attach", ACTORD_CREDIT, &follower, &answer, &failure))
        give_up("pull");
    actord_value name = actord_get(answer.body, "name");
    printf("pull: %s%.*s\n", seen ? "progress, then " : "", (int)name.size, name.text);
    actord_message_close(&answer);
}

static void write_input(const container *box, const char *bytes, size_t size) {
    const char *none[] = {NULL};
    for (size_t at = 0; at < size; at += ACTORD_PIECE) {
        actord_pack body = {0};
        actord_message answer;
        size_t piece = size - at < ACTORD_PIECE ? size - at : ACTORD_PIECE;
        actord_pack_map(&body, 2);
        actord_pack_str(&body, "writer");
        actord_pack_str(&body, box->id);
        actord_pack_str(&body, "offset");
        actord_pack_uint(&body, at);
        if (actord_request(client, box->actor, "tasks.input", &body, bytes + at, piece, LIMIT, 1, &answer, &failure))
            give_up("input");
        actord_message_close(&answer);
        actord_pack_free(&body);
    }
    tell(box->actor, "tasks.close_io", texts(none), 1);
}

static void run(const char *image) {
    const char *args[] = {"sh", "-c", "tr a-z A-Z; echo done >&2; exit 7", NULL};
    static char input[INPUT];
    output out = {0};
    memset(input, 'x', sizeof input);
    memcpy(input, "hello\n", 6);
    container box = create(image, args, 1);
    write_input(&box, input, sizeof input);
    int64_t code = read_output(&box, &out);
    size_t same = 0;
    while (same < out.size[1] && same < INPUT && out.text[1][same] == toupper(input[same]))
        same++;
    printf("run: %zu bytes out, %zu bytes err, exit %lld\n", same, out.size[2], (long long)code);
    forget_output(&out);
    remove_container(&box);
}

static void exec_in(const container *box) {
    actord_pack body = {0};
    output out = {.exec_id = "one"};
    actord_pack_map(&body, 2);
    actord_pack_str(&body, "exec_id");
    actord_pack_str(&body, out.exec_id);
    actord_pack_str(&body, "args");
    actord_pack_array(&body, 2);
    actord_pack_str(&body, "echo");
    actord_pack_str(&body, "from exec");
    tell(box->actor, "tasks.exec", body, 1);
    int64_t code = read_output(box, &out);
    printf("exec: %.*s, exit %lld\n", (int)out.size[1] - 1, out.text[1], (long long)code);
    forget_output(&out);
}

typedef struct {
    const char *container_id;
    int64_t last;
    int wanted;
    char topics[256];
} events;

static void events_body(void *closure, actord_pack *body) {
    const events *which = closure;
    actord_pack_map(body, 3);
    actord_pack_str(body, "container_id");
    actord_pack_str(body, which->container_id);
    actord_pack_str(body, "after");
    actord_pack_int(body, which->last);
    actord_pack_str(body, "follow");
    actord_pack_bool(body, 1);
}

static int events_part(void *closure, actord_message *part) {
    events *which = closure;
    actord_value topic = actord_get(part->body, "topic");
    size_t size = strlen(which->topics);
    snprintf(which->topics + size, sizeof which->topics - size, " %.*s", (int)topic.size, topic.text);
    which->last = actord_number(actord_get(part->header, "sq"), 0);
    return --which->wanted == 0;
}

/* So many topics behind the last event. */
static const char *follow(events *which, int wanted) {
    actord_follower follower = {events_body, events_part, which};
    actord_message answer;
    which->wanted = wanted;
    which->topics[0] = 0;
    if (actord_stream(client, "events", "events.subscribe", 16, &follower, &answer, &failure) != 1)
        give_up("events");
    return which->topics;
}

static void follow_events(const container *box) {
    events which = {.container_id = box->id};
    printf("events:%s, ", follow(&which, 1));
    printf("resumed:%s\n", follow(&which, 2));
}

/* What has become of the waits, whose ids begin alike. */
typedef struct {
    unsigned char id[16];
    int answered, refused, cancelled, exited;
} waits;

static void count_wait(waits *seen, actord_message *message) {
    actord_value re = actord_get(message->header, "re"), code = actord_get(message->body, "code");
    if (re.size != 16 || memcmp(re.text, seen->id, 12) != 0)
        return;
    seen->answered++;
    seen->refused += actord_equals(code, "overloaded");
    seen->cancelled += actord_equals(code, "unavailable");
    seen->exited += actord_number(actord_get(message->body, "exit_code"), 0) == 137;
}

/* Until there are `wanted` of what `which` counts, or a second has brought nothing. */
static void count_until(waits *seen, const int *which, int wanted) {
    actord_message message;
    while (*which < wanted && actord_next(client, 1000, &message) == 0) {
        count_wait(seen, &message);
        actord_message_close(&message);
    }
}

static void number(waits *seen, int index) { memcpy(seen->id + 12, &index, sizeof index); }

/* More waits than are allowed; room made by cancelling; then a request that is tried until it passes. */
static void overload(const container *box) {
    waits seen = {0};
    actord_pack body = {0};
    unsigned char id[16];
    actord_new_id(seen.id);
    for (int i = 0; i < WAITS; i++) {
        number(&seen, i);
        if (actord_send(client, seen.id, box->actor, "tasks.wait", NULL, 600000, 0, NULL, 0))
            give_up("wait");
    }
    count_until(&seen, &seen.refused, WAITS - ALLOWED);
    for (int i = 0; seen.cancelled == 0 && i < WAITS; i++) { /* the first ones were let in */
        number(&seen, i);
        actord_cancel(client, seen.id);
        count_until(&seen, &seen.cancelled, 1);
    }
    actord_pack_map(&body, 1);
    actord_pack_str(&body, "signal");
    actord_pack_int(&body, 9);
    for (int tries = 0; seen.exited == 0 && tries < 100; tries++) {
        actord_new_id(id);
        actord_send(client, id, box->actor, "tasks.kill", &body, LIMIT, 0, NULL, 0);
        count_until(&seen, &seen.exited, 1);
    }
    actord_pack_free(&body);
    count_until(&seen, &seen.answered, WAITS);
    int all = seen.refused && seen.cancelled && seen.exited;
    printf("overload: %d answered, %s\n", seen.answered, all ? "refused, cancelled and done" : "?");
}

static int reconnect_part(void *closure, actord_message *part) {
    output *out = closure;
    char line[32];
    output_part(closure, part);
    if (!out->told) {
        say("kill the router");
        out->told = fgets(line, sizeof line, stdin) && strcmp(line, "killed\n") == 0;
    }
    out->lines = 0;
    for (size_t i = 0; i < out->size[1]; i++)
        out->lines += out->text[1][i] == '\n';
    return actord_reconnections(client) > 0 && out->lines >= LINES;
}

static void reconnect(const char *image) {
    const char *args[] = {"sh", "-c", "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.02; done", NULL};
    output out = {0};
    actord_follower follower = {output_body, reconnect_part, &out};
    actord_message answer;
    char line[32];
    container box = create(image, args, 0);
    if (actord_stream(client, box.actor, "tasks.output", ACTORD_CREDIT, &follower, &answer, &failure) != 1)
        give_up("reconnect");
    const char *at = out.text[1];
    size_t right = 0;
    for (; right < out.lines; right++) {
        snprintf(line, sizeof line, "line %zu\n", right);
        if (strncmp(at, line, strlen(line)) != 0)
            break;
        at += strlen(line);
    }
    say(out.told && right == out.lines ? "reconnected: every line, once" : "reconnected: lines are missing");
    forget_output(&out);
    remove_container(&box);
}

static void session(const char *image) {
    const char *sleep[] = {"sleep", "1000", NULL};
    printf("connected, protocol %d\n", actord_protocol(client));
    list();
    look_for_nobody();
    send_nonsense();
    pull(image);
    run(image);
    container box = create(image, sleep, 0);
    exec_in(&box);
    follow_events(&box);
    overload(&box);
    remove_container(&box);
    reconnect(image);
    say("bye");
}

/* Streams of which something is missing: whoever drives this leaves out messages, and says some twice. */
static void streams(void) {
    const char *args[] = {NULL};
    output out = {0};
    events which = {.container_id = ""};
    container box = create("image", args, 0);
    int64_t code = read_output(&box, &out);
    printf("output: %.*s, exit %lld\n", (int)out.size[1], out.text[1], (long long)code);
    printf("events:%s\n", follow(&which, 4));
    forget_output(&out);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (argc == 2 && strcmp(mode, "vectors") == 0) {
        vectors();
        return 0;
    }
    if (!(argc == 4 && strcmp(mode, "session") == 0) && !(argc == 3 && strcmp(mode, "streams") == 0)) {
        fputs("session vectors | session session FILE IMAGE | session streams FILE\n", stderr);
        return 2;
    }
    client = actord_open(argv[2], &failure);
    if (client == NULL)
        give_up("connect");
    if (argc == 4)
        session(argv[3]);
    else
        streams();
    actord_close(client);
    return 0;
}
