import pytest
import torch

from models import devices
from models.errors import DeviceError


def test_auto_and_cpu_are_always_there() -> None:
    assert devices.resolve("cpu") == torch.device("cpu")
    assert str(devices.resolve("auto")) in devices.available()


@pytest.mark.parametrize("name", ["cuda:99", "tpu", ""])
def test_a_device_that_is_not_there_is_an_error_that_names_what_is(name: str) -> None:
    with pytest.raises(DeviceError, match=r"available are auto, cpu"):
        devices.resolve(name)
