"""Builds the compiled engine; everything else about the project stands in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

EXTENSIONS = [
    Extension("whereabouts._bitmap", ["whereabouts/_bitmap.pyx"], extra_compile_args=["-O3"]),
    Extension("whereabouts._codec", ["whereabouts/_codec.pyx"], extra_compile_args=["-O3"]),
]

setup(ext_modules=cythonize(EXTENSIONS, compiler_directives={"language_level": 3}))
