// How fast this machine reads memory: cc -O3 -march=native -pthread limits.c -o limits; ./limits THREADS MIB REPEATS
// Prints GB/s, the median of so many passes of all threads over one buffer.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const uint64_t *buffer;
static size_t each;  // numbers of a thread
static int repeats;
static pthread_barrier_t together;
static volatile uint64_t kept;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *reader(void *number) {
  const uint64_t *own = buffer + (size_t)number * each;
  for (int r = 0; r < repeats; r++) {
    pthread_barrier_wait(&together);
    uint64_t sums[32] = {0};  // side by side, for the compiler to keep in wide registers
    for (size_t i = 0; i + 32 <= each; i += 32)
      for (int k = 0; k < 32; k++) sums[k] += own[i + k];
    for (int k = 0; k < 32; k++) kept += sums[k];
    pthread_barrier_wait(&together);
  }
  return NULL;
}

static int smaller(const void *a, const void *b) {
  const double difference = *(const double *)a - *(const double *)b;
  return (difference > 0) - (difference < 0);
}

int main(int n, char **arguments) {
  if (n != 4) return 2;
  const int threads = atoi(arguments[1]);
  each = ((size_t)atoi(arguments[2]) << 17) / threads / 32 * 32;
  repeats = atoi(arguments[3]);
  uint64_t *filled = aligned_alloc(1 << 21, ((each * threads * 8 >> 21) + 1) << 21);
  double *seconds = malloc(repeats * sizeof *seconds);
  pthread_t *readers = malloc(threads * sizeof *readers);
  if (!filled || !seconds || !readers) return 1;
  for (size_t i = 0; i < each * threads; i++) filled[i] = i;
  buffer = filled;
  pthread_barrier_init(&together, NULL, threads + 1);
  for (long i = 0; i < threads; i++) pthread_create(readers + i, NULL, reader, (void *)i);
  for (int r = 0; r < repeats; r++) {
    const double start = now();
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together);
    seconds[r] = now() - start;
  }
  for (int i = 0; i < threads; i++) pthread_join(readers[i], NULL);
  qsort(seconds, repeats, sizeof *seconds, smaller);
  printf("%.3f\n", each * threads * 8 / 1e9 / seconds[repeats / 2]);
  return 0;
}
