//! A compiled expression, and its evaluation.

use super::budget::Budget;
use super::compile::{Compiled, compile, fresh_id};
use super::define::{Defines, expand};
use super::error::Error;
use super::facts::{self, Facts};
use super::functions::{self, Asks};
use super::language::{BEAT_FUNCTIONS, Named, STDLIB, TYPES, Use, list_name, standard};
use super::reads::Read;
use super::seen::Seen;
use super::words::{Meaning, near_name};
use super::{change, past, shared};
use api::cel::levels;
use api::kinds::Kind;
use cel::{Context, Program, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// No expression of a lesson is longer, in bytes.
const LENGTH_MAX: usize = 4_000;
/// Levels that an expression's text may promise: an upper bound of the nodes inside each other.
const LEVELS_MAX: usize = 250;
/// The parser calls itself for every bracket and every link of a chain, and takes up to 20 kB for
/// each: 100 brackets are more than a task's stack. So does the evaluator, with somewhat more for
/// each loop. (The C library keeps 40 MiB of stacks for the next threads: a larger one would be
/// mapped anew for each expression.)
const STACK: usize = 32 << 20;
/// What stands deeper than this is read and evaluated on a stack of its own. Most checks do not.
const SHALLOW: usize = 16;

/// A compiled expression.
#[derive(Clone)]
pub struct Expr {
    pub(crate) source: String,
    /// Of this process, for what is remembered of it.
    id: u64,
    compiled: Arc<Compiled>,
    /// Kinds that it names.
    pub(crate) kinds: BTreeSet<String>,
    /// Namespaces that it looks into by name: of objects, and of the containers and logs that it
    /// asks for.
    pub(crate) namespaces: BTreeSet<String>,
    /// Objects that it looks at by name: kind, namespace and name; and those of which it asks that
    /// they are not there.
    pub(crate) needed: BTreeSet<Named>,
    pub(crate) absent: BTreeSet<Named>,
    /// Fields that it reads, and texts that stand in it.
    pub(crate) fields: BTreeSet<String>,
    pub(crate) strings: BTreeSet<String>,
    /// Fields that it compares with a text: the field, whether they are to be alike, and the text.
    pub(crate) compared: BTreeSet<(String, bool, String)>,
    /// Defined names that it uses.
    pub(crate) defined: BTreeSet<String>,
    /// Its calls that look at objects.
    reads: Vec<Read>,
    functions: BTreeSet<String>,
    variables: BTreeSet<String>,
    /// It names a kind by a value that is known only when it is evaluated.
    any_kind: bool,
    /// It stays true once it is, as long as nothing of the present is asked for.
    stays_true: bool,
    /// How many nodes stand inside each other.
    levels: usize,
    /// What its value is, for expressions that name it.
    pub(crate) meaning: Meaning,
}

impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expr({:?})", self.source)
    }
}

impl Expr {
    /// Compiles; `bound` are further names that will have values, and what these are.
    ///
    /// # Errors
    /// It is no expression, is too long or too deep, or uses a name that does not exist.
    pub(crate) fn compile(source: &str, place: Use, bound: &[(&str, Meaning)]) -> Result<Expr, Error> {
        Expr::compile_with(source, place, bound, &Defines::default())
    }

    /// Compiles an expression that may use defined names.
    ///
    /// # Errors
    /// As [`Expr::compile`].
    pub(crate) fn compile_with(
        source: &str,
        place: Use,
        bound: &[(&str, Meaning)],
        defines: &Defines,
    ) -> Result<Expr, Error> {
        on_reader(source, || Expr::read(source, place, bound, defines))
    }

    fn read(source: &str, place: Use, bound: &[(&str, Meaning)], defines: &Defines) -> Result<Expr, Error> {
        let program = Program::compile(source).map_err(|errors| Error::of_parser(&errors))?;
        let mut expression = program.expression().clone();
        let defined = expand(&mut expression, defines)?;
        let mut seen = Seen::new(bound);
        seen.walk(&expression.expr)?;
        let meaning = seen.meaning(&expression.expr);
        for name in &seen.functions {
            let ours =
                functions::TABLE.iter().any(|f| f.name == name) || BEAT_FUNCTIONS.contains(&name.as_str());
            // Operators are functions with names that an author cannot write: `_+_`, `!_`, `@in`.
            let operator = !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            if !ours && !operator && !standard().any(|known| known == name) {
                return Err(Error::Unknown { name: name.clone(), near: near_name(name) });
            }
        }
        for name in &seen.variables {
            match name.as_str() {
                "typed" if place == Use::Check => return Err(Error::HintsOnly("typed")),
                known if facts::VARIABLES.contains(&known) => {}
                known if TYPES.contains(&known) || bound.iter().any(|(name, _)| *name == known) => {}
                _ => return Err(Error::Unknown { name: name.clone(), near: near_name(name) }),
            }
        }
        for kind in &seen.kinds {
            facts::kind(kind).ok_or_else(|| Error::Kind(kind.clone()))?;
        }
        let Seen {
            functions,
            variables,
            kinds,
            namespaces,
            needed,
            absent,
            fields,
            strings,
            compared,
            reads,
            any_kind,
            deepest,
            ..
        } = seen;
        let compiled = Arc::new(compile(&expression, bound));
        let (id, source) = (fresh_id(), source.into());
        Ok(Expr {
            source,
            id,
            compiled,
            kinds,
            namespaces,
            needed,
            absent,
            fields,
            strings,
            compared,
            defined,
            reads,
            functions,
            variables,
            any_kind,
            stays_true: past::stays_true(&expression.expr),
            levels: deepest,
            meaning,
        })
    }

    /// Has to be true now: it asks for the present, or for a past of which the next act may make
    /// something else.
    pub(crate) fn is_level(&self) -> bool {
        self.is_about_the_present() || !self.stays_true
    }

    /// Asks for what has happened alone, and not for what is true now.
    pub(crate) fn is_about_the_past(&self) -> bool {
        !self.is_about_the_present()
    }

    /// Asks for what is true now (and not only for what has happened).
    fn is_about_the_present(&self) -> bool {
        let history = self.functions.contains("history")
            || self.functions.contains("events")
            || self.functions.contains("requests")
            || self.asks(&[Asks::Trace])
            || self.variables.contains("ran")
            || self.variables.contains("trace");
        !history || self.asks(&[Asks::Now, Asks::Network]) || self.variables.contains("now")
    }

    /// Needs answers from the network.
    pub(crate) fn is_probe(&self) -> bool {
        self.asks(&[Asks::Network])
    }

    /// Needs one answer of the network, that of `http`, and is true if a connection fails.
    pub(crate) fn expects_refusal(&self) -> bool {
        let of_network = functions::TABLE.iter().filter(|f| f.asks == Asks::Network);
        let is_http_alone = of_network.map(|f| f.name).all(|name| name == "http" || !self.calls(name));
        let of_failures = ["refused", "timed_out", "no_such_host"];
        is_http_alone && self.calls("http") && of_failures.iter().any(|function| self.calls(function))
    }

    fn asks(&self, what: &[Asks]) -> bool {
        let of_them = functions::TABLE.iter().filter(|f| what.contains(&f.asks));
        of_them.map(|f| f.name).any(|name| self.functions.contains(name))
    }

    /// True if it reads this variable, e.g. `trace`.
    pub(crate) fn names(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }

    /// True if it calls this function, e.g. `http`.
    pub(crate) fn calls(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    /// Returns whether the expression compares with what there was when the step began.
    pub(crate) fn reads_beginning(&self) -> bool {
        change::OF_BEGINNING.iter().any(|function| self.calls(function))
    }

    /// Returns whether the expression may look at an object, where these are the values of its lab.
    pub(crate) fn may_look_at(&self, kind: &Kind, object: &serde_json::Value, variant: &Value) -> bool {
        self.reads.iter().any(|read| read.may_be(kind, object, variant))
    }

    /// Evaluates, within the limit of [`super::budget`]. `bound` are the values of further names.
    ///
    /// # Errors
    /// Why it has no value, for people who write lessons.
    pub(crate) fn value(&self, facts: &Arc<Facts>, bound: &[(&str, Value)]) -> Result<Value, String> {
        let budget = Arc::new(Budget::default());
        let lists = self.narrowed(facts, &budget);
        self.value_of(facts, bound, lists, &budget)
    }

    fn narrowed(&self, facts: &Arc<Facts>, budget: &Arc<Budget>) -> Vec<Result<(Value, u64), String>> {
        let narrows = &self.compiled.narrows;
        let lists = || -> Vec<Result<(Value, u64), String>> {
            narrows.iter().map(|n| facts.memo.narrowed(n, facts, budget)).collect()
        };
        let deepest = narrows.iter().map(|n| n.levels).max().unwrap_or_default();
        on_stack(deepest, budget, lists)
            .unwrap_or_else(|why| narrows.iter().map(|_| Err(why.clone())).collect())
    }

    fn value_of(
        &self,
        facts: &Arc<Facts>,
        bound: &[(&str, Value)],
        lists: Vec<Result<(Value, u64), String>>,
        budget: &Arc<Budget>,
    ) -> Result<Value, String> {
        let missing = lists.iter().find_map(|list| list.as_ref().err()).cloned();
        let resolve = || self.resolve(facts, bound, lists, budget);
        let value = on_stack(self.levels, budget, resolve).unwrap_or_else(Err);
        let stopped = budget.stopped();
        facts.memo.note_evaluation(facts.frame(), &self.source, stopped.as_deref());
        // What came out of an evaluation that was stopped is no value. One that failed for want of
        // a list says why there is none.
        stopped.map_or(value.map_err(|why| missing.unwrap_or(why)), Err)
    }

    fn resolve(
        &self,
        facts: &Arc<Facts>,
        bound: &[(&str, Value)],
        lists: Vec<Result<(Value, u64), String>>,
        budget: &Arc<Budget>,
    ) -> Result<Value, String> {
        let mut context = Context::with_env(STDLIB.clone());
        functions::declare(&mut context, facts, budget, &self.compiled.functions);
        for (at, list) in lists.into_iter().enumerate() {
            // One that cannot be had is an error where the expression names it.
            if let Ok((list, _)) = list {
                context.add_variable_as_val(list_name(at), shared::wrap(list));
            }
        }
        for name in &self.variables {
            if (name != "trace" || self.compiled.whole_trace)
                && let Some(value) = facts.variable(name)
            {
                context.add_variable_as_val(name.as_str(), shared::wrap(value));
            }
        }
        for (name, value) in bound {
            context.add_variable_as_val(*name, shared::wrap(value.clone()));
        }
        let value = Value::resolve_val(&self.compiled.expr, &context).map_err(|e| e.to_string())?;
        shared::unwrap(value.as_ref()).map_err(|e| e.to_string())
    }

    /// Returns whether the expression is true. An error is not.
    pub(crate) fn holds(&self, facts: &Arc<Facts>) -> bool {
        self.truth(facts) == Some(true)
    }

    /// Returns whether the expression is true; `None`: its evaluation fails. It is evaluated only
    /// if something that it reads has changed since it last was.
    pub(crate) fn truth(&self, facts: &Arc<Facts>) -> Option<bool> {
        facts.ask_anew();
        let budget = Arc::new(Budget::default());
        let lists = self.narrowed(facts, &budget);
        let state = self.state(facts, &lists);
        if let Some(state) = &state
            && let Some(truth) = facts.memo.truth(self.id, facts.frame(), state)
        {
            return truth;
        }
        let value = self.value_of(facts, &[], lists, &budget);
        let truth = value.ok().map(|value| value == Value::Bool(true));
        if let Some(state) = state.filter(|_| !facts.has_asked()) {
            facts.memo.note(self.id, facts.frame(), state, truth);
        }
        truth
    }

    /// True if it is known to be false without any answer of the network: something else that it
    /// asks for is not so. Nothing is asked of the network for that.
    ///
    /// Example: `present("Pod", "d", "a") && exec("d/a", "hostname") == "a"` while there is no pod.
    pub(crate) fn is_false_unasked(&self, facts: &Arc<Facts>) -> bool {
        facts.unasked(|| self.truth(facts)) == Some(Some(false))
    }

    /// The state of everything that it reads; `None` if that may change without notice.
    fn state(&self, facts: &Facts, lists: &[Result<(Value, u64), String>]) -> Option<Vec<u64>> {
        let timeless =
            !self.variables.contains("now") && !self.is_probe() && !self.functions.contains("faults");
        if !timeless || self.any_kind {
            return None;
        }
        let mut state = Vec::new();
        for list in lists {
            state.push(list.as_ref().ok()?.1);
        }
        for kind in &self.kinds {
            state.push(*facts.generations.get(&facts::kind(kind)?.qualified())?);
        }
        // What looks through the trace or a history by itself may see every new record.
        if self.compiled.whole_trace || self.asks(&[Asks::Trace]) {
            state.push(facts.trace_end());
        }
        // Without the objects of the step's beginning, `before` reads the history. Whether a
        // selector fitted an object, `removes` reads there.
        let reads_history = |f: &&str| {
            matches!(*f, "history" | "removes")
                || (change::OF_BEGINNING.contains(f) && facts.before.is_none())
        };
        if self.compiled.functions.iter().any(reads_history) {
            state.push(facts.versions);
        }
        state.push(facts.before.as_ref().map_or(0, |b| b.len() as u64));
        state.push(facts.lost_before.len() as u64);
        state.extend([facts.lines.0, facts.lines.1, facts.answered]);
        Some(state)
    }
}

/// Reads a text on this thread, or on one with a larger stack if the text could nest too deep for
/// this one.
///
/// # Errors
/// The text is too long or too deep, or as of `read`.
fn on_reader<T: Send>(source: &str, read: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    if source.len() > LENGTH_MAX {
        return Err(Error::Syntax(format!(
            "an expression has at most {LENGTH_MAX} bytes, not {}",
            source.len()
        )));
    }
    // From the text: the parser calls itself, also for what is no expression in the end.
    let levels = levels(source).map_err(Error::Syntax)?;
    if levels > LEVELS_MAX {
        return Err(Error::Syntax(format!("more than {LEVELS_MAX} expressions stand inside each other")));
    }
    if levels <= SHALLOW {
        return read();
    }
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("cel".into()).stack_size(STACK);
        let failed = |why: &str| Err(Error::Syntax(format!("it cannot be read: {why}")));
        match reader.spawn_scoped(scope, read) {
            Ok(reader) => reader.join().unwrap_or_else(|_| failed("the parser gave up")),
            Err(error) => failed(&error.to_string()),
        }
    })
}

/// Evaluates on this thread, or on one with a larger stack if `levels` nodes inside each other
/// could overflow this one. Each new thread begins the budget's processor time anew, so the caller
/// must not charge that budget on its own thread afterwards.
///
/// # Errors
/// The thread cannot be started, or the evaluator panicked.
fn on_stack<T: Send>(
    levels: usize,
    budget: &Budget,
    evaluate: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    if levels <= SHALLOW {
        return Ok(evaluate());
    }
    std::thread::scope(|scope| {
        let evaluator = std::thread::Builder::new().name("cel".into()).stack_size(STACK);
        let evaluator = evaluator.spawn_scoped(scope, move || {
            budget.begin();
            evaluate()
        });
        let ended = evaluator.map(|evaluator| evaluator.join());
        ended.map_err(|error| error.to_string())?.map_err(|_| "the evaluator gave up".to_string())
    })
}

impl Defines {
    /// Defines a name. The expression may name what is defined already.
    ///
    /// # Errors
    /// The name is none, or means something else, or the expression does not compile.
    pub(crate) fn add(&mut self, name: &str, source: &str) -> Result<(), Error> {
        let mut chars = name.chars();
        let is_name = chars.next().is_some_and(|c| c.is_ascii_lowercase())
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name {
            return Err(Error::Define {
                name: name.into(),
                why: "write a name of lower-case letters, digits and _",
            });
        }
        if self.has_meaning(name) {
            return Err(Error::Define { name: name.into(), why: "this name has a meaning already" });
        }
        on_reader(source, || {
            Expr::read(source, Use::Check, &[], self)?;
            self.keep(name, source)
        })
    }
}
