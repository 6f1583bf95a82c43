// upstream PORT [MILLISECONDS]: a server of the chat completions API that does nothing but answer, as fast as it can: to
// be put behind gateways whose own cost is measured. A request with "stream":true gets a role frame, 64 pieces every
// MILLISECONDS (20), a finish and [DONE]; any other a short answer at once. One thread, epoll; it needs 10 times the
// pace of what it measures, and Benchmarks/gateway.py checks that.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { PIECES = 64, CONNECTIONS = 8192, BUFFER = 1 << 20 };

struct connection {
    int socket, piece; // piece < 0: no stream
    size_t filled;
    double due;
    char *bytes;
};

static struct connection *open_connections[CONNECTIONS];
static int poller, streaming;
static double interval = 0.02;
static char answer[1024];
static size_t answer_bytes;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void drop(struct connection *it) {
    if (it->piece >= 0) streaming--;
    open_connections[it->socket] = NULL;
    close(it->socket);
    free(it->bytes);
    free(it);
}

static bool put(struct connection *it, const char *bytes, size_t count) {
    // Small answers to readers that read: what does not fit into the socket's buffer is an error of the experiment.
    if (send(it->socket, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)count) return true;
    drop(it);
    return false;
}

static bool chunk(struct connection *it, const char *event) {
    char frame[1024];
    int count = snprintf(frame, sizeof frame, "%zx\r\n%s\r\n", strlen(event), event);
    return put(it, frame, count);
}

static bool delta(struct connection *it, const char *inside, const char *reason) {
    char event[512];
    snprintf(event, sizeof event,
             "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"mock\","
             "\"choices\":[{\"index\":0,\"delta\":{%s},\"finish_reason\":%s}]}\n\n", inside, reason);
    return chunk(it, event);
}

static void tick(struct connection *it) {
    while (it->piece >= 0 && it->due <= now()) {
        char inside[64];
        if (it->piece < PIECES) {
            snprintf(inside, sizeof inside, "\"content\":\"w%d \"", it->piece++);
            it->due += interval;
            if (!delta(it, inside, "null")) return;
        } else {
            it->piece = -1;
            streaming--;
            if (delta(it, "", "\"stop\"") && chunk(it, "data: [DONE]\n\n")) put(it, "0\r\n\r\n", 5);
            return;
        }
    }
}

static void respond(struct connection *it, const char *body, size_t count) {
    if (!memmem(body, count, "\"stream\":true", 13)) {
        put(it, answer, answer_bytes);
        return;
    }
    const char *head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    if (!put(it, head, strlen(head))) return;
    it->piece = 0;
    it->due = now();
    streaming++;
    if (delta(it, "\"role\":\"assistant\",\"content\":\"\"", "null")) tick(it);
}

static void take(struct connection *it) {
    ssize_t count = recv(it->socket, it->bytes + it->filled, BUFFER - 1 - it->filled, MSG_DONTWAIT);
    if (count <= 0) return drop(it);
    it->filled += count;
    it->bytes[it->filled] = 0;
    char *end = strstr(it->bytes, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(it->bytes, "\ncontent-length:");
    char *chunked = strcasestr(it->bytes, "\ntransfer-encoding: chunked");
    size_t head = end + 4 - it->bytes, size = length && length < end ? strtoul(length + 16, NULL, 10) : 0;
    if (chunked && chunked < end) {
        if (!memmem(it->bytes + head, it->filled - head, "0\r\n\r\n", 5)) return;
        size = it->filled - head;
    }
    if (it->filled - head < size) return;
    it->filled = 0;
    respond(it, it->bytes + head, size);
}

int main(int count, char **arguments) {
    if (count < 2) return fputs("usage: upstream PORT [MILLISECONDS]\n", stderr), 64;
    if (count > 2) interval = atof(arguments[2]) / 1e3;
    signal(SIGPIPE, SIG_IGN);
    const char *body = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"mock\",\"choices\":"
                       "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello there, how are you?\"},"
                       "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7,"
                       "\"total_tokens\":16}}";
    answer_bytes = snprintf(answer, sizeof answer,
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                            strlen(body), body);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("listen"), 71;
    poller = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, streaming ? 1 : -1);
        for (int i = 0; i < ready; i++) {
            int socket = events[i].data.fd;
            if (socket != listener) {
                if (open_connections[socket]) take(open_connections[socket]);
                continue;
            }
            int fresh = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fresh < 0) continue;
            if (fresh >= CONNECTIONS) { close(fresh); continue; }
            setsockopt(fresh, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            struct connection *it = calloc(1, sizeof *it);
            *it = (struct connection){.socket = fresh, .piece = -1, .bytes = malloc(BUFFER)};
            open_connections[fresh] = it;
            epoll_ctl(poller, EPOLL_CTL_ADD, fresh, &(struct epoll_event){.events = EPOLLIN, .data.fd = fresh});
        }
        if (streaming)
            for (int i = 0; i < CONNECTIONS; i++)
                if (open_connections[i] && open_connections[i]->piece >= 0) tick(open_connections[i]);
    }
}
