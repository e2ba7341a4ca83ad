"""Guessing the code page of the names in a zip file that does not specify it."""

import locale
import re

_SCRIPTS = {
    "gb18030": ("zh", rb"([\x00-\x7f]|[\xa1\xa3\xb0-\xd7][\xa1-\xfe])*", False),
    "big5": ("zh_TW zh_HK", rb"([\x00-\x7f]|[\xa4-\xc6][\x40-\x7e\xa1-\xfe])*", True),
    "cp932": ("ja", rb"([\x00-\x7f]|\x81\x5b|\x82[\x9f-\xf1]|\x83[\x40-\x96]|[\x88-\x97][\x40-\x7e\x80-\xfc])*", True),
    "cp949": ("ko", rb"([\x00-\x7f]|[\xb0-\xc8][\xa1-\xfe])*", False),
    "cp866": ("ru uk be bg", rb"[\x00-\xaf\xe0-\xf1]*", True),
}
"""Code page -> (languages that use it, its usual bytes, whether a Western name could contain them too)."""
_UNUSUAL = re.compile("[\u0080-\u00a0\u0180-\u019f\u01b1-\u01cc\u01dd-\u0217\u021c-\u02ff]")
_WESTERN = re.compile("[\x00-\x7fÀ-ÖØ-öø-ÿŒœŠšŽžŸªº]*")
_MIXED = re.compile("[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]")


def guess_code_page(names: list[bytes]) -> str:
    """The first code page in which all names consist of usual letters. Tried in this order: UTF-8, that of this
    machine's language, East Asian, Cyrillic, Western European; else 437, the default of the zip format.
    """
    if all(_decodes(name, "utf-8") and not _UNUSUAL.search(name.decode()) for name in names):
        return "utf-8"
    language = locale.getlocale()[0] or ""
    here = [codec for codec, (languages, *_) in _SCRIPTS.items() if language.startswith(tuple(languages.split()))]
    for codec in (*reversed(here), *_SCRIPTS):
        _, letters, ambiguous = _SCRIPTS[codec]
        if all(re.fullmatch(letters, name) and _decodes(name, codec) for name in names) and not (
            ambiguous and any(_MIXED.search(name.decode(codec)) for name in names)
        ):
            return codec
    for codec in ("cp437", "cp850", "cp1252"):
        if all(_decodes(name, codec) and _WESTERN.fullmatch(name.decode(codec)) for name in names):
            return codec
    return "cp437"


def _decodes(name: bytes, codec: str) -> bool:
    try:
        name.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
