/* A closed-loop load client for HTTP/1.1 and WebSocket echo on 127.0.0.1, in one thread.
 *
 * Every connection sends the same ready-made bytes, waits for one whole reply, and sends again. It parses no more
 * than where a reply ends, so that on one core it outruns any Python server many times over, and it reports its own
 * CPU time so that a reader can see that it did.
 *
 *   load http|ws[,awake] PORT CONNECTIONS MESSAGE_FILE [HANDSHAKE_FILE] [FIRST_REPLY_FILE]
 *
 * With ",awake" it asks for replies without sleeping, so that no server has to wake it.
 * It connects, shakes hands where there is a handshake to send, prints "ready", and then obeys lines on its standard
 * input: "run SECONDS REPLIES" loads the server until either is reached (0: no such bound), lets what is in flight
 * end, and prints one line of JSON. End of input ends it. Any surprise ends it with a sentence on standard error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, BUFFER = 1 << 18, EVENTS = 256, PATIENCE_MS = 60000 };
enum step { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, FRAME };

struct bytes { char *data; size_t size; };

struct connection {
    int fd, handshaking, in_flight, wants_out, last_frame, is_control, is_new;
    enum step step;
    size_t sent, head_size, left, reply_size;
    double sent_at;
    char head[HEAD_MAX];
};

static struct bytes message, handshake;
static struct connection *connections;
static struct sockaddr_in address = {.sin_family = AF_INET};
static int count, epoll_fd, is_ws, stays_awake, in_flight, open_handshakes;
static FILE *first_reply;
static size_t expected_size;
static float *latencies;
static size_t replies, latency_room, received, reconnects;
static char buffer[BUFFER];

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct bytes read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    struct bytes result = {0};
    if (!file || fseek(file, 0, SEEK_END)) die("cannot read %s", path);
    result.size = ftell(file);
    result.data = malloc(result.size + 1);
    rewind(file);
    if (fread(result.data, 1, result.size, file) != result.size) die("cannot read %s", path);
    fclose(file);
    return result;
}

static void watch(struct connection *c, int wants_out, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event)) die("epoll_ctl: %s", strerror(errno));
    c->wants_out = wants_out;
}

static void dial(struct connection *c) {
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    watch(c, 0, EPOLL_CTL_ADD);
    c->is_new = 1;
}

/* A server may close an HTTP connection between two replies (Hypercorn does so after 1,000); elsewhere it is an error. */
static void redial(struct connection *c) {
    if (is_ws || c->is_new || (c->in_flight && c->head_size)) die("the server closed a connection");
    if (c->in_flight && c->step != HEAD) die("the server closed a connection amid a reply");
    close(c->fd);
    dial(c);
    c->sent = 0;
    reconnects++;
}

static void push(struct connection *c) {
    struct bytes *out = c->handshaking ? &handshake : &message;
    while (c->sent < out->size) {
        ssize_t n = send(c->fd, out->data + c->sent, out->size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) {
            redial(c);
            continue;
        }
        c->sent += n;
    }
    if ((c->sent < out->size) != c->wants_out) watch(c, !c->wants_out, EPOLL_CTL_MOD);
}

static void start(struct connection *c) {
    c->sent = c->head_size = c->reply_size = 0;
    c->step = is_ws && !c->handshaking ? FRAME : HEAD;
    c->in_flight = 1;
    in_flight++;
    c->sent_at = now();
    push(c);
}

static void done(struct connection *c) {
    if (!c->in_flight) die("a message that answers nothing");
    c->in_flight = 0;
    in_flight--;
    c->is_new = 0;
    if (c->handshaking) {
        c->handshaking = 0;
        open_handshakes--;
        return;
    }
    if (first_reply && c == connections) {
        fclose(first_reply);
        first_reply = NULL;
    }
    if (!expected_size) expected_size = c->reply_size;
    if (c->reply_size != expected_size) die("a reply of %zu bytes after one of %zu", c->reply_size, expected_size);
    if (replies == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 1 << 16;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
    }
    latencies[replies++] = (now() - c->sent_at) * 1e6;
}

static void begin_body(struct connection *c) {
    const char *wanted = c->handshaking ? "101" : "200", *field;
    if (strncmp(c->head, "HTTP/1.1 ", 9) || strncmp(c->head + 9, wanted, 3)) die("no %s but: %.400s", wanted, c->head);
    if (c->handshaking) {
        done(c);
    } else if ((field = strcasestr(c->head, "\r\ncontent-length:"))) {
        c->left = strtoull(field + 17, NULL, 10);
        c->step = BODY;
        if (!c->left) done(c);
    } else if (strcasestr(c->head, "\r\ntransfer-encoding: chunked")) {
        c->step = CHUNK_SIZE;
        c->head_size = 0;
    } else {
        die("a reply without a length: %.400s", c->head);
    }
}

/* Takes one byte of something that ends with `end`; true when that end has come. */
static int line_ends(struct connection *c, char byte, const char *end, size_t end_size) {
    if (c->head_size + 1 >= HEAD_MAX) die("a head or line of more than %d bytes", HEAD_MAX);
    c->head[c->head_size++] = byte;
    c->head[c->head_size] = 0;
    return c->head_size >= end_size && !memcmp(c->head + c->head_size - end_size, end, end_size);
}

static void end_of_line(struct connection *c) {
    if (c->step == HEAD) {
        begin_body(c);
    } else if (c->step == CHUNK_SIZE) {
        c->left = strtoull(c->head, NULL, 16);
        c->step = c->left ? CHUNK_DATA : TRAILER;
    } else if (c->step == CHUNK_END) {
        c->step = CHUNK_SIZE;
    } else if (c->head_size == 2) {
        done(c);
    }
    c->head_size = 0;
}

static void begin_frame(struct connection *c) {
    unsigned char *h = (unsigned char *)c->head;
    size_t length = h[1] & 0x7f, extra = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (c->head_size < 2 + extra) return;
    if ((h[0] & 0x0f) == 8) die("the server closed a WebSocket");
    c->is_control = (h[0] & 0x0f) > 8;
    c->last_frame = h[0] >> 7;
    if (extra) length = 0;
    for (size_t i = 0; i < extra; i++) length = length << 8 | h[2 + i];
    c->left = length;
    c->head_size = 0;
    c->step = BODY;
}

static void end_of_body(struct connection *c) {
    if (c->step == CHUNK_DATA) {
        c->step = CHUNK_END;
        return;
    }
    if (is_ws) c->step = FRAME;
    if (!is_ws || (c->last_frame && !c->is_control)) done(c);
}

static void feed(struct connection *c, const char *data, size_t size) {
    received += size;
    if (first_reply && !c->handshaking && c == connections) fwrite(data, 1, size, first_reply);
    while (size) {
        if (!c->in_flight && !is_ws) die("bytes that answer nothing: %.100s", data);
        if (c->step == BODY || c->step == CHUNK_DATA) {
            size_t part = size < c->left ? size : c->left;
            data += part, size -= part, c->left -= part;
            if (!c->is_control) c->reply_size += part;
            if (!c->left) end_of_body(c);
        } else if (c->step == FRAME) {
            c->head[c->head_size++] = *data++, size--;
            if (c->head_size >= 2) begin_frame(c);
            if (c->step == BODY && !c->left) end_of_body(c);
        } else {
            int ended = c->step == HEAD ? line_ends(c, *data, "\r\n\r\n", 4) : line_ends(c, *data, "\r\n", 2);
            data++, size--;
            if (ended) end_of_line(c);
        }
    }
}

static void pull(struct connection *c) {
    for (;;) {
        ssize_t n = recv(c->fd, buffer, BUFFER, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            redial(c);
            if (c->in_flight) push(c);
            return;
        }
        feed(c, buffer, n);
        if (n < BUFFER) return;
    }
}

/* One turn of the loop; connections whose reply has come send again while `again` holds. */
static void turn(int again) {
    struct epoll_event events[EVENTS];
    double since = now();
    int n;
    do n = epoll_wait(epoll_fd, events, EVENTS, stays_awake ? 0 : PATIENCE_MS);
    while (n == 0 && stays_awake && now() - since < PATIENCE_MS / 1e3);
    if (n == 0) die("no reply within %d s", PATIENCE_MS / 1000);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) push(c);
        if (events[i].events & ~EPOLLOUT) pull(c);
        if (again && !c->in_flight) start(c);
    }
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void run(double seconds, size_t most) {
    double begun = now(), used = cpu(), elapsed;
    replies = received = reconnects = 0;
    for (int i = 0; i < count; i++) start(&connections[i]);
    while ((!seconds || now() - begun < seconds) && (!most || replies + in_flight < most)) turn(1);
    while (in_flight) turn(0);
    elapsed = now() - begun;
    used = cpu() - used;
    qsort(latencies, replies, sizeof *latencies, ascending);
    printf("{\"replies\": %zu, \"seconds\": %.6f, \"client_cpu_seconds\": %.6f, \"bytes\": %zu, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"reconnects\": %zu}\n", replies, elapsed, used, received, latencies[replies / 2],
           latencies[replies - 1 - replies / 100], reconnects);
    fflush(stdout);
}

static void open_connections(int port) {
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; i++) {
        struct connection *c = &connections[i];
        dial(c);
        if (!handshake.size) continue;
        c->handshaking = 1;
        open_handshakes++;
        start(c);
        while (open_handshakes >= 16) turn(0);
    }
    while (open_handshakes) turn(0);
}

int main(int argc, char **argv) {
    double seconds;
    size_t most;
    if (argc < 5) die("usage: load http|ws[,awake] PORT CONNECTIONS MESSAGE_FILE [HANDSHAKE_FILE] [FIRST_REPLY_FILE]");
    is_ws = !strncmp(argv[1], "ws", 2);
    stays_awake = strstr(argv[1], ",awake") != NULL;
    count = atoi(argv[3]);
    message = read_file(argv[4]);
    if (argc > 5 && *argv[5]) handshake = read_file(argv[5]);
    if (argc > 6 && !(first_reply = fopen(argv[6], "wb"))) die("cannot write %s", argv[6]);
    connections = calloc(count, sizeof *connections);
    epoll_fd = epoll_create1(0);
    open_connections(atoi(argv[2]));
    puts("ready");
    fflush(stdout);
    while (scanf(" run %lf %zu", &seconds, &most) == 2) run(seconds, most);
    return 0;
}
