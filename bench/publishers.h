/* Publishers: how a publish is written, what is published when, and its acknowledgement. */
#ifndef PUBLISHERS_H
#define PUBLISHERS_H

#include "connections.h"
#include "found.h"
#include "options.h"
#include "payload.h"

enum { DEPTH = 4096, OUTPUT = 1 << 17, HEADER = 2048 };

struct publisher {
    struct connection connection;
    char output[OUTPUT];
    size_t begin, end;
    uint64_t sent_at[DEPTH];
    uint32_t sent, acknowledged;
    bool blocked;
};

static struct publisher *publisher_table;

static int write_inline(char *to, uint32_t topic)
{
    return sprintf(to, "PUBLISH %u ", topic);
}

static int write_array(char *to, uint32_t topic)
{
    int digits = snprintf(NULL, 0, "%u", topic);
    return sprintf(to, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%u\r\n$%ld\r\n", digits, topic, size);
}

static int write_xadd(char *to, uint32_t topic)
{
    int digits = snprintf(NULL, 0, "%u", topic);
    return sprintf(to, "*5\r\n$4\r\nXADD\r\n$%d\r\n%u\r\n$1\r\n*\r\n$4\r\ndata\r\n$%ld\r\n", digits, topic, size);
}

static int write_post(char *to, uint32_t topic)
{
    return sprintf(to,
                   "POST %s%u HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Type: text/plain\r\nContent-Length: %ld\r\n\r\n",
                   post_path, topic, size);
}

static const char *reply_line_end(const char *data, size_t length, char expected)
{
    const char *end = memchr(data, '\n', length);
    if (end && *data != expected) {
        fprintf(stderr, "load: the server replies %.*s\n", (int)(end - data), data);
        exit(2);
    }
    return end;
}

static size_t reply_size(const char *data, size_t length)
{
    const char *end = reply_line_end(data, length, ':');
    return end ? (size_t)(end + 1 - data) : 0;
}

static size_t bulk_reply_size(const char *data, size_t length)
{
    const char *end = reply_line_end(data, length, '$');
    size_t whole = end ? (size_t)(end + 1 - data) + (size_t)atol(data + 1) + 2 : 0;
    return whole <= length ? whole : 0;
}

static size_t post_reply_size(const char *data, size_t length)
{
    check_response(data, length);
    return response_size(data, length);
}

static const struct protocol {
    const char *name;
    int (*write)(char *, uint32_t); /* what stands before the payload; returns its length */
    const char *tail;               /* and what after it */
    size_t (*reply_size)(const char *, size_t);
} protocols[] = {
    {"inline", write_inline, "\r\n", reply_size},
    {"array", write_array, "\r\n", reply_size},
    {"xadd", write_xadd, "\r\n", bulk_reply_size},
    {"post", write_post, "", post_reply_size},
};

static const struct protocol *protocol;

static void choose_protocol(void)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (!strcmp(publish, protocols[i].name))
            protocol = &protocols[i];
    if (!protocol)
        fail("publish is inline, array, xadd or post");
}

static bool has_room(const struct publisher *publisher)
{
    return publisher->sent - publisher->acknowledged < (uint32_t)depth
        && publisher->end + (size_t)size + HEADER < OUTPUT;
}

static void publish_next(struct publisher *publisher)
{
    uint32_t number = published++, topic = number % (uint32_t)topics;
    char *to = publisher->output + publisher->end;
    to += protocol->write(to, topic);
    payload_write(to, (size_t)size, number);
    to = stpcpy(to + size, protocol->tail);
    publisher->end = (size_t)(to - publisher->output);
    publisher->sent_at[publisher->sent++ % DEPTH] = now;
    unacknowledged++;
    in_flight[number % IN_FLIGHT].at = now;
    in_flight[number % IN_FLIGHT].left = regulars[topic];
    undelivered += regulars[topic] > 0;
}

static void send_published(struct publisher *publisher)
{
    size_t length = publisher->end - publisher->begin;
    if (!length)
        return;
    ssize_t sent = send(publisher->connection.fd, publisher->output + publisher->begin, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        fail_with_errno("publishing");
    publisher->begin += sent > 0 ? (size_t)sent : 0;
    bool blocked = publisher->begin < publisher->end;
    if (!blocked)
        publisher->begin = publisher->end = 0;
    if (blocked != publisher->blocked)
        watch(EPOLL_CTL_MOD, &publisher->connection, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    publisher->blocked = blocked;
}

static void publisher_event(struct publisher *publisher)
{
    size_t length, replied;
    send_published(publisher);
    char *data = receive(&publisher->connection, RECEIVE, &length);
    if (!data)
        fail("the server closed a publisher's connection");
    for (; length && (replied = protocol->reply_size(data, length)); data += replied, length -= replied) {
        found.acknowledged++;
        found.last_news = now;
        unacknowledged--;
        histogram_add(&found.acknowledgement, now - publisher->sent_at[publisher->acknowledged++ % DEPTH]);
    }
    if (length)
        keep(&publisher->connection, data, length);
}

static void start_publishers(void)
{
    publisher_table = calloc((size_t)connections, sizeof *publisher_table);
    for (long i = 0; i < connections; i++) {
        publisher_table[i].connection = (struct connection){.fd = connect_to(publisher_port, 0, 0), .publishes = true};
        watch(EPOLL_CTL_ADD, &publisher_table[i].connection, EPOLLIN);
    }
}

/* Publishes what may be published now: by turns, within the window, each connection's depth, and the rate. */
static void publish_all(uint64_t *due, uint32_t last)
{
    static long turn;
    for (long full = 0; full < connections && published != last && undelivered < (uint64_t)window_size;) {
        if (rate > 0 && now < *due)
            break;
        struct publisher *publisher = &publisher_table[turn];
        turn = (turn + 1) % connections;
        if (!has_room(publisher)) {
            full++;
            continue;
        }
        full = 0;
        publish_next(publisher);
        if (rate > 0 && published % (uint32_t)burst == 0)
            *due += (uint64_t)(SECOND / rate * (double)burst);
    }
    for (long i = 0; i < connections; i++)
        if (!publisher_table[i].blocked)
            send_published(&publisher_table[i]);
}

#endif
