/* floor: the cheapest fan-out that can be written, a bare loop of send(). The others are measured against it.
 *
 *     floor PORT
 *
 * One port for all. A connection that begins with "GET /sub/N" is a subscriber of topic N and gets Server-Sent Events;
 * any other is a publisher, which sends lines "PUBLISH N payload\r\n" and is answered ":subscribers\r\n" for each. What
 * one read brings for one topic goes out in one send() for each subscriber. It keeps nothing, checks nothing, and waits
 * for a subscriber that does not read: it is a measure, not a server.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TOPICS = 65536, DESCRIPTORS = 65536, INPUT = 1 << 18, OUTPUT = 1 << 20 };

struct topic {
    int *subscribers;
    unsigned count, room;
};

struct connection {
    enum { NEW, SUBSCRIBER, PUBLISHER } kind;
    unsigned topic, seat; /* of a subscriber */
    char *rest;           /* the beginning of a publisher's next line */
    size_t rest_size;
};

static struct topic topics[TOPICS];
static struct connection connections[DESCRIPTORS];
static unsigned long long messages;

static void send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 100);
        } else {
            return;
        }
    }
}

static void fan_out(const struct topic *topic, const char *data, size_t size)
{
    for (unsigned i = 0; i < topic->count; i++)
        send_all(topic->subscribers[i], data, size);
}

static void subscribe(int fd, unsigned number)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    struct topic *topic = &topics[number % TOPICS];
    if (topic->count == topic->room) {
        topic->room = topic->room ? topic->room * 2 : 1;
        topic->subscribers = realloc(topic->subscribers, topic->room * sizeof *topic->subscribers);
    }
    connections[fd] = (struct connection){.kind = SUBSCRIBER, .topic = number % TOPICS, .seat = topic->count};
    topic->subscribers[topic->count++] = fd;
    send_all(fd, head, sizeof head - 1);
}

static void leave(int fd)
{
    struct connection *connection = &connections[fd];
    if (connection->kind == SUBSCRIBER) {
        struct topic *topic = &topics[connection->topic];
        int last = topic->subscribers[--topic->count];
        topic->subscribers[connection->seat] = last;
        connections[last].seat = connection->seat;
    }
    free(connection->rest);
    *connection = (struct connection){0};
    close(fd);
}

/* Publishes the complete lines of the input; returns where the incomplete one begins. */
static char *publish(int fd, char *input, char *end)
{
    static char output[OUTPUT], answers[INPUT];
    size_t size = 0, answered = 0;
    struct topic *topic = NULL;
    for (char *line = input, *stop; (stop = memchr(line, '\n', (size_t)(end - line))); line = input = stop + 1) {
        char *payload;
        struct topic *next = &topics[strtoul(line + strlen("PUBLISH "), &payload, 10) % TOPICS];
        size_t length = (size_t)(stop - 1 - ++payload);
        if (topic && (next != topic || size + length + 64 > sizeof output)) {
            fan_out(topic, output, size);
            size = 0;
        }
        topic = next;
        size += (size_t)sprintf(output + size, "id: %llu\ndata: ", ++messages);
        memcpy(output + size, payload, length);
        memcpy(output + size + length, "\n\n", 2);
        size += length + 2;
        answered += (size_t)sprintf(answers + answered, ":%u\r\n", topic->count);
    }
    if (topic)
        fan_out(topic, output, size);
    send_all(fd, answers, answered);
    return input;
}

static void receive(int fd)
{
    static char input[2 * INPUT];
    struct connection *connection = &connections[fd];
    size_t size = connection->rest_size;
    memcpy(input, connection->rest ? connection->rest : "", size);
    ssize_t received = recv(fd, input + size, INPUT - 1, 0);
    if (received <= 0) {
        if (received == 0 || errno != EAGAIN)
            leave(fd);
        return;
    }
    size += (size_t)received;
    input[size] = 0;
    if (connection->kind == NEW && strncmp(input, "GET /sub/", 9) == 0) {
        subscribe(fd, (unsigned)atoi(input + 9));
        return;
    }
    if (connection->kind == SUBSCRIBER)
        return;
    connection->kind = PUBLISHER;
    char *rest = publish(fd, input, input + size);
    connection->rest_size = (size_t)(input + size - rest);
    if (connection->rest_size && !connection->rest)
        connection->rest = malloc(INPUT);
    if (connection->rest_size)
        memcpy(connection->rest, rest, connection->rest_size);
}

static void accept_all(int poller, int listener)
{
    for (int fd, i = 0; i < 64 && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0; i++) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (struct epoll_event events[512];;) {
        int count = epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(poller, listener);
            else
                receive(events[i].data.fd);
        }
    }
}
