"""An interpreter of the pickle opcodes that torch and NumPy write, for files from anywhere.

Python's own unpickler has no limits: a memo index alone can take gigabytes, and a nested dictionary
key can overflow its stack. Here `pickletools` decodes the opcodes, and this interpreter builds
numbers, strings, bytes, tuples, lists and dictionaries from them. Names resolve to values of the
caller's table, and nothing else is ever called. Every opcode costs a step, as does every item that
it copies. The limit on steps bounds time and memory.
"""

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeVar

from fcnjax.errors import UserError
from fcnjax.io.safetensors_files import MAX_NAME

# A tensor takes about 50 steps; 2,000 tensors with optimizer state take 300,000.
MAX_STEPS = 2**20
_MAX_INTEGER_BYTES = 32
_MAX_DEPTH = 32  # of nested dictionaries
_MAX_VALUES = 2**20  # in all dictionaries; shared ones count each time
_MAX_SHOWN = 80  # characters of a name in an error
T = TypeVar("T")


class _Ignored:
    """An object that is not weights: operations on it have no effect."""

    def __call__(self, *_: Any) -> "_Ignored":
        """Return the object itself."""
        return self


IGNORED = _Ignored()


class Unpickler:
    """Interpreter of the pickles in a file.

    A set becomes a list. A dictionary loses the entries whose keys are not strings: weights have
    names, and other keys may be nested, or chosen to collide.

    Args:
        file: The pickles, in memory.
        names: The value of each `(module, name)`. Functions among the values are called with the
            arguments in the pickle, which may be of any type. If their result has a method
            `set_state`, it receives the state of the object.
        ignored: Packages whose names all become `IGNORED`.
        source: The source of the pickles, for messages.
        load_persistent: Returns the object of a persistent identifier, of any type.
    """

    def __init__(
        self,
        file: IO[bytes],
        names: Mapping[tuple[str, str], Any],
        source: str,
        *,
        ignored: tuple[str, ...] = (),
        load_persistent: Callable[[Any], Any] | None = None,
    ):
        self._file = file
        self._names = names
        self._source = source
        self._ignored = tuple(f"{package}." for package in ignored)
        self._load_persistent = load_persistent
        self._steps = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the object of the next pickle, and leave the file after it.

        Raises:
            UserError: It uses a name that is not in the table.
            Exception: It is damaged, or exceeds a limit; the caller adds the file's name.
        """
        self._stack, self._marks, self._memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(self._file):
            self._spend(1)
            if opcode.name == "STOP":
                return self._stack.pop()
            self._run(opcode.name, argument)
        raise ValueError("a pickle without an end")

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise ValueError(f"a pickle of more than {MAX_STEPS} steps")

    def _run(self, name: str, argument: Any) -> None:
        if name in _PUSH:
            self._stack.append(_PUSH[name](self, argument))
        elif name in _OPERATIONS:
            _OPERATIONS[name](self, argument)
        else:
            raise ValueError(f"a pickle with the opcode {name}")

    def _literal(self, value: Any) -> Any:
        if isinstance(value, int) and value.bit_length() > 8 * _MAX_INTEGER_BYTES:
            raise ValueError(f"an integer of more than {_MAX_INTEGER_BYTES} bytes")
        return value

    def _pop_items(self) -> list[Any]:
        """Pop the items pushed since the last mark."""
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("a pickle that pops more items than it pushed")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _put(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif target is not IGNORED:
            raise ValueError("a pickle that appends to something other than a list")

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            pairs = zip(items[::2], items[1::2], strict=True)
            target.update((key, value) for key, value in pairs if type(key) is str)
        elif target is not IGNORED:
            raise ValueError("a pickle that sets items of something other than a dictionary")

    def _resolve(self, module: Any, name: Any) -> Any:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a pickle with a name that is not a string")
        if (module, name) in self._names:
            return self._names[module, name]
        if f"{module}.".startswith(self._ignored):
            return IGNORED
        shown = ascii(f"{module[:_MAX_SHOWN]}.{name[:_MAX_SHOWN]}")[1:-1]
        raise UserError(
            f"{self._source}: asks to call {shown}, which weights do not need; it was not read, "
            "and nothing of it was run"
        )

    def _call(self, function: Any, arguments: Any) -> Any:
        if not callable(function) or type(arguments) is not tuple:
            raise ValueError("a pickle that calls something other than a function")
        # The function may copy its arguments.
        self._spend(len(arguments) + sum(map(_length, arguments)))
        return function(*arguments)

    def _build(self, state: Any) -> None:
        set_state = getattr(self._stack[-1], "set_state", None)
        # Other state is ignored, such as the `_metadata` of torch's state dictionaries.
        if set_state is not None:
            self._spend(_length(state))
            set_state(state)

    def _persistent(self, identifier: Any) -> Any:
        if self._load_persistent is None:
            raise ValueError("a pickle with an unexpected persistent identifier")
        return self._load_persistent(identifier)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, tuple | list | dict) else 0


Operation = Callable[[Unpickler, Any], Any]
_LITERALS = """
    BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
""".split()  # noqa: SIM905 - fifteen quoted words are harder to read
# Opcodes that push a value.
_PUSH: Mapping[str, Operation] = {
    **dict.fromkeys(_LITERALS, Unpickler._literal),
    "NONE": lambda unpickler, _: None,
    "NEWTRUE": lambda unpickler, _: True,
    "NEWFALSE": lambda unpickler, _: False,
    "EMPTY_DICT": lambda unpickler, _: {},
    "EMPTY_LIST": lambda unpickler, _: [],
    "EMPTY_SET": lambda unpickler, _: [],
    "EMPTY_TUPLE": lambda unpickler, _: (),
    "TUPLE": lambda unpickler, _: tuple(unpickler._pop_items()),
    "TUPLE1": lambda unpickler, _: tuple(unpickler._pop(1)),
    "TUPLE2": lambda unpickler, _: tuple(unpickler._pop(2)),
    "TUPLE3": lambda unpickler, _: tuple(unpickler._pop(3)),
    "FROZENSET": lambda unpickler, _: unpickler._pop_items(),
    "BINGET": lambda unpickler, index: unpickler._memo[index],
    "LONG_BINGET": lambda unpickler, index: unpickler._memo[index],
    "GLOBAL": lambda unpickler, name: unpickler._resolve(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda unpickler, _: unpickler._resolve(*unpickler._pop(2)),
    "REDUCE": lambda unpickler, _: unpickler._call(*unpickler._pop(2)),
    "NEWOBJ": lambda unpickler, _: unpickler._call(*unpickler._pop(2)),
    "NEWOBJ_EX": lambda unpickler, _: unpickler._call(*unpickler._pop(3)[:2]),
    "BINPERSID": lambda unpickler, _: unpickler._persistent(*unpickler._pop(1)),
}
_OPERATIONS: Mapping[str, Operation] = {
    # The version and the frames have no effect.
    "PROTO": lambda unpickler, _: None,
    "FRAME": lambda unpickler, _: None,
    "MARK": lambda unpickler, _: unpickler._marks.append(len(unpickler._stack)),
    "POP": lambda unpickler, _: unpickler._pop(1),
    "POP_MARK": lambda unpickler, _: unpickler._pop_items(),
    "BINPUT": Unpickler._put,
    "LONG_BINPUT": Unpickler._put,
    "MEMOIZE": Unpickler._put,
    "APPEND": lambda unpickler, _: unpickler._extend(unpickler._pop(1)),
    "APPENDS": lambda unpickler, _: unpickler._extend(unpickler._pop_items()),
    "ADDITEMS": lambda unpickler, _: unpickler._extend(unpickler._pop_items()),
    "SETITEM": lambda unpickler, _: unpickler._update(unpickler._pop(2)),
    "SETITEMS": lambda unpickler, _: unpickler._update(unpickler._pop_items()),
    "BUILD": lambda unpickler, _: unpickler._build(*unpickler._pop(1)),
}


def named_values(
    content: Mapping[str, Any],
    kind: type[T],
    separator: str,
    counter: Iterator[int],
    path: tuple[str, ...] = (),
) -> Iterator[tuple[str, T]]:
    """Yield the values of a type in a dictionary and in those nested in it, with their names.

    Args:
        content: The dictionary.
        kind: The type of the values.
        separator: Joins the keys on the path to a value, which make its name.
        counter: Counts the values of all types in the file.
        path: The keys on the path to `content`.

    Raises:
        ValueError: Dictionaries are cyclic, nested too deeply, or have too many values in all; or a
            name is too long.
    """
    if len(path) > _MAX_DEPTH:
        raise ValueError(f"dictionaries nested more than {_MAX_DEPTH} deep")
    for key, value in content.items():
        if next(counter) > _MAX_VALUES:
            raise ValueError(f"dictionaries of more than {_MAX_VALUES} values")
        if isinstance(value, kind):
            if sum(map(len, path)) + len(key) > MAX_NAME:
                raise ValueError(f"a tensor with a name of more than {MAX_NAME} characters")
            yield separator.join((*path, key)), value
        elif isinstance(value, dict):
            yield from named_values(value, kind, separator, counter, (*path, key))
