// load: requests to servers of the chat completions API, and how long the answers take. Prints one line of JSON a target.
//
//   load latency ROUNDS EACH BODY PORT…     one connection a target, kept; each round asks every target EACH times, in
//                                           random order; the medians' differences say what a gateway adds
//   load closed SECONDS CONNECTIONS BODY PORT   as many requests as go, each connection one after another
//   load open SECONDS RATE CONNECTIONS BODY PORT   so many requests a second whatever comes back, and the time counted
//                                           from when each was due (no coordinated omission, G. Tene 2013)
//   load streams CONNECTIONS BODY PORT      so many streams at once, each once; frames are counted
//
// BODY is the request's JSON. Times are microseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

struct times { float *values; size_t count, room; };
struct connection {
    int socket, port;
    bool busy, in_body, is_chunked;
    double began, first, last;
    size_t expected, received, tail;
    char end[8], head[4096];
    size_t head_bytes;
    int frames, matched, status;
};
// `accepted` are the answers with status 200, `told` those with 429; what failed otherwise is in neither.
struct target { int port; struct times whole, first, gaps, accepted, told; long answers, errors, refused, frames, least, most; };

static char *request;
static size_t request_bytes;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void note(struct times *times, double value) {
    if (times->count == times->room)
        times->values = realloc(times->values, sizeof(float) * (times->room = times->room ? times->room * 2 : 1024));
    times->values[times->count++] = value;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, struct times *times) {
    if (!times->count) return;
    qsort(times->values, times->count, sizeof(float), ascending);
    size_t last = times->count - 1;
    printf(",\"%s\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, times->values[last / 2],
           times->values[last * 9 / 10], times->values[last * 99 / 100], times->values[last]);
}

static void dial(struct connection *it) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(it->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    it->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(it->socket, (struct sockaddr *)&address, sizeof address)) perror("connect"), exit(69);
    setsockopt(it->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static void ask(struct connection *it, double began) {
    it->busy = true;
    it->in_body = it->is_chunked = false;
    it->began = began;
    it->first = it->last = 0;
    it->expected = it->received = it->tail = it->head_bytes = 0;
    it->frames = it->matched = 0;
    for (size_t sent = 0; sent < request_bytes;) {
        ssize_t count = send(it->socket, request + sent, request_bytes - sent, MSG_NOSIGNAL);
        if (count < 0) perror("send"), exit(69);
        sent += count;
    }
}

// Counts "data: {" and keeps the last five bytes, by which the end of a chunked body is known.
static void body(struct connection *it, struct target *target, const char *bytes, size_t count, double at) {
    static const char mark[] = "data: {";
    int before = it->frames;
    for (size_t i = 0; i < count; i++) {
        it->matched = bytes[i] == mark[it->matched] ? it->matched + 1 : bytes[i] == mark[0];
        if (it->matched == 7) it->frames++, it->matched = 0;
    }
    if (!it->received && count) it->first = at, note(&target->first, at - it->began);
    else if (it->frames > before && it->last) note(&target->gaps, at - it->last);
    if (it->frames > before) it->last = at;
    it->received += count;
    for (size_t i = count > 5 ? count - 5 : 0; i < count; i++) {
        memmove(it->end, it->end + 1, 4);
        it->end[4] = bytes[i];
    }
}

// True once the answer is complete.
static bool take(struct connection *it, struct target *target) {
    char bytes[65536];
    ssize_t count = recv(it->socket, bytes, sizeof bytes, 0);
    double at = now();
    if (count <= 0) { target->errors++; close(it->socket); dial(it); return true; }
    char *rest = bytes;
    if (!it->in_body) {
        size_t part = (size_t)count < sizeof it->head - 1 - it->head_bytes ? (size_t)count : sizeof it->head - 1 - it->head_bytes;
        memcpy(it->head + it->head_bytes, bytes, part);
        it->head[it->head_bytes + part] = 0;
        char *end = strstr(it->head, "\r\n\r\n");
        if (!end) { it->head_bytes += part; return false; }
        size_t used = end + 4 - it->head - it->head_bytes;
        rest += used;
        count -= used;
        char *length = strcasestr(it->head, "\ncontent-length:");
        it->is_chunked = !length;
        it->expected = length ? strtoul(length + 16, NULL, 10) : 0;
        it->in_body = true;
        it->status = atoi(it->head + 9);
        if (it->status != 200) target->errors++;
    }
    body(it, target, rest, count, at);
    if (it->is_chunked ? memcmp(it->end, "0\r\n\r\n", 5) || it->received < 5 : it->received < it->expected) return false;
    note(&target->whole, at - it->began);
    if (it->status == 200) note(&target->accepted, at - it->began);
    if (it->status == 429) note(&target->told, at - it->began), target->refused++;
    target->answers++;
    target->frames += it->frames;
    if (target->answers == 1 || it->frames < target->least) target->least = it->frames;
    if (it->frames > target->most) target->most = it->frames;
    it->busy = false;
    return true;
}

static void report(struct target *target, double seconds) {
    printf("{\"port\":%d,\"answers\":%ld,\"errors\":%ld,\"refused\":%ld,\"seconds\":%.3f,\"rate\":%.1f,\"frames\":%ld,\"least\":%ld,\"most\":%ld",
           target->port, target->answers, target->errors, target->refused, seconds, target->answers / seconds, target->frames,
           target->least, target->most);
    print("whole", &target->whole);
    print("first", &target->first);
    print("gaps", &target->gaps);
    print("accepted", &target->accepted);
    print("told", &target->told);
    puts("}");
}

static void latency(int rounds, int each, struct target *targets, int count) {
    struct connection *all = calloc(count, sizeof *all);
    for (int i = 0; i < count; i++) all[i].port = targets[i].port, dial(&all[i]);
    double begin = now();
    for (int round = -1; round < rounds; round++) {
        int order[64];
        for (int i = 0; i < count; i++) {
            int j = rand() % (i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        for (int i = 0; i < count; i++)
            for (int k = 0; k < each; k++) {
                ask(&all[order[i]], now());
                while (!take(&all[order[i]], &targets[order[i]])) {}
            }
        // The first round warms up.
        if (round < 0)
            for (int i = 0; i < count; i++)
                targets[i].whole.count = targets[i].first.count = targets[i].gaps.count = targets[i].answers = targets[i].frames = 0;
    }
    for (int i = 0; i < count; i++) report(&targets[i], (now() - begin) / 1e6);
}

static void many(struct target *target, int connections, double seconds, double rate, bool once) {
    struct connection *all = calloc(connections, sizeof *all);
    int poller = epoll_create1(0), open = 0;
    double begin = now(), end = begin + seconds * 1e6, due = begin;
    for (int i = 0; i < connections; i++) {
        all[i].port = target->port;
        dial(&all[i]);
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].socket, &(struct epoll_event){.events = EPOLLIN, .data.u32 = i});
    }
    begin = now(), end = begin + seconds * 1e6, due = begin;
    if (!rate)
        for (; open < connections; open++) ask(&all[open], now());
    int next = 0;
    while (open || (rate && now() < end)) {
        while (rate && due <= now() && due < end) {
            int tried = 0;
            while (tried < connections && all[next].busy) next = (next + 1) % connections, tried++;
            if (all[next].busy) break;  // all are: it waits, and the waiting counts
            ask(&all[next], due);
            open++;
            due += 1e6 / rate;
        }
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, rate ? 0 : 100);
        for (int i = 0; i < ready; i++) {
            struct connection *it = &all[events[i].data.u32];
            if (!it->busy || !take(it, target)) continue;
            open--;
            if (!rate && !once && now() < end) ask(it, now()), open++;
        }
    }
    report(target, (now() - begin) / 1e6);
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    int body_at = !strcmp(mode, "latency") || !strcmp(mode, "closed") ? 4 : !strcmp(mode, "open") ? 5 : 3;
    if (count < body_at + 2) return fputs("usage: see the head of load.c\n", stderr), 64;
    char *text = arguments[body_at];
    request_bytes = asprintf(&request,
                             "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                             "Authorization: Bearer sk-none\r\nContent-Length: %zu\r\n\r\n%s", strlen(text), text);
    struct target targets[64] = {0};
    int number = 0;
    for (int i = body_at + 1; i < count && number < 64; i++) targets[number++].port = atoi(arguments[i]);
    if (!strcmp(mode, "latency")) latency(atoi(arguments[2]), atoi(arguments[3]), targets, number);
    else if (!strcmp(mode, "closed")) many(targets, atoi(arguments[3]), atof(arguments[2]), 0, false);
    else if (!strcmp(mode, "open")) many(targets, atoi(arguments[4]), atof(arguments[2]), atof(arguments[3]), false);
    else if (!strcmp(mode, "streams")) many(targets, atoi(arguments[2]), 3600, 0, true);
    else return 64;
}
