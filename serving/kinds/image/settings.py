"""The settings of image classifiers."""

from __future__ import annotations

import ipaddress

from pydantic import Field, field_validator

from serving.settings.settings import Placement, Settings


class ImageSettings(Settings):
    """The settings of the service with those of image classifiers."""

    image_model: str = Field(
        "image:latest",
        description="Image classifier: its tag, `name`, `name:version` or `name:alias`, or a [source](sources.md), "
        "such as `s3://bucket/image`.",
    )
    image_placement: Placement = Field(
        "process",
        description="Placement of the image runner: `process`, `inline`, or the URL of a runner on another host.",
    )
    image_device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?|torch:cpu)$",
        description="`cpu`, `cuda`, `cuda:N`, `torch:cpu`, or `auto`: a GPU where there is one.",
    )
    image_calls_in_flight: int = Field(2, gt=0, description="Concurrent calls to the image runner.")
    max_image_pixels: int = Field(
        50_000_000, gt=0, description="Maximum number of pixels of an image, then 413 before decoding."
    )
    image_decode_bytes: int = Field(
        1 << 30,
        gt=0,
        description="Memory of all images that a gateway process decodes at the same time. Images wait for it, and one "
        "that takes more alone is refused with 413: about 8 bytes for each pixel, 20 in WebP, 6 to 8 in JPEG.",
    )
    max_batch_images: int = Field(
        32, gt=0, le=256, description="Maximum number of images in one classify-batch request."
    )
    decode_threads: int = Field(2, gt=0, description="Threads that decode images in the gateway.")
    image_url_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts from which images may be fetched by URL, as a JSON list: `images.example`, `.example` for "
        "all subdomains, `*` for all public hosts. Disabled when empty.",
    )
    image_url_networks: tuple[str, ...] = Field(
        (), description="Private networks from which images may be fetched, as a JSON list, such as `10.1.0.0/16`."
    )
    image_url_timeout_s: float = Field(5.0, gt=0, description="Time limit for fetching one image.")

    @field_validator("image_url_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks
