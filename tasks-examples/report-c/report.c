// Counts the lines, words and bytes of a text: a plain program that is deployed as a task, with no SDK.
//
// The payload is its standard input, its standard output is the result, and its standard error is the log.

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    unsigned long lines = 0, words = 0, bytes = 0;
    int previous = ' ';
    for (int next = getchar(); next != EOF; next = getchar()) {
        bytes++;
        words += isspace(previous) && !isspace(next);
        lines += next == '\n';
        previous = next;
    }
    lines += bytes > 0 && previous != '\n';
    const char *attempt = getenv("STEM_ATTEMPT");
    fprintf(stderr, "attempt %s: %lu bytes\n", attempt ? attempt : "", bytes);
    if (words == 0) {
        // The last line of a command that fails may say more than its exit code can.
        fprintf(stderr, "stem: reject empty-text there is nothing to count\n");
        return EXIT_FAILURE;
    }
    printf("{\"lines\":%lu,\"words\":%lu,\"bytes\":%lu}\n", lines, words, bytes);
    return EXIT_SUCCESS;
}
