"""Makes components of functions, with the image and the packages that settings name."""

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from arangopipe_ops import __version__
from arangopipe_ops.connection import redacted
from arangopipe_ops.errors import Misconfigured

_PREFIX = "ARANGOPIPE_KFP_"
_WITH_CREDENTIALS = re.compile(r"https?://[^/\s]*@")


@dataclass(frozen=True)
class Settings:
    """Where components run: the image, what is installed into it at the start, and from where.

    `packages` are requirements of pip; an image that has everything, with kfp, needs none. `index_urls` are for
    pip too, the first being the index and the rest extra ones; without any pip's own configuration in the image
    counts, which is the place for addresses that need a password. `secret_name` is the Kubernetes secret that tells
    the pipelines' tasks the database. What is compiled holds all of these, so none of them may be a secret: raises
    Misconfigured for an address with a password.
    """

    image: str = "python:3.12-slim"
    packages: tuple[str, ...] = (f"arangopipe-ops=={__version__}",)
    index_urls: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    secret_name: str | None = "arangopipe"

    def __post_init__(self) -> None:
        for address in (*self.index_urls, *self.packages):
            if _WITH_CREDENTIALS.search(address):
                raise Misconfigured(
                    f"{redacted(address)} names a user or password, which would be compiled; set it in the image's own "
                    "configuration of pip (pip.conf, PIP_INDEX_URL)."
                )

    @classmethod
    def from_environment(cls) -> "Settings":
        """Return what ARANGOPIPE_KFP_IMAGE, _PACKAGES, _INDEX_URLS, _TRUSTED_HOSTS and _SECRET_NAME say.

        Lists are split at blanks. An image that is named without packages has everything in it.
        """
        given: dict[str, Any] = {
            name: tuple(os.environ[variable].split())
            for name in ("packages", "index_urls", "trusted_hosts")
            if (variable := f"{_PREFIX}{name.upper()}") in os.environ
        }
        if image := os.environ.get(f"{_PREFIX}IMAGE"):
            given = {"packages": (), **given, "image": image}
        if f"{_PREFIX}SECRET_NAME" in os.environ:
            given["secret_name"] = os.environ[f"{_PREFIX}SECRET_NAME"] or None
        return cls(**given)

    def requiring(self, *packages: str) -> "Settings":
        """Return these settings with further packages, unless the image has everything."""
        return replace(self, packages=(*self.packages, *packages)) if self.packages else self


def component(function: Callable[..., Any], settings: Settings) -> BaseComponent:
    """Return the component that executes a function."""
    return dsl.component(
        _documented(function),
        base_image=settings.image,
        packages_to_install=list(settings.packages) or None,
        pip_index_urls=list(settings.index_urls) or None,
        pip_trusted_hosts=list(settings.trusted_hosts),
        install_kfp_package=bool(settings.packages),
    )


def components(functions: Sequence[Callable[..., Any]], settings: Settings) -> dict[str, BaseComponent]:
    """Return components by the names of their functions."""
    return {function.__name__: component(function, settings) for function in functions}


_SHARED: Mapping[str, str] = {
    "version": "Told apart from others of the name by it; without one the content decides.",
    "attributes": "Further attributes, any JSON.",
    "on_conflict": "What happens to a node that is stored with other content: revise, keep or fail.",
    "on_error": "Whether an error fails the step (fail) or is a warning (warn).",
    "pipeline_job_id": "Filled by tracking.provenance().",
    "pipeline_job_name": "Filled by tracking.provenance().",
    "pipeline_task_name": "Filled by tracking.provenance().",
}
_OUTPUTS: Mapping[str, str] = {
    "receipt": "Stands for the node: its metadata tells kind, name, version and _id, its content is the Ref.",
    "node_id": "The node's _id.",
    "created": "Whether the node is new.",
}


def _documented(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with all of its arguments and outputs described: those that mean the same everywhere too."""
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    inputs = {name: _SHARED[name] for name in signature.parameters if name in _SHARED and f"\n    {name}: " not in text}
    outputs = [*(["receipt"] if "receipt" in signature.parameters else [])]
    outputs += getattr(signature.return_annotation, "_fields", ())
    returned = {name: _OUTPUTS[name] for name in outputs if name in _OUTPUTS and f"\n    {name}: " not in text}
    head, _, tail = text.partition("\n\nReturns:")
    head += "" if "\n\nArgs:" in head or not inputs else "\n\nArgs:"
    head += "".join(f"\n    {name}: {meaning}" for name, meaning in inputs.items())
    tail += "".join(f"\n    {name}: {meaning}" for name, meaning in returned.items())
    copied = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    copied.__annotations__, copied.__module__ = function.__annotations__, function.__module__
    copied.__doc__ = f"{head}\n\nReturns:{tail}" if tail else head
    return copied
