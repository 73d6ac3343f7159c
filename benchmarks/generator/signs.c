/* Many version-1 signs in one thread: connects as devices do, then measures how long
 * a change of the light takes to reach all of them.
 *
 *   signs PORT COUNT TOKEN CONTROL_PORT [PER_SECOND [IN_FLIGHT]]
 *
 * Loopback only. Takes one command a line on standard input and answers in JSON lines;
 * none takes longer than LIMIT_S:
 *   open           dials all signs; done when each was told OK and its light
 *   flip TIMES MS  a line for each of TIMES changes; MS of quiet before each
 *   idle SECONDS   as signs do at rest: answers pings, and pings once in 15 s
 * A change is one byte, '1' or '0', on a connection to CONTROL_PORT; its clock starts
 * just before that byte is written.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT_S = 60,
    MAX_COUNT = 60000,
    MAX_TOKEN = 100,
    PER_SOURCE = 20000, /* signs that share one address: ports are few */
    PING_EVERY_S = 15,
    BATCH = 512,
};
static const uint64_t SECOND = 1000000000, MILLISECOND = 1000000;

enum state { FREE, DIALLING, UPGRADING, JOINING, WELCOMED, SHINING, LOST };

struct sign {
    int fd;
    enum state state;
    char light;
    uint16_t have;
    uint64_t dialled_at;
    unsigned char buffer[512];
};

/* Source: RFC 6455 1.3, whose example key this is. */
static const char ACCEPT[] = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
static const unsigned char PING[] = {0x89, 0x80, 0, 0, 0, 0};
static const unsigned char PONG[] = {0x8a, 0x80, 0, 0, 0, 0};
enum { COMMANDS = UINT32_MAX };

static struct sign *signs;
static uint32_t count, dialled, shining, lost;
static uint16_t port;
static int poller, control;
static char request[512];
static unsigned char auth[6 + 5 + MAX_TOKEN];
static size_t request_size, auth_size;
static char light = '0'; /* what was last asked for */
static uint64_t began, *times;
static uint32_t arrived;
static uint64_t pongs, pings_answered;
static char command[128];
static size_t command_size;

static void die(const char *what, ...) {
    va_list args;
    va_start(args, what);
    vfprintf(stderr, what, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t now(void) { return clock_ns(CLOCK_MONOTONIC); }

static uint64_t cpu(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

/* ---- one sign ------------------------------------------------------------------ */

static void lose(struct sign *sign) {
    if (sign->state == SHINING) shining--;
    if (sign->state != LOST) lost++;
    sign->state = LOST;
    close(sign->fd);
}

static void say(struct sign *sign, const void *data, size_t size) {
    if (send(sign->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) lose(sign);
}

static struct sockaddr_in loopback(uint32_t host, uint16_t port_) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port_),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host)};
}

static void watch(int fd, uint32_t who, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u32 = who};
    if (epoll_ctl(poller, operation, fd, &event)) die("epoll: %s", strerror(errno));
}

static void dial(uint32_t who) {
    struct sign *sign = &signs[who];
    struct sockaddr_in from = loopback(1 + who / PER_SOURCE, 0), to = loopback(0, port);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* A reset at the end leaves no port in TIME_WAIT for the next run. */
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (fd < 0) die("sign %u: %s", who, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("bind: %s", strerror(errno));
    *sign = (struct sign){.fd = fd, .state = DIALLING, .dialled_at = now()};
    watch(fd, who, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        lose(sign);
}

static void take_text(struct sign *sign, const unsigned char *text, size_t size) {
    if (sign->state == JOINING && size == 2 && !memcmp(text, "OK", 2)) {
        sign->state = WELCOMED;
    } else if (size == 1 && (*text == '0' || *text == '1')) {
        if (sign->state == WELCOMED) {
            sign->state = SHINING;
            times[shining++] = now() - sign->dialled_at;
        } else if (began && *text == light && sign->light != light) {
            times[arrived++] = now() - began;
        }
        sign->light = (char)*text;
    } else {
        lose(sign); /* NOAUTH, or nothing that a server says */
    }
}

/* Take one frame off the buffer; return how long it was, 0 when it is not whole. */
static size_t take_frame(struct sign *sign, const unsigned char *data, size_t have) {
    size_t size = have < 2 ? 0 : data[1];
    if (size > 125) { /* masked, or longer than anything that is said to a sign */
        lose(sign);
        return 0;
    }
    if (have < 2 + size) return 0;
    switch (data[0]) {
    case 0x81:
        take_text(sign, data + 2, size);
        break;
    case 0x89:
        pings_answered++;
        say(sign, PONG, sizeof PONG); /* no server here puts a payload into it */
        break;
    case 0x8a:
        pongs++;
        break;
    default:
        lose(sign);
    }
    return 2 + size;
}

static void take_head(struct sign *sign) {
    unsigned char *end = memmem(sign->buffer, sign->have, "\r\n\r\n", 4);
    if (!end) return;
    size_t size = (size_t)(end - sign->buffer) + 4;
    int fine = !strncmp((char *)sign->buffer, "HTTP/1.1 101 ", 13) &&
               memmem(sign->buffer, size, ACCEPT, sizeof ACCEPT - 1);
    sign->have -= (uint16_t)size;
    memmove(sign->buffer, end + 4, sign->have);
    sign->state = JOINING;
    if (fine)
        say(sign, auth, auth_size);
    else
        lose(sign);
}

static void hear(struct sign *sign) {
    size_t room = sizeof sign->buffer - sign->have;
    ssize_t size = recv(sign->fd, sign->buffer + sign->have, room, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        lose(sign);
        return;
    }
    sign->have += (uint16_t)size;
    if (sign->state == UPGRADING) take_head(sign);
    size_t at = 0, step = 1;
    while (step && sign->state > UPGRADING && sign->state < LOST && at < sign->have)
        at += step = take_frame(sign, sign->buffer + at, sign->have - at);
    sign->have -= (uint16_t)at;
    memmove(sign->buffer, sign->buffer + at, sign->have);
}

/* ---- all of them --------------------------------------------------------------- */

static int command_is_whole(void) {
    return memchr(command, '\n', command_size) != NULL;
}

static void hear_command(void) {
    ssize_t size = read(STDIN_FILENO, command + command_size,
                        sizeof command - 1 - command_size);
    if (size <= 0) exit(0);
    command_size += (size_t)size;
}

/* Handle what is ready; wait for something until `until`. */
static void turn(uint64_t until) {
    struct epoll_event events[BATCH];
    uint64_t at = now();
    int wait_ms = at < until ? (int)((until - at + MILLISECOND - 1) / MILLISECOND) : 0;
    int ready = epoll_wait(poller, events, BATCH, wait_ms);
    for (int i = 0; i < ready; i++) {
        uint32_t who = events[i].data.u32;
        if (who == COMMANDS) {
            hear_command();
            continue;
        }
        struct sign *sign = &signs[who];
        if (sign->state == DIALLING && events[i].events & EPOLLOUT) {
            watch(sign->fd, who, EPOLL_CTL_MOD, EPOLLIN);
            sign->state = UPGRADING;
            say(sign, request, request_size);
        } else if (sign->state != LOST) {
            hear(sign);
        }
    }
}

static int by_time(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The first `size` of `times` in milliseconds, as fields of a JSON object. */
static const char *spread(uint32_t size) {
    static char text[160];
    qsort(times, size, sizeof *times, by_time);
#define AT(part) (size ? (double)times[(uint64_t)(size - 1) * (part) / 100] / 1e6 : 0.0)
    snprintf(text, sizeof text,
             "\"first_ms\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"last_ms\": %.3f",
             AT(0), AT(50), AT(99), AT(100));
#undef AT
    return text;
}

static void open_all(uint32_t per_second, uint32_t in_flight) {
    uint64_t start = now(), cpu_start = cpu(), end = start + LIMIT_S * SECOND;
    while (shining + lost < count && now() < end) {
        uint64_t due = (now() - start) * per_second / SECOND + 1;
        while (dialled < count && dialled < due && dialled - shining - lost < in_flight)
            dial(dialled++);
        turn(now() + MILLISECOND);
    }
    uint64_t took = now() - start;
    for (uint32_t i = 0; i < count; i++)
        if (signs[i].state == SHINING) light = signs[i].light;
    printf("{\"open\": %u, \"lost\": %u, \"seconds\": %.3f, %s, \"cpu_ms\": %.3f}\n",
           shining, count - shining, (double)took / 1e9, spread(shining),
           (double)(cpu() - cpu_start) / 1e6);
}

static void flip_all(uint32_t flips, uint32_t quiet_ms) {
    for (uint32_t i = 1; i <= flips; i++) {
        uint64_t rest = now() + quiet_ms * MILLISECOND;
        while (now() < rest) turn(rest);
        uint64_t cpu_start = cpu();
        arrived = 0;
        light = light == '1' ? '0' : '1';
        began = now();
        if (write(control, &light, 1) != 1) die("control: %s", strerror(errno));
        uint64_t end = began + LIMIT_S / 4 * SECOND;
        while (arrived < shining && now() < end) turn(end);
        began = 0;
        printf("{\"flip\": %u, \"light\": %c, \"arrived\": %u, \"missing\": %u, %s, "
               "\"cpu_ms\": %.3f}\n",
               i, light, arrived, count - arrived, spread(arrived),
               (double)(cpu() - cpu_start) / 1e6);
        fflush(stdout);
    }
}

static void idle(uint32_t seconds) {
    uint64_t start = now(), end = start + seconds * SECOND, pinged = 0;
    pongs = pings_answered = 0;
    while (now() < end) {
        /* In turn, each once in PING_EVERY_S. */
        uint64_t due = (now() - start) * count / (PING_EVERY_S * SECOND);
        for (; pinged < due; pinged++) {
            struct sign *sign = &signs[pinged % count];
            if (sign->state == SHINING) say(sign, PING, sizeof PING);
        }
        turn(now() + 10 * MILLISECOND);
    }
    printf("{\"idle\": %u, \"pings\": %lu, \"pongs\": %lu, \"pings_answered\": %lu, "
           "\"lost\": %u}\n",
           seconds, pinged, pongs, pings_answered, lost);
}

/* ---- the program --------------------------------------------------------------- */

static uint32_t number(const char *text, uint32_t least, uint32_t most) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || end == text || n < least || n > most)
        die("%s is not a number from %u to %u", text, least, most);
    return (uint32_t)n;
}

static void allow_open_files(uint32_t wanted) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted) limit.rlim_max = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit)) die("%u open files: %s", wanted, strerror(errno));
}

static void prepare_texts(const char *token) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    char text[5 + MAX_TOKEN + 1];
    size_t size = (size_t)snprintf(text, sizeof text, "AUTH:%s", token);
    if (size >= sizeof text) die("the token is too long");
    auth[0] = 0x81;
    auth[1] = (unsigned char)(0x80 | size);
    memcpy(auth + 2, mask, 4);
    for (size_t i = 0; i < size; i++)
        auth[6 + i] = (unsigned char)text[i] ^ mask[i % 4];
    auth_size = 6 + size;
    /* Source: WebSocketsClient.cpp 2.7.1, sendHeader. */
    request_size = (size_t)snprintf(request, sizeof request,
                                    "GET /ws HTTP/1.1\r\n"
                                    "Host: 127.0.0.1:%u\r\n"
                                    "Connection: Upgrade\r\n"
                                    "Upgrade: websocket\r\n"
                                    "Sec-WebSocket-Version: 13\r\n"
                                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                    "Sec-WebSocket-Protocol: arduino\r\n"
                                    "Origin: file://\r\n"
                                    "User-Agent: arduino-WebSocket-Client\r\n\r\n",
                                    port);
}

static void obey(uint32_t per_second, uint32_t in_flight) {
    unsigned a, b;
    if (!strncmp(command, "open\n", 5))
        open_all(per_second, in_flight);
    else if (sscanf(command, "flip %u %u", &a, &b) == 2 && a <= 10000 && b <= 10000)
        flip_all(a, b);
    else if (sscanf(command, "idle %u", &a) == 1 && a <= LIMIT_S)
        idle(a);
    else
        die("no command: %.*s", (int)command_size, command);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 5 || argc > 7)
        die("usage: signs PORT COUNT TOKEN CONTROL_PORT [PER_SECOND [IN_FLIGHT]]");
    port = (uint16_t)number(argv[1], 1, 65535);
    count = number(argv[2], 1, MAX_COUNT);
    prepare_texts(argv[3]);
    struct sockaddr_in to = loopback(0, (uint16_t)number(argv[4], 1, 65535));
    uint32_t per_second = argc > 5 ? number(argv[5], 1, 100000) : 20000;
    uint32_t in_flight = argc > 6 ? number(argv[6], 1, MAX_COUNT) : 100;

    allow_open_files(count + 32);
    signs = calloc(count, sizeof *signs);
    times = calloc(count, sizeof *times);
    poller = epoll_create1(EPOLL_CLOEXEC);
    control = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!signs || !times || poller < 0 || control < 0) die("%s", strerror(errno));
    if (connect(control, (struct sockaddr *)&to, sizeof to))
        die("control: %s", strerror(errno));
    int yes = 1;
    setsockopt(control, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    watch(STDIN_FILENO, COMMANDS, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        while (!command_is_whole()) turn(now() + SECOND);
        obey(per_second, in_flight);
        char *next = (char *)memchr(command, '\n', command_size) + 1;
        command_size -= (size_t)(next - command);
        memmove(command, next, command_size);
    }
}
