"""What a block's exception is given in, where there is no pytest."""

import pytest

from uringtrio.testing._caught import Caught


@pytest.mark.parametrize("name", ["type", "value", "tb"])
def test_it_is_empty_until_the_block_ends(name):
    caught = Caught.for_later()

    with pytest.raises(AssertionError, match=rf"^\.{name} can only be used after"):
        getattr(caught, name)


def test_it_holds_what_ended_the_block():
    caught = Caught.for_later()
    with pytest.raises(KeyError) as raised:
        raise KeyError

    caught.fill_unfilled((raised.type, raised.value, raised.tb))

    assert (caught.type, caught.value, caught.tb) == (KeyError, raised.value, raised.tb)
