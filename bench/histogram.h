/* Durations counted in buckets that are at most 1.6 % wide: 64 of them for each doubling. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { FINE = 64 };

struct histogram {
    uint64_t count, largest;
    uint32_t buckets[59 * FINE];
};

static void histogram_add(struct histogram *histogram, uint64_t value)
{
    unsigned doublings = value < FINE ? 0 : 57 - (unsigned)__builtin_clzll(value);
    histogram->buckets[doublings * FINE + (unsigned)(value >> doublings)]++;
    histogram->count++;
    if (value > histogram->largest)
        histogram->largest = value;
}

/* The value below which `share` of what was added lies, at the upper end of its bucket. */
static uint64_t histogram_at(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;
    for (unsigned i = 0; i < 59 * FINE; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted) {
            unsigned doublings = i < 2 * FINE ? 0 : i / FINE - 1;
            uint64_t value = ((uint64_t)(i - doublings * FINE + 1) << doublings) - 1;
            return value < histogram->largest ? value : histogram->largest;
        }
    }
    return histogram->largest;
}

#endif
