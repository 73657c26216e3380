#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::memory::Memory;
use crate::plan::combine::{Comparison, Condition, DistinctFold, Fold, Output, SortKey};
use crate::types::oid;

const INT8: ColumnInfo = ColumnInfo { type_oid: oid::INT8, format: Format::Text, collation: Collation::None };
const TEXT_C: ColumnInfo = ColumnInfo { type_oid: oid::TEXT, format: Format::Text, collation: Collation::Bytes };
fn most(max_bytes: usize) -> MergeLimits {
    MergeLimits { max_bytes, memory: Memory::new(None) }
}

type Row = Vec<Option<String>>;

fn frame(row: &Row) -> Bytes {
    let mut writer = RowWriter::new();
    writer.start();
    row.iter().for_each(|column| writer.column(column.as_deref().map(str::as_bytes)));
    writer.finish().unwrap()
}

fn cells(frame: &[u8]) -> Row {
    let columns = RowView::parse(frame).unwrap().columns();
    columns.map(|c| c.unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())).collect()
}

/// Rows of numbers: `None` is NULL.
fn ints(rows: &[&[i64]]) -> Vec<Row> {
    rows.iter().map(|row| row.iter().map(|value| Some(value.to_string())).collect()).collect()
}

/// Runs the merge as the executor does: exactly what is asked for is given.
fn run(merge: &mut Merge, inputs: &[Vec<Row>]) -> Result<Vec<Row>, Fault> {
    let mut inputs: Vec<_> = inputs.iter().map(|rows| rows.iter()).collect();
    let mut turn = 0;
    let mut closed = vec![false; inputs.len()];
    let mut out = Vec::new();
    loop {
        let input = match merge.advance()? {
            Advance::Need(input) => input,
            Advance::NeedAny => {
                turn += 1;
                let open: Vec<usize> = (0..inputs.len()).filter(|i| !closed[*i]).collect();
                open[turn % open.len()]
            }
            Advance::Row(row) => {
                out.push(cells(&row));
                continue;
            }
            Advance::Done => return Ok(out),
        };
        assert!(!closed[input], "asked for a row of a closed input");
        match inputs[input].next() {
            Some(row) => merge.push(input, frame(row))?,
            None => {
                closed[input] = true;
                merge.close(input);
            }
        }
    }
}

fn merge(combine: &Combine, window: Option<Window>, columns: &[ColumnInfo], inputs: usize) -> Result<Merge, Fault> {
    Merge::new(combine, window, columns, TextStyle::default(), inputs, most(1 << 24))
}

fn merged(combine: &Combine, window: Option<Window>, columns: &[ColumnInfo], inputs: &[Vec<Row>]) -> Vec<Row> {
    run(&mut merge(combine, window, columns, inputs.len()).unwrap(), inputs).unwrap()
}

fn ascending(column: usize) -> SortKey {
    SortKey { column, descending: false, nulls_first: false }
}

fn sorted_by(keys: Vec<SortKey>) -> Combine {
    Combine { gather: Gather::MergeSort(keys), ..Combine::CONCAT }
}

fn steps(steps: Vec<Step>) -> Combine {
    Combine { steps, ..Combine::CONCAT }
}

fn output(column: usize, fold: Fold) -> Output {
    Output { column, fold }
}

#[test]
fn merge_emits_nothing_until_every_shard_has_answered() {
    let mut merge = merge(&sorted_by(vec![ascending(0)]), None, &[INT8], 2).unwrap();
    let row = frame(&ints(&[&[7]])[0]);
    assert_eq!(merge.advance(), Ok(Advance::Need(0)));
    merge.push(0, row.clone()).unwrap();
    assert_eq!(merge.advance(), Ok(Advance::Need(1)));
    merge.close(1);
    let Ok(Advance::Row(out)) = merge.advance() else { panic!("no row") };
    assert_eq!(out.as_ptr(), row.as_ptr(), "an unchanged row is not copied");
    assert_eq!(merge.advance(), Ok(Advance::Need(0)));
    assert!(merge.push(1, row).is_err(), "a closed input has no rows");
}

/// The order of two rows as the merge has it: by what leads, and of equal ones by all of them.
fn order_by_lead(keys: &[OrderKey], a: &Bytes, b: &Bytes) -> (std::cmp::Ordering, std::cmp::Ordering) {
    let fields = |row: &Bytes| -> Vec<key::Field> {
        let view = RowView::parse(row).unwrap();
        keys.iter().map(|key| key::Field::read(key.comparator, &view, key.column).unwrap()).collect()
    };
    let (fields_a, fields_b) = (fields(a), fields(b));
    let whole = key::compare_fields(keys, (&fields_a, a), (&fields_b, b));
    let leads = key::lead(keys, &fields_a, a).cmp(&key::lead(keys, &fields_b, b));
    (leads.then(whole), whole)
}

proptest! {
    #[test]
    fn the_order_by_what_leads_is_that_of_all_keys(
        rows in prop::collection::vec((
            prop::option::of("prefix-(a|b|\\x00){0,3}|[ab]?"),
            prop::option::of(prop_oneof![Just(i64::MIN), Just(i64::MAX), -3i64..3]),
            prop::option::of(prop::sample::select(vec!["NaN", "-0", "0", "-1.5", "Infinity", "-Infinity", "1e-320"])),
        ), 2..8),
        descending: [bool; 3],
        nulls_first: [bool; 3],
        first in 0usize..3,
    ) {
        const FLOAT8: ColumnInfo = ColumnInfo { type_oid: oid::FLOAT8, format: Format::Text, collation: Collation::None };
        let keys: Vec<SortKey> = (0..3).map(|i| {
            let column = (first + i) % 3;
            SortKey { column, descending: descending[i], nulls_first: nulls_first[i] }
        }).collect();
        let keys = OrderKey::all(&keys, &[TEXT_C, INT8, FLOAT8], TextStyle::default()).unwrap();
        let rows: Vec<Bytes> = rows.into_iter().map(|(text, int, float)| frame(&vec![text, int.map(|i| i.to_string()), float.map(str::to_owned)])).collect();
        for (a, b) in rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b))) {
            let (by_lead, whole) = order_by_lead(&keys, a, b);
            prop_assert_eq!(by_lead, whole, "{:?} {:?}", cells(a), cells(b));
        }
    }
}

#[test]
fn a_sort_charges_what_it_keeps_beside_the_rows() {
    let sort = steps(vec![Step::Sort(vec![ascending(0)])]);
    let rows = [ints(&(0..1_000).map(|_| &[7][..]).collect::<Vec<_>>())];
    let with = |max_bytes| {
        let mut merge = Merge::new(&sort, None, &[INT8], TextStyle::default(), 1, most(max_bytes)).unwrap();
        run(&mut merge, &rows)
    };
    let row = frame(&rows[0][0]).len();
    let entry = row + Budget::ENTRY + size_of::<steps::Held>();
    assert!(with(1_000 * entry).is_ok());
    assert_eq!(with(1_000 * entry - 1).unwrap_err().code, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
}

#[test]
fn a_limit_ends_the_merge_before_its_inputs_end() {
    let inputs = [ints(&[&[1], &[3], &[5]]), ints(&[&[2], &[4], &[6]])];
    let window = |offset, limit| Some(Window { offset, limit });
    let combine = sorted_by(vec![ascending(0)]);
    assert_eq!(merged(&combine, window(1, Some(3)), &[INT8], &inputs), ints(&[&[2], &[3], &[4]]));
    assert_eq!(merged(&combine, window(4, None), &[INT8], &inputs), ints(&[&[5], &[6]]));
    assert_eq!(merged(&combine, window(9, Some(1)), &[INT8], &inputs), ints(&[]));
    let mut nothing = merge(&combine, window(0, Some(0)), &[INT8], 2).unwrap();
    assert_eq!(nothing.advance(), Ok(Advance::Done));
}

#[test]
fn rows_pass_unseen_only_where_all_go_to_the_client_as_they_are() {
    let passes = |combine: &Combine, window| merge(combine, window, &[INT8], 2).unwrap().passes_all();
    let window = |offset, limit| Some(Window { offset, limit });
    assert!(passes(&Combine::CONCAT, None));
    assert!(passes(&Combine::CONCAT, window(0, None)));
    assert!(!passes(&Combine::CONCAT, window(0, Some(1_000))));
    assert!(!passes(&Combine::CONCAT, window(1, None)));
    assert!(!passes(&Combine { hidden: 1, ..Combine::CONCAT }, None));
    assert!(!passes(&sorted_by(vec![ascending(0)]), None));
    assert!(!passes(&Combine { gather: Gather::Interleave(vec![0, 1]), ..Combine::CONCAT }, None));
    assert!(!passes(&steps(vec![Step::Distinct { columns: 1, sorted: false }]), None));
    // A row that was pushed before is to come first.
    let mut begun = merge(&Combine::CONCAT, None, &[INT8], 2).unwrap();
    begun.push(0, frame(&ints(&[&[1]])[0])).unwrap();
    assert!(!begun.passes_all());
    assert!(matches!(begun.advance(), Ok(Advance::Row(_))));
    assert!(begun.passes_all());
}

#[test]
fn hidden_columns_are_dropped_last() {
    let combine = Combine { hidden: 1, ..sorted_by(vec![ascending(1)]) };
    let inputs = [ints(&[&[10, 2]]), ints(&[&[20, 1]])];
    assert_eq!(merged(&combine, None, &[INT8, INT8], &inputs), ints(&[&[20], &[10]]));
    assert_eq!(merge(&combine, None, &[INT8, INT8], 2).unwrap().columns().len(), 1);
}

#[test]
fn interleaved_rows_come_in_the_order_of_the_statement_and_none_is_lost() {
    let combine = Combine { gather: Gather::Interleave(vec![1, 0, 0, 1]), ..Combine::CONCAT };
    let rows = |inputs: &[Vec<Row>]| merged(&combine, None, &[INT8], inputs);
    assert_eq!(rows(&[ints(&[&[2], &[3]]), ints(&[&[1], &[4]])]), ints(&[&[1], &[2], &[3], &[4]]));
    // A shard that gave fewer rows than it was sent, which lie together; or none; or all that there are.
    assert_eq!(rows(&[ints(&[&[2]]), ints(&[&[1], &[4]])]), ints(&[&[1], &[2], &[4]]));
    assert_eq!(rows(&[ints(&[]), ints(&[&[4]])]), ints(&[&[4]]));
    assert_eq!(rows(&[ints(&[&[2]]), ints(&[])]), ints(&[&[2]]));
}

#[test]
fn rows_whose_place_among_others_is_not_known_are_refused() {
    let combine = Combine { gather: Gather::Interleave(vec![1, 0, 0, 1]), ..Combine::CONCAT };
    // The one row of the second input may belong before those of the first, or behind them. More rows than turns have no place either.
    for second in [ints(&[&[1]]), ints(&[&[1], &[4], &[5]])] {
        let inputs = [ints(&[&[2], &[3]]), second];
        let fault = run(&mut merge(&combine, None, &[INT8], 2).unwrap(), &inputs).unwrap_err();
        assert_eq!(fault.code, SqlState::FEATURE_NOT_SUPPORTED);
    }
}

#[test]
fn an_aggregate_of_no_rows_is_one_row() {
    let outputs =
        vec![output(0, Fold::Count), output(0, Fold::Sum), output(0, Fold::Max), output(0, Fold::Avg { count: 0 })];
    let combine = steps(vec![Step::Aggregate { groups: vec![], sorted: false, outputs: outputs.clone() }]);
    assert_eq!(merged(&combine, None, &[INT8], &[vec![], vec![]]), [vec![Some("0".to_owned()), None, None, None]]);
    let grouped = steps(vec![Step::Aggregate { groups: vec![0], sorted: true, outputs }]);
    assert_eq!(merged(&grouped, None, &[INT8], &[vec![], vec![]]), Vec::<Row>::new());
}

#[test]
fn a_sum_beyond_bigint_is_the_error_of_postgres() {
    let combine = steps(vec![Step::Aggregate { groups: vec![], sorted: false, outputs: vec![output(0, Fold::Sum)] }]);
    let inputs = [ints(&[&[i64::MAX]]), ints(&[&[1]])];
    let fault = run(&mut merge(&combine, None, &[INT8], 2).unwrap(), &inputs).unwrap_err();
    assert_eq!((fault.code, &*fault.message), (SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"));
}

#[test]
fn what_is_not_exact_is_refused_before_a_row_is_read() {
    let float = ColumnInfo { type_oid: oid::FLOAT8, ..INT8 };
    let deterministic = ColumnInfo { collation: Collation::Deterministic, ..TEXT_C };
    let nondeterministic = ColumnInfo { collation: Collation::Nondeterministic, ..TEXT_C };
    let json = ColumnInfo { type_oid: oid::JSONB, ..INT8 };
    let aggregate =
        |groups, fold| steps(vec![Step::Aggregate { groups, sorted: false, outputs: vec![output(0, fold)] }]);
    let distinct = steps(vec![Step::Distinct { columns: 1, sorted: false }]);
    for (combine, column) in [
        (aggregate(vec![], Fold::Sum), float),
        (aggregate(vec![], Fold::Avg { count: 0 }), float),
        (aggregate(vec![], Fold::Max), deterministic),
        (aggregate(vec![], Fold::BitAnd), float),
        (aggregate(vec![], Fold::BoolAnd), INT8),
        (aggregate(vec![], Fold::Count), TEXT_C),
        (aggregate(vec![], Fold::Distinct(DistinctFold::Count)), deterministic),
        (aggregate(vec![], Fold::Distinct(DistinctFold::Sum)), float),
        (aggregate(vec![], Fold::Distinct(DistinctFold::Avg)), TEXT_C),
        (aggregate(vec![0], Fold::Key), nondeterministic),
        (sorted_by(vec![ascending(0)]), deterministic),
        (sorted_by(vec![ascending(0)]), json),
        (distinct.clone(), json),
    ] {
        let fault = merge(&combine, None, &[column], 2).unwrap_err();
        assert_eq!(fault.code, SqlState::FEATURE_NOT_SUPPORTED, "{combine:?}");
        assert!(fault.hint.is_some());
    }
    assert!(merge(&distinct, None, &[deterministic], 2).is_ok(), "equality needs no order");
    assert_eq!(merge(&distinct, None, &[], 2).unwrap_err().code, SqlState::INTERNAL_ERROR);
    let unsorted = aggregate(vec![0], Fold::Distinct(DistinctFold::Count));
    assert_eq!(merge(&unsorted, None, &[INT8], 2).unwrap_err().code, SqlState::INTERNAL_ERROR);
}

#[test]
fn hashing_and_sorting_stop_at_their_limit() {
    let many: Vec<Row> = (0..1_000).map(|i| vec![Some(i.to_string())]).collect();
    let outputs = vec![output(0, Fold::Key), output(0, Fold::Count)];
    let limits = most(10_000);
    let run = |step: Step, window, rows: &Vec<Row>| {
        let style = TextStyle::default();
        run(
            &mut Merge::new(&steps(vec![step]), window, &[INT8], style, 1, limits.clone()).unwrap(),
            std::slice::from_ref(rows),
        )
    };
    let group = |sorted| Step::Aggregate { groups: vec![0], sorted, outputs: outputs.clone() };
    for step in [group(false), Step::Distinct { columns: 1, sorted: false }, Step::Sort(vec![ascending(0)])] {
        let fault = run(step, None, &many).unwrap_err();
        assert_eq!(fault.code, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert!(fault.hint.is_some());
    }
    assert_eq!(run(group(true), None, &many).unwrap().len(), 1_000);
    let one_group = vec![vec![Some("1".to_owned())]; 1_000];
    assert_eq!(run(group(false), None, &one_group).unwrap(), ints(&[&[1, 1_000]]));
}

#[test]
fn a_sort_under_a_limit_holds_only_what_it_needs() {
    let rows: Vec<Row> =
        (0..50_000i64).map(|i| vec![Some((i * 7_919 % 50_000).to_string()), Some(i.to_string())]).collect();
    let style = TextStyle::default();
    let limits = most(400_000);
    let window = Some(Window { offset: 2, limit: Some(3) });
    let combine = steps(vec![Step::Sort(vec![ascending(0)])]);
    let mut merge = Merge::new(&combine, window, &[INT8, INT8], style, 1, limits).unwrap();
    let firsts: Vec<Option<String>> = run(&mut merge, &[rows]).unwrap().into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(firsts, [Some("2".to_owned()), Some("3".to_owned()), Some("4".to_owned())]);
}

#[test]
fn conditions_are_true_only_of_values() {
    let rows = vec![vec![Some("1".into())], vec![None], vec![Some("5".into())], vec![Some("9".into())]];
    let keep = |op, value: &str| {
        let filter = Step::Filter(vec![Condition { column: 0, op, value: value.into() }]);
        merged(&steps(vec![filter]), None, &[INT8], std::slice::from_ref(&rows)).len()
    };
    assert_eq!(keep(Comparison::Gt, "1"), 2);
    assert_eq!(keep(Comparison::Ge, " 05 "), 2);
    assert_eq!(keep(Comparison::Ne, "5"), 2);
    assert_eq!(keep(Comparison::Eq, "5"), 1);
    assert_eq!(keep(Comparison::Lt, "9"), 2);
    assert_eq!(keep(Comparison::Le, "9"), 3);
    let filter = Step::Filter(vec![Condition { column: 0, op: Comparison::Eq, value: "five".into() }]);
    assert!(merge(&steps(vec![filter]), None, &[INT8], 1).is_err());
}

#[test]
fn equal_numerics_are_one_group_in_whatever_scale() {
    let numeric = ColumnInfo { type_oid: oid::NUMERIC, ..INT8 };
    let rows: Vec<Row> = ["1.0", "1", "1.00", "0", "0.00", "-0.5", "-0.50", "NaN", "NaN"]
        .iter()
        .map(|v| vec![Some((*v).into())])
        .collect();
    let distinct = |sorted| {
        merged(&steps(vec![Step::Distinct { columns: 1, sorted }]), None, &[numeric], std::slice::from_ref(&rows))
    };
    let expected: Vec<Row> = ["1.0", "0", "-0.5", "NaN"].iter().map(|v| vec![Some((*v).into())]).collect();
    assert_eq!(distinct(true), expected);
    assert_eq!(distinct(false), expected);
}

fn small_rows() -> impl Strategy<Value = Vec<Vec<(Option<i64>, String)>>> {
    prop::collection::vec(prop::collection::vec((prop::option::of(-3i64..4), "[abc]{0,2}"), 0..8), 0..6)
}

fn row(value: &(Option<i64>, String)) -> Row {
    vec![value.0.map(|v| v.to_string()), Some(value.1.clone())]
}

proptest! {
    #[test]
    fn a_merge_of_sorted_inputs_is_the_stable_sort_of_all(mut inputs in small_rows(), descending: bool, nulls_first: bool) {
        let order = |a: &(Option<i64>, String), b: &(Option<i64>, String)| {
            let nulls = b.0.is_none().cmp(&a.0.is_none());
            let nulls = if nulls_first { nulls } else { nulls.reverse() };
            let values = if descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
            nulls.then(values)
        };
        inputs.iter_mut().for_each(|rows| rows.sort_by(order));
        let mut expected: Vec<_> = inputs.concat();
        expected.sort_by(order);
        let keys = vec![SortKey { column: 0, descending, nulls_first }];
        let rows: Vec<Vec<Row>> = inputs.iter().map(|rows| rows.iter().map(row).collect()).collect();
        let expected: Vec<Row> = expected.iter().map(row).collect();
        prop_assert_eq!(merged(&sorted_by(keys.clone()), None, &[INT8, TEXT_C], &rows), expected.clone());
        // One sort of everything gives the same order; among equals the order in which they came.
        let sorted = merged(&steps(vec![Step::Sort(keys)]), None, &[INT8, TEXT_C], &rows);
        prop_assert_eq!(sorted.iter().map(|r| &r[0]).collect::<Vec<_>>(), expected.iter().map(|r| &r[0]).collect::<Vec<_>>());
    }

    #[test]
    fn sorted_and_hashed_groups_are_those_of_a_naive_count(mut inputs in small_rows(), offset in 0u64..3, limit in prop::option::of(0u64..4)) {
        inputs.iter_mut().for_each(|rows| rows.sort_by(|a, b| a.1.cmp(&b.1)));
        let rows: Vec<Vec<Row>> = inputs.iter().map(|rows| rows.iter().map(row).collect()).collect();
        let mut naive: std::collections::BTreeMap<String, Vec<i64>> = Default::default();
        for (value, group) in inputs.concat() {
            naive.entry(group).or_default().extend(value);
        }
        let expected: Vec<Row> = naive
            .into_iter()
            .map(|(group, values)| {
                let sum: i64 = values.iter().sum();
                let text = |v: Option<i64>| v.map(|v| v.to_string());
                let some = |v: i64| (!values.is_empty()).then_some(v);
                vec![
                    Some(group), text(Some(sum)), text(some(sum)), text(values.iter().min().copied()), text(values.iter().max().copied()),
                    text(values.iter().copied().reduce(|a, b| a & b)), text(values.iter().copied().reduce(|a, b| a | b)), text(values.iter().copied().reduce(|a, b| a ^ b)),
                ]
            })
            .filter(|row| row[3].as_deref() != Some("-3"))
            .collect();
        let outputs: Vec<Output> = [Fold::Count, Fold::Sum, Fold::Min, Fold::Max, Fold::BitAnd, Fold::BitOr, Fold::BitXor].into_iter().map(|fold| output(0, fold)).collect();
        let outputs = [vec![output(1, Fold::Key)], outputs].concat();
        let having = Step::Filter(vec![Condition { column: 3, op: Comparison::Ne, value: "-3".into() }]);
        // NULL <> -3 is not true.
        let expected: Vec<Row> = expected.into_iter().filter(|row| row[3].is_some()).collect();
        let columns = [INT8, TEXT_C];
        let sorted = Combine {
            steps: vec![Step::Aggregate { groups: vec![1], sorted: true, outputs: outputs.clone() }, having.clone()],
            ..sorted_by(vec![ascending(1)])
        };
        let hashed = steps(vec![Step::Aggregate { groups: vec![1], sorted: false, outputs }, having, Step::Sort(vec![ascending(0)])]);
        let window = Window { offset, limit };
        let expected: Vec<Row> = expected.into_iter().skip(offset as usize).take(limit.map_or(usize::MAX, |l| l as usize)).collect();
        prop_assert_eq!(merged(&sorted, Some(window), &columns, &rows), expected.clone());
        prop_assert_eq!(merged(&hashed, Some(window), &columns, &rows), expected);
    }

    #[test]
    fn distinct_values_are_those_of_a_set(mut inputs in small_rows(), grouped: bool, descending: bool, width in prop::sample::select(vec![oid::INT2, oid::INT4, oid::INT8, oid::NUMERIC])) {
        let key = |row: &(Option<i64>, String)| {
            let value = row.0.map_or(i64::MAX, |v| if descending { -v } else { v });
            (if grouped { row.1.clone() } else { String::new() }, value)
        };
        inputs.iter_mut().for_each(|rows| rows.sort_by_key(key));
        let rows: Vec<Vec<Row>> = inputs.iter().map(|rows| rows.iter().map(row).collect()).collect();
        let mut naive: std::collections::BTreeMap<String, (std::collections::BTreeSet<i64>, i64)> = Default::default();
        if !grouped {
            naive.insert(String::new(), Default::default());
        }
        for (value, group) in inputs.concat() {
            let (set, counted) = naive.entry(if grouped { group } else { String::new() }).or_default();
            set.extend(value);
            *counted += i64::from(value.is_some());
        }
        let expected: Vec<Row> = naive.into_iter().map(|(group, (set, counted))| {
            let sum: i64 = set.iter().sum();
            let average = || {
                let mut text = bytes::BytesMut::new();
                decimal::Decimal::from_i64(sum).divide_by_count(set.len() as i64).write(Format::Text, &mut text);
                String::from_utf8(text.to_vec()).unwrap()
            };
            let some = |text: &dyn Fn() -> String| (!set.is_empty()).then(text);
            let own = [Some(set.len().to_string()), some(&|| sum.to_string()), some(&average), some(&|| counted.to_string())];
            if grouped { [&[Some(group)][..], &own].concat() } else { own.to_vec() }
        }).collect();
        // Each row counts for one of its group: a sum of ones where there is a value.
        let rows: Vec<Vec<Row>> = rows.into_iter().map(|rows| rows.into_iter().map(|mut row| { row.push(row[0].as_ref().map(|_| "1".into())); row }).collect()).collect();
        let values = ColumnInfo { type_oid: width, ..INT8 };
        let outputs = [Fold::Distinct(DistinctFold::Count), Fold::Distinct(DistinctFold::Sum), Fold::Distinct(DistinctFold::Avg)];
        let mut outputs: Vec<Output> = outputs.into_iter().map(|fold| output(0, fold)).collect();
        outputs.push(output(2, Fold::Sum));
        let mut keys = vec![SortKey { descending, nulls_first: false, column: 0 }];
        if grouped {
            outputs.insert(0, output(1, Fold::Key));
            keys.insert(0, ascending(1));
        }
        let groups = if grouped { vec![1] } else { Vec::new() };
        let combine = Combine { steps: vec![Step::Aggregate { groups, sorted: true, outputs }], ..sorted_by(keys) };
        let columns = [values, TEXT_C, INT8];
        let mut merge = merge(&combine, None, &columns, rows.len()).unwrap();
        let types: Vec<Oid> = merge.columns().iter().skip(usize::from(grouped)).map(|column| column.info.type_oid).collect();
        let narrow = matches!(width, oid::INT2 | oid::INT4);
        prop_assert_eq!(types, vec![oid::INT8, if narrow { oid::INT8 } else { oid::NUMERIC }, oid::NUMERIC, oid::INT8]);
        prop_assert_eq!(run(&mut merge, &rows).unwrap(), expected);
    }

    #[test]
    fn malformed_rows_are_faults(bytes: Vec<u8>, at: usize, byte: u8, type_oid in prop::sample::select(vec![oid::INT8, oid::NUMERIC, oid::UUID, oid::BOOL, oid::DATE, oid::TIMESTAMPTZ, oid::BYTEA, oid::BPCHAR, oid::FLOAT8]), binary: bool) {
        let format = if binary { Format::Binary } else { Format::Text };
        let column = ColumnInfo { type_oid, format, collation: Collation::Bytes };
        let mut writer = RowWriter::new();
        writer.start();
        writer.column(Some(&bytes));
        writer.column(Some(&bytes));
        let whole = writer.finish().unwrap();
        let mut broken = whole.to_vec();
        let at = at % broken.len();
        broken[at] = byte;
        let outputs = vec![output(0, Fold::Key), output(1, Fold::Min), output(1, Fold::Max)];
        for combine in [
            Combine { hidden: 1, ..sorted_by(vec![ascending(0), ascending(1)]) },
            steps(vec![Step::Distinct { columns: 2, sorted: true }]),
            steps(vec![Step::Aggregate { groups: vec![0], sorted: false, outputs: outputs.clone() }, Step::Sort(vec![ascending(1)])]),
            steps(vec![Step::Aggregate { groups: vec![], sorted: false, outputs }]),
        ] {
            let mut merge = merge(&combine, None, &[column, column], 1).unwrap();
            for row in [whole.clone(), Bytes::from(broken.clone()), Bytes::from(bytes.clone())] {
                if merge.advance().is_err() || merge.push(0, row).is_err() {
                    break;
                }
            }
            merge.close(0);
            while let Ok(Advance::Row(_)) = merge.advance() {}
        }
    }
}
