"""One role of the splits as parquet or arrow, as the `datasets` library writes them: images, or lists of numbers.

An image is a struct of `bytes` and `path`, or plain bytes; `path` serves as its name and is never followed. Needs
pyarrow (`privaudit[parquet]`). The file is hostile: what arrow would take without a word is checked, and every batch is
validated before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from auditor.errors import InputError
from auditor.records import MAX_ROLE_BYTES, printable, read_text
from auditor.sources.columns import Column, ColumnKind, Columns, choose_columns, parse_features
from auditor.sources.images import MAX_ENCODED_BYTES, EncodedImage, ImageRole, survey
from auditor.sources.npz import plain_features
from auditor.sources.packed import packed_by
from auditor.sources.stated import ArrayRole, Stated, state_groups, state_labels
from auditor.splits_file import DataSection

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TableImages", "read_table"]

_NAMED_BY = "class names"
_INFO_FILE = "dataset_info.json"  # `save_to_disk` writes it beside the shards
_IMAGES_AT_ONCE = 1  # rows may repeat one value by reference: a few of them spelled out make gigabytes
_ROWS_AT_ONCE = 1024
_PAGE_BUFFER = 2**20
_FILE_MAGIC = b"ARROW1\0\0"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True, eq=False)
class TableImages:
    """The images of parquet or arrow files, row by row.

    Attributes:
        path: The role, for messages.
        shards: The files, in order.
        columns: What is read of them.
        named_by: What gives a class its name.
        upright: Orientation tags are followed, as the `datasets` library does.
    """

    path: Path
    shards: tuple[Path, ...]
    columns: Columns
    named_by: str = _NAMED_BY
    upright: bool = True

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes by label, where the schema lists them."""
        return self.columns.class_names

    def images(self) -> Iterator[EncodedImage]:
        """All images, shard by shard.

        Raises:
            InputError: a shard is damaged or cut off, there are no rows, or a row holds no image, a large one, or only
                the path of one.
        """
        total = 0
        for shard in self.shards:
            first = 0
            with _reading(shard):
                for batch in _batches(shard, self.columns):
                    yield from self._images_of(batch, shard, first)
                    first += batch.num_rows
            total += first
        if not total:
            raise _empty(self.path)

    def _images_of(self, batch: pa.RecordBatch, shard: Path, first: int) -> Iterator[EncodedImage]:
        labels, groups = (_values(batch, name) for name in (self.columns.label, self.columns.group))
        for row, cell in enumerate(batch.column(self.columns.content)):
            place = f"record {first + row} of {shard}"
            name, content = _image_in(cell, place)
            yield EncodedImage(place, name, content, labels[row], groups[row])


def read_table(
    path: Path, shards: tuple[Path, ...], section: DataSection, *, labels_needed: bool
) -> ImageRole | ArrayRole:
    """Read a role from parquet or arrow files, images only as far as their headers.

    Args:
        path: The role, for messages.
        shards: The files, in order.
        section: Which columns hold what.
        labels_needed: Whether a table without classes is refused.

    Raises:
        InputError: pyarrow is not installed; a file is damaged, cut off or too large; its columns are not clear, or not
            the same in all; or what `survey` refuses.
    """
    chosen = [_columns_of(shard, section, labels_needed=labels_needed) for shard in shards]
    other = next((shard for shard, columns in zip(shards, chosen, strict=True) if columns != chosen[0]), None)
    if other is not None:
        raise InputError(
            f"{printable(other)} has other columns or classes than {printable(shards[0])}.",
            "Write all shards of a role at once.",
        )
    if chosen[0].encoded:
        return survey(TableImages(path, shards, chosen[0]))
    return _read_features(path, shards, chosen[0])


def _columns_of(shard: Path, section: DataSection, *, labels_needed: bool) -> Columns:
    with _reading(shard):
        schema = _schema(shard)
        columns = [Column(field.name, str(field.type), _kind(field.type)) for field in schema]
        stated = (schema.metadata or {}).get(b"huggingface")
    return choose_columns(shard, columns, _features_of(shard, stated), section, labels_needed=labels_needed)


def _features_of(shard: Path, stated: bytes | None) -> Mapping[str, object]:
    beside = shard.with_name(_INFO_FILE)
    if stated is not None:
        return parse_features(shard, stated, inside=("info", "features"))
    if not _is_parquet(shard) and beside.exists():
        return parse_features(beside, read_text(beside).encode(), inside=("features",))
    return {}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(
            f"{printable(path)} needs pyarrow to be read.", 'Install it: pip install "privaudit[parquet]".'
        ) from error
    try:
        if not path.is_file():
            raise OSError("not a regular file")
        yield
    except (pa.ArrowException, *_DAMAGE) as error:
        if (packing := packed_by(path)) is not None:
            raise InputError(f"{printable(path)} is compressed with {packing} as a whole.", "Unpack it.") from error
        raise InputError(
            f"{printable(path)} is damaged, cut off, or no plain {path.suffix[1:]} file.",
            "Write it again with the `datasets` library or pyarrow.",
        ) from error


# --- schema --------------------------------------------------------------------------------------------------------


def _schema(path: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if _is_parquet(path):
        return pq.read_metadata(path).schema.to_arrow_schema()
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(_to_stream(source)).schema


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _kind(kind: pa.DataType) -> ColumnKind:
    from pyarrow import types

    if types.is_dictionary(kind):
        return ColumnKind.TEXT if _kind(kind.value_type) is ColumnKind.TEXT else ColumnKind.OTHER
    if types.is_struct(kind):
        held = {field.name: field.type for field in kind}
        return ColumnKind.ENCODED if "bytes" in held and _is_bytes(held["bytes"]) else ColumnKind.OTHER
    if _is_bytes(kind):
        return ColumnKind.ENCODED
    plain = (
        (types.is_null, ColumnKind.NOTHING),
        (types.is_integer, ColumnKind.INTEGER),
        (types.is_string, ColumnKind.TEXT),
        (types.is_large_string, ColumnKind.TEXT),
    )
    found = next((serves for is_of, serves in plain if is_of(kind)), None)
    if found is not None:
        return found
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    numbers = lists and (types.is_integer(kind.value_type) or types.is_floating(kind.value_type))
    return ColumnKind.NUMBERS if numbers else ColumnKind.OTHER


def _is_bytes(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


# --- rows ----------------------------------------------------------------------------------------------------------


def _batches(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    """The rows, in order, some at a time and with every value in its bounds."""
    for batch in _parquet_batches(path, columns) if _is_parquet(path) else _arrow_batches(path, columns):
        batch.validate(full=True)
        yield batch


def _parquet_batches(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pa.OSFile(str(path)) as source:
        file = pq.ParquetFile(source, buffer_size=_PAGE_BUFFER, pre_buffer=False, page_checksum_verification=True)
        rows = _IMAGES_AT_ONCE if columns.encoded else _ROWS_AT_ONCE
        yield from file.iter_batches(batch_size=rows, columns=columns.names, use_threads=False)


def _arrow_batches(path: Path, columns: Columns) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        _check_messages(source, path)
        schema = pa.ipc.open_stream(_to_stream(source)).schema
        fields = [schema.get_field_index(name) for name in columns.names]
        yield from pa.ipc.open_stream(_to_stream(source), options=pa.ipc.IpcReadOptions(included_fields=fields))


def _values(batch: pa.RecordBatch, name: str | None) -> list[Stated]:
    return [None] * batch.num_rows if name is None else batch.column(name).to_pylist()


def _image_in(cell: pa.Scalar, place: str) -> tuple[str, bytes]:
    """Name and content of one image."""
    from pyarrow import types

    name = ""
    if types.is_struct(cell.type):
        stated = cell["path"].as_py() if cell.is_valid and "path" in cell.type.names else None
        name = stated if isinstance(stated, str) else ""
        cell = cell["bytes"]
    if not cell.is_valid:
        if not name:
            raise InputError(f"{printable(place)} holds no image.", "Give it one, or drop the record.")
        raise InputError(
            f"{printable(place)} is only a path, {printable(name[-200:])}, which is not followed.",
            "Embed the bytes before `to_parquet`, or write it with `save_to_disk`, which does.",
        )
    content = cell.as_buffer()
    if content.size > MAX_ENCODED_BYTES:
        raise InputError(
            f"{printable(place)} has {content.size:,} bytes; at most {MAX_ENCODED_BYTES:,} are read.", "Remove it."
        )
    return name, content.to_pybytes()


def _read_features(path: Path, shards: tuple[Path, ...], columns: Columns) -> ArrayRole:
    parts: list[npt.NDArray[np.generic]] = []
    labels: list[Stated] = []
    groups: list[Stated] = []
    room = MAX_ROLE_BYTES
    for shard in shards:
        with _reading(shard):
            for batch in _batches(shard, columns):
                parts.append(_numbers_in(batch.column(columns.content), shard, columns.content))
                labels.extend(_values(batch, columns.label))
                groups.extend(_values(batch, columns.group))
                room -= parts[-1].nbytes
                if room < 0 or parts[-1].shape[1] != parts[0].shape[1]:
                    raise _unfit(shard, columns.content)
    if not labels:
        raise _empty(path)
    inputs = plain_features(np.concatenate(parts), path, columns.content)
    stated = state_labels(path, labels, named_by=_NAMED_BY, listed=columns.class_names)
    return ArrayRole(path, inputs, stated, state_groups(path, groups))


def _empty(path: Path) -> InputError:
    return InputError(f"{printable(path)} holds no rows.", "Write one per record.")


def _numbers_in(column: pa.Array, shard: Path, name: str) -> npt.NDArray[np.generic]:
    """Numbers [record, feature] of a column of lists, all of one length."""
    values = column.flatten()
    width, rest = divmod(len(values), max(len(column), 1))
    lengths = set(column.value_lengths().to_pylist())
    if rest or column.null_count or values.null_count or lengths - {width}:
        raise _unfit(shard, name)
    numbers: npt.NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(len(column), width)


def _unfit(shard: Path, name: str) -> InputError:
    return InputError(
        f"{printable(shard)}: the lists in `{printable(name)}` differ in length, have gaps, "
        f"or take more than {MAX_ROLE_BYTES // 2**30} GiB.",
        "Give every record the same features.",
    )


# --- arrow as a stream ---------------------------------------------------------------------------------------------


def _to_stream(source: pa.NativeFile) -> pa.NativeFile:
    """The source at the start of its messages: a file of arrow is a stream between a magic and a table of contents."""
    source.seek(0)
    if source.read(len(_FILE_MAGIC)) != _FILE_MAGIC:
        source.seek(0)
    return source


def _check_messages(source: pa.NativeFile, path: Path) -> None:
    """Refuse what arrow would take without a word: compressed bodies of any size, and a stream without its end."""
    import pyarrow as pa

    for message in pa.ipc.MessageReader.open_stream(_to_stream(source)):
        if message.type in {"record batch", "dictionary"} and _is_compressed(memoryview(message.metadata)):
            raise InputError(
                f"{printable(path)} holds compressed buffers (lz4 or zstd, as feather files do), which are not read.",
                'Write it uncompressed: pyarrow.feather.write_feather(table, path, compression="uncompressed").',
            )
    end = source.tell()
    source.seek(end - len(_END_OF_STREAM))
    if source.read(len(_END_OF_STREAM)) != _END_OF_STREAM:
        raise EOFError("cut off")
    if _to_stream(source).tell() == 0 and end < source.size():
        raise ValueError("it goes on after its end")


def _is_compressed(message: memoryview) -> bool:
    """Whether the flatbuffer of a record batch, or of the one in a dictionary, names a codec (Arrow's Message.fbs)."""
    root: int = struct.unpack_from("<I", message)[0]
    kind = _field(message, root, 1)
    batch = _table(message, root, 2)
    if kind is not None and message[kind] == 2 and batch is not None:
        batch = _table(message, batch, 1)
    return batch is None or _field(message, batch, 3) is not None


def _field(message: memoryview, table: int, slot: int) -> int | None:
    """Where a field of a flatbuffer table stands; None where it is left out."""
    index: int = table - struct.unpack_from("<i", message, table)[0]
    entry = 4 + 2 * slot
    if entry >= struct.unpack_from("<H", message, index)[0]:
        return None
    offset: int = struct.unpack_from("<H", message, index + entry)[0]
    return table + offset if offset else None


def _table(message: memoryview, table: int, slot: int) -> int | None:
    place = _field(message, table, slot)
    return None if place is None else place + int(struct.unpack_from("<I", message, place)[0])
