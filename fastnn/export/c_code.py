"""The C of headers, as templates: ``$real`` is float or double, and ``$f`` the suffix of its names.

Each follows the formula of the same name in `fastnn.activations`.
"""

HEAD = """\
/* A network of fastnn: $layers.
   $count parameters$rounded, $bytes bytes of constants.

   ${prefix}_predict(x, out) computes the outputs for one row.
     x: ${PREFIX}_INPUTS numbers, $inputs
     out: room for ${PREFIX}_OUTPUTS numbers, which become $outputs
          It must not overlap with x.
$use_class
   The numbers of a call take at most $stack bytes of the stack; there is no other memory, and the
   functions may be called from several threads. C99 or C++11, with math.h (link with -lm).

   To test: cc -x c -D${PREFIX}_SELF_TEST THIS_FILE -lm && ./a.out prints "ok". */
#ifndef FASTNN_${prefix}_H
#define FASTNN_${prefix}_H

#include <math.h>
#include <stddef.h>
$include
#define ${PREFIX}_INPUTS $fan_in
#define ${PREFIX}_OUTPUTS $fan_out

/* Nothing else points to what such a pointer points to: compilers may use vectors. */
#if defined(__GNUC__) || defined(__clang__) || defined(_MSC_VER)
#define ${PREFIX}_RESTRICT __restrict
#elif defined(__cplusplus)
#define ${PREFIX}_RESTRICT
#else
#define ${PREFIX}_RESTRICT restrict
#endif

"""

USE_CLASS = """\
   ${prefix}_class(x) returns the number of its class, ${prefix}_classes[...] the name of that.
"""

TO_BFLOAT16 = """\
/* The nearest number of bfloat16; ties go to even ones. */
static inline float ${prefix}_to_bfloat16(float x)
{
    uint32_t bits;
    float rounded;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u;
    memcpy(&rounded, &bits, sizeof bits);
    return x != x ? x : rounded;
}

"""

ABOUT_PRODUCTS = """\
/* A layer: outputs = biases + inputs * weights, without its activation.
   Inputs that are 0 are left out, as many pixels and many outputs of a ReLU are. The rows of
   weights of the others are added eight at a time: sums are read and written an eighth as often. */
"""
ABOUT_MORE = """\
/* The same, for inputs that are the outputs of another layer. */
"""

# `value` is what becomes of ``inputs[i]`` before it is multiplied.
PRODUCT = """\
${about}\
static inline void ${prefix}_$name(
    const $real *${PREFIX}_RESTRICT inputs, const $stored *${PREFIX}_RESTRICT weights,
$scales\
    const $real *${PREFIX}_RESTRICT biases, size_t fan_in, size_t fan_out,
    $real *${PREFIX}_RESTRICT outputs)
{
    $real x[8];
    size_t row[8]; /* where its weights begin */
    size_t i = 0, j, k, n;
    for (j = 0; j < fan_out; j++) {
        outputs[j] = $start;
    }
    while (i < fan_in) {
        for (n = 0; i < fan_in && n < 8; i++) {
            x[n] = $value;
            row[n] = i * fan_out;
            n += x[n] != 0;
        }
        if (n == 8) {
            const $real x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
            const $real x4 = x[4], x5 = x[5], x6 = x[6], x7 = x[7];
            const $stored *w0 = weights + row[0], *w1 = weights + row[1];
            const $stored *w2 = weights + row[2], *w3 = weights + row[3];
            const $stored *w4 = weights + row[4], *w5 = weights + row[5];
            const $stored *w6 = weights + row[6], *w7 = weights + row[7];
            for (j = 0; j < fan_out; j++) {
                outputs[j] += (x0 * w0[j] + x1 * w1[j] + x2 * w2[j] + x3 * w3[j])
                            + (x4 * w4[j] + x5 * w5[j] + x6 * w6[j] + x7 * w7[j]);
            }
        } else {
            for (k = 0; k < n; k++) {
                const $real x0 = x[k];
                const $stored *w0 = weights + row[k];
                for (j = 0; j < fan_out; j++) {
                    outputs[j] += x0 * w0[j];
                }
            }
        }
    }
$end}

"""

SCALES = """\
    const $real *${PREFIX}_RESTRICT scales,
"""

SCALED = """\
    for (j = 0; j < fan_out; j++) {
        outputs[j] = outputs[j] * scales[j] + biases[j];
    }
"""

ACTIVATION = """\
static inline void ${prefix}_$name($real *z, size_t n)
{
    size_t j;
    for (j = 0; j < n; j++) {
        z[j] = $value;
    }
}

"""

VALUES = {
    "sigmoid": "1 / (1 + exp$f(-z[j]))",
    "tanh": "tanh$f(z[j])",
    "relu": "z[j] < 0 ? 0 : z[j]",
    "leaky_relu": "z[j] > 0 ? z[j] : $LEAK * z[j]",
    "elu": "z[j] > 0 ? z[j] : expm1$f(z[j])",
    "selu": "$SELU_SCALE * (z[j] > 0 ? z[j] : $SELU_ALPHA * expm1$f(z[j]))",
    "gelu": "0.5$f * z[j] * erfc$f(-$HALF_ROOT * z[j])",
    "silu": "z[j] / (1 + exp$f(-z[j]))",
    "softplus": "(z[j] > 0 ? z[j] : 0) + log1p$f(exp$f(-fabs$f(z[j])))",
    "mish": "z[j] * tanh$f((z[j] > 0 ? z[j] : 0) + log1p$f(exp$f(-fabs$f(z[j]))))",
    "exponential": "exp$f(z[j])",
}

SOFTMAX = """\
static inline void ${prefix}_softmax($real *z, size_t n)
{
    $real largest = z[0], sum = 0;
    size_t j;
    for (j = 1; j < n; j++) {
        largest = z[j] > largest ? z[j] : largest;
    }
    for (j = 0; j < n; j++) {
        z[j] = exp$f(z[j] - largest);
        sum += z[j];
    }
    for (j = 0; j < n; j++) {
        z[j] /= sum;
    }
}

"""

SORT = """\
static inline void ${prefix}_sort($real *z, size_t n)
{
    size_t j, k;
    for (j = 1; j < n; j++) {
        const $real value = z[j];
        for (k = j; k > 0 && z[k - 1] > value; k--) {
            z[k] = z[k - 1];
        }
        z[k] = value;
    }
}

"""

RESTORE = """\
static inline void ${prefix}_restore($real *z, size_t n)
{
    size_t j;
    for (j = 0; j < n; j++) {
        z[j] = z[j] / ${prefix}_target_scale[j] + ${prefix}_target_mean[j];
    }
}

"""

PREDICT = """\
static inline void ${prefix}_predict(const $real *x, $real *out)
{
$steps}

"""

CLASS_OF_ONE = """\
static inline int ${prefix}_class(const $real *x)
{
    $real out[1];
    ${prefix}_predict(x, out);
    return out[0] > 0.5$f;
}

"""

CLASS = """\
static inline int ${prefix}_class(const $real *x)
{
    $real out[${PREFIX}_OUTPUTS];
    int best = 0, j;
    ${prefix}_predict(x, out);
    for (j = 1; j < ${PREFIX}_OUTPUTS; j++) {
        if (out[j] > out[best]) {
            best = j;
        }
    }
    return best;
}

"""

BEFORE_TEST = """\
#ifdef ${PREFIX}_SELF_TEST
#include <stdio.h>

"""

TEST = """\
int main(void)
{
    $real out[${PREFIX}_OUTPUTS];
    int row, j;
$uses\
    for (row = 0; row < $rows; row++) {
        ${prefix}_predict(${prefix}_test_rows + row * ${PREFIX}_INPUTS, out);
        for (j = 0; j < ${PREFIX}_OUTPUTS; j++) {
            const $real need = ${prefix}_test_outputs[row * ${PREFIX}_OUTPUTS + j];
            const $real size = fabs$f(need) > 1 ? fabs$f(need) : 1;
            if (!(fabs$f(out[j] - need) <= $tolerance$f * size)) {
                printf("row %d, output %d: got %.9g, need %.9g\\n", row, j, (double)out[j],
                       (double)need);
                return 1;
            }
        }
    }
    printf("ok\\n");
    return 0;
}

"""

TAIL = """\
#undef ${PREFIX}_RESTRICT
#endif
"""
