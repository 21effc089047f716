"""Finite-state machines over the bytes of a text: the grammars of formats that spell everything out."""

from __future__ import annotations

from collections.abc import Iterable


class Machine:
    """A deterministic machine, made state by state; texts begin in state 0."""

    def __init__(self) -> None:
        self.next: list[dict[int, int]] = [{}]
        """By byte, the state that follows."""
        self.final: set[int] = set()
        """States in which a text may be over."""

    def state(self) -> int:
        """A new state that nothing leads to yet."""
        self.next.append({})
        return len(self.next) - 1

    def walk(self, state: int, text: str) -> int:
        """The state after ``text``; states are made where nobody has been."""
        for byte in text.encode():
            if byte not in self.next[state]:
                self.next[state][byte] = self.state()
            state = self.next[state][byte]
        return state

    def join(self, states: Iterable[int], text: str, target: int | None = None) -> int:
        """Let ``text`` lead from every one of ``states`` to one and the same state, which is returned.

        Args:
            text: not empty; its first byte leads nowhere yet from any of the states.
            target: that state; default: a new one.
        """
        target = self.state() if target is None else target
        *path, last = text.encode()
        sources = list(states)
        for byte in path:
            middle = self.state()
            for source in sources:
                self.next[source][byte] = middle
            sources = [middle]
        for source in sources:
            self.next[source][last] = target
        return target

    def number(self, state: int, digits: int) -> list[int]:
        """Let a whole number of at most ``digits`` digits, without leading zeros, begin in ``state``.

        Returns:
            The states in which it may be over.
        """
        ends = [self.state()]
        self.next[state][ord("0")] = ends[0]
        before, leading = state, b"123456789"
        for _ in range(digits):
            after = self.state()
            self.next[before].update(dict.fromkeys(leading, after))
            ends.append(after)
            before, leading = after, b"0123456789"
        return ends

    def accepts(self, text: str) -> bool:
        """Whether ``text`` is one that may be written."""
        state = 0
        for byte in text.encode():
            if byte not in self.next[state]:
                return False
            state = self.next[state][byte]
        return state in self.final
