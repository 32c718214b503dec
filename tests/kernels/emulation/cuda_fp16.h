// Half precision on the processor; both round to the nearest, ties to even.
#pragma once
typedef _Float16 __half;
inline float __half2float(__half value) { return (float)value; }
inline __half __float2half(float value) { return (__half)value; }
