//! Are our results Kafka Streams' results, record by record?
//!
//! Every scenario is a topology that is written twice: in Java for Kafka Streams 4.3.1
//! (`java/`, run in its `TopologyTestDriver` without caches) and in our language (`scenarios/`, run
//! in ours). Both get the same random input, [`compare`] demands the same output records, in the
//! same order, after the same inputs, with the same keys, values and timestamps, and the same rows
//! in the stores at the end. Nothing is sorted away or compared loosely. Where we differ on
//! purpose, the scenario is excluded by name, with the reason, in [`differences`], or its inputs
//! keep clear of the difference, with the reason beside its [`inputs::Shape`].
//!
//! `tests/run.sh conformance` runs it. It needs a JVM, `javac`, and Kafka's jars, which
//! `tests/run.sh setup` fetches. `MILLSTREAM_SEEDS` is the number of inputs for each scenario
//! (default: 200), `MILLSTREAM_SEED` the single one to repeat.

mod compare;
mod differences;
mod functions;
mod inputs;
mod jvm;
mod scenarios;

use std::collections::BTreeSet;

use differences::DIFFERENCES;
use jvm::Jvm;

macro_rules! equal {
    ($($scenario:ident)*) => {
        /// The scenarios that are compared.
        const COMPARED: &[&str] = &[$(stringify!($scenario)),*];
        $(
            #[test]
            fn $scenario() {
                compare::check(stringify!($scenario));
            }
        )*
    };
}

equal! {
    filter filter_not map map_values flat_map flat_map_values select_key peek
    merge merge_with_itself merge_of_branches fan_out branches branches_no_default chosen_topics
    extracted_times
    repartition repartition_new_key to_table to_table_new_key

    group_by_key_count group_by_key_reduce group_by_key_aggregate
    group_by_count group_by_reduce group_by_aggregate
    group_by_key_after_select_key two_aggregations
    count_map_values

    table_source table_filter table_filter_not table_filter_store
    table_map_values table_filter_map_values table_map_values_filter
    table_fan_out
    table_group_by_count table_group_by_reduce table_group_by_aggregate
    table_group_by_aggregate_of_filter table_group_by_aggregate_of_map_values
    table_group_by_same_key

    table_table_inner table_table_inner_filter
    table_table_left table_table_left_filter
    table_table_outer table_table_outer_store table_table_outer_filter
    table_table_of_itself table_table_chain

    stream_stream_self stream_stream_new_keys
    stream_stream_inner_no_grace stream_stream_inner_grace
    stream_stream_inner_no_grace_short_before stream_stream_inner_grace_short_before
    stream_stream_inner_no_grace_short_after stream_stream_inner_grace_short_after
    stream_stream_left_no_grace stream_stream_left_grace
    stream_stream_left_no_grace_short_before stream_stream_left_grace_short_before
    stream_stream_left_no_grace_short_after stream_stream_left_grace_short_after
    stream_stream_outer_no_grace stream_stream_outer_grace
    stream_stream_outer_no_grace_short_before stream_stream_outer_grace_short_before
    stream_stream_outer_no_grace_short_after stream_stream_outer_grace_short_after
    processor_store processor_values processor_shared_store processor_outputs processor_table
    processor_windows processor_sessions processor_headers processor_context
    processor_stream_time processor_stream_time_scheduled_late
    processor_wall_clock processor_wall_clock_scheduled_late
    timers_cancelled_stream_time timers_anchored_stream_time timers_two_stream_time
    timers_cancelled_wall_clock timers_anchored_wall_clock timers_two_wall_clock
    timers_set_by_timers

    stream_table_inner stream_table_left stream_table_new_key
    stream_table_of_itself stream_table_filtered

    tumbling_count_no_grace_each_update tumbling_count_no_grace_on_close
    tumbling_reduce_no_grace_each_update tumbling_reduce_no_grace_on_close
    tumbling_aggregate_no_grace_each_update tumbling_aggregate_no_grace_on_close
    tumbling_count_grace_each_update tumbling_count_grace_on_close
    tumbling_reduce_grace_each_update tumbling_reduce_grace_on_close
    tumbling_aggregate_grace_each_update tumbling_aggregate_grace_on_close
    tumbling_count_no_grace_suppress tumbling_count_grace_suppress
    tumbling_reduce_filter tumbling_reduce_map_values tumbling_reduce_grouped
    tumbling_count_kept hopping_count_kept

    hopping_count_no_grace_each_update hopping_count_no_grace_on_close
    hopping_reduce_no_grace_each_update hopping_reduce_no_grace_on_close
    hopping_aggregate_no_grace_each_update hopping_aggregate_no_grace_on_close
    hopping_count_grace_each_update hopping_count_grace_on_close
    hopping_reduce_grace_each_update hopping_reduce_grace_on_close
    hopping_aggregate_grace_each_update hopping_aggregate_grace_on_close
    hopping_count_no_grace_suppress hopping_count_grace_suppress

    sliding_count_no_grace_each_update sliding_count_no_grace_on_close
    sliding_reduce_no_grace_each_update sliding_reduce_no_grace_on_close
    sliding_aggregate_no_grace_each_update sliding_aggregate_no_grace_on_close
    sliding_count_grace_each_update sliding_count_grace_on_close
    sliding_reduce_grace_each_update sliding_reduce_grace_on_close
    sliding_aggregate_grace_each_update sliding_aggregate_grace_on_close

    session_count_no_grace_each_update session_count_no_grace_on_close
    session_reduce_no_grace_each_update session_reduce_no_grace_on_close
    session_aggregate_no_grace_each_update session_aggregate_no_grace_on_close
    session_count_grace_each_update session_count_grace_on_close
    session_reduce_grace_each_update session_reduce_grace_on_close
    session_aggregate_grace_each_update session_aggregate_grace_on_close
    session_count_no_grace_suppress session_count_grace_suppress
    session_reduce_map_values
}

#[test]
fn every_deliberate_difference_is_still_one() {
    for difference in DIFFERENCES {
        let (name, reason) = (difference.scenario, difference.reason);
        assert!(compare::differs(name), "`{name}` no longer differs: compare it. Excuse: {reason}");
    }
}

#[test]
fn every_scenario_is_written_twice_and_compared_or_excluded_by_name() {
    let theirs: BTreeSet<String> = Jvm::with(Jvm::scenarios).into_iter().collect();
    let ours: BTreeSet<String> = scenarios::all().into_iter().map(|s| s.name).collect();
    let unknown: Vec<&String> = ours.difference(&theirs).collect();
    assert!(unknown.is_empty(), "the oracle has no scenario {unknown:?}");
    let excluded = DIFFERENCES.iter().map(|difference| difference.scenario);
    let tested = COMPARED.iter().copied().chain(excluded).map(str::to_owned).collect();
    assert_eq!(ours, tested);
}
