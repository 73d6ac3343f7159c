/* The floor: the devices' wire with nothing between it and the kernel. One thread,
 * epoll, one send() a sign. Shows what a broadcast costs whatever the language.
 *
 *   floor TOKEN
 *
 * Listens on two free ports of the loopback, tells both on standard output, and takes
 * '1' and '0' on the second.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MAX_FDS = 65536, SLOTS = 100, SLOT_MS = 150, MAX_MISSED = 2, BATCH = 512 };
enum state { GONE, UPGRADING, JOINING, SHINING, CONTROL };

/* What is kept of a sign; what it is sending is kept only until it is whole. */
struct sign {
    uint8_t state, missed;
    uint16_t have;
    char *buffer;
};
enum { BUFFER = 1024 };

static struct sign signs[MAX_FDS];
static int poller, last_fd;
static unsigned char frame[3] = {0x81, 1, '0'};
static const char *token;

/* ---- the accept key: SHA-1 (RFC 3174) and base64 ------------------------------- */

static uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

static void sha1_block(uint32_t h[5], const unsigned char *block) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                              : (b ^ c ^ d) + 0xca62c1d6;
        uint32_t next = rotated(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = rotated(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* `key` has 24 characters; with the GUID they fill 60 bytes, so two blocks. */
static void accept_of(const char *key, char out[29]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char data[128] = {0}, digest[21] = {0};
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(data, key, 24);
    memcpy(data + 24, guid, 36);
    data[60] = 0x80;
    data[126] = 60 * 8 >> 8;
    data[127] = 60 * 8 & 255;
    sha1_block(h, data);
    sha1_block(h, data + 64);
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 | digest[3 * i + 1] << 8 |
                         digest[3 * i + 2];
        for (int j = 0; j < 4; j++) out[4 * i + j] = digits[three >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

/* ---- one sign ------------------------------------------------------------------ */

static void drop(int fd) {
    free(signs[fd].buffer);
    signs[fd] = (struct sign){0};
    close(fd);
}

static void say(int fd, const void *data, size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) drop(fd);
}

static void upgrade(int fd) {
    struct sign *sign = &signs[fd];
    char *key = strcasestr(sign->buffer, "\r\nSec-WebSocket-Key: "), accept[29], reply[256];
    if (!key || strncmp(sign->buffer, "GET /ws ", 8) || strlen(key) < 21 + 24) {
        drop(fd);
        return;
    }
    accept_of(key + 21, accept);
    int size = snprintf(reply, sizeof reply,
                        "HTTP/1.1 101 Switching Protocols\r\n"
                        "Upgrade: websocket\r\n"
                        "Connection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n"
                        "Sec-WebSocket-Protocol: arduino\r\n\r\n",
                        accept);
    sign->state = JOINING;
    sign->have = 0; /* a sign waits for the answer */
    say(fd, reply, (size_t)size);
}

static void join(int fd) {
    struct sign *sign = &signs[fd];
    unsigned char *data = (unsigned char *)sign->buffer;
    size_t size = data[1] & 127, wanted = strlen(token);
    if (sign->have < 6 + size) return;
    for (size_t i = 0; i < size; i++) data[6 + i] ^= data[2 + i % 4];
    if (data[0] != 0x81 || size != 5 + wanted || memcmp(data + 6, "AUTH:", 5) ||
        memcmp(data + 11, token, wanted)) {
        say(fd, "\x81\x06NOAUTH", 8);
        drop(fd);
        return;
    }
    free(sign->buffer);
    sign->buffer = NULL;
    sign->state = SHINING;
    unsigned char welcome[7] = {0x81, 2, 'O', 'K', 0x81, 1, frame[2]};
    say(fd, welcome, sizeof welcome);
}

static void hear_first(int fd) {
    struct sign *sign = &signs[fd];
    if (!sign->buffer && !(sign->buffer = malloc(BUFFER))) abort();
    ssize_t size = recv(fd, sign->buffer + sign->have, BUFFER - 1 - sign->have, 0);
    if (size <= 0) {
        drop(fd);
        return;
    }
    sign->have += (uint16_t)size;
    sign->buffer[sign->have] = 0;
    if (sign->state == JOINING && sign->have >= 2)
        join(fd);
    else if (sign->state == UPGRADING && strstr(sign->buffer, "\r\n\r\n"))
        upgrade(fd);
}

/* A sign that was let in only pings, and answers pings. */
static void hear(int fd) {
    unsigned char data[256];
    ssize_t size = recv(fd, data, sizeof data, 0);
    if (size <= 0) {
        drop(fd);
        return;
    }
    signs[fd].missed = 0;
    if (data[0] == 0x89) say(fd, "\x8a", 2);
    if (data[0] == 0x88) drop(fd);
}

/* ---- all of them --------------------------------------------------------------- */

static void flip(int fd) {
    char order;
    if (read(fd, &order, 1) != 1) {
        drop(fd);
        return;
    }
    frame[2] = (unsigned char)order;
    for (int i = 0; i <= last_fd; i++)
        if (signs[i].state == SHINING) say(i, frame, sizeof frame);
}

static void ping_some(int timer) {
    static int slot;
    uint64_t ticks;
    if (read(timer, &ticks, sizeof ticks) != sizeof ticks) return;
    slot = (slot + 1) % SLOTS;
    for (int i = slot; i <= last_fd; i += SLOTS) {
        if (signs[i].state != SHINING) continue;
        if (signs[i].missed++ >= MAX_MISSED)
            drop(i);
        else
            say(i, "\x89", 2);
    }
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= MAX_FDS || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) abort();
    if (fd > last_fd) last_fd = fd;
}

static void welcome_all(int listener, enum state state) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch(fd);
        signs[fd] = (struct sign){.state = (uint8_t)state};
    }
}

static int listen_anywhere(uint16_t *port) {
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 511) ||
        getsockname(fd, (struct sockaddr *)&at, &size)) {
        perror("listen");
        exit(1);
    }
    *port = ntohs(at.sin_port);
    watch(fd);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    token = argv[1];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    poller = epoll_create1(EPOLL_CLOEXEC);
    uint16_t port, control_port;
    int listener = listen_anywhere(&port), control = listen_anywhere(&control_port);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct timespec slot = {.tv_nsec = SLOT_MS * 1000000};
    timerfd_settime(timer, 0, &(struct itimerspec){slot, slot}, NULL);
    watch(timer);
    printf("%u %u\n", port, control_port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[BATCH];
        int ready = epoll_wait(poller, events, BATCH, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                welcome_all(fd, UPGRADING);
            else if (fd == control)
                welcome_all(fd, CONTROL);
            else if (fd == timer)
                ping_some(fd);
            else if (signs[fd].state == CONTROL)
                flip(fd);
            else if (signs[fd].state == SHINING)
                hear(fd);
            else if (signs[fd].state != GONE)
                hear_first(fd);
        }
    }
}
