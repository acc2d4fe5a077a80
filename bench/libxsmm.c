/* Times float32 products with libxsmm's compiled kernels, for `products.py`.
 *
 * Each line of standard input has M N K m n k calls: the sizes of C (M, N) = A (M, K) B (K, N), by
 * columns, and those of the blocks that a kernel multiplies, which divide them. The matrices lie in
 * such blocks already. The answer is a line with the seconds of a product, the shortest of some
 * timings of so many calls, or 0 where there is no kernel. */

#include <libxsmm.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TIMINGS 5

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static float *numbers(long count) {
  float *x = libxsmm_aligned_malloc(sizeof(float) * count, 64);
  for (long i = 0; i < count; i++) x[i] = (float)(i % 17) / 16 - 0.5f;
  return x;
}

int main(void) {
  int M, N, K, m, n, k, calls;
  setvbuf(stdout, NULL, _IOLBF, 0);
  libxsmm_init();
  while (scanf("%d%d%d%d%d%d%d", &M, &N, &K, &m, &n, &k, &calls) == 7) {
    const float one = 1, zero = 0;
    const int plain = LIBXSMM_GEMM_FLAG_NONE, ahead = LIBXSMM_GEMM_PREFETCH_NONE;
    libxsmm_smmfunction begin = libxsmm_smmdispatch(m, n, k, &m, &k, &m, &one, &zero, &plain, &ahead);
    libxsmm_smmfunction add = libxsmm_smmdispatch(m, n, k, &m, &k, &m, &one, &one, &plain, &ahead);
    double best = 0;
    if (begin && add) {
      float *A = numbers((long)M * K), *B = numbers((long)K * N), *C = numbers((long)M * N);
      const long rows = M / m, columns = N / n, depth = K / k;
      for (int timing = 0; timing < TIMINGS; timing++) {
        const double start = now();
        for (int call = 0; call < calls; call++)
          for (long j = 0; j < columns; j++)
            for (long i = 0; i < rows; i++)
              for (long l = 0; l < depth; l++)
                (l ? add : begin)(A + (i * depth + l) * m * k, B + (j * depth + l) * k * n,
                                  C + (j * rows + i) * m * n);
        const double seconds = (now() - start) / calls;
        if (timing == 0 || seconds < best) best = seconds;
      }
      libxsmm_free(A), libxsmm_free(B), libxsmm_free(C);
    }
    printf("%.9g\n", best);
  }
  return 0;
}
