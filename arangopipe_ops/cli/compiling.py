"""Commands for Kubeflow: compile the components and pipelines."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arangopipe_ops.cli.command import Command
from arangopipe_ops.cli.output import say
from arangopipe_ops.errors import Misconfigured

_LISTS = {
    "packages": ("package", "installed when a step starts; none if the image has everything"),
    "index_urls": ("index-url", "for pip, the first the index and others extra ones; never with a password"),
    "trusted_hosts": ("trusted-host", "for pip"),
}


def _compile(options: argparse.Namespace) -> None:
    """Compile all components and pipelines for Kubeflow, with an image and packages of your own."""
    try:
        from arangopipe_ops.kfp import catalogue
        from arangopipe_ops.kfp.factory import Settings
    except ImportError as error:
        raise Misconfigured(f"compiling needs kfp: pip install 'arangopipe-ops[kfp]' ({error})") from None
    settings = Settings.from_environment()
    if options.image:
        settings = replace(settings, image=options.image, packages=())
    given: dict[str, Any] = {
        name: tuple(getattr(options, name)) for name in _LISTS if getattr(options, name) is not None
    }
    if options.secret_name is not None:
        given["secret_name"] = options.secret_name or None
    written = catalogue.write(options.folder, replace(settings, **given))
    say(f"{len(written)} files in {options.folder}")


def _compile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a new one, or one with an earlier catalogue")
    parser.add_argument("--image", help="where steps run; without --package it has everything, kfp too")
    for name, (option, meaning) in _LISTS.items():
        parser.add_argument(f"--{option}", dest=name, action="append", metavar="TEXT", help=f"{meaning}; repeatable")
    parser.add_argument("--secret-name", metavar="NAME", help="Kubernetes secret with ARANGOPIPE_URL; '' for none")


KFP: Sequence[Command] = (
    Command("compile", _compile, _compile_arguments, ("build/kfp --image registry.example/arangopipe-ops:0.1.0",)),
)
