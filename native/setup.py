from setuptools import Extension, setup

SOURCES = [
    "module",
    "operations",
    "pool",
    "isa_avx512",
    "isa_avx512_bf16",
    "isa_avx2",
    "isa_neon",
    "isa_portable",
]
HEADERS = [
    "pellucid.hpp",
    "operations.hpp",
    "pool.hpp",
    "spare.hpp",
    "kernels.inc",
    "amx.inc",
    "dots.inc",
]
# No -march: each processor's kernels say themselves what they are compiled for.
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-pthread", "-Wall"]
FLAGS += ["-Wno-maybe-uninitialized", "-Wno-uninitialized"]  # of gcc's own header of AVX-512

setup(
    ext_modules=[
        Extension(
            "pellucid_native._kernels",
            [f"src/{name}.cpp" for name in SOURCES],
            depends=[f"src/{name}" for name in HEADERS],
            language="c++",
            extra_compile_args=FLAGS,
            extra_link_args=["-pthread"],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
