//! Values that expressions read in place. The evaluator's own lists and maps are copied whole
//! whenever they are bound, passed or iterated; a [`Shared`] one is a pointer to a [`Value`], and
//! only the fields that an expression names are converted.
//!
//! Worked example: `trace.exists(t, t.code == 409)` over 10 000 records of 18 fields. Bound as the
//! evaluator's own list it would be converted to 180 000 values before the first comparison.
//! Shared, each record costs one pointer and the one field `code`.

use cel::common::traits::{Adder, Container, Indexer, Iterable, Iterator as ValIterator, Sizer};
use cel::common::types::{CelInt, CelList, CelMap, CelNull, CelString, LIST_TYPE, MAP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::objects::{Key, KeyRef, Map};
use cel::{ExecutionError, Value};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A list or a map that is not copied.
#[derive(Debug)]
pub(super) struct Shared {
    value: Value,
    /// Elements of a list, or keys of a map, once something iterates over them.
    items: OnceLock<Vec<Box<dyn Val>>>,
}

/// A value as the evaluator takes it.
pub(super) fn wrap(value: Value) -> Box<dyn Val> {
    match value {
        Value::List(_) | Value::Map(_) => Box::new(Shared { value, items: OnceLock::new() }),
        // Scalars always convert.
        scalar => <Box<dyn Val>>::try_from(scalar).unwrap_or_else(|_| Box::new(CelNull)),
    }
}

/// A value of the evaluator as the rest of the program takes it.
///
/// # Errors
/// It is of a type that has no counterpart.
pub(super) fn unwrap(val: &dyn Val) -> Result<Value, ExecutionError> {
    if let Some(shared) = val.downcast_ref::<Shared>() {
        return Ok(shared.value.clone());
    }
    if let Some(list) = val.downcast_ref::<CelList<'_>>() {
        let items: Result<Vec<Value>, _> = list.inner().iter().map(|item| unwrap(item.as_ref())).collect();
        return Ok(Value::List(Arc::new(items?)));
    }
    if let Some(map) = val.downcast_ref::<CelMap<'_>>() {
        let mut fields = HashMap::new();
        for (key, value) in map.inner() {
            fields.insert(key.clone().into(), unwrap(value.as_ref())?);
        }
        return Ok(Value::Map(Map { map: Arc::new(fields) }));
    }
    Value::try_from(val)
}

impl Shared {
    fn items(&self) -> &[Box<dyn Val>] {
        self.items.get_or_init(|| match &self.value {
            Value::List(list) => list.iter().cloned().map(wrap).collect(),
            Value::Map(map) => map.map.keys().map(|key| wrap(value_of(key))).collect(),
            _ => vec![],
        })
    }

    fn element(&self, key: &dyn Val) -> Result<Value, ExecutionError> {
        let index = unwrap(key)?;
        match (&self.value, &index) {
            (Value::List(list), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| list.get(at))
                .cloned()
                .ok_or(ExecutionError::IndexOutOfBounds(index)),
            (Value::Map(map), _) => {
                let missing = || ExecutionError::NoSuchKey(Arc::new(super::value::show(&index)));
                key_of(&index).and_then(|key| map.map.get(&key).cloned()).ok_or_else(missing)
            }
            _ => Err(ExecutionError::UnexpectedType {
                got: key.get_type().name().to_owned(),
                want: "int".into(),
            }),
        }
    }
}

fn key_of(value: &Value) -> Option<Key> {
    Some(match value {
        Value::Int(i) => Key::Int(*i),
        Value::UInt(u) => Key::Uint(*u),
        Value::Bool(b) => Key::Bool(*b),
        Value::String(s) => Key::String(s.clone()),
        _ => return None,
    })
}

fn value_of(key: &Key) -> Value {
    match key {
        Key::Int(i) => Value::Int(*i),
        Key::Uint(u) => Value::UInt(*u),
        Key::Bool(b) => Value::Bool(*b),
        Key::String(s) => Value::String(s.clone()),
    }
}

impl Val for Shared {
    fn get_type(&self) -> &Type {
        if matches!(self.value, Value::List(_)) { &LIST_TYPE } else { &MAP_TYPE }
    }
    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }
    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        matches!(self.value, Value::List(_)).then_some(self as &(dyn Adder + 'v))
    }
    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }
    fn equals(&self, other: &dyn Val) -> bool {
        unwrap(other).is_ok_and(|other| other == self.value)
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        wrap(self.value.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}
impl StaticVal for Shared {}

impl Indexer for Shared {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        // A field of a map is by far the most frequent question.
        if let (Value::Map(map), Some(name)) = (&self.value, key.downcast_ref::<CelString<'_>>()) {
            let found = map.get(&KeyRef::String(name.inner()));
            let missing = || ExecutionError::NoSuchKey(Arc::new(name.inner().to_string()));
            return found.cloned().map(|v| CowVal::Owned(wrap(v))).ok_or_else(missing);
        }
        self.element(key).map(|value| CowVal::Owned(wrap(value)))
    }
    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.element(key).map(|value| wrap(value) as Box<dyn Val + 'v>)
    }
}

impl Container for Shared {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        let wanted = unwrap(value)?;
        Ok(match &self.value {
            Value::List(list) => list.contains(&wanted),
            Value::Map(map) => key_of(&wanted).is_some_and(|key| map.map.contains_key(&key)),
            _ => false,
        })
    }
}

impl Sizer for Shared {
    fn size(&self) -> CelInt {
        let size = match &self.value {
            Value::List(list) => list.len(),
            Value::Map(map) => map.map.len(),
            _ => 0,
        };
        CelInt::from(size as i64)
    }
}

impl Adder for Shared {
    fn add<'b, 'v>(&'b self, rhs: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let unsupported = || ExecutionError::function_error("_+_", "the right side is no list");
        let mut more = rhs.as_iterable().ok_or_else(unsupported)?.iter();
        let mut all: Vec<Box<dyn Val + 'v>> = self.items().iter().map(|item| item.clone_as_boxed()).collect();
        while let Some(item) = more.next() {
            all.push(item.clone_as_boxed());
        }
        Ok(CowVal::owned(CelList::from(all)))
    }
}

impl Iterable for Shared {
    fn iter<'b, 'v>(&'b self) -> Box<dyn ValIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Items(self.items().iter()))
    }
}

struct Items<'b>(std::slice::Iter<'b, Box<dyn Val>>);

impl<'b, 'v> ValIterator<'b, 'v> for Items<'b> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|item| item.as_ref() as &'b (dyn Val + 'v))
    }
}
