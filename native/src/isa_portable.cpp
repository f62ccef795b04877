// Any processor: plain loops over sixteen numbers, which compilers turn into what there is.
#include "pellucid.hpp"
#include "spare.hpp"
#include <math.h>
#include <string.h>

namespace pellucid {
namespace {

constexpr const char* NAME = "portable";
constexpr int MOST_F = 2, MOST_I = 2, OFFSET = 0;
constexpr bool PAIRS = false, SHORT = false;
struct V { float at[16]; };
struct I { int32_t at[16]; };
struct B { int8_t at[64]; };

template <class F> inline V each(F f) { V v; for (int i = 0; i < 16; i++) v.at[i] = f(i); return v; }
inline V zero() { return each([](int) { return 0.0f; }); }
inline V set1(float x) { return each([=](int) { return x; }); }
inline V load(const float* p) { return each([=](int i) { return p[i]; }); }
inline V load_n(const float* p, int n) { return each([=](int i) { return i < n ? p[i] : 0.0f; }); }
inline void store(float* p, const V& v) { for (int i = 0; i < 16; i++) p[i] = v.at[i]; }
inline void store_n(float* p, const V& v, int n) { for (int i = 0; i < n; i++) p[i] = v.at[i]; }
inline V add(const V& a, const V& b) { return each([&](int i) { return a.at[i] + b.at[i]; }); }
inline V sub(const V& a, const V& b) { return each([&](int i) { return a.at[i] - b.at[i]; }); }
inline V mul(const V& a, const V& b) { return each([&](int i) { return a.at[i] * b.at[i]; }); }
inline V div(const V& a, const V& b) { return each([&](int i) { return a.at[i] / b.at[i]; }); }
inline V max(const V& a, const V& b) { return each([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; }); }
inline V min(const V& a, const V& b) { return each([&](int i) { return a.at[i] < b.at[i] ? a.at[i] : b.at[i]; }); }
inline V fma(const V& a, const V& b, const V& c) { return each([&](int i) { return a.at[i] * b.at[i] + c.at[i]; }); }
inline V absolute(const V& a) { return each([&](int i) { return fabsf(a.at[i]); }); }
inline V nearest(const V& a) { return each([&](int i) { return nearbyintf(a.at[i]); }); }
inline V scaled(const V& a, const V& n) { return each([&](int i) { return ldexpf(a.at[i], int(n.at[i])); }); }
inline float sum(const V& a) { float x = 0; for (float f : a.at) x += f; return x; }
inline float top(const V& a) { float x = a.at[0]; for (float f : a.at) x = f > x ? f : x; return x; }
inline float first(const V& a) { return a.at[0]; }
inline float root(float x) { return sqrtf(x); }
inline float rounded(float x) { return nearbyintf(x); }
inline void sum4(const V& a, const V& b, const V& c, const V& d, float* out) {
  out[0] = sum(a), out[1] = sum(b), out[2] = sum(c), out[3] = sum(d);
}
inline float widened(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
  if (!exponent) return (sign ? -1.0f : 1.0f) * float(fraction) * 0x1p-24f;
  const uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
inline uint16_t narrowed(float x) {  // to the nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  const float size = fabsf(x);
  if (x != x) return uint16_t(sign | 0x7e00);
  if (size >= 65520) return uint16_t(sign | 0x7c00);
  if (size < 0x1p-14f) return uint16_t(sign | uint16_t(nearbyintf(size * 0x1p24f)));
  bits = (bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1);
  return uint16_t(sign | ((bits >> 13) - (112 << 10)));
}
inline V half(const uint16_t* p) { return each([=](int i) { return widened(p[i]); }); }
inline V half_n(const uint16_t* p, int n) { return each([=](int i) { return i < n ? widened(p[i]) : 0.0f; }); }
inline void store_half_n(uint16_t* p, const V& v, int n) { for (int i = 0; i < n; i++) p[i] = narrowed(v.at[i]); }
inline void store_half(uint16_t* p, const V& v) { store_half_n(p, v, 16); }
inline V of_bytes(const int8_t* p) { return each([=](int i) { return float(p[i]); }); }
inline V of_bytes_n(const int8_t* p, int n) { return each([=](int i) { return i < n ? float(p[i]) : 0.0f; }); }
inline void pair(const uint8_t* p, V& even, V& odd) {
  for (int i = 0; i < 16; i++) {
    uint16_t two[2];
    memcpy(two, p + 4 * i, 4);
    const uint32_t a = uint32_t(two[0]) << 16, b = uint32_t(two[1]) << 16;
    memcpy(even.at + i, &a, 4);
    memcpy(odd.at + i, &b, 4);
  }
}
inline I iset1(int32_t x) { I v; for (int32_t& each : v.at) each = x; return v; }
inline I izero() { return iset1(0); }
inline I iadd(const I& a, const I& b) { I v; for (int i = 0; i < 16; i++) v.at[i] = a.at[i] + b.at[i]; return v; }
inline V tofloat(const I& a) { return each([&](int i) { return float(a.at[i]); }); }
inline B bytes(const uint8_t* p) { B b; memcpy(b.at, p, 64); return b; }
inline B low(const B& b) { B v; for (int i = 0; i < 64; i++) v.at[i] = int8_t(b.at[i] & 15); return v; }
inline B high(const B& b) { B v; for (int i = 0; i < 64; i++) v.at[i] = int8_t(b.at[i] >> 4 & 15); return v; }
inline B weights(const B& b) { B v; for (int i = 0; i < 64; i++) v.at[i] = int8_t(b.at[i] ^ -128); return v; }
inline I dot(const I& acc, const B& w, const int8_t* x) {
  I v;
  for (int i = 0; i < 16; i++)
    v.at[i] = acc.at[i] + w.at[4 * i] * x[0] + w.at[4 * i + 1] * x[1] + w.at[4 * i + 2] * x[2] + w.at[4 * i + 3] * x[3];
  return v;
}
inline I add_small(I a, I b) { return iadd(a, b); }
inline I widened_small(I a) { return a; }
inline I dot_small(const I& acc, const B& w, const int8_t* x) { return dot(acc, w, x); }
inline void store_bytes(int8_t* p, const V& v) { for (int i = 0; i < 16; i++) p[i] = int8_t(v.at[i]); }
inline void transpose(const V* rows, float* to) {
  alignas(64) float each[16][16];
  for (int i = 0; i < 16; i++) store(each[i], rows[i]);
  for (int j = 0; j < 16; j++)
    for (int i = 0; i < 16; i++) to[16 * j + i] = each[i][j];
}
inline void prefetch(const uint8_t*) {}
inline void prefetch_far(const uint8_t*) {}

#define WIDE nullptr, nullptr, nullptr
#include "kernels.inc"

}  // namespace

const Kernels* portable() { return &TABLE; }

}  // namespace pellucid
