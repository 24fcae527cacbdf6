r"""What a network says of the next state, by rule, and the way back from two states to what it should say.

==========  =================================  ==========================
``out``     :math:`u' = s`                     the next state
``res``     :math:`u' = u + s`                 the change
``der``     :math:`u' = u + \tau s`            the mean rate of change
==========  =================================  ==========================
"""

from __future__ import annotations

from torch import Tensor

from neuralop_irno.errors import did_you_mean, expected

RULES = ("out", "res", "der")


def check_rule(rule: str) -> str:
    """The rule, if it is one."""
    if rule not in RULES:
        raise ValueError(expected("a stepping rule", repr(rule), did_you_mean(str(rule), RULES)))
    return rule


def advance(rule: str, state: Tensor, said: Tensor, lead: Tensor | float | None = None) -> Tensor:
    """The next state.

    Args:
        rule: ``out``, ``res`` or ``der``.
        state: u.
        said: s.
        lead: tau, shaped so that it multiplies s; ``der`` alone needs it.

    Example:
        >>> import torch
        >>> u, s = torch.tensor(1.0), torch.tensor(4.0)
        >>> [advance(rule, u, s, lead=0.5).item() for rule in RULES]
        [4.0, 5.0, 3.0]
    """
    if rule == "out":
        return said
    return state + said if rule == "res" else state + known_lead(lead) * said


def what_to_say(rule: str, state: Tensor, after: Tensor, lead: Tensor | float | None = None) -> Tensor:
    """The s that leads from one state to another: `advance`, backwards.

    Example:
        >>> import torch
        >>> u, after = torch.tensor(1.0), torch.tensor(3.0)
        >>> [what_to_say(rule, u, after, lead=0.5).item() for rule in RULES]
        [3.0, 2.0, 4.0]
    """
    if rule == "out":
        return after
    return after - state if rule == "res" else (after - state) / known_lead(lead)


def known_lead(lead: Tensor | float | None) -> Tensor | float:
    """The lead time, where it is needed."""
    if lead is None:
        raise ValueError(expected("tau", None, "tau=0.1"))
    return lead
