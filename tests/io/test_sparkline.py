"""Charts of one row of text."""

from fcnjax.io.sparkline import ASCII_BLOCKS, BLOCKS, sparkline


def test_each_value_has_the_block_of_its_height():
    assert sparkline(range(8), 30) == BLOCKS
    assert sparkline([3, 1, 2, 1], 30) == "█▁▅▁"
    assert sparkline([0, 7], 30, ASCII_BLOCKS) == ".@"


def test_equal_values_are_lowest():
    assert sparkline([0.5], 30) == "▁"
    assert sparkline([2, 2, 2], 30) == "▁▁▁"


def test_more_values_than_columns_are_averaged():
    assert sparkline([0, 2, 10, 14, 7, 6], 3) == sparkline([1, 12, 6.5], 3)
    assert len(sparkline(range(1000), 30)) == 30
