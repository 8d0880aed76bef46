//! Commands about lists.

use super::super::resp::parse_integer;
use super::super::store::{ELEMENT, Fault, Growth, List};
use super::Call;

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

fn push(call: &mut Call, end: End) -> Result<(), Fault> {
    let values = call.words[2..].to_vec();
    let length = call.db.change_as(&call.words[1], |list: &mut List, growth: &mut Growth| {
        for value in values {
            growth.add(value.len() + ELEMENT);
            match end {
                End::Left => list.push_front(value),
                End::Right => list.push_back(value),
            }
        }
        Ok(list.len())
    })?;
    call.record();
    call.out.count(length);
    Ok(())
}

pub(super) fn lpush(call: &mut Call) -> Result<(), Fault> {
    push(call, End::Left)
}

pub(super) fn rpush(call: &mut Call) -> Result<(), Fault> {
    push(call, End::Right)
}

/// `LPOP KEY [COUNT]`: with a count the reply is an array.
fn pop(call: &mut Call, end: End) -> Result<(), Fault> {
    if call.words.len() > 3 {
        return Err(call.wrong_arity());
    }
    let wanted = match call.words.get(2) {
        Some(text) => {
            let count = parse_integer(text).and_then(|n| usize::try_from(n).ok());
            Some(count.ok_or("ERR value is out of range, must be positive")?)
        }
        None => None,
    };
    let taken = call.db.change_known_as(&call.words[1], |list: &mut List, growth: &mut Growth| {
        let count = wanted.unwrap_or(1).min(list.len());
        let taken: Vec<Vec<u8>> = match end {
            End::Left => list.drain(..count).collect(),
            End::Right => list.drain(list.len() - count..).rev().collect(),
        };
        taken.iter().for_each(|value| growth.remove(value.len() + ELEMENT));
        Ok(taken)
    })?;
    if taken.as_ref().is_some_and(|taken| !taken.is_empty()) {
        call.record();
    }
    match (wanted, taken) {
        (None, taken) => call.out.bulk_or_nil(taken.iter().flatten().next().map(Vec::as_slice)),
        (Some(_), None) => call.out.nil_array(),
        (Some(_), Some(taken)) => call.out.bulks(taken.iter()),
    }
    Ok(())
}

pub(super) fn lpop(call: &mut Call) -> Result<(), Fault> {
    pop(call, End::Left)
}

pub(super) fn rpop(call: &mut Call) -> Result<(), Fault> {
    pop(call, End::Right)
}

pub(super) fn llen(call: &mut Call) -> Result<(), Fault> {
    let count = call.db.get_as::<List>(call.argument(1))?.map_or(0, List::len);
    call.out.count(count);
    Ok(())
}

/// Returns an index from the start; negative ones count from the end. May be outside of the list.
fn index(wanted: i64, length: usize) -> i64 {
    let length = length as i64; // no list has so many elements
    if wanted < 0 { wanted.saturating_add(length) } else { wanted }
}

pub(super) fn lindex(call: &mut Call) -> Result<(), Fault> {
    let Some(list) = call.db.get_as::<List>(&call.words[1])? else {
        call.out.bulk_or_nil(None); // whatever the index is
        return Ok(());
    };
    let wanted = index(call.number(2)?, list.len());
    let found = usize::try_from(wanted).ok().and_then(|at| list.get(at));
    call.out.bulk_or_nil(found.map(Vec::as_slice));
    Ok(())
}

pub(super) fn lrange(call: &mut Call) -> Result<(), Fault> {
    let (first, last) = (call.number(2)?, call.number(3)?);
    let Some(list) = call.db.get_as::<List>(&call.words[1])? else {
        call.out.array(0);
        return Ok(());
    };
    let first = index(first, list.len()).max(0) as usize;
    let end = index(last, list.len()).saturating_add(1).clamp(0, list.len() as i64) as usize;
    match first < end {
        true => call.out.bulks(list.range(first..end)),
        false => call.out.array(0),
    }
    Ok(())
}
