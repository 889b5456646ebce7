"""What the measured tasks do: nothing, or the file steps of a conversion."""

from triton_kit.execute.parcel import deliver
from triton_kit.execute.store import Store
from triton_kit.execute.work_folder import work_folder


def empty(_argument, _attempt):
    """Return nothing."""


def carry(parcel, _attempt):
    """Unpack the files of a parcel, and send them back as an artifact."""
    with work_folder() as folder:
        Store().unpack(parcel, folder)
        return deliver({name: folder / name for name in parcel.digests})
