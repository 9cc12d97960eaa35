"""Weights that other libraries fetch from the Hugging Face hub: asked for once, and never waited for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_alone = RLock()  # what is turned off within it is the whole process's
WAIT = 5  # seconds for the hub's first answer


@contextmanager
def one_attempt() -> Iterator[None]:
    """Within it the hub is asked once whether it is there; where it isn't, what was downloaded before must do.

    The hub's own code would ask again and again, for the better part of a minute, and tell each time.

    Raises OSError where the hub is out of reach and what is wanted isn't among the files downloaded before.
    """
    from huggingface_hub import constants, get_session  # only where it is needed: it takes long to import
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    with _alone:
        log = logging.getLogger("huggingface_hub")
        offline, level = constants.HF_HUB_OFFLINE, log.level
        if not offline:
            try:
                get_session().head(constants.ENDPOINT, timeout=WAIT)
            except Exception:  # whatever a network, a proxy or a certificate comes to
                constants.HF_HUB_OFFLINE = True
        log.setLevel(logging.ERROR)
        try:
            yield
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            raise OSError("the Hugging Face hub is out of reach, and they were not downloaded before") from error
        finally:
            constants.HF_HUB_OFFLINE = offline
            log.setLevel(level)
