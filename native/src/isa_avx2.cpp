// AVX2 with FMA: what most laptops and many servers have.
#include "pellucid.hpp"
#if defined(__x86_64__) && defined(__GNUC__)
#include "spare.hpp"
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

namespace pellucid {
namespace {

constexpr const char* NAME = "AVX2";
constexpr int MOST_F = 6, MOST_I = 4, OFFSET = 0;
constexpr bool PAIRS = false, SHORT = true;
struct V { __m256 a, b; };
struct I { __m256i a, b; };
using B = I;

inline V zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline V set1(float x) { const __m256 v = _mm256_set1_ps(x); return {v, v}; }
inline V load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, V v) { _mm256_storeu_ps(p, v.a); _mm256_storeu_ps(p + 8, v.b); }
inline V load_n(const float* p, int n) { float x[16] = {0}; memcpy(x, p, 4 * n); return load(x); }
inline void store_n(float* p, V v, int n) { float x[16]; store(x, v); memcpy(p, x, 4 * n); }
inline V add(V x, V y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline V sub(V x, V y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline V mul(V x, V y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline V div(V x, V y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline V max(V x, V y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline V min(V x, V y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline V fma(V x, V y, V z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline V absolute(V x) { const __m256 s = _mm256_set1_ps(-0.0f); return {_mm256_andnot_ps(s, x.a), _mm256_andnot_ps(s, x.b)}; }
inline V nearest(V x) { return {_mm256_round_ps(x.a, 8), _mm256_round_ps(x.b, 8)}; }
inline __m256 scaled8(__m256 x, __m256 n) {
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
}
inline V scaled(V x, V n) { return {scaled8(x.a, n.a), scaled8(x.b, n.b)}; }
inline float sum8(__m256 x) {
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}
inline float sum(V x) { return sum8(_mm256_add_ps(x.a, x.b)); }
inline float top(V x) {
  const __m256 m = _mm256_max_ps(x.a, x.b);
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}
inline float first(V x) { return _mm256_cvtss_f32(x.a); }
inline float root(float x) { return sqrtf(x); }
inline float rounded(float x) { return nearbyintf(x); }
inline void sum4(V a, V b, V c, V d, float* out) {
  const __m256 ab = _mm256_hadd_ps(_mm256_add_ps(a.a, a.b), _mm256_add_ps(b.a, b.b));
  const __m256 cd = _mm256_hadd_ps(_mm256_add_ps(c.a, c.b), _mm256_add_ps(d.a, d.b));
  const __m256 x = _mm256_hadd_ps(ab, cd);
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}
inline V half(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
inline V half_n(const uint16_t* p, int n) { uint16_t x[16] = {0}; memcpy(x, p, 2 * n); return half(x); }
inline void store_half(uint16_t* p, V v) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(v.a, 0));
  _mm_storeu_si128((__m128i*)(p + 8), _mm256_cvtps_ph(v.b, 0));
}
inline void store_half_n(uint16_t* p, V v, int n) { uint16_t x[16]; store_half(x, v); memcpy(p, x, 2 * n); }
inline __m256 of_bytes8(const int8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p))); }
inline V of_bytes(const int8_t* p) { return {of_bytes8(p), of_bytes8(p + 8)}; }
inline V of_bytes_n(const int8_t* p, int n) { int8_t x[16] = {0}; memcpy(x, p, n); return of_bytes(x); }
inline void pair(const uint8_t* p, V& even, V& odd) {
  const __m256i x = _mm256_loadu_si256((const __m256i*)p), y = _mm256_loadu_si256((const __m256i*)(p + 32));
  const __m256i upper = _mm256_set1_epi32(int(0xffff0000));
  even = {_mm256_castsi256_ps(_mm256_slli_epi32(x, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(y, 16))};
  odd = {_mm256_castsi256_ps(_mm256_and_si256(x, upper)), _mm256_castsi256_ps(_mm256_and_si256(y, upper))};
}
inline I iset1(int32_t x) { const __m256i v = _mm256_set1_epi32(x); return {v, v}; }
inline I izero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline I iadd(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
inline V tofloat(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline B bytes(const uint8_t* p) { return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 32))}; }
inline B low(B x) { const __m256i m = _mm256_set1_epi8(15); return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)}; }
inline B high(B x) { return low({_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)}); }
inline B weights(B x) { const __m256i m = _mm256_set1_epi8(char(128)); return {_mm256_xor_si256(x.a, m), _mm256_xor_si256(x.b, m)}; }
inline __m256i four(const int8_t* x) { int32_t bits; memcpy(&bits, x, 4); return _mm256_set1_epi32(bits); }
inline __m256i summed(__m256i acc, __m256i pairs) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
// |w| · x with w's sign: two products of 127 · 127 fit into 16 bits, of 255 · 127 they would not.
inline __m256i dot8(__m256i acc, __m256i w, __m256i x) {
  return summed(acc, _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)));
}
inline I dot(I acc, B w, const int8_t* p) { const __m256i x = four(p); return {dot8(acc.a, w.a, x), dot8(acc.b, w.b, x)}; }
inline I dot_small(I acc, B w, const int8_t* p) {
  const __m256i x = four(p);
  return {_mm256_add_epi16(acc.a, _mm256_maddubs_epi16(w.a, x)), _mm256_add_epi16(acc.b, _mm256_maddubs_epi16(w.b, x))};
}
inline I add_small(I x, I y) { return {_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)}; }
inline I widened_small(I x) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(x.a, ones), _mm256_madd_epi16(x.b, ones)};
}
inline void store_bytes(int8_t* p, V v) {
  const __m256i x = _mm256_packs_epi32(_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b));
  const __m256i y = _mm256_permute4x64_epi64(x, 0xd8);
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi16(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1)));
}
inline void transpose(const V* rows, float* to) {
  alignas(64) float each[16][16];
  for (int i = 0; i < 16; i++) store(each[i], rows[i]);
  for (int j = 0; j < 16; j++)
    for (int i = 0; i < 16; i++) to[16 * j + i] = each[i][j];
}
inline void prefetch(const uint8_t* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }
inline void prefetch_far(const uint8_t* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }

#define WIDE nullptr, nullptr, nullptr
#include "kernels.inc"

}  // namespace

const Kernels* avx2() {
  static const bool here = [] {  // clang's __builtin_cpu_supports knows no f16c
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
  }();
  return here ? &TABLE : nullptr;
}

}  // namespace pellucid
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace pellucid {
const Kernels* avx2() { return nullptr; }
}  // namespace pellucid
#endif
