/* The payload: what every message carries, and how it is known again in any framing.
 *
 *     payload = "@" number filler      number = 8 hexadecimal digits, filler = what follows from the number
 *
 * The length is the same for all messages of a run, and no byte of it is escaped in JSON. Messages are numbered through
 * the run and go to the topics in turn, so that the number alone says the topic and the place in it:
 *
 *     topic = number % topics          place = number / topics
 *
 * The filler begins somewhere else for each number: a payload with one wrong byte, with the middle of another message,
 * or with too few bytes does not match.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MARK = '@', HEAD = 9, TURN = 61, LARGEST = 65536 };

static char filler[LARGEST + TURN];

static void payload_prepare(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof filler; i++) {
        state = state * 1664525 + 1013904223;
        filler[i] = alphabet[(state >> 16) % (sizeof alphabet - 1)];
    }
}

static void payload_write(char *to, size_t size, uint32_t number)
{
    *to = MARK;
    for (int i = 0; i < 8; i++)
        to[1 + i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15];
    memcpy(to + HEAD, filler + number % TURN, size - HEAD);
}

/* Whether the `size` bytes are a payload; then `number` is which. */
static bool payload_read(const char *from, size_t size, uint32_t *number)
{
    uint32_t read = 0;
    for (int i = 1; i < HEAD; i++) {
        unsigned digit = (unsigned char)from[i];
        if (digit >= '0' && digit <= '9')
            digit -= '0';
        else if (digit >= 'a' && digit <= 'f')
            digit -= 'a' - 10;
        else
            return false;
        read = read << 4 | digit;
    }
    *number = read;
    return memcmp(from + HEAD, filler + read % TURN, size - HEAD) == 0;
}

#endif
