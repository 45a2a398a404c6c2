//! What do windowed aggregations promise? One rule for each test.

use millstream::testing::TopologyTestDriver;
use millstream::{
    Emit, KGroupedStream, KTable, Materialized, SessionWindows, SlidingWindows, StreamsBuilder,
    TimeWindows, Windowed,
};

use crate::shorthand::{
    GUARANTEES, drain, driver, emit, emit_windowed, lenient, ms, pass, send, text, topology,
    uncommitted,
};

pub(crate) type Counts = KTable<Windowed<String>, i64>;

pub(crate) fn by_key(b: &StreamsBuilder) -> KGroupedStream<String, String> {
    b.stream(&text("in")).group_by_key()
}

pub(crate) fn tumbling(b: &StreamsBuilder, grace: u64, emit: Emit) -> Counts {
    let windows = TimeWindows::tumbling(ms(10)).grace(ms(grace));
    by_key(b).windowed_by(windows).emit(emit).count("counts")
}

pub(crate) fn hopping(b: &StreamsBuilder, grace: u64, emit: Emit) -> Counts {
    let windows = TimeWindows::hopping(ms(10), ms(5)).grace(ms(grace));
    by_key(b).windowed_by(windows).emit(emit).count("counts")
}

fn sliding(b: &StreamsBuilder, grace: u64, emit: Emit) -> Counts {
    let windows = SlidingWindows::of(ms(10)).grace(ms(grace));
    by_key(b).windowed_by(windows).emit(emit).count("counts")
}

/// Joins the values of each session, so that the order of merging shows.
pub(crate) fn sessions(
    b: &StreamsBuilder,
    grace: u64,
    emit: Emit,
) -> KTable<Windowed<String>, String> {
    let windows = SessionWindows::gap(ms(5)).grace(ms(grace));
    let sessions = by_key(b).windowed_by(windows).emit(emit);
    sessions.reduce("sessions", |total, value| total.push_str(&value))
}

// --- tumbling and hopping ------------------------------------------------------------------------

#[test]
fn a_tumbling_window_holds_its_start_and_not_its_end() {
    let mut driver = driver(|b| emit_windowed(&tumbling(b, 0, Emit::EachUpdate)));
    let out = pass(&mut driver, "a=x@0 a=x@9 a=x@10");
    assert_eq!(out, "[a@0/10]=1@0 [a@0/10]=2@9 [a@10/20]=1@10");
}

#[test]
fn keys_are_counted_apart() {
    let mut driver = driver(|b| emit_windowed(&tumbling(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=x@1 b=x@1"), "[a@0/10]=1@1 [b@0/10]=1@1");
}

#[test]
fn a_result_has_the_time_of_its_latest_record() {
    let mut driver = driver(|b| emit_windowed(&tumbling(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=x@7 a=x@3"), "[a@0/10]=1@7 [a@0/10]=2@7");
}

#[test]
fn hopping_windows_are_updated_oldest_first() {
    let mut driver = driver(|b| emit_windowed(&hopping(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=x@12"), "[a@5/15]=1@12 [a@10/20]=1@12");
}

#[test]
fn no_window_begins_before_the_epoch() {
    let mut driver = driver(|b| emit_windowed(&hopping(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=x@3"), "[a@0/10]=1@3");
}

#[test]
fn a_window_takes_records_until_its_end_and_grace_and_not_at_them() {
    let mut driver = driver(|b| emit_windowed(&tumbling(b, 5, Emit::EachUpdate)));
    send(&mut driver, "in", "b=x@14");
    assert_eq!(pass(&mut driver, "a=x@1"), "[b@10/20]=1@14 [a@0/10]=1@1");
    send(&mut driver, "in", "b=x@15");
    assert_eq!(driver.late_records().unwrap(), 0);
    assert_eq!(pass(&mut driver, "a=x@2"), "[b@10/20]=2@15");
    assert_eq!(driver.late_records().unwrap(), 1);
}

#[test]
fn a_record_may_be_late_for_some_of_its_windows_only() {
    let mut driver = driver(|b| emit_windowed(&hopping(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "b=x@10"), "[b@5/15]=1@10 [b@10/20]=1@10");
    assert_eq!(pass(&mut driver, "a=x@8"), "[a@5/15]=1@8");
    assert_eq!(driver.late_records().unwrap(), 1, "of the window [0, 10)");
    send(&mut driver, "in", "b=x@99 a=x@8");
    assert_eq!(driver.late_records().unwrap(), 3, "of both windows");
}

#[test]
fn a_record_without_a_key_moves_no_clock() {
    let mut driver = lenient(|b| emit_windowed(&tumbling(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "~=x@99 a=x@1"), "[a@0/10]=1@1");
}

#[test]
fn each_partition_has_its_own_time() {
    let topology = topology(|b| emit_windowed(&tumbling(b, 0, Emit::EachUpdate)));
    let mut driver = TopologyTestDriver::new(&topology).partitions(2);
    send(&mut driver, "in", "a=x@99 d=x@1");
    let (a, b) = (driver.log().read("in")[0].partition, driver.log().read("in")[1].partition);
    assert_ne!(a, b, "the two keys were chosen for their partitions");
    let mut lines: Vec<_> = drain(&mut driver, "out").split(' ').map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["[a@90/100]=1@99", "[d@0/10]=1@1"]);
}

#[test]
fn reduce_begins_with_the_first_value_of_each_window() {
    let mut driver = driver(|b| {
        let windowed = by_key(b).windowed_by(TimeWindows::tumbling(ms(10)));
        emit_windowed(&windowed.reduce("joined", |total, value| total.push_str(&value)));
    });
    let out = pass(&mut driver, "a=p@1 a=q@2 a=r@11");
    assert_eq!(out, "[a@0/10]=p@1 [a@0/10]=pq@2 [a@10/20]=r@11");
}

#[test]
fn aggregate_begins_with_the_initial_value_in_each_window() {
    let mut driver = driver(|b| {
        let windowed = by_key(b).windowed_by(TimeWindows::tumbling(ms(10)));
        let table = windowed.aggregate(
            "lengths",
            || 100_usize,
            |key, value, total| *total += key.len() + value.len(),
        );
        emit_windowed(&table);
    });
    let out = pass(&mut driver, "a=xx@1 a=x@2 a=x@11");
    assert_eq!(out, "[a@0/10]=103@1 [a@0/10]=105@2 [a@10/20]=102@11");
}

// --- sliding -------------------------------------------------------------------------------------

#[test]
fn records_at_most_the_difference_apart_share_a_sliding_window() {
    let mut driver = driver(|b| emit_windowed(&sliding(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=x@20"), "[a@10/20]=1@20");
    // Ten apart: the right window of 20 and the left window of 30.
    assert_eq!(pass(&mut driver, "a=x@30"), "[a@21/31]=1@30 [a@20/30]=2@30");
    // More apart: nothing is shared.
    assert_eq!(pass(&mut driver, "a=x@42"), "[a@32/42]=1@42");
}

#[test]
fn a_sliding_window_takes_records_at_its_end_and_grace_and_not_behind_them() {
    let mut driver = driver(|b| emit_windowed(&sliding(b, 5, Emit::EachUpdate)));
    send(&mut driver, "in", "b=x@25");
    assert_eq!(pass(&mut driver, "a=x@20"), "[b@15/25]=1@25 [a@10/20]=1@20");
    send(&mut driver, "in", "b=x@26");
    drain(&mut driver, "out");
    assert_eq!(pass(&mut driver, "a=x@20"), "", "the window [10, 20] is closed");
    // The record counts all the same in the windows that are open.
    assert_eq!(pass(&mut driver, "a=x@21"), "[a@21/31]=1@21 [a@11/21]=3@21");
}

#[test]
fn a_record_whose_own_window_is_closed_counts_in_those_that_are_open() {
    let mut driver = driver(|b| emit_windowed(&sliding(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=x@30"), "[a@20/30]=1@30");
    assert_eq!(pass(&mut driver, "a=x@20"), "[a@20/30]=2@30 [a@21/31]=1@30");
    assert_eq!(driver.late_records().unwrap(), 1, "of the window [10, 20]");
    assert_eq!(pass(&mut driver, "a=x@19"), "", "every window that could hold it is closed");
    assert_eq!(driver.late_records().unwrap(), 2);
}

// --- sessions ------------------------------------------------------------------------------------

#[test]
fn a_record_exactly_a_gap_behind_extends_the_session() {
    let mut driver = driver(|b| emit_windowed(&sessions(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=p@0"), "[a@0/0]=p@0");
    assert_eq!(pass(&mut driver, "a=q@5"), "[a@0/0]=~@0 [a@0/5]=pq@5");
    assert_eq!(pass(&mut driver, "a=r@11"), "[a@11/11]=r@11");
}

#[test]
fn merged_sessions_are_deleted_before_the_new_one_comes() {
    let mut driver = driver(|b| emit_windowed(&sessions(b, 9, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=p@0 a=q@8"), "[a@0/0]=p@0 [a@8/8]=q@8");
    assert_eq!(pass(&mut driver, "a=r@4"), "[a@0/0]=~@0 [a@8/8]=~@8 [a@0/8]=pqr@8");
}

#[test]
fn a_record_within_a_session_deletes_and_writes_it_again() {
    let mut driver = driver(|b| emit_windowed(&sessions(b, 0, Emit::EachUpdate)));
    send(&mut driver, "in", "a=p@0 a=q@4");
    drain(&mut driver, "out");
    assert_eq!(pass(&mut driver, "a=r@2"), "[a@0/4]=~@4 [a@0/4]=pqr@4");
}

#[test]
fn a_session_of_one_point_of_time_is_overwritten() {
    let mut driver = driver(|b| emit_windowed(&sessions(b, 0, Emit::EachUpdate)));
    assert_eq!(pass(&mut driver, "a=p@3 a=q@3"), "[a@3/3]=p@3 [a@3/3]=pq@3");
}

#[test]
fn an_old_record_that_touches_a_live_session_extends_it_backward() {
    let mut driver = driver(|b| emit_windowed(&sessions(b, 0, Emit::EachUpdate)));
    send(&mut driver, "in", "a=p@20 a=q@24 b=x@26");
    drain(&mut driver, "out");
    assert_eq!(pass(&mut driver, "a=r@15"), "[a@20/24]=~@24 [a@15/24]=pqr@24");
    assert_eq!(pass(&mut driver, "b=r@9"), "", "alone it is late");
    assert_eq!(driver.late_records().unwrap(), 1);
}

#[test]
fn a_closed_session_is_not_revived_however_long_it_is_kept() {
    let mut driver = driver(|b| {
        let windowed = by_key(b).windowed_by(SessionWindows::gap(ms(5)));
        let store = Materialized::named("sessions").retention(ms(1_000));
        emit_windowed(&windowed.reduce_with(store, |total, value: String| total.push_str(&value)));
    });
    send(&mut driver, "in", "a=p@0 b=x@6");
    drain(&mut driver, "out");
    assert_eq!(pass(&mut driver, "a=q@4"), "[a@4/4]=q@4");
    assert_eq!(driver.session_store::<String, String>("sessions").unwrap().len(), 3);
}

#[test]
fn sessions_that_meet_are_merged_by_the_users_function() {
    let mut driver = driver(|b| {
        let sessions = by_key(b).windowed_by(SessionWindows::gap(ms(5)).grace(ms(9)));
        let table = sessions.aggregate(
            "sessions",
            || "0".to_owned(),
            |_, value, total| *total = format!("({total}+{value})"),
            |_, total, earlier| *total = format!("({total}|{earlier})"),
        );
        emit_windowed(&table);
    });
    send(&mut driver, "in", "a=p@0 a=q@8");
    drain(&mut driver, "out");
    let merged = pass(&mut driver, "a=r@4");
    assert_eq!(merged, "[a@0/0]=~@0 [a@8/8]=~@8 [a@0/8]=(((0|(0+p))|(0+q))+r)@8");
}

// --- when results come out -----------------------------------------------------------------------

#[test]
fn on_close_a_window_comes_out_once_when_time_has_passed_its_end_and_grace() {
    let mut driver = driver(|b| emit_windowed(&tumbling(b, 5, Emit::OnWindowClose)));
    assert_eq!(pass(&mut driver, "a=x@1 a=x@2 b=x@14"), "");
    assert_eq!(pass(&mut driver, "a=x@3"), "", "within grace");
    assert_eq!(pass(&mut driver, "b=x@15"), "[a@0/10]=3@3");
    assert_eq!(pass(&mut driver, "a=x@4 b=x@16"), "", "it was late");
}

#[test]
fn on_close_every_window_comes_out_however_far_time_jumps() {
    let mut driver = driver(|b| emit_windowed(&hopping(b, 0, Emit::OnWindowClose)));
    assert_eq!(pass(&mut driver, "a=x@3 b=x@12 a=x@12"), "[a@0/10]=1@3");
    let closed = "[a@5/15]=1@12 [b@5/15]=1@12 [a@10/20]=1@12 [b@10/20]=1@12";
    assert_eq!(pass(&mut driver, "c=x@9000000000000"), closed);
}

#[test]
fn on_close_a_sliding_window_comes_out_behind_its_end() {
    let mut driver = driver(|b| emit_windowed(&sliding(b, 0, Emit::OnWindowClose)));
    assert_eq!(pass(&mut driver, "a=x@20 b=x@20"), "");
    assert_eq!(pass(&mut driver, "c=x@21"), "[a@10/20]=1@20 [b@10/20]=1@20");
}

#[test]
fn on_close_merged_sessions_come_out_as_one_and_leave_no_tombstone() {
    let mut driver = driver(|b| emit_windowed(&sessions(b, 9, Emit::OnWindowClose)));
    assert_eq!(pass(&mut driver, "a=p@0 a=q@8 a=r@4 b=x@22"), "");
    assert_eq!(pass(&mut driver, "b=y@23"), "[a@0/8]=pqr@8");
}

#[test]
fn on_close_a_final_result_has_no_old_value() {
    let mut driver = driver(|b| {
        let counts = tumbling(b, 0, Emit::OnWindowClose);
        let sums = counts.group_by(|windowed, count| (windowed.key.clone(), count));
        emit(&sums.reduce("sums", |sum, count| *sum += count, |sum, count| *sum -= count));
    });
    assert_eq!(pass(&mut driver, "a=x@1 a=x@2 a=x@11 a=x@21"), "a=2@2 a=3@11");
}

#[test]
fn on_commit_each_changed_window_comes_out_once_in_the_order_of_first_changes() {
    for guarantee in GUARANTEES {
        let mut driver = uncommitted(guarantee, |b| {
            emit_windowed(&tumbling(b, 9, Emit::OnCommit));
        });
        send(&mut driver, "in", "b=x@11 a=x@1 b=x@12 c=x@11 b=x@13");
        assert_eq!(drain(&mut driver, "out"), "[b@10/20]=3@13 [a@0/10]=1@1 [c@10/20]=1@11");
        assert_eq!(drain(&mut driver, "out"), "", "nothing has changed since");
        assert_eq!(pass(&mut driver, "a=x@2"), "[a@0/10]=2@2");
    }
}

#[test]
fn on_commit_a_session_that_came_and_went_in_between_is_not_mentioned() {
    let mut driver = uncommitted(GUARANTEES[0], |b| {
        emit_windowed(&sessions(b, 0, Emit::OnCommit));
    });
    assert_eq!(pass(&mut driver, "a=p@0 a=q@3"), "[a@0/3]=pq@3");
    assert_eq!(pass(&mut driver, "a=r@5 a=s@7"), "[a@0/3]=~@3 [a@0/7]=pqrs@7");
}

#[test]
fn on_commit_sliding_windows_come_out_once_each() {
    let mut driver = uncommitted(GUARANTEES[0], |b| {
        emit_windowed(&sliding(b, 0, Emit::OnCommit));
    });
    let out = pass(&mut driver, "a=x@20 a=x@25 a=x@25");
    assert_eq!(out, "[a@10/20]=1@20 [a@21/31]=2@25 [a@15/25]=3@25");
}

#[test]
fn on_commit_what_was_held_back_in_a_crash_comes_out_with_the_records_that_made_it() {
    let mut driver = uncommitted(GUARANTEES[0], |b| {
        emit_windowed(&sessions(b, 0, Emit::OnCommit));
    });
    assert_eq!(pass(&mut driver, "a=p@0"), "[a@0/0]=p@0");
    send(&mut driver, "in", "a=q@3");
    driver.crash().unwrap();
    assert_eq!(drain(&mut driver, "out"), "[a@0/0]=~@0 [a@0/3]=pq@3");
}

#[test]
fn on_commit_the_old_value_is_the_one_that_was_sent() {
    let mut driver = uncommitted(GUARANTEES[0], |b| {
        let counts = tumbling(b, 0, Emit::OnCommit);
        let sums = counts.group_by(|windowed, count| (windowed.key.clone(), count));
        emit(&sums.aggregate(
            "steps",
            String::new,
            |_, count, steps| *steps += &format!("+{count}"),
            |_, count, steps| *steps += &format!("-{count}"),
        ));
    });
    assert_eq!(pass(&mut driver, "a=x@1 a=x@2"), "a=+2@2");
    assert_eq!(pass(&mut driver, "a=x@3 a=x@4"), "a=+2-2+4@4");
}

// --- tables made of windowed ones ----------------------------------------------------------------

#[test]
fn a_filtered_windowed_table_deletes_what_is_refused_from_now_on() {
    let mut driver = driver(|b| {
        emit_windowed(&tumbling(b, 0, Emit::EachUpdate).filter(|_, count| count % 2 == 0));
    });
    assert_eq!(pass(&mut driver, "a=x@1"), "", "downstream has never seen it");
    assert_eq!(pass(&mut driver, "a=x@2 a=x@3"), "[a@0/10]=2@2 [a@0/10]=~@3");
}

#[test]
fn a_session_overwritten_in_place_takes_its_old_value_with_it() {
    let mut driver = driver(|b| {
        let sessions = sessions(b, 0, Emit::EachUpdate);
        let lengths = sessions.group_by(|windowed, text| (windowed.key.clone(), text.len() as i64));
        emit(&lengths.reduce("lengths", |sum, length| *sum += length, |sum, old| *sum -= old));
    });
    assert_eq!(pass(&mut driver, "a=p@3 a=q@3"), "a=1@3 a=2@3");
    // The merged session is taken out first, then the longer one is put in.
    assert_eq!(pass(&mut driver, "a=r@4"), "a=0@3 a=3@4");
}
