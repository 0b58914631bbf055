/* What is in flight, and what was found. */
#ifndef FOUND_H
#define FOUND_H

#include "histogram.h"
#include "options.h"

enum { IN_FLIGHT = 1 << 20 };

static struct {
    uint64_t at;
    uint32_t left; /* regular subscribers that do not have it */
} in_flight[IN_FLIGHT];

static struct {
    uint64_t lost, twice, out_of_order, damaged, misrouted, dropped; /* through the whole run */
    uint64_t deliveries, slow_deliveries, acknowledged;              /* of the measured phase */
    uint32_t first;                                                  /* the measured phase's first message */
    uint64_t begun, last_news;
    struct histogram delivery, last_delivery, acknowledgement;
} found;

static uint32_t *regulars; /* per topic: subscribers that are waited for */
static uint32_t published;
static uint64_t undelivered, unacknowledged;

#endif
