"""Builds the C extension where that is possible, and takes liblsm along when it is told which.

The extension is optional: without a compiler, or without lsm.h, the package works through ctypes. LSM_BUNDLE names a
liblsm.so.1 to put into the wheel.
"""

import os
import shlex
import shutil
import subprocess

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))


def include_dirs():
    """Where lsm.h is: what pkg-config says, else the tree that this folder lies in."""
    dirs = []
    if shutil.which("pkg-config"):
        asked = subprocess.run(["pkg-config", "--cflags-only-I", "lsm"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        dirs += [flag[2:] for flag in shlex.split(asked.stdout.decode()) if flag.startswith("-I")]
    tree = os.path.normpath(os.path.join(HERE, "..", "..", "include"))
    if os.path.exists(os.path.join(tree, "lsm.h")):
        dirs.append(tree)
    return dirs


class BuildWithLibrary(build_py):
    """Copies the library that LSM_BUNDLE names into the package."""

    def run(self):
        super().run()
        library = os.environ.get("LSM_BUNDLE")
        if library:
            folder = os.path.join(self.build_lib, "lsm", "_lib")
            os.makedirs(folder, exist_ok=True)
            shutil.copyfile(library, os.path.join(folder, "liblsm.so.1"))


class BuildIfPossible(build_ext):
    """Leaves the extension out when LSM_PURE is set; `optional` does so when it cannot be compiled."""

    def run(self):
        if not os.environ.get("LSM_PURE"):
            super().run()


setup(
    ext_modules=[
        Extension(
            "lsm._native",
            ["native/core.c", "native/keyspace.c", "native/batch.c", "native/cursor.c"],
            depends=["native/core.h"],
            include_dirs=include_dirs(),
            extra_compile_args=["-std=c11", "-fvisibility=hidden"],
            optional=True,
        )
    ],
    cmdclass={"build_py": BuildWithLibrary, "build_ext": BuildIfPossible},
)
