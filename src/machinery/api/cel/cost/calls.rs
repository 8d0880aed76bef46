//! The steps of functions and operators, and what is known of their results.

use super::super::environment::is_library;
use super::super::functions::{MATCHES, PLACES_MAX, takes_pattern};
use super::known::{Known, Weight, What};
use super::{CALL_MAX, CALL_SCOPES, PLACE, REASON_MAX, SCOPE, Scope, TEXT, VALUE};
use crate::bounds::live_places;
use cel::common::ast::{CallExpr, Expr as Node, LiteralValue};

/// A text grows so many times in quotes, which need a backslash before each quote in it, and by
/// `%x`, which writes two digits for a byte.
const DOUBLE: f64 = 2.0;
/// Bytes of a value that is no text, in the text of `format`: `%.100f` writes 309 digits of the
/// largest numbers before the point, and 100 after it.
const DIGITS: f64 = 411.0;
/// Steps of compiling a pattern that is not written in the rule: it may be another one for every
/// item of a list.
const PATTERN: f64 = 2_000.0;

/// Times that matching one letter of a pattern takes as long as reading the text alone, by
/// upstream's estimate.
const LETTER: f64 = 0.25;
/// Times that matching one place of a repetition takes as long as that: 5 ns for each byte of the
/// text.
const REPEATED: f64 = 0.5;

/// The arguments of a call.
struct Arguments<'a> {
    nodes: Vec<&'a Node>,
    values: Vec<Known<'a>>,
    weights: Vec<Weight>,
}

impl<'a> Arguments<'a> {
    fn weight(&self, index: usize) -> Weight {
        self.weights.get(index).copied().unwrap_or(Weight::NONE)
    }

    /// Returns the weight of all arguments together.
    fn total(&self) -> Weight {
        self.weights.iter().copied().fold(Weight::NONE, Weight::and)
    }

    /// Returns the steps of the values of lists and maps, if all arguments are copied.
    fn kept(&self) -> f64 {
        self.weights.iter().map(|weight| weight.kept()).sum()
    }

    /// Returns the steps of a copy of all arguments.
    fn copied(&self) -> f64 {
        self.weights.iter().map(|weight| weight.copied()).sum()
    }

    /// Returns what is known of an argument.
    fn value(&self, index: usize) -> Known<'a> {
        self.values.get(index).cloned().unwrap_or(Known::ONE)
    }

    /// Returns the places of the pattern among the arguments that matching may look at for each
    /// byte of a text. Upstream counts a repetition as the letters in which it is written.
    fn places(&self) -> f64 {
        match self.nodes.get(1) {
            Some(Node::Literal(LiteralValue::String(pattern))) => live_places(pattern.inner()) as f64,
            _ => PLACES_MAX as f64,
        }
    }

    /// Returns what is known of the last argument.
    fn last(&self) -> Known<'a> {
        self.values.last().cloned().unwrap_or(Known::ONE)
    }
}

impl<'a> Scope<'a> {
    /// Returns the steps of a call, with those of its arguments, and what is known of its value.
    pub(super) fn call(&mut self, call: &'a CallExpr) -> (f64, Known<'a>) {
        if let ("_?._", [operand, field]) = (call.func_name.as_str(), call.args.as_slice())
            && let Node::Literal(LiteralValue::String(name)) = &field.expr
        {
            let (cost, operand) = self.node(&operand.expr);
            let key = name.inner().len() as f64 * PLACE;
            let field = self.field(operand, name.inner());
            return (cost + 2.0 + key + self.weight(&field).copied(), field.or_optional(true));
        }
        // `lists.range(3)`: the name of a library is no value.
        let is_value = |target: &&'a Node| {
            !matches!(target, Node::Ident(name)
                if is_library(name) && !self.names.iter().any(|(n, _)| n == name))
        };
        let target = call.target.iter().map(|t| &t.expr).filter(is_value);
        let nodes: Vec<&Node> = target.chain(call.args.iter().map(|a| &a.expr)).collect();
        let (mut cost, mut values) = (1.0 + self.loops * SCOPE * CALL_SCOPES, vec![]);
        for &node in &nodes {
            let (steps, value) = self.node(node);
            cost += steps;
            values.push(value);
        }
        let weights = values.iter().map(|value| self.weight(value)).collect();
        let optional = values.iter().any(|value| value.gives_optionals());
        let (own, value) = self.result(&call.func_name, Arguments { nodes, values, weights });
        let pattern = call.args.get(usize::from(call.target.is_none()));
        let written = pattern.is_some_and(|a| matches!(a.expr, Node::Literal(_)));
        let compiles = takes_pattern(&call.func_name) && !written;
        (cost + own + if compiles { PATTERN } else { 0.0 }, value.or_optional(optional))
    }

    /// Returns the steps of a function beside those of its arguments, and what is known of its
    /// result.
    fn result(&mut self, name: &str, call: Arguments<'a>) -> (f64, Known<'a>) {
        let (first, second, total) = (call.weight(0), call.weight(1), call.total());
        match name.rsplit('.').next().unwrap_or(name) {
            "_?_:_" => {
                let (a, b) = (call.value(1), call.value(2));
                (0.0, self.larger(a, b))
            }
            "or" | "orValue" => {
                let (a, b) = (call.value(0), call.value(1));
                (0.0, self.larger(a, b))
            }
            // Functions of Kubernetes get copies of their arguments.
            "first" | "last" => {
                let items = self.members(call.value(0)).1;
                (call.copied(), items.or_optional(true))
            }
            "_[_]" => self.item(call, false),
            "_[?_]" => self.item(call, true),
            // What an optional holds, and what is only called another type.
            "value" | "dyn" => (0.0, call.last()),
            "of" | "ofNonZeroValue" => (call.copied(), call.last().or_optional(true)),
            "size" => (call.value(0).counted() * PLACE, Known::ONE),
            "has" | "hasValue" | "_&&_" | "_||_" | "!_" | "@not_strictly_false" | "type" => (0.0, Known::ONE),
            "_==_" | "_!=_" | "startsWith" | "endsWith" => {
                (first.total().min(second.total()) * TEXT, Known::ONE)
            }
            // The error of values that have no order has a copy of both.
            "_<_" | "_<=_" | "_>_" | "_>=_" => (call.copied(), Known::ONE),
            "_+_" => {
                let item = self.heaviest_item(&call.value(0)).or(self.heaviest_item(&call.value(1)));
                (call.copied(), Known::list(total, item))
            }
            // The error of a key that no map can have has a copy of it.
            "@in" | "contains" => {
                (first.kept() + total.total() * TEXT + self.length(&call.last()), Known::ONE)
            }
            "indexOf" | "lastIndexOf" => {
                let own = match self.items(&call.value(0)) {
                    Some(items) => items,
                    None => first.total() * second.total() * PLACE,
                };
                (total.total() * TEXT + own, Known::ONE)
            }
            // Each item is compared with all others before it.
            "distinct" => {
                let items = self.length(&call.value(0));
                (first.kept() + items * first.total() * TEXT / 2.0, call.value(0))
            }
            "sort" | "sortBy" | "isSorted" => {
                (first.kept() + first.total() * first.total().max(2.0).log2(), call.value(0))
            }
            "split" => {
                let (pieces, longest) = self.pieces(&call);
                let steps = first.total() * TEXT + pieces.kept();
                (steps, Known::list(pieces, Weight::text(longest)))
            }
            name => of_text(name, &call),
        }
    }

    /// Returns the weight of the list that `split` makes, and the bytes of its longest item. Of a
    /// text of the object at a separator that is written they are counted: each of ten thousand
    /// lines would be as long as all of them together.
    fn pieces(&mut self, call: &Arguments<'a>) -> (Weight, f64) {
        let whole = call.weight(0).bytes;
        // An item for each byte.
        let most = (Weight { values: whole + 2.0, bytes: whole }, whole);
        let (What::Parts(parts), Some(Node::Literal(LiteralValue::String(separator)))) =
            (call.value(0).what, call.nodes.get(1))
        else {
            return most;
        };
        if separator.inner().is_empty() {
            return most;
        }
        let (mut items, mut longest) = (1.0_f64, 0);
        for text in parts.iter().filter_map(|part| part.as_str()) {
            self.work += 1.0 + text.len() as f64 * TEXT;
            let mut count = 0_u32;
            for piece in text.split(separator.inner()) {
                (count, longest) = (count + 1, longest.max(piece.len()));
            }
            items = items.max(f64::from(count));
        }
        // With a limit the last item has all that is left.
        let longest = if call.nodes.len() > 2 { whole } else { longest as f64 };
        (Weight { values: items + 1.0, bytes: whole }, longest)
    }

    /// Returns the steps of reading an item of a list or map by its index, and what is known of it.
    /// `copies`: the result is an optional, which holds a copy.
    fn item(&mut self, call: Arguments<'a>, copies: bool) -> (f64, Known<'a>) {
        let (operand, index) = (call.value(0), call.value(1));
        let is_written = matches!(call.nodes.get(1), Some(Node::Literal(literal))
            if !matches!(literal, LiteralValue::Double(_)));
        // The error of an index with a fraction has a copy of the list.
        let error = if !is_written && index.may_be_fraction() && operand.may_be_list() {
            call.weight(0).kept()
        } else {
            0.0
        };
        let copies = copies || operand.optional;
        let item = self.members(operand).1;
        let copied = if copies { self.weight(&item).copied() } else { 0.0 };
        (error + call.weight(1).looked_up() + copied, item.or_optional(copies))
    }
}

/// Returns the steps of a function that is about texts, or that reads its arguments once, and what
/// is known of its result.
fn of_text<'a>(name: &str, call: &Arguments<'a>) -> (f64, Known<'a>) {
    let (first, second, total) = (call.weight(0), call.weight(1), call.total());
    // Functions of Kubernetes get copies of their arguments. Time grows with the text and with the
    // pattern.
    let matched = || {
        let places = (second.bytes * LETTER).max(call.places() * REPEATED).max(1.0);
        call.kept() + first.total() * TEXT * places
    };
    // A list with an item for each byte of the text.
    let pieces = Weight { values: first.bytes + 2.0, bytes: first.bytes };
    match name {
        MATCHES => (matched(), Known::ONE),
        "find" => (matched(), Known::text(first.bytes)),
        // Behind each match the search begins anew, and may come to the end of the text again.
        "findAll" => {
            let all = matched() * (1.0 + first.bytes * TEXT);
            (all + pieces.kept(), Known::list(pieces, Weight::text(first.bytes)))
        }
        "replace" => {
            let bytes = first.bytes + (first.bytes + 1.0) * call.weight(2).bytes;
            ((bytes + first.total()) * TEXT, Known::text(bytes))
        }
        "quote" => (total.total() * DOUBLE * TEXT, Known::text(total.total() * DOUBLE + 64.0)),
        "format" => {
            // Two of the values are the text with the places, and the list.
            let bytes = total.bytes * DOUBLE + (total.values - 2.0).max(1.0) * DIGITS;
            (total.total() * DOUBLE * TEXT + bytes * PLACE, Known::text(bytes))
        }
        "join" => {
            let bytes = first.bytes + first.values * second.bytes;
            ((first.total() + bytes) * TEXT, Known::text(bytes))
        }
        // Of a decision about a right.
        "reason" | "error" => (0.0, Known::text(REASON_MAX as f64)),
        "range" => {
            // A negative one is no range, and gives back no steps.
            let size = call.nodes.last().and_then(|node| whole(node)).unwrap_or(CALL_MAX).max(0.0);
            (size * VALUE, Known::list(Weight { values: size + 1.0, bytes: 0.0 }, Weight::ONE))
        }
        // What the others give has no more values than one of their arguments, and no more text
        // than all of them, with a few digits more.
        _ => {
            let values = call.weights.iter().map(|weight| weight.values).fold(1.0, f64::max);
            (call.copied(), Known::size(Weight { values, bytes: total.total() + 64.0 }))
        }
    }
}

/// Returns the whole number that an expression consists of.
fn whole(node: &Node) -> Option<f64> {
    match node {
        Node::Literal(LiteralValue::Int(n)) => Some(*n.inner() as f64),
        _ => None,
    }
}
