import pytest

from fcnjax.config.patterns import check_pattern
from fcnjax.errors import UserError

GOOD = (r"(p\d+)_", r"^([^_]+)_([^_]+)_", "encoder/layer[12]_.*", "", "(?:ab){3}(c|d+)", "a{2,9}")
BAD = {
    "(a+)+b": "may take unbounded time",
    r"(?:(\w*)x)*": "may take unbounded time",
    "(?=(a+)*)": "may take unbounded time",
    "((a|b+)c){20}": "may take unbounded time",
    ".*.*.*.*.*x": "may take unbounded time",
    "a{99999999999}": "is not a regular expression",
    "(": "is not a regular expression",
    "(" * 450: "is not a regular expression",
    "a" * 501: "has 501 characters",
}


@pytest.mark.parametrize("pattern", GOOD)
def test_usual_patterns_are_valid(pattern):
    check_pattern(pattern, "config.data.split.group_by")


@pytest.mark.parametrize("pattern", BAD)
def test_patterns_with_unbounded_backtracking_are_refused(pattern):
    with pytest.raises(UserError, match=BAD[pattern]) as error:
        check_pattern(pattern, "config.data.split.group_by")
    assert str(error.value).startswith("config.data.split.group_by: ")
