"""A step as a CUDA graph: one launch an iteration instead of hundreds."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from .network_fit import NetworkFit

WARM_UP = 3  # steps outside the graph, so that libraries choose kernels and allocate
WAITED = "synchronizing CUDA operation"  # in PyTorch's warning about a step that waits for the device


def captured(step: Callable[[], None], fit: NetworkFit) -> Callable[[], None]:
    """``step`` captured once and replayed; the first three calls run as written.

    The step must change tensors in place. One that waits for the device, because its operator runs on the host, say,
    cannot be captured: then every call runs as written, with equal results.
    """
    return _Replay(step, fit)


class _Replay:
    def __init__(self, step: Callable[[], None], fit: NetworkFit) -> None:
        self.step, self.fit = step, fit
        self.device = fit.z.device
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.refused = False

    def __call__(self) -> None:
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        elif self.refused:
            self.step()
        elif self.calls < WARM_UP:
            self._aside()
        elif self.calls == WARM_UP:
            self.refused = self._waits()
        else:
            self._capture()

    def _aside(self) -> None:
        """One step on another stream, as PyTorch asks for before a capture."""
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            self.step()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def _waits(self) -> bool:
        """One step, and whether it waited for the device: a capture that must fail is better never begun."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                self._aside()
            finally:
                torch.cuda.set_sync_debug_mode(before)
        return any(WAITED in str(warning.message) for warning in said)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.fit.generator)
        torch.cuda.synchronize(self.device)
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        try:
            with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=stream):
                self.step()
        except RuntimeError as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            torch.cuda.synchronize(self.device)  # capture runs nothing: tensors are as they were before
            for generator in (self.fit.generator, torch.cuda.default_generators[self._index()]):
                generator.graphsafe_set_state(generator.clone_state())  # else they believe to be in a capture for ever
            self.refused = True
            self.step()
            return
        self.graph = graph
        graph.replay()  # capturing records the step without running it

    def _index(self) -> int:
        return torch.cuda.current_device() if self.device.index is None else self.device.index
