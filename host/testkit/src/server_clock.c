/* The time of day that a server under test sees: what a file of eight bytes says, in microseconds since 1970.
 *
 * Loaded before all other libraries. Clocks that only measure how long something takes go on as they are. Libraries that
 * are initialised before this one see the machine's time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shown;

__attribute__((constructor)) static void open_clock(void) {
  const char *path = getenv("STEM_SERVER_CLOCK");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  void *mapped = mmap(NULL, sizeof *shown, PROT_READ, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) _exit(1);
  shown = mapped;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (shown == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
    return (int)syscall(SYS_clock_gettime, clock, time);
  int64_t micros = *shown;
  time->tv_sec = micros / 1000000;
  time->tv_nsec = micros % 1000000 * 1000;
  return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != NULL) *out = now.tv_sec;
  return now.tv_sec;
}
