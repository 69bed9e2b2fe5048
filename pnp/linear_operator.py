"""The contract of every linear operator: forward, adjoint, and the regularised least-squares solve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Complex, Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .circulant import divide
from .tikhonov import iteration_limit, largest_singular_value, solve

if TYPE_CHECKING:
    import pylops
    import scipy.sparse.linalg


class LinearOperator(torch.nn.Module):
    """A linear map ``A`` from images to data, with its adjoint and its regularised inverse.

    A subclass calls ``super().__init__(in_shape, out_shape)`` and writes two methods of pure mathematics,
    ``_forward(x)`` and ``_adjoint(y)``; the public methods check shape, dtype and device before they call them. What
    stands before ``in_shape`` or ``out_shape`` is batch, and items never influence each other. A real operator acts on
    the real and the imaginary part of a complex image; one built with ``complex_in`` or ``complex_out`` has complex
    images or data and obeys ``<A x, y> = <x, A^H y>`` in the complex inner product.

    One that holds parameters for each item of a batch says so by ``lead``, the leading dimensions that its images and
    data then must have: (B, 1) where 1 stands for any number of channels, or (B,). Products, sums and stacks inherit
    it, and ``take`` picks items.

    An operator that knows more says so by overriding facts (``row_gram``, ``column_gram``, ``spectrum``) or a solve
    (``_solve_dual``, ``_solve_primal``); everything else, algebra included, follows from these.

    Shapes: ``x`` (..., *in_shape), ``y`` (..., *out_shape).
    Raises: ValueError for a wrong shape, TypeError for a wrong kind, dtype or device.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    __array_ufunc__ = None  # arrays leave A @ array, array @ A and number * A to this class

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        *,
        complex_in: bool = False,
        complex_out: bool = False,
        ndim: int = 2,
        lead: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        who = type(self).__name__
        self.in_shape, self.out_shape = _shape(in_shape, "in_shape", who), _shape(out_shape, "out_shape", who)
        self.complex_in, self.complex_out, self.ndim, self.lead = complex_in, complex_out, ndim, tuple(lead)

    # What a subclass writes
    def _forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{self!r} does not implement _forward.")

    def _adjoint(self, y: Tensor) -> Tensor:
        raise NotImplementedError(f"{self!r} does not implement _adjoint.")

    def _solve_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        """``(A A^H + rho I)^-1 r`` by the facts the operator states; ``rho`` broadcasts against ``r``."""
        if self.row_gram is not None:
            return r / (self.row_gram + rho)
        return self._divide_spectrum(r, rho)

    def _solve_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        """``(A^H A + rho I)^-1 b`` by the facts the operator states; ``rho`` broadcasts against ``b``."""
        if self.column_gram is not None:
            return b / (self.column_gram + rho)
        return self._divide_spectrum(b, rho)

    def _precondition_dual(self, r: Tensor, rho: float | Tensor) -> Tensor:
        """An approximation of ``(A A^H + rho I)^-1 r``, Hermitian positive definite, for conjugate gradients."""
        return self._divide_circulant(r, rho) if self.in_shape == self.out_shape else r

    def _precondition_primal(self, b: Tensor, rho: float | Tensor) -> Tensor:
        """An approximation of ``(A^H A + rho I)^-1 b``, Hermitian positive definite, for conjugate gradients."""
        return self._divide_circulant(b, rho)

    # Facts, all overridable
    @property
    def row_gram(self) -> float | None:
        """``c`` if ``A A^H = c I`` (rows orthogonal and of equal norm), else None."""
        return None

    @property
    def column_gram(self) -> float | None:
        """``c`` if ``A^H A = c I`` (columns orthogonal and of equal norm), else None."""
        return None

    @property
    def row_powers(self) -> Tensor | float | None:
        """The diagonal of ``A A^H`` where it has no other entries, a number or one an entry of the data; else None."""
        return self.row_gram

    @property
    def multiple(self) -> float | None:
        """``c`` if ``A = c I``, else None: then the problem is one of denoising."""
        return None

    def spectrum(self) -> Tensor | None:
        """``h`` if ``A x = irfftn(h * rfftn(x))``, a circular convolution over the last ``ndim`` axes, else None."""
        return None

    def fold(self, power: Tensor) -> Tensor | None:
        """Spectrum of ``A C A^H`` where ``C`` is the circular convolution of that spectrum; None if it is none."""
        h = self.spectrum()
        return None if h is None else power * h.abs().square()

    def circulant(self) -> Tensor | float | None:
        """Spectrum of a circular convolution near ``A^H A``, to precondition conjugate gradients; None if unknown.

        Constant where the columns, or the rows, are orthogonal: then it has the right trace.
        """
        if self.column_gram is not None:
            return self.column_gram
        if self.row_gram is not None:
            return self.row_gram * self.rows / self.columns
        h = self.spectrum()
        return None if h is None else h.abs().square()

    def observed(self) -> Tensor | None:
        """True where a data entry counts, shaped like ``out_shape``; None where all do."""
        return None

    @property
    def solves_dual(self) -> bool:
        """Whether ``_solve_dual`` is exact."""
        overridden = type(self)._solve_dual is not LinearOperator._solve_dual
        return overridden or self.row_gram is not None or self.spectrum() is not None

    @property
    def solves_primal(self) -> bool:
        """Whether ``_solve_primal`` is exact."""
        overridden = type(self)._solve_primal is not LinearOperator._solve_primal
        return overridden or self.column_gram is not None or self.spectrum() is not None

    @property
    def rows(self) -> int:
        """Number M of data entries that count, per item."""
        return math.prod(self.out_shape)

    @property
    def columns(self) -> int:
        """Number N of unknowns, per item."""
        return math.prod(self.in_shape)

    @property
    def incoherent(self) -> bool:
        """Whether the rows are random and spread over the whole image, as approximate message passing assumes."""
        return False

    @property
    def constant_row(self) -> int | None:
        """Index of the row proportional to the constant image, if there is one."""
        return None

    @property
    def interpolates(self) -> bool:
        """Whether ``start`` fills in what was not measured from measured pixels nearby."""
        return False

    def start(self, y: Tensor) -> Tensor:
        """A good first image: here the Wiener estimate at a noise-to-signal power ratio of 1 %.

        What passes a convolution is mostly what it passes best; other operators are rated by their rows' mean power.
        """
        if self.lead:  # the norm is that of the largest item
            return self._item_by_item(LinearOperator.start, y)
        power = self.norm() ** 2 if isinstance(self.circulant(), Tensor) else self._row_power(y)
        return self._tikhonov(y, 1e-2 * power or 1.0, None, None, None)[0]

    def noise_level(self, y: Tensor) -> Tensor | None:
        """Standard deviation of the noise in ``y`` where the operator lets it be told from signal, per item; else None.

        Here from the patches of data that are a picture, every entry of which counts, or that a unitary operator turns
        back into one.

        Shapes: ``y`` (..., *out_shape) to (...), or to (..., C) when the data have channels.
        """
        from .noise import patch_noise

        if self.complex_out or self.observed() is not None:
            return None
        if self.row_gram and self.rows == self.columns and len(self.in_shape) >= 2:
            return patch_noise(self._adjoint(y)) / math.sqrt(self.row_gram)
        return patch_noise(y) if len(self.out_shape) >= 2 else None

    def take(self, keep: Tensor) -> LinearOperator:
        """The operator of the items ``keep`` (indices) of a batch, where it was built for one; itself otherwise."""
        return self._take(keep) if self.lead else self

    def _take(self, keep: Tensor) -> LinearOperator:
        raise NotImplementedError(f"{self!r} is built for a batch but does not implement _take.")

    def route(self) -> str:
        """One clause: how the regularised solve is done."""
        dual = self._on_the_data_side()
        if self.solves_dual if dual else self.solves_primal:
            if (self.row_gram if dual else self.column_gram) is not None:
                return f"exact: {'rows' if dual else 'columns'} orthogonal, a division by a scalar"
            if self.spectrum() is not None:
                return "exact: diagonal in Fourier space, two FFTs"
            return f"exact: closed form on the {'data' if dual else 'image'} side"
        return f"conjugate gradients (CG) on the {'data' if dual else 'image'} side"

    # Public maps
    def forward(self, x: Tensor) -> Tensor:
        """``A x``."""
        self._check(x, self.in_shape, "forward", "an image")
        return self._by_parts(self._forward, x, self.complex_in, self.complex_out)

    def adjoint(self, y: Tensor) -> Tensor:
        """``A^H y``."""
        self._check(y, self.out_shape, "adjoint")
        return self._by_parts(self._adjoint, y, self.complex_out, self.complex_in)

    def tikhonov(self, y: Tensor, rho: float | Tensor, v: Tensor | float = 0.0, *, tol: float | None = None) -> Tensor:
        """``argmin_x ||A x - y||^2 + rho ||x - v||^2``, by a closed form where there is one, else by CG.

        Both sides of one identity are used, ``v + A^H (A A^H + rho I)^-1 (y - A v) = v + (A^H A + rho I)^-1 A^H (y -
        A v)``: the one whose Gram matrix can have full rank is stable in float32 down to ``rho = 1e-8 ||A||^2``. CG
        stops when the error is below ``tol ||x||`` (1e-6 unless given), certified by ``||x - x*|| <= ||residual|| /
        (2 sqrt(rho))`` on the data side, or where the digits end: data of which no image explains a part lose up to
        about ``eps ||A||^2 / rho`` of the image where ``A`` is nearly rank-deficient, on exact routes too (in float32
        4e-5 at ``rho = 1e-4 ||A||^2`` and 7e-3 at 1e-6 for a decimated blur). A solve that its iterations, or in
        float64 its digits, end above the default tolerance says so by a warning.

        Shapes: ``y`` (..., *out_shape), ``v`` (..., *in_shape) or 0; ``rho`` a float or one number an image, (B, 1,
            1, 1).
        Raises: ValueError unless ``rho > 0``.
        """
        if not isinstance(rho, Tensor) and not 0 < rho < math.inf:
            raise ValueError(f"{self._name}.tikhonov: expected rho > 0, got {rho!r}.")
        if tol is not None and not tol > 0:
            raise ValueError(f"{self._name}.tikhonov: expected tol > 0, got {tol!r}.")
        self._check(y, self.out_shape, "tikhonov")
        if isinstance(v, Tensor):
            self._check(v, self.in_shape, "tikhonov", "v")
        elif v != 0:
            raise TypeError(f"{self._name}.tikhonov: expected v to be an image tensor or 0, got {v!r}.")
        return self._tikhonov(y, rho, v if isinstance(v, Tensor) else None, tol, None)[0]

    def pinv(self, y: Tensor, *, rcond: float = 1e-3) -> Tensor:
        """Regularised pseudo-inverse: ``tikhonov`` with ``v = 0`` and ``rho = (rcond ||A||)^2``."""
        return self.tikhonov(y, (rcond * self.norm()) ** 2)

    def wiener(self, y: Tensor, nsr: float | Tensor) -> Tensor:
        """Wiener filter of constant noise-to-signal power ratio ``nsr``: ``(A^H A + nsr I)^-1 A^H y``."""
        return self.tikhonov(y, nsr)

    @torch.no_grad()
    def norm(self) -> float:
        """Largest singular value of ``A``; here by Lanczos iteration on ``A^H A`` to a relative 1e-6.

        Source: Golub & Van Loan, *Matrix Computations*, 2013, sec. 10.1.
        """
        if self.row_gram is not None or self.column_gram is not None:
            return math.sqrt(max(self.row_gram or 0.0, self.column_gram or 0.0))
        h = self.spectrum()
        return float(h.abs().max()) if h is not None else largest_singular_value(self)

    def _row_power(self, like: Tensor) -> float:
        """The mean squared norm of the rows, to a few per cent, by one random image in the precision of ``like``."""
        if self.row_gram is not None:
            return self.row_gram
        signs = torch.randint(0, 2, self.in_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        image = signs.to(like if self.complex_in else like.real)
        return float(self.forward(image).abs().square().sum()) / self.rows

    def explain(self) -> str:
        """How ``tikhonov`` is solved for this operator, and what it costs."""
        cost = "one solve costs about one forward and one adjoint"
        if "CG" in self.route():
            cost = (  # the number is Saad's bound (2003, eq. 6.128) at the default tolerance
                "each CG iteration costs one forward and one adjoint, about 7 ||A|| / sqrt(rho) of them suffice for "
                "the default accuracy, fewer where a preconditioner is known, and after "
                f"{iteration_limit(self)} of them a warning says that the accuracy was not reached; overriding "
                f"{'_solve_dual' if self._on_the_data_side() else '_solve_primal'} or stating row_gram, column_gram or "
                "spectrum() would give it a closed form"
            )
        return f"{self!r}: {self.route()}; {cost}."

    def to_dense(self) -> Tensor:
        """The matrix of one item, (M, N), for tiny shapes; (B, M, N) where it was built for a batch.

        Raises: ValueError above 2^24 entries.
        """
        rows, columns, items = math.prod(self.out_shape), math.prod(self.in_shape), math.prod(self.lead)
        if items * rows * columns > 1 << 24:
            raise ValueError(
                f"{self._name}.to_dense: {items * rows} x {columns} entries are too many; use forward and adjoint."
            )
        basis = torch.eye(columns, dtype=self.dtype, device=self.device)
        basis = basis.reshape(columns, *(1,) * len(self.lead), *self.in_shape)
        matrices = self.forward(basis.expand(columns, *self.lead, *self.in_shape)).reshape(columns, items, rows)
        return matrices.permute(1, 2, 0) if self.lead else matrices[:, 0].T

    def to_pylops(self) -> pylops.LinearOperator:
        """This operator for pylops, on flat NumPy vectors of one item."""
        from .interop import to_pylops

        return to_pylops(self)

    def to_scipy(self) -> scipy.sparse.linalg.LinearOperator:
        """This operator for ``scipy.sparse.linalg``, on flat NumPy vectors of one item."""
        from .interop import to_scipy

        return to_scipy(self)

    # Algebra
    @property
    def H(self) -> LinearOperator:
        """The adjoint ``A^H`` as an operator."""
        from .algebra import Adjoint

        return Adjoint(self)

    @property
    def T(self) -> LinearOperator:
        """The transpose ``A^T = conj A^H conj`` as an operator; ``A^H`` for a real operator."""
        from .algebra import Conjugate

        return Conjugate(self.H) if self.complex_in or self.complex_out else self.H

    def __matmul__(self, other: Any) -> Any:
        from .algebra import Composition

        return Composition(self, other) if isinstance(other, LinearOperator) else self.forward(other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        from .algebra import Sum

        return Sum(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __mul__(self, factor: float | complex) -> LinearOperator:
        from .algebra import Scaled

        number = _plain(factor)
        return NotImplemented if number is None else Scaled(number, self)

    __rmul__ = __mul__

    def __rmatmul__(self, other: Any) -> Any:
        raise TypeError(
            f"{self._name}: expected A @ x, got {type(other).__name__} @ A; a matrix on the left is "
            "operators.Matrix(matrix, in_shape) @ A, and A.adjoint(y) is A^H y."
        )

    def __truediv__(self, divisor: float | complex) -> LinearOperator:
        from .algebra import Scaled

        number = _plain(divisor)
        return NotImplemented if number is None else Scaled(1 / number, self)

    def __neg__(self) -> LinearOperator:
        return self * -1.0

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + -other if isinstance(other, LinearOperator) else NotImplemented

    # Bookkeeping
    @property
    def dtype(self) -> torch.dtype:
        """dtype of the images: that of the floating-point buffers, or torch's default; complex with ``complex_in``."""
        anchor = self._anchor()
        real = torch.get_default_dtype() if anchor is None else anchor.dtype
        return real.to_complex() if self.complex_in else real

    @property
    def device(self) -> torch.device:
        """Device of the buffers, or torch's default."""
        anchor = next((t for t in self._tensors()), None)
        return torch.get_default_device() if anchor is None else anchor.device

    @property
    def _name(self) -> str:
        return f"{type(self).__name__}({_by(self.in_shape)} -> {_by(self.out_shape)})"

    def __repr__(self) -> str:
        return self._name

    def _tensors(self) -> list[Tensor]:
        return [*self.buffers(), *self.parameters()]

    def _anchor(self) -> Tensor | None:
        return next((t for t in self._tensors() if t.is_floating_point()), None)

    def _check(self, x: Tensor, shape: tuple[int, ...], method: str, what: str = "data") -> None:
        who = f"{self._name}.{method}"
        if not isinstance(x, Tensor):
            raise TypeError(f"{who}: expected a torch.Tensor, got {type(x).__name__}; pnp.to_tensor converts pictures.")
        if not (x.is_floating_point() or x.is_complex()):
            raise TypeError(f"{who}: expected floating-point values, got {x.dtype}; pnp.to_tensor converts pictures.")
        if x.ndim < len(shape) or tuple(x.shape[x.ndim - len(shape) :]) != shape or x.numel() == 0:
            raise ValueError(
                f"{who}: expected {what} of shape (..., {', '.join(map(str, shape))}), got {tuple(x.shape)}; "
                "an operator is built for one shape."
            )
        lead = x.shape[: x.ndim - len(shape)][-len(self.lead) :] if self.lead else ()
        if len(lead) != len(self.lead) or any(n not in (1, m) for n, m in zip(self.lead, lead, strict=True)):
            expected = (self.lead[0], *("C" for _ in self.lead[1:]), *shape)
            raise ValueError(
                f"{who}: expected {what} of a batch of {self.lead[0]}, (..., {', '.join(map(str, expected))}), got "
                f"{tuple(x.shape)}; the operator has parameters for each item, and take(i) is that of item i."
            )
        anchor = self._anchor()
        if anchor is not None and (anchor.dtype != x.real.dtype or anchor.device != x.device):
            raise TypeError(
                f"{who}: expected {anchor.dtype} on {anchor.device}, got {x.dtype} on {x.device}; "
                "convert either side with .to(...)."
            )

    def _item_by_item(self, f: Callable[[LinearOperator, Tensor], Tensor], y: Tensor) -> Tensor:
        """``f`` of the operator and the data of each item that it is built for."""
        axis = y.ndim - len(self.out_shape) - len(self.lead)
        items = [f(self.take(torch.tensor([i])), part) for i, part in enumerate(y.unbind(axis))]
        return torch.stack(items, dim=axis)

    def _by_parts(self, f: Callable[[Tensor], Tensor], x: Tensor, complex_in: bool, complex_out: bool) -> Tensor:
        """Apply ``f`` to a tensor of the field it was written for; a real map acts on real and imaginary part."""
        if complex_in:
            return f(x if x.is_complex() else x.to(x.dtype.to_complex()))
        if not x.is_complex():
            return f(x)
        if complex_out:
            raise TypeError(f"{self._name}: expected real values on this side, got {x.dtype}; pass x.real.")
        return torch.complex(f(x.real), f(x.imag))

    # The solve
    def _on_the_data_side(self) -> bool:
        """The side whose Gram matrix can have full rank, unless only the other one has a closed form."""
        if self.solves_dual != self.solves_primal:
            return self.solves_dual
        return self.rows * (1 + self.complex_out) <= self.columns * (1 + self.complex_in)  # counted as real numbers

    def _tikhonov(
        self, y: Tensor, rho: float | Tensor, v: Tensor | None, tol: float | None, start: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """``tikhonov`` without checks; ``start`` and the second result carry CG's warm start between solves."""
        return solve(self, y, rho, v, tol, start)

    def _residual(self, y: Tensor, v: Tensor | None) -> Tensor:
        """``y - A v``, of the field of the data."""
        residual = y if v is None else y - self.forward(v)
        return residual.to(residual.dtype.to_complex()) if self.complex_out and not residual.is_complex() else residual

    def _divide_spectrum(self, r: Tensor, rho: float | Tensor) -> Tensor:
        h = self.spectrum()
        if h is None:
            raise NotImplementedError(f"{self!r} states no fact that gives its solve a closed form.")
        return divide(r, h.abs().square() + rho, self.ndim)

    def _divide_circulant(self, b: Tensor, rho: float | Tensor) -> Tensor:
        power = self.circulant()
        if not isinstance(power, Tensor) or b.is_complex():  # a constant changes nothing
            return b
        return divide(b, power + rho, self.ndim)


def common_lead(*operators: LinearOperator) -> tuple[int, ...]:
    """The ``lead`` of whatever is made of these operators. Raises: ValueError if they are built for other batches."""
    leads = {A.lead for A in operators} - {()}
    if len(leads) > 1:
        raise ValueError(
            f"{', '.join(map(repr, operators))}: expected operators built for the same batch, got leading dimensions "
            f"{' and '.join(map(str, sorted(leads)))}; give each the same items, and channels to all or none."
        )
    return next(iter(leads), ())


def _shape(shape: tuple[int, ...], name: str, who: str) -> tuple[int, ...]:
    if isinstance(shape, str) or not isinstance(shape, Iterable):
        raise TypeError(f"{who}: expected {name} as a tuple of integers, got {shape!r}; write (H, W).")
    sizes = tuple(shape)
    if not sizes or not all(isinstance(n, Real) and n == n // 1 and n >= 1 for n in sizes):
        raise ValueError(f"{who}: expected {name} to be a shape of positive integers, got {shape!r}; write (H, W).")
    return tuple(int(n) for n in sizes)


def _plain(number: object) -> complex | None:
    """Python's own number, also for NumPy's; None for what is no number."""
    if isinstance(number, Integral):
        return int(number)
    if isinstance(number, Real):
        return float(number)
    return complex(number) if isinstance(number, Complex) else None


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
