from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accaware.pytorch.channels.layout import ChannelGroup, Layout, Slot
from accaware.pytorch.compression.pruning.ranking import (
    GlobalRanking,
    PerGroupRanking,
    allowed_count,
)


def group_of(number: int, size: int, copies: int, part: int) -> ChannelGroup:
    """Some layers that have all of the channels, and one that has the first few of them."""
    everything, few = torch.arange(size), torch.arange(min(part, size))
    layers = [f"g{number}.{copy}" for copy in range(copies)]
    slots = [Slot(f"{layer}.weight", 0, everything, everything, True, layer) for layer in layers]
    slots += [Slot(f"g{number}.part.weight", 0, few, few, True)] if part else []
    return ChannelGroup(layers[0], size, tuple(slots), tuple(layers))


@st.composite
def ranked(draw: st.DrawFn) -> tuple[list[ChannelGroup], list[torch.Tensor], int]:
    shapes = draw(
        st.lists(
            st.tuples(st.integers(2, 20), st.integers(1, 3), st.integers(0, 3)),
            min_size=1,
            max_size=4,
        )
    )
    groups = [group_of(number, *shape) for number, shape in enumerate(shapes)]
    values = st.integers(0, 5).map(float)  # few of them: many ties
    scores = [
        torch.tensor(draw(st.lists(values, min_size=group.size, max_size=group.size)))
        for group in groups
    ]
    return groups, scores, draw(st.sampled_from([1, 1, 2, 4, 8]))


LEVELS = st.lists(st.floats(0, 1), min_size=2, max_size=6).map(sorted)
RANKINGS = st.sampled_from([PerGroupRanking, GlobalRanking])


@given(ranked(), LEVELS, RANKINGS)
@settings(deadline=None, max_examples=150)
def test_what_a_lower_level_drops_a_higher_one_does_not_keep(drawn, levels, kind) -> None:
    groups, scores, multiple = drawn
    layouts = [kind(groups, scores, multiple).layout(level) for level in [*levels, 1.0]]
    assert kind(groups, scores, multiple).layout(0.0) == Layout.dense(groups)
    for lower, higher in itertools.pairwise(layouts):
        for before, after in zip(lower.kept, higher.kept, strict=True):
            assert not (after & ~before).any()


@given(ranked(), st.floats(0, 1), RANKINGS)
@settings(deadline=None, max_examples=150)
def test_every_layer_keeps_one_and_counts_are_multiples(drawn, level, kind) -> None:
    groups, scores, multiple = drawn
    layout = kind(groups, scores, multiple).layout(level)
    for group, kept in zip(groups, layout.kept, strict=True):
        count = int(kept.sum())
        assert count == group.size or count % multiple == 0
        for slot in group.slots:
            assert kept[slot.channels].any()


@given(ranked(), st.floats(0, 1))
@settings(deadline=None, max_examples=150)
def test_global_ranking_removes_as_many_filters_as_asked_where_it_can(drawn, level) -> None:
    groups, scores, multiple = drawn
    weights = [group.filters_per_channel() for group in groups]

    def removed(layout: Layout) -> int:
        return sum(int(each[~kept].sum()) for each, kept in zip(weights, layout.kept, strict=True))

    ranking = GlobalRanking(groups, scores, multiple)
    wanted = int(level * sum(int(each.sum()) for each in weights) + 0.5)
    most = removed(ranking.layout(1.0))
    assert removed(ranking.layout(level)) >= min(wanted, most)


@given(ranked(), st.floats(0, 1), RANKINGS)
@settings(deadline=None, max_examples=100)
def test_filters_are_counted_without_a_layout(drawn, level, kind) -> None:
    groups, scores, multiple = drawn
    ranking = kind(groups, scores, multiple)
    pairs = zip(groups, ranking.layout(level).kept, strict=True)
    removed = sum(int(group.filters_per_channel()[~kept].sum()) for group, kept in pairs)
    assert ranking.filters_removed(level) == removed


@given(ranked(), st.floats(0, 1), st.floats(0.05, 1))
@settings(deadline=None, max_examples=100)
def test_global_ranking_leaves_every_layer_its_share(drawn, level, most) -> None:
    groups, scores, multiple = drawn
    free = GlobalRanking(groups, scores, multiple)
    bounded = GlobalRanking(groups, scores, multiple, most)
    for group, kept in zip(groups, bounded.layout(level).kept, strict=True):
        for slot in group.slots:
            own = len(slot.channels)
            assert own - int(kept[slot.channels].sum()) <= most * own
    # The bound takes nothing away where it isn't met.
    if all(
        int((~kept[slot.channels]).sum()) <= most * len(slot.channels)
        for group, kept in zip(groups, free.layout(level).kept, strict=True)
        for slot in group.slots
    ):
        assert bounded.layout(level) == free.layout(level)


@given(ranked(), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_per_group_ranking_takes_the_same_share_of_each(drawn, level) -> None:
    groups, scores, _ = drawn
    for group, kept in zip(groups, PerGroupRanking(groups, scores).layout(level).kept, strict=True):
        gone = group.size - int(kept.sum())
        assert gone <= level * group.size + 0.5
        assert gone >= min(level * group.size - 0.5, group.size - 2)


def test_the_least_important_go_first() -> None:
    groups = [group_of(0, 4, 1, 0), group_of(1, 4, 1, 0)]
    scores = [torch.tensor([4.0, 1.0, 3.0, 2.0]), torch.tensor([8.0, 7.0, 6.0, 5.0])]
    single = PerGroupRanking(groups, scores).layout(0.5)
    assert [kept.tolist() for kept in single.kept] == [
        [True, False, True, False],
        [True, True, False, False],
    ]
    across = GlobalRanking(groups, scores).layout(0.5)
    assert [kept.tolist() for kept in across.kept] == [
        [True, False, False, False],
        [True, True, True, False],
    ]


def test_equal_importances_go_in_the_order_of_the_filters() -> None:
    groups = [group_of(0, 4, 1, 0), group_of(1, 4, 1, 0)]
    scores = [torch.ones(4), torch.ones(4)]
    assert PerGroupRanking(groups, scores).layout(0.5).kept[1].tolist() == [
        False, False, True, True,
    ]  # fmt: skip
    across = GlobalRanking(groups, scores).layout(0.5)
    assert [kept.tolist() for kept in across.kept] == [
        [False, False, False, True],
        [False, True, True, True],
    ]


def test_allowed_counts() -> None:
    assert [allowed_count(wanted, 20, 8) for wanted in (0, 1, 8, 9, 17, 20)] == [
        8, 8, 8, 16, 20, 20,
    ]  # fmt: skip
    assert allowed_count(1, 5, 8) == 5
