"""A worker's life: open the engine, test it, follow orders."""

import logging
from pathlib import Path

from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import DeviceError, EngineError, OutputError, ResourceError, one_line
from fantasyid_engine.server.messages import Facts, Ready, Refused, Render, served_name
from fantasyid_engine.server.worker.channel import Channel
from fantasyid_engine.server.worker.orders import Orders
from fantasyid_engine.server.worker.render import Renderer
from fantasyid_engine.server.worker.self_test import check_model
from fantasyid_engine.video.provenance import find_signer
from fantasyid_engine.weights.model import Model

log = logging.getLogger(__name__)


def work(name: str, device: str, precision: str, faces: str, channel: Channel, orders: Orders) -> int:
    """Renders what is ordered, for as long as the device computes; returns the exit code.

    Args:
        name: preset or model folder.
        device: of `EngineConfig`.
        precision: likewise.
        faces: folder for faces that were read.
        channel: to the server.
        orders: from the server.
    """
    try:
        signer = find_signer()  # now, for a video that cannot be signed would be found out after its render
        engine = Engine.open(name, device=device, precision=precision, face_cache_dir=faces)
        check_model(engine)
    except (ResourceError, OutputError) as error:  # it may work later
        log.error("%s", one_line(str(error)))
        return error.exit_code
    except EngineError as error:
        channel.send(Refused(exit_code=error.exit_code, message=one_line(str(error))))
        return error.exit_code
    channel.send(Ready(facts=facts_of(engine.model, name)))
    renderer = Renderer(engine, signer, channel, orders)
    while True:
        order = orders.next()
        if not isinstance(order, Render):
            engine.forget()
            for path in Path(faces).iterdir():  # here too: the render before it may have kept a face meanwhile
                path.unlink(missing_ok=True)
            continue
        try:
            channel.send(renderer(order))
        except DeviceError as error:
            log.error("%s", one_line(str(error)))
            return error.exit_code
        finally:
            orders.over(order.lease)


def facts_of(model: Model, name: str) -> Facts:
    """What the server must know of a model that was opened by `name`."""
    height, width = model.frame_size
    return Facts(
        name=served_name(name),
        trained=model.render.trained,
        frame_counts=tuple(model.frame_counts),
        fps=model.render.fps,
        width=width,
        height=height,
        num_inference_steps=model.render.num_inference_steps,
        guidance_scale=model.render.guidance_scale,
        shape_names=tuple(model.shape_names),
        one_face=model.render.face == "picture",
    )
