"""Native parts of fantasyid_engine: plain C++17, no libtorch."""

from typing import TypedDict

class BuildInfo(TypedDict):
    version: str
    compiler: str
    cxx_standard: int
    threads: int

def build_info() -> BuildInfo: ...
