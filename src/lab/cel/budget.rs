//! The limit of one evaluation. The evaluator has no brake, and a pack of lessons may have an
//! expression such as `objects('Pod','*').all(a, objects('Pod','*').all(b, …))` that would run for
//! hours. The compiler puts a [`Tick`] into every turn of a loop and a [`Weigh`] around what is
//! copied into a list or a text; both charge the [`Budget`]. Once it is spent, every further turn
//! fails at once, and the evaluation has no value.
//!
//! Worked example: 200 pods are compared each with each and with each. That is 8 000 000 turns.
//! After [`STEPS_MAX`] of them the next turn fails, the three loops end, and [`Budget::stopped`]
//! says why.

use super::language::{TICK, WEIGH};
use super::shared::{unwrap, wrap};
use cel::common::traits::Indexer;
use cel::common::types::{CelBool, CelBytes, CelList, CelMap, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{ExecutionError, Value};
use nix::sys::resource::{UsageWho, getrusage};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Steps of one evaluation: turns of loops, and [`BYTES_OF_STEP`] bytes that are copied count as
/// one. As many as the API server allows one rule of a definition (`PerCallLimit`).
pub(super) const STEPS_MAX: u64 = 1_000_000;
/// Processor time of one evaluation. Some functions read everything that is known, so a step may be
/// long.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Steps between two looks at the clock: few, because one may compare two values of
/// [`WHOLE_MAX`].
const LOOK: u64 = 8;
const BYTES_OF_STEP: u64 = 64;
/// Steps that all of one value may be worth: 2 000 000 numbers, or 128 MB of texts. Comparing two
/// such values is one step, and takes some tenths of a second.
const WHOLE_MAX: u64 = 2_000_000;

/// Begins the error of an evaluation that was stopped.
pub(crate) const STOPPED: &str = "stopped after";

/// What an evaluation may still use. It runs on one thread.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    /// Processor time, in microseconds, of the thread that evaluates, at the beginning.
    began: AtomicU64,
    /// 0: it goes on. Otherwise the number of steps or, with [`BY_TIME`], the time was too much.
    spent: AtomicU64,
    steps: u64,
}

const BY_STEPS: u64 = 1;
const BY_TIME: u64 = 2;

/// Returns the processor time that this thread has used. Zero if the kernel does not tell.
fn thread_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Duration::ZERO };
    let micros = |time: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        Duration::from_secs(seconds)
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
    };
    micros(usage.user_time()) + micros(usage.system_time())
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::of(STEPS_MAX)
    }
}

impl Budget {
    /// A budget of so many steps, and of [`TIME_MAX`] of the processor; the time counts from now
    /// on.
    pub(crate) fn of(steps: u64) -> Budget {
        let budget =
            Budget { used: AtomicU64::new(0), began: AtomicU64::new(0), spent: AtomicU64::new(0), steps };
        budget.begin();
        budget
    }

    /// From here on this thread evaluates, and its processor time counts.
    pub(crate) fn begin(&self) {
        self.began.store(thread_time().as_micros() as u64, Ordering::Relaxed);
    }

    fn time(&self) -> Duration {
        thread_time().saturating_sub(Duration::from_micros(self.began.load(Ordering::Relaxed)))
    }

    /// Takes steps from the budget; false once it is spent.
    pub(crate) fn charge(&self, steps: u64) -> bool {
        if self.is_spent() {
            return false;
        }
        let before = self.used.fetch_add(steps, Ordering::Relaxed);
        let used = before.saturating_add(steps);
        if used > self.steps {
            self.spent.store(BY_STEPS, Ordering::Relaxed);
        } else if before / LOOK != used / LOOK && self.time() > TIME_MAX {
            self.spent.store(BY_TIME, Ordering::Relaxed);
        }
        !self.is_spent()
    }

    /// Uses up what is left.
    fn spend(&self) {
        self.spent.store(BY_STEPS, Ordering::Relaxed);
    }

    /// True once steps or time are used up. It stays so.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed) != 0
    }

    /// Says why an evaluation was stopped, for authors of lessons. `None`: it was not.
    pub(crate) fn stopped(&self) -> Option<String> {
        let why = match self.spent.load(Ordering::Relaxed) {
            0 => return None,
            BY_TIME => format!("{} s of processor time", TIME_MAX.as_secs()),
            _ => format!("{} steps", self.steps),
        };
        Some(format!("{STOPPED} {why}: the expression looks at too much"))
    }
}

/// Bytes that a copy of a value takes, about. A value that is shared is not copied.
fn bytes(value: &dyn Val) -> u64 {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return text.inner().len() as u64;
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return bytes.inner().len() as u64;
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return list.inner().iter().map(|item| 16 + bytes(item.as_ref())).sum();
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        return map.inner().iter().map(|(key, item)| 48 + bytes(key.inner()) + bytes(item.as_ref())).sum();
    }
    8
}

/// Steps that a copy of a value costs, apart from the one for its turn.
pub(super) fn steps_of(value: &dyn Val) -> u64 {
    bytes(value) / BYTES_OF_STEP
}

/// Takes what a value has in all from `left`: a step for each of its parts, and their texts. What
/// is shared counts wherever it stands, because a comparison and a sentence meet it there each
/// time. Returns false once nothing is left.
///
/// Example: `[x, x]` of `[y, y]` of `[z, z]` takes the room of three lists, and has eight times z.
fn takes(value: &Value, left: &mut u64) -> bool {
    let own = match value {
        Value::String(text) => 1 + text.len() as u64 / BYTES_OF_STEP,
        Value::Bytes(bytes) => 1 + bytes.len() as u64 / BYTES_OF_STEP,
        _ => 1,
    };
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value {
        Value::List(items) => items.iter().all(|item| takes(item, left)),
        Value::Map(map) => map.map.values().all(|item| takes(item, left)),
        _ => true,
    }
}

fn spent() -> ExecutionError {
    ExecutionError::function_error("limit", "the evaluation was stopped")
}

static LIMIT: Type = Type::new_unspecified_type("limit");

/// `TICK[x]` is true, and an error once the budget is spent. It charges one step and a copy of `x`.
#[derive(Clone, Debug)]
pub(super) struct Tick(pub Arc<Budget>);

/// `WEIGH[x]` is `x`. It charges a copy of it, and spends the budget if all that is in it, what is
/// shared included, is more than [`WHOLE_MAX`].
#[derive(Clone, Debug)]
pub(super) struct Weigh(pub Arc<Budget>);

macro_rules! as_value {
    ($name:ident) => {
        impl Val for $name {
            fn get_type(&self) -> &Type {
                &LIMIT
            }
            fn cel_type() -> &'static Type {
                &LIMIT
            }
            fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
            where
                Self: 'v,
            {
                Some(self)
            }
            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
            where
                Self: 'v,
            {
                Box::new(self.clone())
            }
            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }
        impl StaticVal for $name {}
    };
}
as_value!(Tick);
as_value!(Weigh);

impl Indexer for Tick {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let goes_on = self.0.charge(1 + steps_of(key));
        if goes_on { Ok(CowVal::owned(CelBool::from(true))) } else { Err(spent()) }
    }
    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(self.get(key)?.into_owned())
    }
}

impl Indexer for Weigh {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        if !self.0.charge(steps_of(key)) {
            return Err(spent());
        }
        // A value of the program's own is shared; others become owned ones.
        let value = unwrap(key)?;
        let mut room = WHOLE_MAX;
        if !takes(&value, &mut room) {
            self.0.spend();
            return Err(spent());
        }
        Ok(CowVal::Owned(wrap(value)))
    }
    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(self.get(key)?.into_owned())
    }
}

/// Makes the limit known to an evaluation.
pub(super) fn declare(context: &mut cel::Context<'_, '_>, budget: &Arc<Budget>) {
    context.add_variable_as_val(TICK, Box::new(Tick(budget.clone())));
    context.add_variable_as_val(WEIGH, Box::new(Weigh(budget.clone())));
}

#[cfg(test)]
mod tests {
    use super::super::facts::Object;
    use super::super::{Expr, Facts, Meaning, Use, value};
    use super::*;
    use serde_json::json;

    fn facts(pods: usize) -> Arc<Facts> {
        let mut facts = Facts::default();
        let all = facts.objects.entry("pods".into()).or_default();
        for n in 0..pods {
            let name = format!("web-{n}");
            let pod = json!({"metadata": {"namespace": "d", "name": name}});
            Arc::make_mut(all).insert(("d".into(), name), Object::new(pod));
        }
        facts.trace = Arc::new(vec![value::map([("code", Value::Int(200))])]);
        Arc::new(facts)
    }

    fn check(source: &str) -> Expr {
        Expr::compile(source, Use::Check, &[("text", Meaning::default())]).unwrap()
    }

    fn is_stopped(value: &Result<Value, String>) -> bool {
        value.as_ref().is_err_and(|error| error.starts_with(STOPPED))
    }

    const EACH_WITH_EACH: &str = "objects('Pod','*').all(a, objects('Pod','*').all(b, \
        objects('Pod','*').all(c, a.metadata.name + b.metadata.name + c.metadata.name != '')))";

    #[test]
    fn an_expression_that_would_run_for_hours_ends() {
        let many = facts(1_000);
        let slow = check(EACH_WITH_EACH);
        assert!(is_stopped(&slow.value(&many, &[])));
        assert_eq!(many.memo.stopped().len(), 1);
        assert_eq!((slow.truth(&many), slow.holds(&many)), (None, false));
        assert!(check("size(objects('Pod','*')) == 1000").holds(&many), "others are evaluated all the same");
        // Where there are few pods it has a value.
        assert!(slow.holds(&facts(5)));
    }

    /// The error of a turn must not be taken for a verdict, as `error || true` would be.
    #[test]
    fn what_comes_out_of_a_stopped_evaluation_is_no_value() {
        let many = facts(1_000);
        for source in [
            format!("{EACH_WITH_EACH} || true"),
            format!("!({EACH_WITH_EACH}) && false"),
            format!("[1, 2].exists(x, x == 2 || {EACH_WITH_EACH})"),
        ] {
            assert!(is_stopped(&check(&source).value(&many, &[])), "{source}");
        }
    }

    /// The tests of a single record run before the whole expression does.
    #[test]
    fn the_tests_of_new_records_have_the_same_limit() {
        let list = format!("[{}]", vec!["1"; 150].join(","));
        let source =
            format!("trace.exists(t, {list}.all(a, {list}.all(b, {list}.all(c, a + b + c != t.code))))");
        let facts = facts(0);
        for _ in 0..2 {
            assert!(is_stopped(&check(&source).value(&facts, &[])));
            assert!(!check(&source).holds(&facts));
        }
    }

    /// Each level doubles the text.
    #[test]
    fn a_text_that_doubles_ends() {
        let text = value::text(&"x".repeat(8_192));
        let nested = |levels: usize| {
            let within = (0..levels).rev().fold(format!("size(x{levels})"), |within, n| {
                format!("[x{n} + x{n}].map(x{}, {within})[0]", n + 1)
            });
            format!("[text].map(x0, {within})[0]")
        };
        let value = |levels| check(&nested(levels)).value(&facts(0), &[("text", text.clone())]);
        assert_eq!(value(4), Ok(Value::Int(8_192 << 4)));
        assert!(is_stopped(&value(15)), "256 MiB");
        let listed = |levels: usize| {
            let within = (0..levels).rev().fold(format!("size(x{levels})"), |within, n| {
                format!("[[x{n}, x{n}]].map(x{}, {within})[0]", n + 1)
            });
            check(&format!("[text].map(x0, {within})[0]")).value(&facts(0), &[("text", text.clone())])
        };
        assert_eq!(listed(4), Ok(Value::Int(2)));
        assert_eq!(listed(13), Ok(Value::Int(2)), "what is shared is not copied");
        assert!(is_stopped(&listed(18)), "a comparison meets it 260 000 times");
    }

    /// Of four parts that are the same one, fourteen times within each other: 268 million texts.
    #[test]
    fn a_list_that_is_shared_many_times_ends() {
        let nested = |levels: usize, last: &str| {
            let within = (0..levels).rev().fold(last.replace('x', &format!("x{levels}")), |within, n| {
                let four = |side: usize| format!("[{}]", vec![format!("x{n}[{side}]"); 4].join(", "));
                format!("[[{}, {}]].map(x{}, {within})[0]", four(0), four(1), n + 1)
            });
            check(&format!("[[['a'], ['a']]].map(x0, {within})[0]")).value(&facts(0), &[])
        };
        assert_eq!(nested(3, "x[0] == x[1]"), Ok(Value::Bool(true)));
        assert!(is_stopped(&nested(14, "x[0] == x[1]")));
        assert_eq!(nested(2, "fits(x[0], x[1])"), Ok(Value::Bool(true)));
        let told = nested(7, "fits(x[0], x[1])");
        assert!(told.as_ref().is_err_and(|why| why.contains("too much to compare")), "{told:?}");
    }

    /// Each level makes the text longer by a third.
    #[test]
    fn a_text_that_is_encoded_again_and_again_ends() {
        let text = value::text(&"x".repeat(8_192));
        let nested = |levels: usize| {
            let encoded = format!("{}text{}", "base64(".repeat(levels), ")".repeat(levels));
            check(&format!("size({encoded}) > 0")).value(&facts(0), &[("text", text.clone())])
        };
        assert_eq!(nested(4), Ok(Value::Bool(true)));
        assert!(is_stopped(&nested(35)), "190 MiB");
    }

    #[test]
    fn loops_and_lists_mean_what_they_meant() {
        let facts = facts(0);
        for source in [
            "[1, 2, 3].map(x, x * 2) == [2, 4, 6]",
            "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
            "[1, 2, 3].filter(x, x > 1) == [2, 3]",
            "[1, 2, 3].exists_one(x, x > 2) && ![1, 2, 3].exists_one(x, x > 1)",
            "{'a': 1, 'b': 2}.all(k, k in ['a', 'b'])",
            "{'a': ['x'] + ['y']}.a == ['x', 'y'] && 'a' + 'b' == 'ab'",
            "type(1) in [int, string] && [type(1)].exists(t, t == int)",
            "[[1], [2, 3]].map(l, size(l)) == [1, 2] && !has({'a': 1}.b)",
            "[1, 0].exists(x, 1 / x == 1) && [0, 1].exists(x, 1 / x == 1)",
        ] {
            assert_eq!(check(source).value(&facts, &[]), Ok(Value::Bool(true)), "{source}");
        }
        assert!(check("[1, 0].all(x, 1 / x == 1)").value(&facts, &[]).is_err());
    }
}
