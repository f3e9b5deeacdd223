"""What the user has to confirm before a model is packed. Runs where models are packed."""

from __future__ import annotations

from collections.abc import Callable

from model_endpoint.models.errors import BundleError


def require_alone(company: bool, confirmed: bool, tell: Callable[[str], None]) -> None:
    """Raise BundleError for a model whose answers depend on their company, unless that is confirmed."""
    if not company:
        return
    depends = "the model's answer to a row depends on the other rows of its request"
    if not confirmed:
        raise BundleError(
            f"{depends}; fit it so that each row has an answer of its own, or accept that: --depends-on-company"
        )
    tell(f"{depends}, so requests share no calls")


def require_order(names: list[str], confirmed: bool, tell: Callable[[str], None]) -> None:
    """Say that the order is relied on; raise BundleError where numbered names say that it is another."""
    numbers = [int("".join(filter(str.isdigit, name)) or -1) for name in names]
    stems = {"".join(char for char in name if not char.isdigit()) for name in names}
    if len(stems) == 1 and numbers != sorted(numbers) and not confirmed:
        raise BundleError(
            f"the model does not know its columns' names, and the data's are out of order: {', '.join(names[:10])}; "
            "give the columns in the order of training, or confirm this one: --order"
        )
    tell("the model does not know its columns' names; it gets them in the data's order")
