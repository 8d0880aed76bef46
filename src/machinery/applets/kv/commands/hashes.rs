//! Commands about hashes: keys with fields.

use super::super::resp::parse_integer;
use super::super::store::{ELEMENT, Fault, Growth, Hash};
use super::Call;

/// A map this small keeps the order of its fields when one goes.
const ORDERED_MAX: usize = 128;

fn insert_field(map: &mut Hash, growth: &mut Growth, field: Vec<u8>, value: Vec<u8>) -> bool {
    let length = field.len();
    growth.add(value.len());
    match map.insert(field, value) {
        Some(old) => {
            growth.remove(old.len());
            false
        }
        None => {
            growth.add(length + ELEMENT);
            true
        }
    }
}

pub(super) fn hset(call: &mut Call) -> Result<(), Fault> {
    if !call.words.len().is_multiple_of(2) {
        return Err(call.wrong_arity());
    }
    let pairs = call.words[2..].chunks_exact(2);
    let pairs: Vec<_> = pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let count = call.db.change_as(&call.words[1], |map: &mut Hash, growth: &mut Growth| {
        let mut count = 0;
        for (field, value) in pairs {
            count += usize::from(insert_field(map, growth, field, value));
        }
        Ok(count)
    })?;
    call.record();
    call.out.count(count);
    Ok(())
}

pub(super) fn hsetnx(call: &mut Call) -> Result<(), Fault> {
    let (field, value) = (call.argument(2).to_vec(), call.argument(3).to_vec());
    let is_new = call.db.change_as(&call.words[1], |map: &mut Hash, growth: &mut Growth| {
        Ok(!map.contains_key(&field) && insert_field(map, growth, field, value))
    })?;
    if is_new {
        call.record();
    }
    call.out.integer(is_new.into());
    Ok(())
}

fn get_field<'a>(call: &'a Call, at: usize) -> Result<Option<&'a Vec<u8>>, Fault> {
    Ok(call.db.get_as::<Hash>(call.argument(1))?.and_then(|map| map.get(call.argument(at))))
}

pub(super) fn hget(call: &mut Call) -> Result<(), Fault> {
    let value = get_field(call, 2)?.cloned();
    call.out.bulk_or_nil(value.as_deref());
    Ok(())
}

pub(super) fn hexists(call: &mut Call) -> Result<(), Fault> {
    let is_there = get_field(call, 2)?.is_some();
    call.out.integer(is_there.into());
    Ok(())
}

pub(super) fn hmget(call: &mut Call) -> Result<(), Fault> {
    let map = call.db.get_as::<Hash>(&call.words[1])?;
    call.out.array(call.words.len() - 2);
    for field in &call.words[2..] {
        call.out.bulk_or_nil(map.and_then(|map| map.get(field)).map(Vec::as_slice));
    }
    Ok(())
}

pub(super) fn hgetall(call: &mut Call) -> Result<(), Fault> {
    let map = call.db.get_as::<Hash>(&call.words[1])?;
    call.out.array(2 * map.map_or(0, Hash::len));
    for (field, value) in map.into_iter().flatten() {
        call.out.bulk(field);
        call.out.bulk(value);
    }
    Ok(())
}

pub(super) fn hkeys(call: &mut Call) -> Result<(), Fault> {
    match call.db.get_as::<Hash>(&call.words[1])? {
        Some(map) => call.out.bulks(map.keys()),
        None => call.out.array(0),
    }
    Ok(())
}

pub(super) fn hvals(call: &mut Call) -> Result<(), Fault> {
    match call.db.get_as::<Hash>(&call.words[1])? {
        Some(map) => call.out.bulks(map.values()),
        None => call.out.array(0),
    }
    Ok(())
}

pub(super) fn hlen(call: &mut Call) -> Result<(), Fault> {
    let count = call.db.get_as::<Hash>(call.argument(1))?.map_or(0, Hash::len);
    call.out.count(count);
    Ok(())
}

pub(super) fn hdel(call: &mut Call) -> Result<(), Fault> {
    let fields = call.words[2..].to_vec();
    let count = call.db.change_known_as(&call.words[1], |map: &mut Hash, growth: &mut Growth| {
        let mut count = 0;
        for field in fields {
            let gone = match map.len() {
                0..=ORDERED_MAX => map.shift_remove(&field),
                _ => map.swap_remove(&field),
            };
            if let Some(value) = gone {
                growth.remove(field.len() + value.len() + ELEMENT);
                count += 1;
            }
        }
        Ok(count)
    })?;
    if count.is_some_and(|count| count > 0) {
        call.record();
    }
    call.out.count(count.unwrap_or(0));
    Ok(())
}

pub(super) fn hincrby(call: &mut Call) -> Result<(), Fault> {
    let (field, by) = (call.argument(2).to_vec(), call.number(3)?);
    let sum = call.db.change_as(&call.words[1], |map: &mut Hash, growth: &mut Growth| {
        let number = match map.get(&field) {
            Some(text) => parse_integer(text).ok_or("ERR hash value is not an integer")?,
            None => 0,
        };
        let sum = number.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
        insert_field(map, growth, field, sum.to_string().into_bytes());
        Ok(sum)
    })?;
    call.record();
    call.out.integer(sum);
    Ok(())
}
