"""Forgetting a person."""

import hashlib

from fastapi import APIRouter, Request

from fantasyid_engine.server.access import Asking
from fantasyid_engine.server.bodies import checked, read_body
from fantasyid_engine.server.errors import bad
from fantasyid_engine.server.routes.asking import Serving
from fantasyid_engine.server.routes.described import TAKES_BODY, errors, takes
from fantasyid_engine.server.schemas import Purged, PurgeSubject

router = APIRouter(prefix="/v1", tags=["privacy"])
PHOTO = "photo"


@router.post("/purge", responses=errors(*TAKES_BODY), openapi_extra=takes("PurgeSubject"))
async def purge(request: Request, service: Serving, caller: Asking) -> Purged:
    """Remove all your jobs of a person, with photos, faces and videos; what is under way is stopped.

    The person is named by the photo's very file or its digest, or by what jobs named as `consent_ref`.
    """
    async with read_body(request, files=(PHOTO,), most_bytes=service.settings.max_body_bytes) as body:
        subject = checked(body.fields, PurgeSubject)
        file = body.files.get(PHOTO)
        named = [value for value in (file, subject.photo, subject.photo_sha256, subject.consent_ref) if value]
        if len(named) != 1:
            raise bad("subject_unclear", "name one of photo, photo_sha256 and consent_ref")
        sha256 = subject.photo_sha256
        if file or subject.photo:
            data = await service.uploads.read(file or subject.photo or "", PHOTO)
            sha256 = hashlib.sha256(data).hexdigest()
    return await service.remover.purge(key_id=caller.key_id, photo_sha256=sha256, consent_ref=subject.consent_ref)
