/* What the load is asked for, each with its default. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long port, publisher_port, poll_mode;
static long subscribers = 1000, topics = 1, size = 100;
static long window_size = 1, connections = 1, depth = 1, burst = 1, messages;
static long slow, slow_ms = 20, stuck, small_buffer = 4096, addresses;
static double rate, warm, run = 1, drain = 5;
static const char *path = "/sub/", *query = "", *headers = "", *publish = "inline", *post_path = "/pub/";

static const struct option {
    const char *name;
    long *whole;
    double *real;
    const char **text;
} options[] = {
    {"port", &port, NULL, NULL},                     /* of the subscribers */
    {"publisher_port", &publisher_port, NULL, NULL}, /* of the publishers */
    {"path", NULL, NULL, &path},                     /* of a subscribe; the topic's number follows, */
    {"query", NULL, NULL, &query},                   /* and then this */
    {"headers", NULL, NULL, &headers},               /* further header lines of a subscribe */
    {"poll", &poll_mode, NULL, NULL},                /* whether to poll */
    {"publish", NULL, NULL, &publish},               /* inline, array, xadd or post */
    {"post_path", NULL, NULL, &post_path},           /* of a publish with post; the topic's number follows */
    {"subscribers", &subscribers, NULL, NULL},       /* subscriber i takes the topic i % topics */
    {"topics", &topics, NULL, NULL},
    {"size", &size, NULL, NULL},               /* bytes of a payload */
    {"window", &window_size, NULL, NULL},      /* messages that not all subscribers have */
    {"connections", &connections, NULL, NULL}, /* of publishers */
    {"depth", &depth, NULL, NULL},             /* publishes on a connection that are not acknowledged */
    {"rate", NULL, &rate, NULL},               /* messages per second; 0 is as fast as it goes */
    {"burst", &burst, NULL, NULL},             /* how many are due at the same time, with a rate */
    {"messages", &messages, NULL, NULL},       /* publish so many, however long it takes; 0 is no such limit */
    {"warm", NULL, &warm, NULL},               /* how long to publish without measuring, */
    {"run", NULL, &run, NULL},                 /* then with, */
    {"drain", NULL, &drain, NULL},             /* and how long to wait for what is in flight */
    {"slow", &slow, NULL, NULL},               /* subscribers that read once in slow_ms milliseconds */
    {"slow_ms", &slow_ms, NULL, NULL},
    {"stuck", &stuck, NULL, NULL},               /* subscribers that never read */
    {"addresses", &addresses, NULL, NULL},       /* subscribers come from so many, 127.0.1.1 and on; 0: as it happens */
    {"small_buffer", &small_buffer, NULL, NULL}, /* SO_RCVBUF of the slow and the stuck, and their reads */
};

static void fail(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

static void fail_with_errno(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void set_option(const char *argument)
{
    for (const struct option *option = options; option < options + sizeof options / sizeof *options; option++) {
        size_t length = strlen(option->name);
        if (strncmp(argument, option->name, length) || argument[length] != '=')
            continue;
        const char *value = argument + length + 1;
        if (option->whole)
            *option->whole = atol(value);
        else if (option->real)
            *option->real = atof(value);
        else
            *option->text = value;
        return;
    }
    fprintf(stderr, "load: %s is not an option\n", argument);
    exit(2);
}

#endif
