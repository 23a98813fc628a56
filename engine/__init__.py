"""fantasyid-engine: one photo of a face and one prompt in, a video of that person out.

```python
from fantasyid_engine import Engine, VideoRequest

with Engine.from_preset("avatar-mini") as engine:
    engine.generate(VideoRequest(image="face.png", prompt="smiles at the camera", seed=7)).save("out.mp4")
```
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fantasyid_engine.engine import Engine
    from fantasyid_engine.errors import (
        Cancelled,
        ConfigError,
        DeviceError,
        EngineError,
        InputError,
        OutputError,
        ResourceError,
        WeightsError,
        WriteError,
    )
    from fantasyid_engine.progress import Progress
    from fantasyid_engine.request import VideoRequest
    from fantasyid_engine.result import VideoResult
    from fantasyid_engine.runtime.plan import EngineConfig, ExecutionPlan
    from fantasyid_engine.sampling.state import RenderState

__version__ = version("fantasyid-engine")

__all__ = [
    "Cancelled",
    "ConfigError",
    "DeviceError",
    "Engine",
    "EngineConfig",
    "EngineError",
    "ExecutionPlan",
    "InputError",
    "OutputError",
    "Progress",
    "RenderState",
    "ResourceError",
    "VideoRequest",
    "VideoResult",
    "WeightsError",
    "WriteError",
]

_MODULES = {
    "Engine": "engine",
    "EngineConfig": "runtime.plan",
    "ExecutionPlan": "runtime.plan",
    "Progress": "progress",
    "RenderState": "sampling.state",
    "VideoRequest": "request",
    "VideoResult": "result",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for: torch and transformers take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
