"""From a trained model to a served and measured Triton model repository.

Each public name is imported when it is first used, so `import triton_kit` costs
nothing. docs/python.md shows each job.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_kit.api import build as build
    from triton_kit.api import check as check
    from triton_kit.api import convert as convert
    from triton_kit.api import deploy as deploy
    from triton_kit.api import diff as diff
    from triton_kit.api import inspect as inspect
    from triton_kit.api import parse as parse
    from triton_kit.api import perf as perf
    from triton_kit.api import render as render
    from triton_kit.api import serve as serve
    from triton_kit.api_publish import abort_canary as abort_canary
    from triton_kit.api_publish import finish_canary as finish_canary
    from triton_kit.api_publish import history as history
    from triton_kit.api_publish import promote as promote
    from triton_kit.api_publish import prune as prune
    from triton_kit.api_publish import publish as publish
    from triton_kit.api_publish import rollback as rollback
    from triton_kit.api_publish import verify as verify
    from triton_kit.api_publish import versions as versions
    from triton_kit.api_transfer import pack as pack
    from triton_kit.api_transfer import pull as pull
    from triton_kit.api_transfer import push as push
    from triton_kit.api_transfer import sign as sign
    from triton_kit.api_transfer import unpack as unpack
    from triton_kit.api_transfer import verify_signature as verify_signature
    from triton_kit.api_tune import tune as tune
    from triton_kit.build_project import BuildResult as BuildResult
    from triton_kit.comparison.compare import compare as compare
    from triton_kit.comparison.differences import Comparison as Comparison
    from triton_kit.conversion.spec import Accuracy as Accuracy
    from triton_kit.conversion.spec import ConvertResult as ConvertResult
    from triton_kit.conversion.spec import ConvertSpec as ConvertSpec
    from triton_kit.deployment.deploy import Deployment as Deployment
    from triton_kit.deployment.spec import DeploySpec as DeploySpec
    from triton_kit.errors import ConvertError as ConvertError
    from triton_kit.errors import MissingExtraError as MissingExtraError
    from triton_kit.errors import RepositoryError as RepositoryError
    from triton_kit.errors import ServerError as ServerError
    from triton_kit.errors import SpecError as SpecError
    from triton_kit.errors import TransportError as TransportError
    from triton_kit.errors import TritonKitError as TritonKitError
    from triton_kit.errors import VerifyError as VerifyError
    from triton_kit.loadtest.generation_spec import GenerationSpec as GenerationSpec
    from triton_kit.loadtest.generation_spec import Lengths as Lengths
    from triton_kit.loadtest.loops.load import ClosedLoad as ClosedLoad
    from triton_kit.loadtest.loops.load import RateLoad as RateLoad
    from triton_kit.loadtest.results.result import PerfResult as PerfResult
    from triton_kit.loadtest.results.run import Run as Run
    from triton_kit.loadtest.spec import PerfSpec as PerfSpec
    from triton_kit.loadtest.sweep_spec import Variant as Variant
    from triton_kit.loadtest.transport_spec import TransportSpec as TransportSpec
    from triton_kit.options.conversion import Calibration as Calibration
    from triton_kit.options.conversion import Gate as Gate
    from triton_kit.options.shapes import ShapeRange as ShapeRange
    from triton_kit.publish_checks import LiveServer as LiveServer
    from triton_kit.publish_delivery import PublishOptions as PublishOptions
    from triton_kit.publish_delivery import PublishResult as PublishResult
    from triton_kit.publish_upkeep import PruneResult as PruneResult
    from triton_kit.publish_upkeep import VersionInfo as VersionInfo
    from triton_kit.report.write import write_report as write_report
    from triton_kit.repository.check.check import check_repository as check_repository
    from triton_kit.repository.check.findings import CheckReport as CheckReport
    from triton_kit.repository.check.findings import Finding as Finding
    from triton_kit.repository.difference import Change as Change
    from triton_kit.repository.publish.verify import VerifyReport as VerifyReport
    from triton_kit.serving.access import Access as Access
    from triton_kit.serving.features import Features as Features
    from triton_kit.serving.server import Server as Server
    from triton_kit.serving.spec import ServeSpec as ServeSpec
    from triton_kit.triton.schema import ModelConfig as ModelConfig
    from triton_kit.triton.tls import Tls as Tls
    from triton_kit.tuning.at_once import TrialsAtOnce as TrialsAtOnce
    from triton_kit.tuning.result import TuneResult as TuneResult
    from triton_kit.tuning.spec import TuneSpec as TuneSpec

    __version__: str

_FUNCTIONS = "build check convert deploy diff inspect parse perf render serve"
_PUBLISHING = (
    "abort_canary finish_canary history promote prune publish rollback verify versions"
)
_TRANSFER = "pack pull push sign unpack verify_signature"
_ERRORS = (
    "ConvertError MissingExtraError RepositoryError ServerError SpecError "
    "TransportError TritonKitError VerifyError"
)
_CONVERSION = "Accuracy ConvertResult ConvertSpec"
# Name -> the module that it is imported from.
_PUBLIC = {
    **dict.fromkeys(_FUNCTIONS.split(), "triton_kit.api"),
    **dict.fromkeys(_TRANSFER.split(), "triton_kit.api_transfer"),
    **dict.fromkeys(_PUBLISHING.split(), "triton_kit.api_publish"),
    **dict.fromkeys(_ERRORS.split(), "triton_kit.errors"),
    **dict.fromkeys(_CONVERSION.split(), "triton_kit.conversion.spec"),
    "Access": "triton_kit.serving.access",
    "BuildResult": "triton_kit.build_project",
    "Calibration": "triton_kit.options.conversion",
    "Change": "triton_kit.repository.difference",
    "Comparison": "triton_kit.comparison.differences",
    "compare": "triton_kit.comparison.compare",
    "CheckReport": "triton_kit.repository.check.findings",
    "ClosedLoad": "triton_kit.loadtest.loops.load",
    "DeploySpec": "triton_kit.deployment.spec",
    "Deployment": "triton_kit.deployment.deploy",
    "Features": "triton_kit.serving.features",
    "Finding": "triton_kit.repository.check.findings",
    "Gate": "triton_kit.options.conversion",
    "GenerationSpec": "triton_kit.loadtest.generation_spec",
    "Lengths": "triton_kit.loadtest.generation_spec",
    "LiveServer": "triton_kit.publish_checks",
    "ModelConfig": "triton_kit.triton.schema",
    "PerfResult": "triton_kit.loadtest.results.result",
    "PerfSpec": "triton_kit.loadtest.spec",
    "PruneResult": "triton_kit.publish_upkeep",
    "PublishOptions": "triton_kit.publish_delivery",
    "PublishResult": "triton_kit.publish_delivery",
    "RateLoad": "triton_kit.loadtest.loops.load",
    "Run": "triton_kit.loadtest.results.run",
    "ServeSpec": "triton_kit.serving.spec",
    "Server": "triton_kit.serving.server",
    "ShapeRange": "triton_kit.options.shapes",
    "Tls": "triton_kit.triton.tls",
    "TrialsAtOnce": "triton_kit.tuning.at_once",
    "TransportSpec": "triton_kit.loadtest.transport_spec",
    "TuneResult": "triton_kit.tuning.result",
    "TuneSpec": "triton_kit.tuning.spec",
    "VerifyReport": "triton_kit.repository.publish.verify",
    "VersionInfo": "triton_kit.publish_upkeep",
    "Variant": "triton_kit.loadtest.sweep_spec",
    "tune": "triton_kit.api_tune",
    "write_report": "triton_kit.report.write",
    "check_repository": "triton_kit.repository.check.check",
}

__all__ = [
    "__version__",
    *sorted(_PUBLIC),
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("triton_kit")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'triton_kit' has no attribute {name!r}")
    public: object = getattr(import_module(_PUBLIC[name]), name)
    return public


def __dir__() -> list[str]:
    return __all__
