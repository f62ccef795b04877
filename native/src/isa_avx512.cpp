// AVX-512 with VNNI: four bytes times four bytes, summed, in one step. With WITH_BF16 (isa_avx512_bf16.cpp),
// for processors that multiply bfloat16 too (dots.inc), and many rows, where there is AMX, by its tiles (amx.inc).
#include "pellucid.hpp"
#if defined(__x86_64__) && defined(__GNUC__)
#include "spare.hpp"
#if defined(__clang__) && defined(WITH_BF16)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,avx512bf16"))), apply_to = function)
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))), apply_to = function)
#elif __GNUC__ >= 11 && defined(__linux__) && defined(WITH_BF16)
#define HAS_AMX
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,avx512bf16,amx-tile,amx-bf16")
#elif defined(WITH_BF16)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,avx512bf16")
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
#endif
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include <type_traits>
#ifdef HAS_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pellucid {
namespace {

#ifdef WITH_BF16
constexpr const char* NAME = "AVX-512 BF16";
#else
constexpr const char* NAME = "AVX-512 VNNI";
#endif
constexpr int MOST_F = 12, MOST_I = 12, OFFSET = 128;
constexpr bool PAIRS = true, SHORT = false;
using V = __m512;
using I = __m512i;
using B = __m512i;

inline __mmask16 mask(int n) { return __mmask16((1u << n) - 1); }
inline V zero() { return _mm512_setzero_ps(); }
inline V set1(float x) { return _mm512_set1_ps(x); }
inline V load(const float* p) { return _mm512_loadu_ps(p); }
inline V load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
inline void store(float* p, V v) { _mm512_storeu_ps(p, v); }
inline void store_n(float* p, V v, int n) { _mm512_mask_storeu_ps(p, mask(n), v); }
inline V add(V a, V b) { return _mm512_add_ps(a, b); }
inline V sub(V a, V b) { return _mm512_sub_ps(a, b); }
inline V mul(V a, V b) { return _mm512_mul_ps(a, b); }
inline V div(V a, V b) { return _mm512_div_ps(a, b); }
inline V max(V a, V b) { return _mm512_max_ps(a, b); }
inline V min(V a, V b) { return _mm512_min_ps(a, b); }
inline V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
inline V absolute(V a) { return _mm512_abs_ps(a); }
inline V nearest(V a) { return _mm512_roundscale_ps(a, 0); }
inline V scaled(V a, V n) { return _mm512_scalef_ps(a, n); }
inline float sum(V a) { return _mm512_reduce_add_ps(a); }
inline float top(V a) { return _mm512_reduce_max_ps(a); }
inline float first(V a) { return _mm512_cvtss_f32(a); }
inline float root(float x) { return sqrtf(x); }
inline float rounded(float x) { return nearbyintf(x); }
inline void sum4(V a, V b, V c, V d, float* out) {
  const V ab = add(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const V cd = add(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const V x = add(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));  // a b c d, in each quarter
  const __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1)));
}
inline V half(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
inline V half_n(const uint16_t* p, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p)); }
inline void store_half(uint16_t* p, V v) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(v, 0)); }
inline void store_half_n(uint16_t* p, V v, int n) { _mm256_mask_storeu_epi16(p, mask(n), _mm512_cvtps_ph(v, 0)); }
inline V of_bytes(const int8_t* p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p))); }
inline V of_bytes_n(const int8_t* p, int n) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask(n), p))); }
inline void pair(const uint8_t* p, V& even, V& odd) {
  __m512i x = _mm512_loadu_si512(p);
  asm("" : "+v"(x));  // read once: such loads are one a cycle
  even = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
  odd = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(int(0xffff0000))));
}
inline I izero() { return _mm512_setzero_si512(); }
inline I iset1(int32_t x) { return _mm512_set1_epi32(x); }
inline I iadd(I a, I b) { return _mm512_add_epi32(a, b); }
inline V tofloat(I a) { return _mm512_cvtepi32_ps(a); }
inline B bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline B low(B b) { return _mm512_and_si512(b, _mm512_set1_epi8(15)); }
inline B high(B b) { return _mm512_and_si512(_mm512_srli_epi16(b, 4), _mm512_set1_epi8(15)); }
inline B weights(B b) { return b; }
inline B four(const int8_t* x) {
  int32_t bits;
  memcpy(&bits, x, 4);
  return _mm512_set1_epi32(bits);
}
inline I dot(I acc, B w, const int8_t* x) { return _mm512_dpbusd_epi32(acc, w, four(x)); }
inline I add_small(I a, I b) { return iadd(a, b); }
inline I widened_small(I a) { return a; }
inline I dot_small(I acc, B w, const int8_t* x) { return _mm512_dpbusd_epi32(acc, w, four(x)); }
inline void store_bytes(int8_t* p, V v) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))); }
inline void transpose(const V* rows, float* to) {
  __m512i r[16], s[16];
  for (int i = 0; i < 16; i += 2) {  // pairs, then fours, of the same column side by side
    r[i] = _mm512_unpacklo_epi32(_mm512_castps_si512(rows[i]), _mm512_castps_si512(rows[i + 1]));
    r[i + 1] = _mm512_unpackhi_epi32(_mm512_castps_si512(rows[i]), _mm512_castps_si512(rows[i + 1]));
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      s[i + 2 * j] = _mm512_unpacklo_epi64(r[i + j], r[i + 2 + j]);
      s[i + 2 * j + 1] = _mm512_unpackhi_epi64(r[i + j], r[i + 2 + j]);
    }
  for (int c = 0; c < 4; c++) {  // of four columns the quarters of each register, then whole ones
    const __m512i a = _mm512_shuffle_i32x4(s[c], s[4 + c], 0x88), b = _mm512_shuffle_i32x4(s[c], s[4 + c], 0xdd);
    const __m512i d = _mm512_shuffle_i32x4(s[8 + c], s[12 + c], 0x88), e = _mm512_shuffle_i32x4(s[8 + c], s[12 + c], 0xdd);
    _mm512_storeu_si512(to + 16 * c, _mm512_shuffle_i32x4(a, d, 0x88));
    _mm512_storeu_si512(to + 16 * (4 + c), _mm512_shuffle_i32x4(b, e, 0x88));
    _mm512_storeu_si512(to + 16 * (8 + c), _mm512_shuffle_i32x4(a, d, 0xdd));
    _mm512_storeu_si512(to + 16 * (12 + c), _mm512_shuffle_i32x4(b, e, 0xdd));
  }
}
inline void prefetch(const uint8_t* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }
inline void prefetch_far(const uint8_t* p) { _mm_prefetch((const char*)p, _MM_HINT_T1); }

#ifdef HAS_AMX
bool has_tiles();
void prepare_wide(const Weight&, const float*, ptrdiff_t, const float*, const float*, float, int, int, uint16_t*);
void linear_wide(const Weight&, const uint16_t*, int, const Target&, int, int, uint16_t*);
#define WIDE has_tiles, prepare_wide, linear_wide
#else
#define WIDE nullptr, nullptr, nullptr
#endif
#include "kernels.inc"
#ifdef HAS_AMX
#include "amx.inc"
#endif

}  // namespace

#ifdef WITH_BF16
const Kernels* avx512_bf16() {
  static const bool here = avx512() && __builtin_cpu_supports("avx512bf16");
  return here ? &TABLE : nullptr;
}
#else
const Kernels* avx512() {
  static const bool here = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
  return here ? &TABLE : nullptr;
}
#endif

}  // namespace pellucid
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
namespace pellucid {
#ifdef WITH_BF16
const Kernels* avx512_bf16() { return nullptr; }
#else
const Kernels* avx512() { return nullptr; }
#endif
}  // namespace pellucid
#endif
