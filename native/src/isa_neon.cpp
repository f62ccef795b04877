// NEON, with the dot products that came with ARMv8.2 where the compiler may use them.
#include "pellucid.hpp"
#if defined(__aarch64__) && defined(__GNUC__)
#include "spare.hpp"
#include <arm_neon.h>
#include <math.h>
#include <string.h>

namespace pellucid {
namespace {

constexpr const char* NAME = "NEON";
constexpr int MOST_F = 6, MOST_I = 4, OFFSET = 0;
constexpr bool PAIRS = false, SHORT = false;
struct V { float32x4_t at[4]; };
struct I { int32x4_t at[4]; };
struct B { int8x16_t at[4]; };

template <class F> inline V each(F f) { return {{f(0), f(1), f(2), f(3)}}; }
inline V set1(float x) { const float32x4_t v = vdupq_n_f32(x); return {{v, v, v, v}}; }
inline V zero() { return set1(0); }
inline V load(const float* p) { return each([=](int i) { return vld1q_f32(p + 4 * i); }); }
inline void store(float* p, V v) { for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, v.at[i]); }
inline V load_n(const float* p, int n) { float x[16] = {0}; memcpy(x, p, 4 * n); return load(x); }
inline void store_n(float* p, V v, int n) { float x[16]; store(x, v); memcpy(p, x, 4 * n); }
inline V add(V a, V b) { return each([&](int i) { return vaddq_f32(a.at[i], b.at[i]); }); }
inline V sub(V a, V b) { return each([&](int i) { return vsubq_f32(a.at[i], b.at[i]); }); }
inline V mul(V a, V b) { return each([&](int i) { return vmulq_f32(a.at[i], b.at[i]); }); }
inline V div(V a, V b) { return each([&](int i) { return vdivq_f32(a.at[i], b.at[i]); }); }
inline V max(V a, V b) { return each([&](int i) { return vmaxq_f32(a.at[i], b.at[i]); }); }
inline V min(V a, V b) { return each([&](int i) { return vminq_f32(a.at[i], b.at[i]); }); }
inline V fma(V a, V b, V c) { return each([&](int i) { return vfmaq_f32(c.at[i], a.at[i], b.at[i]); }); }
inline V absolute(V a) { return each([&](int i) { return vabsq_f32(a.at[i]); }); }
inline V nearest(V a) { return each([&](int i) { return vrndnq_f32(a.at[i]); }); }
inline V scaled(V a, V n) {
  return each([&](int i) {
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a.at[i]), vshlq_n_s32(vcvtnq_s32_f32(n.at[i]), 23)));
  });
}
inline float sum(V a) { return vaddvq_f32(vaddq_f32(vaddq_f32(a.at[0], a.at[1]), vaddq_f32(a.at[2], a.at[3]))); }
inline float top(V a) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.at[0], a.at[1]), vmaxq_f32(a.at[2], a.at[3]))); }
inline float first(V a) { return vgetq_lane_f32(a.at[0], 0); }
inline float root(float x) { return sqrtf(x); }
inline float rounded(float x) { return nearbyintf(x); }
inline void sum4(V a, V b, V c, V d, float* out) { out[0] = sum(a), out[1] = sum(b), out[2] = sum(c), out[3] = sum(d); }
inline V half(const uint16_t* p) {
  return each([=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
inline V half_n(const uint16_t* p, int n) { uint16_t x[16] = {0}; memcpy(x, p, 2 * n); return half(x); }
inline void store_half(uint16_t* p, V v) {
  for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(v.at[i])));
}
inline void store_half_n(uint16_t* p, V v, int n) { uint16_t x[16]; store_half(x, v); memcpy(p, x, 2 * n); }
inline V of_bytes(const int8_t* p) {
  const int8x16_t x = vld1q_s8(p);
  const int16x8_t lo = vmovl_s8(vget_low_s8(x)), hi = vmovl_high_s8(x);
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_high_s16(lo)),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))), vcvtq_f32_s32(vmovl_high_s16(hi))}};
}
inline V of_bytes_n(const int8_t* p, int n) { int8_t x[16] = {0}; memcpy(x, p, n); return of_bytes(x); }
inline void pair(const uint8_t* p, V& even, V& odd) {
  for (int i = 0; i < 4; i++) {
    const uint32x4_t x = vreinterpretq_u32_u8(vld1q_u8(p + 16 * i));
    even.at[i] = vreinterpretq_f32_u32(vshlq_n_u32(x, 16));
    odd.at[i] = vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xffff0000u)));
  }
}
inline I iset1(int32_t x) { const int32x4_t v = vdupq_n_s32(x); return {{v, v, v, v}}; }
inline I izero() { return iset1(0); }
inline I iadd(I a, I b) { for (int i = 0; i < 4; i++) a.at[i] = vaddq_s32(a.at[i], b.at[i]); return a; }
inline V tofloat(I a) { return each([&](int i) { return vcvtq_f32_s32(a.at[i]); }); }
inline B bytes(const uint8_t* p) { B b; for (int i = 0; i < 4; i++) b.at[i] = vreinterpretq_s8_u8(vld1q_u8(p + 16 * i)); return b; }
inline B low(B b) { for (auto& x : b.at) x = vandq_s8(x, vdupq_n_s8(15)); return b; }
inline B high(B b) { for (auto& x : b.at) x = vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(x), 4)); return b; }
inline B weights(B b) { for (auto& x : b.at) x = veorq_s8(x, vdupq_n_s8(-128)); return b; }
inline I dot(I acc, B w, const int8_t* x) {
  int32_t bits;
  memcpy(&bits, x, 4);
  const int8x16_t v = vreinterpretq_s8_s32(vdupq_n_s32(bits));
  for (int i = 0; i < 4; i++) {
#if defined(__ARM_FEATURE_DOTPROD)
    acc.at[i] = vdotq_s32(acc.at[i], w.at[i], v);
#else
    const int16x8_t lo = vmull_s8(vget_low_s8(w.at[i]), vget_low_s8(v)), hi = vmull_high_s8(w.at[i], v);
    acc.at[i] = vaddq_s32(acc.at[i], vpaddq_s32(vpaddlq_s16(lo), vpaddlq_s16(hi)));
#endif
  }
  return acc;
}
inline I add_small(I a, I b) { return iadd(a, b); }
inline I widened_small(I a) { return a; }
inline I dot_small(I acc, B w, const int8_t* x) { return dot(acc, w, x); }
inline void store_bytes(int8_t* p, V v) { float x[16]; store(x, v); for (int i = 0; i < 16; i++) p[i] = int8_t(x[i]); }
inline void transpose(const V* rows, float* to) {
  alignas(64) float each[16][16];
  for (int i = 0; i < 16; i++) store(each[i], rows[i]);
  for (int j = 0; j < 16; j++)
    for (int i = 0; i < 16; i++) to[16 * j + i] = each[i][j];
}
inline void prefetch(const uint8_t* p) { __builtin_prefetch(p); }
inline void prefetch_far(const uint8_t* p) { __builtin_prefetch(p, 0, 2); }

#define WIDE nullptr, nullptr, nullptr
#include "kernels.inc"

}  // namespace

const Kernels* neon() { return &TABLE; }

}  // namespace pellucid
#else
namespace pellucid {
const Kernels* neon() { return nullptr; }
}  // namespace pellucid
#endif
