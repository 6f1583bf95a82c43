// The element-wise steps of train.py, forward and backward: fused, they take a fifth of the time of PyTorch's single operations.
// Compiled and loaded by train.py. Brain floats are the upper halves of floats.
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t brain;

enum { HEAD = 32, HALF = HEAD / 2, WIDEST = 1024 };

static inline float wide(brain x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

static inline brain narrow(float x) {  // round to nearest even
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (brain)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// out = x * scale * w with scale = 1 / rms(x), for n rows of d.
void norm_forward(const float *x, const float *w, brain *out, float *scale, long n, long d) {
    for (long i = 0; i < n; i++, x += d, out += d) {
        float sum = 0;
        for (long j = 0; j < d; j++) sum += x[j] * x[j];
        float s = scale[i] = 1 / sqrtf(sum / d + 1e-5f);
        for (long j = 0; j < d; j++) out[j] = narrow(x[j] * s * w[j]);
    }
}

void norm_backward(const brain *grad, const float *x, const float *w, const float *scale, float *dx, float *dw, long n, long d) {
    for (long i = 0; i < n; i++, x += d, grad += d, dx += d) {
        float s = scale[i], sum = 0, g[WIDEST];
        for (long j = 0; j < d; j++) {
            float h = wide(grad[j]), unit = x[j] * s;
            dw[j] += h * unit;
            g[j] = h * w[j];
            sum += g[j] * unit;
        }
        float mean = sum / d;
        for (long j = 0; j < d; j++) dx[j] = (g[j] - x[j] * s * mean) * s;
    }
}

// out = silu(gate) * up for n rows of h gates followed by h ups.
void swiglu_forward(const brain *x, brain *out, long n, long h) {
    for (long i = 0; i < n; i++, x += 2 * h, out += h)
        for (long j = 0; j < h; j++) {
            float gate = wide(x[j]);
            out[j] = narrow(gate / (1 + expf(-gate)) * wide(x[h + j]));
        }
}

void swiglu_backward(const brain *grad, const brain *x, brain *dx, long n, long h) {
    for (long i = 0; i < n; i++, x += 2 * h, dx += 2 * h, grad += h)
        for (long j = 0; j < h; j++) {
            float g = wide(grad[j]), gate = wide(x[j]), up = wide(x[h + j]), sigmoid = 1 / (1 + expf(-gate));
            dx[j] = narrow(g * up * sigmoid * (1 + gate * (1 - sigmoid)));
            dx[h + j] = narrow(g * gate * sigmoid);
        }
}

// Splits rows of (q, k, v) x heads into three (batch, head, time, HEAD) arrays and turns q and k by their positions.
void split_heads(const brain *qkv, const float *cosine, const float *sine, float *q, float *k, float *v, long batch, long time, long heads) {
    for (long b = 0; b < batch; b++)
        for (long t = 0; t < time; t++) {
            const float *c = cosine + (b * time + t) * HALF, *s = sine + (b * time + t) * HALF;
            for (long part = 0; part < 3; part++)
                for (long h = 0; h < heads; h++, qkv += HEAD) {
                    float *out = (part == 0 ? q : part == 1 ? k : v) + ((b * heads + h) * time + t) * HEAD;
                    if (part == 2)
                        for (int j = 0; j < HEAD; j++) out[j] = wide(qkv[j]);
                    else
                        for (int j = 0; j < HALF; j++) {
                            float x = wide(qkv[j]), y = wide(qkv[HALF + j]);
                            out[j] = x * c[j] - y * s[j];
                            out[HALF + j] = y * c[j] + x * s[j];
                        }
                }
        }
}

void join_heads(const float *q, const float *k, const float *v, const float *cosine, const float *sine, brain *qkv, long batch, long time, long heads) {
    for (long b = 0; b < batch; b++)
        for (long t = 0; t < time; t++) {
            const float *c = cosine + (b * time + t) * HALF, *s = sine + (b * time + t) * HALF;
            for (long part = 0; part < 3; part++)
                for (long h = 0; h < heads; h++, qkv += HEAD) {
                    const float *in = (part == 0 ? q : part == 1 ? k : v) + ((b * heads + h) * time + t) * HEAD;
                    if (part == 2)
                        for (int j = 0; j < HEAD; j++) qkv[j] = narrow(in[j]);
                    else
                        for (int j = 0; j < HALF; j++) {
                            qkv[j] = narrow(in[j] * c[j] + in[HALF + j] * s[j]);
                            qkv[HALF + j] = narrow(in[HALF + j] * c[j] - in[j] * s[j]);
                        }
                }
        }
}
