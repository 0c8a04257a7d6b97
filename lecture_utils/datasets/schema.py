"""What COCO's JSON files must hold: each record is checked by pydantic, and what is wrong is said by its name."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NotRequired

from annotated_types import Len
from pydantic import AfterValidator, AllowInfNan, BeforeValidator, Field, Strict, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from lecture_utils.datasets.inventory import shown
from lecture_utils.datasets.reading import inside

_EXPECTED = {
    "id": "a whole number or a text",
    "file_name": "the name of a file below the folder of images",
    "width": "a whole number of pixels",
    "bbox": "[x, y, width, height] in pixels",
    "area": "a number of pixels",
    "iscrowd": "0 or 1",
    "caption": "a sentence",
    "name": "a text",
}
_EXPECTED |= dict.fromkeys(("image_id", "category_id"), _EXPECTED["id"]) | {"height": _EXPECTED["width"]}


def plain_id(value: object) -> int | str:
    """An id as a number where it is one: 7, 7.0, "7" and "007" are the same; any other text stays as it is."""
    if isinstance(value, str) and (text := value.strip()):
        return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError
    return value


def _text_alone(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError
    return value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text


_LEFT_TO_RIGHT = Field(union_mode="left_to_right")
# Strict first, as nearly all numbers are numbers; then numbers as text. Truth values are neither.
Number = Annotated[
    Annotated[float, Strict(), AllowInfNan(False)] | Annotated[float, BeforeValidator(_text_alone), AllowInfNan(False)],
    _LEFT_TO_RIGHT,
]
Whole = Annotated[Annotated[int, Strict()] | Annotated[int, BeforeValidator(_no_truth_value)], _LEFT_TO_RIGHT]
Id = Annotated[Any, AfterValidator(plain_id)]
Pixels = Annotated[Whole, Field(ge=1)]
Text = Annotated[str, AfterValidator(_not_blank)]


class ImageRecord(TypedDict):
    id: Id
    file_name: Annotated[str, AfterValidator(inside)]
    width: Pixels
    height: Pixels


class BoxRecord(TypedDict):
    id: Id
    image_id: Id
    category_id: Id
    bbox: Annotated[list[Number], Len(4, 4)]
    area: NotRequired[Number | None]
    iscrowd: NotRequired[bool | None]  # also as "0", "1", "false" …


class InstanceRecord(BoxRecord):
    segmentation: Any  # `segmentations` knows how


class CaptionRecord(TypedDict):
    id: Id
    image_id: Id
    caption: Text


class CategoryRecord(TypedDict):
    id: Id
    name: Annotated[Text, Field(coerce_numbers_to_str=True)]
    supercategory: NotRequired[Any]


def read_json(file: Path) -> Mapping:
    """The object that a JSON file holds; ValueError, naming the file, where it is no JSON or anything else."""
    raw = file.read_bytes()
    try:
        content = json.loads(raw.decode(json.detect_encoding(raw)), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not valid JSON: byte {error.start} is not UTF-8; save it in UTF-8") from None
    except RecursionError:
        raise ValueError(f"{file}: not valid JSON: too many lists within lists") from None
    except ValueError as error:
        reason = "a number of thousands of digits" if "integer string" in str(error) else error
        raise ValueError(f"{file}: not valid JSON ({reason})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: got no list 'images', expected COCO's layout; its JSON is {shown(content)}")
    return content


def section(content: Mapping, name: str, file: Path) -> list:
    """One of the lists of records."""
    records = content.get(name)
    if not isinstance(records, list):
        came = f": {shown(records)}" if name in content else ""
        raise ValueError(f"{file}: got no list {name!r}{came}, expected COCO's layout")
    return records


_adapter = cache(TypeAdapter)  # built with the first record: all of them would slow down every import


def validate(kind: type, record: object, label: str) -> tuple[dict | None, str]:
    """The record with its numbers as numbers, or None and what is wrong: the field, what came and what was expected."""
    try:
        return _adapter(kind).validate_python(record), ""
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    if not isinstance(record, dict):
        return None, f"{label}: got {shown(record)}, expected a record {{…}}"
    fields = list(dict.fromkeys(one["loc"][0] for one in found))
    if lacking := [repr(name) for name in fields if name not in record]:
        hint = "; with masks=False it is not needed" if lacking == ["'segmentation'"] else ""
        return None, f"{label} lacks {', '.join(lacking)}{hint}"
    return None, f"{label}: got {fields[0]} {shown(record[fields[0]])}, expected {_EXPECTED[fields[0]]}"


def label_of(section: str, place: int, record: object) -> str:
    """How a message names a record: its section, its place in it, and its id where it has one."""
    number = id_in(record)
    return f"{section}[{place}]" + ("" if number is None else f" (id {shown(number)})")


def id_in(record: object, key: str = "id") -> int | str | None:
    """The id that a record, whole or not, has under a key."""
    try:
        return plain_id(record[key]) if isinstance(record, dict) else None
    except (ValueError, KeyError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict:
    """An object of a JSON file, in which each key may stand once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return found
