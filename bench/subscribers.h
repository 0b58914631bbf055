/* Subscribers: what they have, and how they get it. */
#ifndef SUBSCRIBERS_H
#define SUBSCRIBERS_H

#include "connections.h"
#include "found.h"
#include "options.h"
#include "payload.h"

enum { REQUEST = 2048, RECENT = 64 };

struct subscriber {
    struct connection connection; /* first: epoll knows the connection alone */
    enum { CONNECTING_TO, WAITING, HELD, GONE } state;
    enum { REGULAR, SLOW, STUCK } pace;
    uint32_t topic, next; /* next is the place after the newest message it has */
    uint64_t had;         /* which of the RECENT places before it it has, the nearest lowest */
};

static struct subscriber *subscriber_table;
static long held, gone;

/* -- what they have ---------------------------------------------------------------------------------------- */

static uint32_t published_on(uint32_t topic)
{
    return published > topic ? (published - topic - 1) / (uint32_t)topics + 1 : 0;
}

/* The regular `subscriber` need not be waited for with the message at `place`. */
static void settle(const struct subscriber *subscriber, uint32_t place)
{
    uint32_t number = place * (uint32_t)topics + subscriber->topic, slot = number % IN_FLIGHT;
    if (subscriber->pace != REGULAR || --in_flight[slot].left)
        return;
    undelivered--;
    if (number >= found.first)
        histogram_add(&found.last_delivery, now - in_flight[slot].at);
}

static bool has(const struct subscriber *subscriber, uint32_t place)
{
    return subscriber->had >> (subscriber->next - 1 - place) & 1;
}

/* What is missing in between counts as lost from now on, but is waited for until it is RECENT places behind: it may
 * come out of order. */
static void take_newer(struct subscriber *subscriber, uint32_t place)
{
    found.lost += place - subscriber->next;
    for (; subscriber->next <= place; subscriber->next++) {
        if (subscriber->next >= RECENT && !has(subscriber, subscriber->next - RECENT))
            settle(subscriber, subscriber->next - RECENT);
        subscriber->had <<= 1;
    }
    subscriber->had |= 1;
    settle(subscriber, place);
}

static void take_older(struct subscriber *subscriber, uint32_t place)
{
    uint32_t back = subscriber->next - 1 - place;
    if (back >= RECENT || has(subscriber, place)) {
        found.twice++;
        return;
    }
    subscriber->had |= 1ull << back;
    found.out_of_order++;
    found.lost--;
    settle(subscriber, place);
}

static void take(struct subscriber *subscriber, uint32_t number)
{
    if (number >= published) {
        found.damaged++;
        return;
    }
    if (number % (uint32_t)topics != subscriber->topic) {
        found.misrouted++;
        return;
    }
    uint32_t place = number / (uint32_t)topics;
    if (number >= found.first && subscriber->pace == REGULAR) {
        found.deliveries++;
        found.last_news = now;
        histogram_add(&found.delivery, now - in_flight[number % IN_FLIGHT].at);
    } else if (number >= found.first) {
        found.slow_deliveries++;
    }
    if (place >= subscriber->next)
        take_newer(subscriber, place);
    else
        take_older(subscriber, place);
}

/* Takes the payloads in the data; returns how many bytes at its end may be the beginning of another. */
static size_t take_all(struct subscriber *subscriber, const char *data, size_t length)
{
    const char *end = data + length;
    for (const char *at; (at = memchr(data, MARK, (size_t)(end - data)));) {
        if (end - at < size)
            return (size_t)(end - at);
        uint32_t number;
        bool whole = payload_read(at, (size_t)size, &number);
        if (whole)
            take(subscriber, number);
        else
            found.damaged++;
        data = at + (whole ? size : 1);
    }
    return 0;
}

/* -- how they get it --------------------------------------------------------------------------------------- */

static void ask(struct subscriber *subscriber, const char *parameter, int length)
{
    char request[REQUEST];
    int written = snprintf(request, sizeof request, "GET %s%u%s%.*s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path,
                           subscriber->topic, query, length, parameter, headers);
    if (send(subscriber->connection.fd, request, (size_t)written, MSG_NOSIGNAL) != written)
        fail_with_errno("subscribing");
}

static void lose(struct subscriber *subscriber)
{
    held -= subscriber->state == HELD;
    if (subscriber->pace == REGULAR && subscriber->state == HELD)
        regulars[subscriber->topic]--;
    subscriber->state = GONE;
    gone++;
    found.dropped += subscriber->pace != STUCK;
    close(subscriber->connection.fd);
    for (uint32_t back = 1; back <= RECENT && back <= subscriber->next; back++)
        if (!has(subscriber, subscriber->next - back))
            settle(subscriber, subscriber->next - back);
    for (uint32_t place = subscriber->next; place < published_on(subscriber->topic); place++)
        settle(subscriber, place);
}

static void hold(struct subscriber *subscriber)
{
    subscriber->state = HELD;
    held++;
    regulars[subscriber->topic] += subscriber->pace == REGULAR;
    if (subscriber->pace != REGULAR)
        epoll_ctl(poller, EPOLL_CTL_DEL, subscriber->connection.fd, NULL);
}

/* Polls with `wait=0` first, which is answered at once: from there on nothing can be missed. */
static void poll_again(struct subscriber *subscriber, const char *answer, size_t length)
{
    static const char name[] = "\"next\":\"";
    const char *next = memmem(answer, length, name, sizeof name - 1);
    if (!next)
        fail("an answer to a poll without next");
    next += sizeof name - 1;
    char since[128];
    int written = snprintf(since, sizeof since, "&since=%.*s", (int)strcspn(next, "\""), next);
    if (subscriber->state == WAITING)
        hold(subscriber);
    ask(subscriber, since, written);
}

static void receive_answers(struct subscriber *subscriber)
{
    size_t length, answered;
    char *data = receive(&subscriber->connection, RECEIVE, &length);
    if (!data) {
        lose(subscriber);
        return;
    }
    for (; (answered = response_size(data, length)); data += answered, length -= answered) {
        check_response(data, answered);
        take_all(subscriber, data, answered);
        poll_again(subscriber, data, answered);
    }
    if (length)
        keep(&subscriber->connection, data, length);
}

static void receive_stream(struct subscriber *subscriber, size_t most)
{
    size_t length, head = 0;
    char *data = receive(&subscriber->connection, most, &length);
    if (!data) {
        lose(subscriber);
        return;
    }
    if (subscriber->state == WAITING) {
        check_response(data, length);
        head = head_size(data, length);
        if (!head) {
            keep(&subscriber->connection, data, length);
            return;
        }
        hold(subscriber);
    }
    size_t rest = take_all(subscriber, data + head, length - head);
    if (rest)
        keep(&subscriber->connection, data + length - rest, rest);
}

static void subscriber_event(struct subscriber *subscriber)
{
    if (subscriber->state == CONNECTING_TO) {
        subscriber->state = WAITING;
        ask(subscriber, poll_mode ? "&wait=0" : "", poll_mode ? 7 : 0);
        watch(EPOLL_CTL_MOD, &subscriber->connection, EPOLLIN);
    } else if (poll_mode) {
        receive_answers(subscriber);
    } else {
        receive_stream(subscriber, RECEIVE);
    }
}

/* Whether `share` of all subscribers, evenly spread, have the one with this index among them. */
static bool is_among(long index, long share)
{
    return index * share / subscribers != (index + 1) * share / subscribers;
}

static void start_subscriber(long index)
{
    struct subscriber *subscriber = &subscriber_table[index];
    subscriber->topic = (uint32_t)(index % topics);
    subscriber->pace = is_among(index, stuck) ? STUCK : is_among(index, slow) ? SLOW : REGULAR;
    uint32_t from = addresses ? INADDR_LOOPBACK + 256 + (uint32_t)(index % addresses) : 0;
    subscriber->connection.fd = connect_to(port, subscriber->pace == REGULAR ? 0 : (int)small_buffer, from);
    watch(EPOLL_CTL_ADD, &subscriber->connection, EPOLLOUT);
}

static void read_slowly(void)
{
    static uint64_t last;
    if (!slow || now - last < (uint64_t)slow_ms * SECOND / 1000)
        return;
    last = now;
    for (long i = 0; i < subscribers; i++)
        if (subscriber_table[i].pace == SLOW && subscriber_table[i].state == HELD)
            receive_stream(&subscriber_table[i], (size_t)small_buffer);
}

static bool is_slow_behind(void)
{
    for (long i = 0; slow && i < subscribers; i++) {
        struct subscriber *subscriber = &subscriber_table[i];
        if (subscriber->pace == SLOW && subscriber->state == HELD
            && subscriber->next < published_on(subscriber->topic))
            return true;
    }
    return false;
}

#endif
