r"""Convert between a network's output s (state, increment or rate) and the next state u'.

==========  =================================  ==========================
``out``     :math:`u' = s`                     the next state
``res``     :math:`u' = u + s`                 the change
``der``     :math:`u' = u + \tau s`            the mean rate of change
==========  =================================  ==========================
"""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.errors import check_choice, expected

RULES = ("out", "res", "der")


def check_rule(rule: str) -> str:
    """The rule; raises ValueError if it is not one of `RULES`."""
    check_choice("a stepping rule", rule, RULES)
    return rule


def advance(rule: str, state: Tensor, said: Tensor, lead: Tensor | float | None = None) -> Tensor:
    """The next state u' from the state u and the network's output s.

    Args:
        rule: ``out``, ``res`` or ``der``.
        state: u.
        said: s.
        lead: tau, in a shape that broadcasts with s; needed for ``der`` only.

    Example:
        >>> import torch
        >>> u, s = torch.tensor(1.0), torch.tensor(4.0)
        >>> [advance(rule, u, s, lead=0.5).item() for rule in RULES]
        [4.0, 5.0, 3.0]
    """
    if rule == "out":
        return said
    return state + said if rule == "res" else state + known_lead(lead) * said


def target_output(rule: str, state: Tensor, after: Tensor, lead: Tensor | float | None = None) -> Tensor:
    """The output s that leads from ``state`` to ``after``, the inverse of `advance`.

    Example:
        >>> import torch
        >>> u, after = torch.tensor(1.0), torch.tensor(3.0)
        >>> [target_output(rule, u, after, lead=0.5).item() for rule in RULES]
        [3.0, 2.0, 4.0]
    """
    if rule == "out":
        return after
    return after - state if rule == "res" else (after - state) / known_lead(lead)


def known_lead(lead: Tensor | float | None) -> Tensor | float:
    """The lead time; raises ValueError if it is None."""
    if lead is None:
        raise ValueError(expected("a lead time tau for the rule 'der'", None, "tau=0.1"))
    return lead
