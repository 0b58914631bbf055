/* A connection: how it is made, read and waited for, and as much of HTTP as a client of known servers needs. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "options.h"

enum { RECEIVE = 1 << 18, SECOND = 1000000000 };

struct connection {
    int fd;
    bool publishes;
    char *rest; /* what was received and not understood yet */
    size_t rest_size, room;
};

static int poller;
static uint64_t now; /* when the events that are being handled came */

static uint64_t clock_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void watch(int operation, struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(poller, operation, connection->fd, &event))
        fail_with_errno("epoll_ctl");
}

/* `from` is an address of this machine, 0 for any. */
static int connect_to(long to, int receive_buffer, uint32_t from)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)to);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0)
        fail_with_errno("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (receive_buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (from) {
        struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from)};
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
        if (bind(fd, (struct sockaddr *)&local, sizeof local))
            fail_with_errno("bind");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        fail_with_errno("connect");
    return fd;
}

static void keep(struct connection *connection, const char *data, size_t length)
{
    if (length > connection->room) {
        connection->room = length;
        connection->rest = realloc(connection->rest, length);
    }
    memmove(connection->rest, data, length);
    connection->rest_size = length;
}

/* What was kept and what there is to read, in one buffer which the next call uses again; NULL if it has ended. */
static char *receive(struct connection *connection, size_t most, size_t *length)
{
    static char buffer[2 * RECEIVE];
    if (connection->rest_size > RECEIVE)
        fail("an answer is too long");
    ssize_t received = recv(connection->fd, buffer + connection->rest_size, most, 0);
    if (received == 0 || (received < 0 && errno != EAGAIN))
        return NULL;
    if (connection->rest_size)
        memcpy(buffer, connection->rest, connection->rest_size);
    *length = connection->rest_size + (received > 0 ? (size_t)received : 0);
    connection->rest_size = 0;
    return buffer;
}

static size_t head_size(const char *data, size_t length)
{
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    return end ? (size_t)(end + 4 - data) : 0;
}

static bool is_success(const char *data)
{
    return data[9] == '2' || !memcmp(data + 9, "101", 3);
}

/* The length of the complete response at `data`, head and body; 0 if it is not complete. */
static size_t response_size(const char *data, size_t length)
{
    static const char name[] = "\r\nContent-Length:";
    size_t head = head_size(data, length), body = 0;
    for (const char *at = data; head && at + sizeof name < data + head; at++)
        if (*at == '\r' && !strncasecmp(at, name, sizeof name - 1))
            body = strtoul(at + sizeof name - 1, NULL, 10);
    return head && head + body <= length ? head + body : 0;
}

static void check_response(const char *data, size_t length)
{
    if (length < 12 || is_success(data))
        return;
    fprintf(stderr, "load: the server answers %.*s\n", (int)(length < 400 ? length : 400), data);
    exit(2);
}

#endif
