"""The page for users of timm runs as it is written, timm's part included."""

import pytest
from documented import run_page


@pytest.mark.usefixtures("timm", "unchecked")
@pytest.mark.filterwarnings("default")  # of packages that are not ours
def test_the_page_for_users_of_timm_runs(capfd):
    known = run_page("tutorials/from-timm-and-dino.md", capfd)
    assert known["seen"].maps.shape == (1, 1, 2, 14, 14)
