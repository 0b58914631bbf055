/* load: subscribers and publishers in one process, one thread and one epoll. Every delivery is checked.
 *
 *     load name=value ...            the names, with their defaults, are in the table of options.h
 *
 * It goes through three phases: `held` (all subscribers are there), `begin` (the warm-up is over) and `end`. At each it
 * prints the phase's name, with nothing in flight, and waits for a line on its standard input, so that whoever runs it
 * can look at the server. Last it prints what it found, as one JSON object. Times are in seconds.
 *
 * A subscriber is a stream (the payloads are found in the bytes, whatever the framing) or, with `poll=1`, a long poller
 * that asks again with the `next` of each answer. `slow` of them read once in a while, `stuck` of them never.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/resource.h>

#include "connections.h"
#include "found.h"
#include "options.h"
#include "payload.h"
#include "publishers.h"
#include "subscribers.h"

enum { CONNECTING = 128 }; /* connections that are being made at a time */

static void handle_events(uint64_t until)
{
    static struct epoll_event events[512];
    uint64_t longest = slow ? SECOND / 200 : SECOND / 10;
    uint64_t wait = until > now ? until - now : 0;
    struct timespec timeout = {.tv_nsec = (long)(wait < longest ? wait : longest)};
    int count = epoll_pwait2(poller, events, 512, &timeout, NULL); /* milliseconds would be too coarse for a pace */
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        now = clock_now();
        if (connection->publishes)
            publisher_event((struct publisher *)connection);
        else
            subscriber_event((struct subscriber *)connection);
    }
    now = clock_now();
    read_slowly();
}

static double connect_all(void)
{
    uint64_t begun = now = clock_now();
    for (long started = 0; held + gone < subscribers && now - begun < 60ull * SECOND;) {
        while (started < subscribers && started - held - gone < CONNECTING)
            start_subscriber(started++);
        handle_events(now + SECOND / 10);
    }
    if (held < subscribers) {
        fprintf(stderr, "load: %ld of %ld subscribers are held\n", held, subscribers);
        exit(2);
    }
    return (double)(now - begun) / SECOND;
}

static void publish_for(double seconds, uint32_t last)
{
    now = clock_now();
    uint64_t due = now, until = now + (uint64_t)(seconds * SECOND);
    while (published != last && (messages || now < until)) {
        publish_all(&due, last);
        handle_events(rate > 0 && due > now ? due : now + SECOND / 20);
    }
    until = now + (uint64_t)(drain * SECOND);
    while (now < until && (undelivered || unacknowledged || is_slow_behind())) {
        publish_all(&due, published);
        handle_events(now + SECOND / 20);
    }
}

static void announce(const char *phase)
{
    char line[16];
    printf("%s\n", phase);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(1);
    now = clock_now();
}

static void begin_measuring(void)
{
    found.first = published;
    found.deliveries = found.slow_deliveries = found.acknowledged = 0;
    found.delivery = found.last_delivery = found.acknowledgement = (struct histogram){0};
    found.begun = found.last_news = now;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void print_histogram(const char *name, const struct histogram *histogram)
{
    double median = (double)histogram_at(histogram, .50), high = (double)histogram_at(histogram, .99);
    printf(",\"%s_p50\":%.9f,\"%s_p99\":%.9f", name, median / SECOND, name, high / SECOND);
    printf(",\"%s_max\":%.9f", name, (double)histogram->largest / SECOND);
}

static void print_found(double connecting, double cpu)
{
    for (long i = 0; i < subscribers; i++) /* what has not come until now will not come */
        if (subscriber_table[i].pace != STUCK)
            found.lost += published_on(subscriber_table[i].topic) - subscriber_table[i].next;
    printf("{\"held\":%ld,\"connecting\":%.6f,\"seconds\":%.6f,\"load_cpu\":%.6f,\"published\":%u,\"acknowledged\":%lu,"
           "\"deliveries\":%lu,\"slow_deliveries\":%lu,\"lost\":%lu,\"twice\":%lu,\"out_of_order\":%lu,\"damaged\":%lu,"
           "\"misrouted\":%lu,\"dropped\":%lu",
           held, connecting, (double)(found.last_news - found.begun) / SECOND, cpu, published - found.first,
           found.acknowledged, found.deliveries, found.slow_deliveries, found.lost, found.twice, found.out_of_order,
           found.damaged, found.misrouted, found.dropped);
    print_histogram("delivery", &found.delivery);
    print_histogram("last_delivery", &found.last_delivery);
    print_histogram("acknowledgement", &found.acknowledgement);
    printf("}\n");
}

static void prepare(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        set_option(argv[i]);
    if (size < HEAD || size > LARGEST || depth > DEPTH || window_size > IN_FLIGHT || topics < 1 || connections < 1
        || burst < 1)
        fail("a value is out of range");
    choose_protocol();
    payload_prepare();
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    subscriber_table = calloc((size_t)subscribers + 1, sizeof *subscriber_table);
    regulars = calloc((size_t)topics, sizeof *regulars);
}

int main(int argc, char **argv)
{
    prepare(argc, argv);
    double connecting = connect_all();
    start_publishers();
    for (uint64_t until = now + SECOND / 5; now < until;)
        handle_events(until);
    announce("held");
    if (warm > 0)
        publish_for(warm, UINT32_MAX);
    announce("begin");
    begin_measuring();
    double cpu = cpu_seconds();
    if (run > 0)
        publish_for(run, messages ? published + (uint32_t)messages : UINT32_MAX);
    cpu = cpu_seconds() - cpu;
    announce("end");
    print_found(connecting, cpu);
    return 0;
}
