"""A table of valid, ambiguous and invalid JSON texts, with their values or error messages."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Text:
    """A body with its ``value`` if it is JSON, or with its error ``message`` if the contract fixes it."""

    name: str
    raw: bytes
    value: Any = None
    message: str = ""


_NUMBERS: Final[dict[str, int | float]] = {
    "0": 0,
    "-0": 0,
    "1": 1,
    "-1": -1,
    "10": 10,
    "1234567890": 1234567890,
    "2147483648": 2147483648,
    "9007199254740993": 9007199254740993,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775808": -(2**63),
    "18446744073709551615": 2**64 - 1,
    "0.0": 0.0,
    "-0.0": 0.0,
    "0.5": 0.5,
    "-1.25": -1.25,
    "1.0": 1.0,
    "1e0": 1.0,
    "1E0": 1.0,
    "1e+0": 1.0,
    "1e-0": 1.0,
    "1E+2": 100.0,
    "1e2": 100.0,
    "1e-2": 0.01,
    "1.5e10": 1.5e10,
    "0e1": 0.0,
    "0E-1": 0.0,
    "0e+1": 0.0,
    "1e308": 1e308,
    "1.7976931348623157e308": 1.7976931348623157e308,
    "5e-324": 5e-324,
    "1e-400": 0.0,
    "0." + "0" * 100 + "1": 1e-101,
    "3." + "1" * 300: float("3." + "1" * 300),
}
_STRINGS: Final = {
    "": "",
    "a": "a",
    r"\"": '"',
    r"\\": "\\",
    r"\/": "/",
    "/": "/",
    r"\b\f\n\r\t": "\b\f\n\r\t",
    r"\u0041": "A",
    r"\u00e9": "é",
    r"\u20AC": "€",
    r"\u20ac": "€",
    r"\ud83d\ude00": "😀",
    r"\uD83D\uDE00": "😀",
    r"\u0000": "\0",
    r"\u001f": "\x1f",
    r"\u007f": "\x7f",
    r"\uffff": "\uffff",
    r"\u2028": "\u2028",
    r"\ufeff": "\ufeff",
    r"\u202e": "\u202e",
    r"\\u0041": r"\u0041",
    r"\u005cu0041": r"\u0041",
    r"\"\"": '""',
    "é": "é",
    "€": "€",
    "😀": "😀",
    "\x7f": "\x7f",
    "\u2028\u2029": "\u2028\u2029",
    "\ufeff": "\ufeff",
    "\uffff": "\uffff",
    "\U0010ffff": "\U0010ffff",
    "e\u0301": "e\u0301",
    "'": "'",
    "// no comment": "// no comment",
    "/* none */": "/* none */",
    "{}[],:": "{}[],:",
    "null": "null",
    "a" * 5000: "a" * 5000,
    r"\u0061" * 1000: "a" * 1000,
}
_STRUCTURES: Final[dict[str, Any]] = {
    "true": True,
    "false": False,
    "null": None,
    "[]": [],
    "{}": {},
    "[[]]": [[]],
    "[{}]": [{}],
    '{"":0}': {"": 0},
    '{"a":{}}': {"a": {}},
    '{"a":[]}': {"a": []},
    '{"a":1,"b":2}': {"a": 1, "b": 2},
    '{"a":1,"a":2}': {"a": 2},
    '{"a":1,"\\u0061":2}': {"a": 2},
    '{"a":{"a":{"a":1}}}': {"a": {"a": {"a": 1}}},
    '{"\\u0000":1}': {"\0": 1},
    '{"\\"":1}': {'"': 1},
    '{"__proto__":{}}': {"__proto__": {}},
    '["a",1,null,true,{}]': ["a", 1, None, True, {}],
    "[1,[2,[3,[4]]]]": [1, [2, [3, [4]]]],
    "[" + "0," * 2000 + "0]": [0] * 2001,
    "[" * 63 + "]" * 63: None,
    '{"a":' * 63 + "1" + "}" * 63: None,
    " [ 1 , 2 ] ": [1, 2],
    "\t[\t1\t,\t2\t]\t": [1, 2],
    "\n[\n1\n,\n2\n]\n": [1, 2],
    "\r\n{\r\n}\r\n": {},
    '{ "a" : 1 }': {"a": 1},
}
_WRONG_NUMBERS: Final = (
    *("00", "01", "-01", "012", "-00", "+0", "+1", "-", "+", "--1", "-+1", "1-", "0-1", "1+1", "."),
    *(".5", "-.5", "5.", "1.", "-1.", "0.", "1..2", "1.2.3", "1.e1", ".e1", "1,5", "e", "e1", "E1"),
    *("1e", "1E", "1e+", "1e-", "1E+", "1e++1", "1eE2", "1e2e3", "1e1.5", "0e", "0e+", "-e1", "0x10"),
    *("0X1", "-0x1", "0b1", "0o7", "1_000", "1 000", "1f", "1L", "1n", "1d", "1%", "1/2", "1\u00a0"),
    *("\u0663", "\uff11", "1\u0663", "\u221e", "\u00bd", "\u2212", "$1", "#1", "1i", "(1)", "one"),
    *("1e\u0662", "inf", "-inf", "+Infinity", "infinity", "nan", "+NaN", "Inf", "1Infinity", "NaN1"),
    *("-Inf",),
)
_WRONG_STRINGS: Final = (
    *('"', '"a', 'a"', "'a'", "'", "`a`", "a", "\u201ca\u201d", '"a" "b"', '"a""b"', '"a"b', 'u"a"'),
    *('b"a"', 'r"a"', r'"\"', r'"\\\"', r'"\x41"', r'"\u"', r'"\u0"', r'"\u00"', r'"\u004"'),
    *(r'"\u004g"', r'"\u 041"', r'"\u+041"', r'"\U0041"', r'"\a"', r'"\0"', r'"\v"', r'"\e"', r'"\1"'),
    *(r'"\ "', r'"\'"', r'"\q"', r'"\N{DASH}"', r'"\u{41}"', r'"\u_041"', r'"\u00_1"', r'"\uD83D\u"'),
    *(r'"\uD83D\uDE0"', r'"\u-041"', r'"\u0x41"'),
)
_WRONG_LITERALS: Final = (
    *("True", "False", "None", "TRUE", "FALSE", "NULL", "Null", "nul", "tru", "fals", "nulll", "truee"),
    *("falsee", "undefined", "null null", "truefalse", "true1", "nil", "yes", "no", "on", "t", "n"),
    *("void", "self"),
)
_WRONG_STRUCTURES: Final = (
    *("{", "}", "{}}", "{{}}", "{{", '{"a"', '{"a":', '{"a":}', '{"a":1', '{"a":1,', '{"a":1,}', "{,}"),
    *('{,"a":1}', '{"a" 1}', '{"a"::1}', '{"a":1:2}', '{"a"=1}', '{"a"->1}', '{"a":1 "b":2}'),
    *('{"a":1;"b":2}', '{"a":1,,"b":2}', "{a:1}", "{'a':1}", "{1:2}", "{null:1}", "{true:1}", "{[]:1}"),
    *("{{}:1}", '{"a"}', '{"a","b"}', "{1}", "{[]}", "[", "]", "[]]", "[[]", "[1", "[1,", "[1,]"),
    *("[,1]", "[,]", "[1,,2]", "[1 2]", "[1;2]", "[1:2]", '["a":1]', "[}", "{]", '{"a":[}', '{"a":[}]'),
    *("[{]}", "(", "()", "<>", '["a', '["a"', "[...]", "[1..2]", "[a]", "[']", "{}x", "{}{}", "{} {}"),
    *("{},", "{}]", "{};", "{}#", "{} // c", "{} /* c */", "{}null", "{}0", '{}""', "x{}", "// c\n{}"),
    *("/* c */{}", "# c\n{}", "<!-- -->{}", ")]}',\n{}", "while(1);{}", "callback({})", "{}\0", "\0{}"),
    *("\v{}", "\f{}", "{}\v", "{}\f", "\u00a0{}", "{}\u00a0", "\u2028{}", "{}\u2029", "\u200b{}"),
    *("\u3000{}", "\x1a", " ", "\n", "\t \r\n", ",", ":", '"', "-", "\\", "/", "@", "%", "&", "*", "!"),
    *("~", "^", "?", "\x7f", "\x1b[31m{}", "a=b", "a=b&c=d", "---\na: 1", "a: 1", "<a/>"),
    *('<?xml version="1.0"?><a/>', "<html></html>", "%7B%7D", "e30="),
)
_WRONG_BYTES: Final = (
    *(b"\xff", b"\xfe", b"\x80", b"\xbf", b"\xc0\xaf", b"\xc0\x80", b"\xc1\x81", b"\xc3", b"\xc3\x28"),
    *(b"\xe2\x82", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80"),
    *(b"\xf0\x80\x80\xaf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80"),
    *(b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xe9", b"caf\xe9", b"\xa0", b"\x93a\x94"),
    *(b"\x1b$B\xff", b"\xef\xbf", b"\xfc\x84\x80\x80\x80\x80"),
)
_ENCODINGS: Final = (*("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig", "cp037"),)
_FIXED: Final = {
    b"{bad": "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    b'{"a" 1}': "Expecting ':' delimiter: line 1 column 6 (char 5)",
    b'{"a":1 "b":2}': "Expecting ',' delimiter: line 1 column 8 (char 7)",
    b'{"a":}': "Expecting value: line 1 column 6 (char 5)",
    b"{}x": "Extra data: line 1 column 3 (char 2)",
    b'{"a":"b': "Unterminated string starting at: line 1 column 6 (char 5)",
    b'{"a":"\n"}': "Invalid control character at: line 1 column 7 (char 6)",
    rb'{"a":"\x"}': "Invalid \\escape: line 1 column 7 (char 6)",
    rb'{"a":"\u12"}': "Invalid \\uXXXX escape: line 1 column 8 (char 7)",
    b'{"a":NaN}': "Out of range float values are not JSON compliant: 'NaN'",
    b'{"a":Infinity}': "Out of range float values are not JSON compliant: 'Infinity'",
    b'{"a":-Infinity}': "Out of range float values are not JSON compliant: '-Infinity'",
    b"\xff": "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    b"\xef\xbb\xbf{}": "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
    b"[" * 60_000: "arrays and objects are nested more than 64 levels deep",
    b'{"a":' * 12_000: "arrays and objects are nested more than 64 levels deep",
    b"[" * 30_000 + b"]" * 30_000: "arrays and objects are nested more than 64 levels deep",
}
"""Error messages that clients know, from the contract; except for the depth they are those of Python's parser."""

_SURROGATES: Final = {
    r"\ud800": "\ud800",
    r"\udfff": "\udfff",
    r"a\udc00b": "a\udc00b",
    r"\ude00\ud83d": "\ude00\ud83d",
}


def _member(text: str) -> bytes:
    """Return an object with an unknown member of this value."""
    return f'{{"unknown": {text}}}'.encode()


def valid() -> Iterator[Text]:
    """Yield texts that are JSON by RFC 8259."""
    for text, number in _NUMBERS.items():
        yield Text(f"number {text[:30]}", _member(text), {"unknown": number})
    for text, string in _STRINGS.items():
        yield Text(f"string {text[:30]!a}", _member(f'"{text}"'), {"unknown": string})
        yield Text(f"name {text[:30]!a}", f'{{"{text} ": 0}}'.encode(), {f"{string} ": 0})
    for text, value in _STRUCTURES.items():
        yield Text(f"structure {text[:30]!a}", _member(text), {"unknown": value})


def ambiguous() -> Iterator[Text]:
    """Yield texts that RFC 8259 leaves open and the service accepts: lone surrogates and huge numbers."""
    for text, string in _SURROGATES.items():
        yield Text(f"lone surrogate {text}", _member(f'"{text}"'), {"unknown": string})
    yield Text("beyond 64 bits", _member("18446744073709551616"), {"unknown": 2**64})
    yield Text("a hundred digits", _member("1" + "0" * 100), {"unknown": 1e100})
    yield Text("below 64 bits", _member("-9223372036854775809"), {"unknown": -(2.0**63)})
    yield Text("beyond a float", _member("1e400"), {"unknown": float("inf")})
    yield Text("far below a float", _member("-1e400"), {"unknown": float("-inf")})


def invalid() -> Iterator[Text]:
    """Yield texts that are not JSON."""
    groups = {"number": _WRONG_NUMBERS, "string": _WRONG_STRINGS, "literal": _WRONG_LITERALS}
    for kind, texts in groups.items():
        for text in texts:
            yield Text(f"{kind} {text!a}", _member(text))
    for text in _WRONG_STRUCTURES:
        yield Text(f"structure {text!a}", text.encode())
    for code in range(0x20):
        yield Text(f"control character {code:#04x}", _member(f'"{chr(code)}"'))
    for raw in _WRONG_BYTES:
        yield Text(f"bytes {raw!r} in a text", b'{"unknown": "' + raw + b'"}')
        yield Text(f"bytes {raw!r} alone", raw)
    for encoding in _ENCODINGS:
        yield Text(f"encoded as {encoding}", '{"a": "b"}'.encode(encoding))
    for raw, message in _FIXED.items():
        yield Text(f"message for {raw[:20]!r}", raw, message=message)
    yield Text("five thousand digits", _member("1" * 5000))
