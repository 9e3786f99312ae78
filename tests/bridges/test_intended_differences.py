"""The intended differences to HORUS that `docs/horus.md` lists, and the tests that show them."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "horus.md"

SHOWN_BY: dict[str, str] = {
    # Nodes and schedulers
    "`run`, `tick_for` and `tick_once` raise `RunFailed`": """
        test_horus_scheduler.py::test_a_fatal_failure_raises
        test_horus_scheduler.py::test_a_fatal_failure_raises_from_tick_for
        test_horus_scheduler.py::test_a_fatal_failure_in_a_step""",
    "A node whose `init` fails is initialised again": """
        test_horus_scheduler.py::test_a_node_that_is_initialised_at_last_is_no_failure
        test_horus_scheduler.py::test_a_node_that_is_never_initialised_raises_at_the_end""",
    '`failure_policy="restart"` calls `shutdown`': """
        test_horus_scheduler.py::test_used_up_restarts_are_fatal
        test_horus_scheduler.py::test_five_restarts_in_a_minute""",
    "A scheduler can be run again": "test_horus_scheduler.py::test_running_again",
    "`tick_once` ticks every node": "test_horus_scheduler.py::test_steps",
    "What `tick_once` has initialised is shut down": """
        test_horus_scheduler.py::test_steps
        test_horus_scheduler.py::test_a_run_goes_on_where_steps_ended""",
    "`run(0)` initialises": "test_horus_scheduler.py::test_no_time_at_all",
    "`init` is called by `order`": "test_horus_scheduler.py::test_turns_and_threads",
    "All callbacks of a node": "test_horus_scheduler.py::test_turns_and_threads",
    "`deterministic=True` keeps": "test_horus_scheduler.py::test_determinism_keeps_rates",
    "A tick is given up after": """
        test_horus_scheduler.py::test_the_watchdog_gives_ticks_up
        test_horus_scheduler.py::test_a_tick_that_is_given_up_has_failed
        test_horus_scheduler.py::test_who_says_nothing_is_given_up_after_half_a_minute""",
    "After `run` has returned": "test_horus_scheduler.py::test_nothing_is_published_after_the_run",
    "Names are unique": """
        test_horus_scheduler.py::test_names_are_unique
        test_horus_scheduler.py::test_a_node_runs_in_one_scheduler_at_a_time""",
    "`run` in a callback of a node": """
        test_horus_scheduler.py::test_a_run_inside_a_node
        test_horus_scheduler.py::test_a_run_on_a_loop""",
    "A callback that cannot be called": """
        test_horus_node.py::test_callbacks_have_to_be_functions
        test_horus_node.py::test_nobody_awaits_on_error
        test_horus_node.py::test_async_methods_of_a_subclass""",
    "A callback with `yield`": "test_horus_node.py::test_a_callback_with_yield",
    "A class derived from `Node`": """
        test_horus_node.py::test_a_subclass_logs_and_stops_in_its_own_hooks""",
    "While running, statistics": "test_horus_scheduler.py::test_while_it_runs",
    "A name of no node": """
        test_horus_scheduler.py::test_a_name_of_no_node
        test_horus_scheduler.py::test_critical_nodes_and_budgets""",
    "`rate_hz` is": "test_horus_scheduler.py::test_statistics_count",
    "`NodeInfo` counts failed": "test_horus_scheduler.py::test_what_a_node_knows_of_itself",
    "`status()` is": "test_horus_scheduler.py::test_while_it_runs",
    "A node that misses": "test_horus_scheduler.py::test_misses_do_not_slow_a_node_down",
    "Options of what is not here": "test_horus_scheduler.py::test_what_has_no_effect_is_said_once",
    "Recording and replaying": "test_horus_scheduler.py::test_recordings",
    "An `async` node has one asyncio loop": """
        test_horus_node.py::test_tasks_run_between_ticks
        test_horus_node.py::test_async_nodes_share_a_thread_and_have_loops_of_their_own
        test_horus_node.py::test_who_blocks_all_async_nodes_is_named""",
    "An `async` node ticks for": "test_horus_node.py::test_an_async_node_ticks_at_once",
    "`async` callbacks need": """
        test_horus_node.py::test_a_missing_extra_is_said_when_the_node_is_added
        test_horus_params.py::test_files_need_pyyaml""",
    "What nodes log": "test_horus_scheduler.py::test_logs_are_shown_unless_logging_is_set_up",
    "`rng_float()` is random": """
        test_horus_scheduler.py::test_chance_is_chance_unless_it_is_deterministic
        test_differential_scheduler.py::test_times""",
    "A critical node": "test_horus_scheduler.py::test_critical_nodes_and_budgets",
    "Several nodes may have": "test_horus_scheduler.py::test_nodes_that_tick_on_the_same_topic",
    "`Scheduler(config=": """
        test_horus_scheduler.py::test_a_configuration_stands_for_its_arguments""",
    "`init` is given up": "test_horus_scheduler.py::test_hooks_have_the_time_they_need",
    # Topics, messages, parameters, rates
    "A full topic loses": """
        test_horus_topic.py::test_a_full_topic_keeps_the_newest_and_counts_the_rest
        test_differential_topics.py::test_where_they_differ_on_purpose""",
    "Losses are counted": """
        test_horus_topic.py::test_a_full_topic_keeps_the_newest_and_counts_the_rest
        test_horus_topic.py::test_what_a_topic_tells_about_itself""",
    "A topic's capacity is": """
        test_horus_topic.py::test_the_capacity_is_exact
        test_horus_topic.py::test_readers_have_capacities_of_their_own""",
    "A `Topic` object that has sent": """
        test_horus_topic.py::test_who_sends_and_receives_hears_itself_and_others
        test_horus_topic.py::test_every_reader_receives_everything""",
    "`try_send` and `send_blocking` look": """
        test_horus_topic.py::test_the_slowest_reader_decides_whether_there_is_room""",
    "An untyped topic carries numbers": """
        test_horus_topic.py::test_what_an_untyped_topic_carries
        test_horus_topic.py::test_floats_that_are_not_numbers_arrive
        test_horus_topic.py::test_messages_may_be_long""",
    "A message that contains itself": """
        test_horus_topic.py::test_a_message_does_not_contain_itself
        test_horus_topic.py::test_how_deep_a_message_may_be""",
    "The keys of a dict": "test_horus_topic.py::test_what_an_untyped_topic_carries",
    "A message sent on an untyped topic": """
        test_horus_topic.py::test_what_an_untyped_topic_carries
        test_horus_messages.py::test_each_travels_through_a_topic_of_its_own""",
    "`read_latest` works": "test_horus_topic.py::test_the_newest_can_be_read_without_taking_it",
    "`pub_count` and `sub_count`": "test_horus_topic.py::test_what_a_topic_tells_about_itself",
    "`backend_type` is": "test_horus_topic.py::test_what_a_topic_tells_about_itself",
    "Errors of a topic's name": """
        test_horus_topic.py::test_names_are_checked
        test_horus_topic.py::test_capacities_are_checked
        test_horus_topic.py::test_a_name_has_one_type
        test_horus_topic.py::test_what_an_untyped_topic_refuses
        test_horus_topic.py::test_a_typed_topic_refuses_all_but_its_type""",
    "Messages can be copied": """
        test_horus_messages.py::test_each_is_a_dataclass_that_can_be_copied
        test_horus_messages.py::test_they_may_be_derived_from""",
    "Texts of messages": "test_horus_messages.py::test_texts_and_joints_are_not_cut",
    "`Pose2D.normalize_angle`": "test_horus_messages.py::test_any_angle_is_turned_at_once",
    "`NavGoal.is_orientation_reached`": """
        test_horus_messages.py::test_a_goal_is_not_reached_by_being_far_beyond_a_turn""",
    "A list of the wrong length": "test_horus_messages.py::test_covariances_are_whole",
    "`MotorCommand` and `PidConfig`": "test_horus_messages.py::test_infinite_limits_are_valid",
    "A `DiagnosticStatus` of": "test_horus_messages.py::test_an_unknown_level_is_not_fine",
    "Messages of vision": """
        test_horus_messages.py::test_what_is_not_here_says_so_when_it_is_used
        test_horus_install.py::test_what_is_out_of_scope_can_be_imported_and_not_used""",
    "`Params(path)` saves": "test_horus_params.py::test_they_are_saved_and_read_back",
    "`Params.save` writes": """
        test_horus_params.py::test_a_save_that_fails_leaves_the_file_as_it_was""",
    "A parameter may be": "test_horus_params.py::test_values_are_copies_of_what_json_can_say",
    "A file of parameters that": "test_horus_params.py::test_a_file_that_is_none_is_refused",
    "`Rate.actual_hz` is": "test_horus_rate.py::test_it_measures_the_rate",
    "`Rate.sleep` and": """
        test_horus_rate.py::test_it_does_not_block_the_loop
        test_horus_topic.py::test_send_blocking_does_not_block_the_loop""",
}
"""How a line of the page begins → the tests that show what it says."""


def lines() -> list[str]:
    """The differences that the page lists, one a line."""
    listed = PAGE.read_text(encoding="utf-8").partition("\n## Intended differences\n")[2]
    return [line[2:] for line in listed.splitlines() if line.startswith("- ")]


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / "bridges" / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def test_each_line_is_shown_by_tests_that_exist() -> None:
    shown = {line: [start for start in SHOWN_BY if line.startswith(start)] for line in lines()}
    assert len(shown) == len(lines()) > 50
    assert [line for line, starts in shown.items() if len(starts) != 1] == []
    found = Counter(start for starts in shown.values() for start in starts)
    assert {start: found[start] for start in SHOWN_BY} == dict.fromkeys(SHOWN_BY, 1)
    for tests in SHOWN_BY.values():
        for file, _, test in (named.partition("::") for named in tests.split()):
            assert test.startswith("test_")
            assert test in functions_of(file), f"{file}::{test}"
