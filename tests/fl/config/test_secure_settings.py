"""Which runs may be made under secure aggregation."""

import argparse

import pytest

from fl.config.cli import add_settings
from fl.config.config_file import load_config
from fl.util.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"strategy": "krum"}, "--strategy krum compares the sites' own updates"),
        ({"compare": "fedavg,fedmedian"}, "--strategy fedmedian compares"),
        ({"clients": "2"}, "2 sites in a round hides nothing"),
        ({"clients": "8", "fraction": "0.25"}, "2 sites in a round hides nothing"),
        ({"ray_address": "auto"}, "leave out --ray-address"),
    ],
)
def test_a_run_that_would_hide_nothing_is_refused(settings, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        load_config({"secure_aggregation": "true"} | settings)
    assert str(error.value).startswith("--secure-aggregation")


def test_the_flag_alone_means_yes():
    parser = argparse.ArgumentParser()
    add_settings(parser)
    assert vars(parser.parse_args(["--secure-aggregation"])) == {"secure_aggregation": "true"}
    assert load_config({"secure_aggregation": "true", "fraction": "0.4"}).secure_aggregation
