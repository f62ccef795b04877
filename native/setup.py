from setuptools import Extension, setup

SOURCES = ["module", "operations", "pool", "isa_avx512", "isa_avx2", "isa_neon", "isa_portable"]

setup(
    ext_modules=[
        Extension(
            "pellucid_native._kernels",
            [f"src/{name}.cpp" for name in SOURCES],
            depends=[
                "src/pellucid.hpp",
                "src/operations.hpp",
                "src/pool.hpp",
                "src/spare.hpp",
                "src/kernels.inc",
                "src/amx.inc",
            ],
            language="c++",
            # No -march: each processor's kernels say themselves what they are compiled for.
            extra_compile_args=[
                "-std=c++17",
                "-O3",
                "-fno-math-errno",
                "-fno-trapping-math",
                "-Wall",
                "-Wno-maybe-uninitialized",
                "-Wno-uninitialized",
                "-pthread",
            ],
            extra_link_args=["-pthread"],
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
