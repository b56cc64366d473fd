// Counts words: text in, a count for each word out.

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task.h"

static const char *const JSON = "application/json";

// What the host is given is freed by the bindings after the call: so all of it is allocated.
static task_string_t text(const char *literal) {
    task_string_t copy;
    task_string_dup(&copy, literal);
    return copy;
}

static task_tuple2_string_string_t pair(const char *name, const char *value) {
    return (task_tuple2_string_string_t){text(name), text(value)};
}

void exports_stem_task_handler_describe(exports_stem_task_handler_list_descriptor_t *tasks) {
    stem_task_types_descriptor_t *task = malloc(sizeof *task);
    task_tuple2_string_string_t *defaults = malloc(2 * sizeof *defaults);
    defaults[0] = pair("max-attempts", "3");
    defaults[1] = pair("hard-time-limit", "10s");
    task->name = text("word-count-c");
    task->description = text("Counts how often each word occurs; words lie between spaces and ASCII punctuation, "
                             "and count with ASCII letters in lower case.");
    task->payload_schema = (task_option_string_t){
        true, text("{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"]}")};
    task->result_schema = (task_option_string_t){
        true, text("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}")};
    task->defaults = (task_list_tuple2_string_string_t){defaults, 2};
    *tasks = (exports_stem_task_handler_list_descriptor_t){task, 1};
}

// === words ===

// One word and how often it occurs; words are kept in the order of their first occurrence.
typedef struct {
    const char *start;
    size_t length;
    unsigned long count;
} word_t;

typedef struct {
    word_t *words;
    size_t length;
} counts_t;

static bool is_letter(char letter) {
    return !isspace((unsigned char)letter) && !ispunct((unsigned char)letter);
}

static void count(counts_t *counts, const char *start, size_t length) {
    for (size_t i = 0; i < counts->length; i++) {
        word_t *word = &counts->words[i];
        if (word->length == length && memcmp(word->start, start, length) == 0) {
            word->count++;
            return;
        }
    }
    counts->words = realloc(counts->words, (counts->length + 1) * sizeof(word_t));
    counts->words[counts->length++] = (word_t){start, length, 1};
}

static counts_t count_words(char *text) {
    counts_t counts = {NULL, 0};
    while (*text) {
        char *start = text;
        for (; *text && is_letter(*text); text++) *text = (char)tolower((unsigned char)*text);
        if (text > start) count(&counts, start, (size_t)(text - start));
        if (*text) text++;
    }
    return counts;
}

// A word needs no escapes: it has neither quotes nor backslashes nor control characters.
static task_list_u8_t to_json(const counts_t *counts) {
    char *json = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&json, &length);
    fputc('{', out);
    for (size_t i = 0; i < counts->length; i++) {
        const word_t *word = &counts->words[i];
        fprintf(out, "%s\"%.*s\":%lu", i ? "," : "", (int)word->length, word->start, word->count);
    }
    fputc('}', out);
    fclose(out);
    return (task_list_u8_t){(uint8_t *)json, length};
}

// === the payload ===

static void put_utf8(FILE *out, unsigned long point) {
    if (point < 0x80) {
        fputc((int)point, out);
    } else if (point < 0x800) {
        fprintf(out, "%c%c", (int)(0xc0 | point >> 6), (int)(0x80 | (point & 0x3f)));
    } else if (point < 0x10000) {
        fprintf(out, "%c%c%c", (int)(0xe0 | point >> 12), (int)(0x80 | (point >> 6 & 0x3f)), (int)(0x80 | (point & 0x3f)));
    } else {
        fprintf(out, "%c%c%c%c", (int)(0xf0 | point >> 18), (int)(0x80 | (point >> 12 & 0x3f)),
                (int)(0x80 | (point >> 6 & 0x3f)), (int)(0x80 | (point & 0x3f)));
    }
}

// Four hexadecimal digits, and the second half of a pair of them.
static const char *put_escaped(FILE *out, const char *at) {
    unsigned long point = 0, low = 0;
    int used = 0;
    if (sscanf(at, "%4lx%n", &point, &used) != 1 || used != 4) return NULL;
    at += 4;
    if (point >= 0xd800 && point < 0xdc00 && sscanf(at, "\\u%4lx", &low) == 1) {
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    put_utf8(out, point);
    return at;
}

// The string whose opening quote lies before `at`; nothing where it is none.
static char *parse_string(const char *at) {
    char *parsed = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&parsed, &length);
    while (at && *at && *at != '"') {
        static const char names[] = "nrtbf", meant[] = "\n\r\t\b\f";
        const char *name;
        if (*at != '\\') {
            fputc(*at++, out);
        } else if (*++at == 'u') {
            at = put_escaped(out, at + 1);
        } else if (*at && (name = strchr(names, *at))) {
            fputc(meant[name - names], out), at++;
        } else {
            fputc(*at++, out);
        }
    }
    fclose(out);
    if (at && *at == '"') return parsed;
    free(parsed);
    return NULL;
}

// The host has checked the payload against the schema; of what may lie in it only `text` is looked for.
static char *find_text(const stem_task_types_payload_t *payload) {
    char *json = strndup((const char *)payload->body.ptr, payload->body.len);
    char *found = NULL;
    const char *at = strstr(json, "\"text\"");
    if (at) {
        at += strlen("\"text\"");
        at += strspn(at, " \t\r\n:");
        if (*at == '"') found = parse_string(at + 1);
    }
    free(json);
    return found;
}

// === the task ===

static bool reject(stem_task_types_interruption_t *interruption, const char *kind, const char *message) {
    interruption->tag = STEM_TASK_TYPES_INTERRUPTION_REJECT;
    interruption->val.reject = (stem_task_types_failure_t){text(kind), text(message), {NULL, 0}};
    return false;
}

static void tell(const counts_t *counts, unsigned attempt) {
    char words[24], number[12], said[48];
    snprintf(words, sizeof words, "%zu", counts->length);
    snprintf(number, sizeof number, "%u", attempt);
    snprintf(said, sizeof said, "%s different words", words);
    task_string_t message, note;
    task_string_set(&message, "counted");
    task_string_set(&note, said);
    task_tuple2_string_string_t fields[2];
    task_string_set(&fields[0].f0, "words"), task_string_set(&fields[0].f1, words);
    task_string_set(&fields[1].f0, "attempt"), task_string_set(&fields[1].f1, number);
    task_list_tuple2_string_string_t list = {fields, 2};
    stem_task_log_emit(STEM_TASK_LOG_LEVEL_INFO, &message, &list);
    stem_task_context_progress(1.0, &note);
}

bool exports_stem_task_handler_run(exports_stem_task_handler_attempt_t *attempt, exports_stem_task_handler_payload_t *payload,
                                   exports_stem_task_handler_payload_t *result,
                                   exports_stem_task_handler_interruption_t *interruption) {
    char *input = find_text(payload);
    if (!input) return reject(interruption, "invalid-payload", "there is no `text` in the payload");
    counts_t counts = count_words(input);
    tell(&counts, attempt->number);
    result->content_type = text(JSON);
    result->body = to_json(&counts);
    return true;
}
