"""A step as a CUDA graph: one launch an iteration instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .network_fit import NetworkFit

WARM_UP = 3  # steps outside the graph, so that libraries choose kernels and allocate


def captured(step: Callable[[], None], fit: NetworkFit) -> Callable[[], None]:
    """``step`` captured once and replayed; the first three calls run as written.

    The step must change tensors in place and never wait for the device. An operator that does wait (one that runs on
    the host, say) cannot be captured: then every call runs as written, with equal results.
    """
    return _Replay(step, fit)


class _Replay:
    def __init__(self, step: Callable[[], None], fit: NetworkFit) -> None:
        self.step, self.fit = step, fit
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.refused = False

    def __call__(self) -> None:
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        elif self.refused:
            self.step()
        elif self.calls <= WARM_UP:
            self._aside(self.step)
        else:
            self._capture()

    def _capture(self) -> None:
        state = self.fit.generator.get_state()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.fit.generator)
        torch.cuda.synchronize(self.fit.z.device)
        try:
            with torch.cuda.graph(graph):
                self.step()
        except RuntimeError as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            torch.cuda.synchronize(self.fit.z.device)  # capture runs nothing: state is as it was before
            self.fit.generator.set_state(state)
            self.refused = True
            self.step()
            return
        self.graph = graph
        graph.replay()  # capturing records the step without running it

    def _aside(self, step: Callable[[], None]) -> None:
        stream = torch.cuda.Stream(self.fit.z.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.fit.z.device))
        with torch.cuda.stream(stream):
            step()
        torch.cuda.current_stream(self.fit.z.device).wait_stream(stream)
