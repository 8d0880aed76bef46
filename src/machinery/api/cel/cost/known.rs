//! What the estimate knows of a value before the expression runs: which parts of the object it may
//! be, or how heavy it is at most.

use super::{PLACE, TEXT, TURN, VALUE};
use serde_json::Value as Json;
use std::rc::Rc;

/// How heavy a value is at most, with everything in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight {
    /// The values: itself, and those in it. The names in a map count, too.
    pub values: f64,
    /// The bytes of all texts.
    pub bytes: f64,
}

impl Weight {
    /// A number or a truth value.
    pub(super) const ONE: Weight = Weight { values: 1.0, bytes: 0.0 };
    /// Nothing.
    pub(super) const NONE: Weight = Weight { values: 0.0, bytes: 0.0 };

    /// Returns the weight of a text of so many bytes.
    pub(super) fn text(bytes: f64) -> Weight {
        Weight { values: 1.0, bytes }
    }

    /// Returns the weight of two values together.
    pub(super) fn and(self, other: Weight) -> Weight {
        Weight { values: self.values + other.values, bytes: self.bytes + other.bytes }
    }

    /// Returns the weight of a value that is either of two.
    pub(super) fn or(self, other: Weight) -> Weight {
        Weight { values: self.values.max(other.values), bytes: self.bytes.max(other.bytes) }
    }

    /// Returns the weight that a loop of `turns` adds to, which makes this one into `grown` in its
    /// first.
    pub(super) fn after(self, turns: f64, grown: Weight) -> Weight {
        let after = |before: f64, grown: f64| before + turns * (grown - before).max(0.0);
        Weight { values: after(self.values, grown.values), bytes: after(self.bytes, grown.bytes) }
    }

    /// Returns the values and bytes together: how often a reader of everything looks.
    pub(super) fn total(self) -> f64 {
        self.values + self.bytes
    }

    /// Returns the steps of keeping the values in a list or map: each takes memory of its own. A
    /// value by itself is free; whatever makes it has its price.
    pub(super) fn kept(self) -> f64 {
        (self.values - 1.0).max(0.0) * VALUE
    }

    /// Returns the steps of a copy.
    pub(super) fn copied(self) -> f64 {
        self.kept() + self.total() * TEXT
    }

    /// Returns the steps of copying the items of a list one after the other: each copy is given
    /// back at the end of its turn.
    pub(super) fn in_turns(self) -> f64 {
        self.values * TURN + self.bytes * PLACE
    }

    /// Returns the steps of looking for this in a map. The bytes of a text are hashed, and the
    /// error of a key that is missing, or that can be none, has a copy of it.
    pub(super) fn looked_up(self) -> f64 {
        self.kept() + self.bytes * PLACE
    }
}

/// Returns the weight of a value of JSON. Adds the number of values that it looks at to `work`.
pub(super) fn weight(value: &Json, work: &mut f64) -> Weight {
    *work += 1.0;
    match value {
        Json::String(text) => Weight::text(text.len() as f64),
        Json::Array(items) => items.iter().fold(Weight::ONE, |sum, item| sum.and(weight(item, work))),
        Json::Object(fields) => fields.iter().fold(Weight::ONE, |sum, (name, field)| {
            sum.and(Weight::text(name.len() as f64)).and(weight(field, work))
        }),
        _ => Weight::ONE,
    }
}

/// What the estimate knows of a value.
#[derive(Clone)]
pub(super) struct Known<'a> {
    pub what: What<'a>,
    /// The value may be an optional, or have one in it. The evaluator copies a field or an item of
    /// an optional, where it only looks at one of a map or list.
    pub optional: bool,
    /// The value is none, but its fields may be: the variables of a policy.
    pub has_optionals: bool,
}

#[derive(Clone)]
pub(super) enum What<'a> {
    /// The value is one of these parts of the object.
    Parts(Rc<Vec<&'a Json>>),
    /// The value is no heavier than the first, and none of its items than the second.
    Size(Weight, Weight),
}

impl<'a> Known<'a> {
    pub(super) const ONE: Known<'static> =
        Known { what: What::Size(Weight::ONE, Weight::ONE), optional: false, has_optionals: false };

    pub(super) fn parts(parts: Vec<&'a Json>) -> Known<'a> {
        Known { what: What::Parts(Rc::new(parts)), optional: false, has_optionals: false }
    }

    /// `whole`: the weight of the value, and of all that is known of its items.
    pub(super) fn size(whole: Weight) -> Known<'a> {
        Known::list(whole, whole)
    }

    /// `item`: the weight of the heaviest item.
    pub(super) fn list(whole: Weight, item: Weight) -> Known<'a> {
        Known { what: What::Size(whole, item), optional: false, has_optionals: false }
    }

    pub(super) fn text(bytes: f64) -> Known<'a> {
        Known::size(Weight::text(bytes))
    }

    /// Returns the same value, which may be an optional if `optional`.
    pub(super) fn or_optional(self, optional: bool) -> Known<'a> {
        Known { optional: self.optional || optional, ..self }
    }

    /// Returns whether what is read of the value may be an optional.
    pub(super) fn gives_optionals(&self) -> bool {
        self.optional || self.has_optionals
    }

    /// Returns the bytes of the longest text that the value may be: `size` counts the characters of
    /// a text one by one, and reads the length of a list.
    pub(super) fn counted(&self) -> f64 {
        match &self.what {
            What::Size(whole, _) => whole.bytes,
            What::Parts(parts) => {
                parts.iter().filter_map(|part| part.as_str()).map(str::len).max().unwrap_or(0) as f64
            }
        }
    }

    /// Returns whether the value may be a list.
    pub(super) fn may_be_list(&self) -> bool {
        match &self.what {
            What::Size(..) => true,
            What::Parts(parts) => parts.iter().any(|part| part.is_array()),
        }
    }

    /// Returns whether the value may be a number with a fraction.
    pub(super) fn may_be_fraction(&self) -> bool {
        match &self.what {
            What::Size(..) => true,
            What::Parts(parts) => parts.iter().any(|part| part.is_f64()),
        }
    }
}
