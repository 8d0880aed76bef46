//! Commands about sets.

use super::super::store::{ELEMENT, Fault, Growth, Set};
use super::Call;

pub(super) fn sadd(call: &mut Call) -> Result<(), Fault> {
    let values = call.words[2..].to_vec();
    let count = call.db.change_as(&call.words[1], |set: &mut Set, growth: &mut Growth| {
        let mut count = 0;
        for value in values {
            let length = value.len();
            if set.insert(value) {
                growth.add(length + ELEMENT);
                count += 1;
            }
        }
        Ok(count)
    })?;
    if count > 0 {
        call.record();
    }
    call.out.count(count);
    Ok(())
}

pub(super) fn srem(call: &mut Call) -> Result<(), Fault> {
    let values = call.words[2..].to_vec();
    let count = call.db.change_known_as(&call.words[1], |set: &mut Set, growth: &mut Growth| {
        let gone = values.iter().filter(|value| set.swap_remove(value.as_slice()));
        Ok(gone.inspect(|value| growth.remove(value.len() + ELEMENT)).count())
    })?;
    if count.is_some_and(|count| count > 0) {
        call.record();
    }
    call.out.count(count.unwrap_or(0));
    Ok(())
}

pub(super) fn smembers(call: &mut Call) -> Result<(), Fault> {
    match call.db.get_as::<Set>(&call.words[1])? {
        Some(set) => call.out.bulks(set.iter()),
        None => call.out.array(0),
    }
    Ok(())
}

pub(super) fn sismember(call: &mut Call) -> Result<(), Fault> {
    let is_in = call.db.get_as::<Set>(call.argument(1))?.is_some_and(|set| set.contains(call.argument(2)));
    call.out.integer(is_in.into());
    Ok(())
}

pub(super) fn scard(call: &mut Call) -> Result<(), Fault> {
    let count = call.db.get_as::<Set>(call.argument(1))?.map_or(0, Set::len);
    call.out.count(count);
    Ok(())
}
