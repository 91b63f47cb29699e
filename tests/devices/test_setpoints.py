"""The transition table: every walk ends once, and a final state stays final."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.gateway.setpoints import FINAL, TRANSITIONS, Action, Event, SetpointError, State, step


@given(events=st.lists(st.sampled_from(list(Event)), max_size=40))
def test_every_walk_through_the_table_ends_exactly_once(events):
    state, ends = State.QUEUED, 0
    for event in events:
        if (state, event) not in TRANSITIONS:
            with pytest.raises(SetpointError):
                step(state, event)
            continue
        state, action = step(state, event)
        ends += action is Action.END
    assert ends == (state in FINAL)


def test_final_states_are_left_by_nothing_and_ends_are_all_final():
    assert not [pair for pair in TRANSITIONS if pair[0] in FINAL]
    for target, action in TRANSITIONS.values():
        assert (target in FINAL) == (action is Action.END)


def test_every_state_can_be_reached_and_every_open_one_can_expire_and_be_replaced():
    reached = {State.QUEUED}
    for _ in State:
        reached |= {target for (source, _), (target, _) in TRANSITIONS.items() if source in reached}
    assert reached == set(State)
    for state in set(State) - FINAL:
        assert step(state, Event.EXPIRE)[0] is State.EXPIRED
        assert step(state, Event.REPLACE)[0] is State.SUPERSEDED
