import pytest

from models import devices
from models.errors import DeviceError


def test_auto_and_cpu_are_always_available() -> None:
    assert devices.resolve("cpu") == "cpu"
    assert devices.resolve("auto") in devices.available()


@pytest.mark.parametrize("name", ["cuda:99", "tpu", ""])
def test_a_missing_device_is_refused_and_the_available_ones_are_named(name: str) -> None:
    with pytest.raises(DeviceError, match="choose one of auto, cpu"):
        devices.resolve(name)
