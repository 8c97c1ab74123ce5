"""What can be chosen about a deployment folder."""

from dataclasses import dataclass


class DeploymentError(ValueError):
    """A deployment folder that cannot be made as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class DeploymentOptions:
    """Images, processors, and when somebody shall be told.

    Attributes:
        triton_image: of the server.
        prometheus_image: of what collects and judges its metrics.
        grafana_image: of what draws them.
        gpus: number of graphics processors that the server gets.
        cache_megabytes: of the server's response cache, where a model asks for one.
        failure_ratio: part of the requests that may fail, and part that may be rejected, above 0 and below 1.
        queue_seconds: mean time that a request may wait in the server's queue.
        request_seconds: mean time that a request may take in the server, waiting included.
    """

    triton_image: str
    prometheus_image: str
    grafana_image: str
    gpus: int
    cache_megabytes: int
    failure_ratio: float
    queue_seconds: float
    request_seconds: float

    def __post_init__(self) -> None:
        """Refuse what would make alerts that always or never fire, and images without a version."""
        for field in ("triton_image", "prometheus_image", "grafana_image"):
            image = getattr(self, field)
            tag = image.rpartition("/")[2].partition(":")[2]
            if not tag or tag == "latest":
                raise DeploymentError(f"deployment.{field}={image} names no version; write IMAGE:VERSION")
        if self.gpus < 0:
            raise DeploymentError(f"deployment.gpus={self.gpus} is negative")
        if self.cache_megabytes < 1:
            raise DeploymentError(f"deployment.cache_megabytes={self.cache_megabytes} is not above 0")
        if not 0 < self.failure_ratio < 1:
            raise DeploymentError(f"deployment.failure_ratio={self.failure_ratio} is not between 0 and 1")
        for field in ("queue_seconds", "request_seconds"):
            if not getattr(self, field) > 0:
                raise DeploymentError(f"deployment.{field}={getattr(self, field)} is not above 0")
