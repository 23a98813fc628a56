"""Public data sets, as folders that the user downloaded: each is read into clips of a manifest."""

from collections.abc import Mapping

from fantasyid_engine.training.data.builders import celebv_hq, consisid, openvid
from fantasyid_engine.training.data.builders.entries import Builder

BUILDERS: Mapping[str, Builder] = {
    consisid.NAME: consisid.clips,
    celebv_hq.NAME: celebv_hq.clips,
    openvid.NAME: openvid.clips,
}
"""By exact name."""
