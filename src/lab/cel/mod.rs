//! Expressions over the cluster's state: compiled with a lesson, evaluated against [`Facts`].
//!
//! An evaluation reads facts and nothing else, so it can be repeated, and tested without a cluster.
//! It has a limit (`budget`). What is not known yet (a kind that nobody watched so far, an HTTP
//! request that has to be made first) is an error now and is noted in [`Facts::wanted`]; the caller
//! sees to it and evaluates again.

mod acts;
mod budget;
mod change;
mod compare;
mod compile;
pub mod define;
pub mod facts;
mod functions;
pub mod memo;
mod owned;
mod past;
mod reads;
mod seen;
mod shared;
mod shell;
mod shown;
pub mod text;
pub mod value;
pub mod version;
mod words;

pub use budget::STOPPED;
pub use define::Defines;
pub use facts::{Facts, Probe};
#[cfg(test)]
pub(crate) use functions::covers;
pub use memo::Memo;
pub use text::Template;
pub use words::Meaning;

use api::cel::levels;
use api::kinds::Kind;
use budget::Budget;
use cel::{Context, Env, Program, Value};
use functions::Asks;
use reads::Read;
use seen::Seen;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Syntax(String),
    #[error("nothing here is called {name:?}{}", did_you_mean(.near))]
    Unknown { name: String, near: Option<&'static str> },
    #[error("{name}() takes {wants} values, not {got}")]
    Arguments { name: String, wants: String, got: usize },
    #[error("there is no kind {0:?} here")]
    Kind(String),
    #[error("no {of} has the {field} {word:?}{}; there are {known}", did_you_mean(.near))]
    Word {
        /// Which records are asked: those of `trace`, or versions of `history`.
        of: &'static str,
        field: &'static str,
        word: String,
        near: Option<&'static str>,
        /// All words that the field may have.
        known: String,
    },
    #[error("{name:?} cannot be defined: {why}")]
    Define { name: String, why: &'static str },
    #[error("{0:?} is for hints only: a check looks at the cluster, never at what was typed")]
    HintsOnly(&'static str),
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    near.map(|n| format!("; did you mean {n:?}?")).unwrap_or_default()
}

/// Where an expression stands, which decides what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A check: sees the world only.
    Check,
    /// A hint: sees what was typed, too.
    Hint,
    /// A debrief's beat: sees hops, and the values that the beat binds.
    Beat,
}

/// What an expression may call beside ours; anything else is a slip.
fn standard() -> impl Iterator<Item = &'static str> {
    api::cel::FUNCTIONS.iter().copied()
}

/// Types by their names.
const TYPES: &[&str] =
    &["int", "uint", "double", "string", "bool", "list", "map", "null_type", "bytes", "type"];

/// No expression of a lesson is longer, in bytes, and none has so many inside each other.
const LENGTH_MAX: usize = 4_000;
const DEPTH_MAX: usize = 100;
/// Levels that an expression's text may promise: an upper bound of the nodes inside each other.
const LEVELS_MAX: usize = 250;
/// The parser calls itself for every bracket and every link of a chain, and takes up to 20 kB for
/// each: 100 brackets are more than a task's stack. So does the evaluator, with somewhat more for
/// each loop. (The C library keeps 40 MiB of stacks for the next threads: a larger one would be
/// mapped anew for each expression.)
const STACK: usize = 32 << 20;
/// What stands deeper than this is read and evaluated on a stack of its own. Most checks do not.
const SHALLOW: usize = 16;

static STDLIB: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled expression.
#[derive(Clone)]
pub struct Expr {
    pub source: String,
    /// Of this process, for what is remembered of it.
    id: u64,
    compiled: Arc<compile::Compiled>,
    /// Kinds that it names.
    pub kinds: BTreeSet<String>,
    /// Namespaces that it looks into by name: of objects, and of the containers and logs that it
    /// asks for.
    pub namespaces: BTreeSet<String>,
    /// Objects that it looks at by name: kind, namespace and name; and those of which it asks that
    /// they are not there.
    pub needed: BTreeSet<Named>,
    pub absent: BTreeSet<Named>,
    /// Fields that it reads, and texts that stand in it.
    pub fields: BTreeSet<String>,
    pub strings: BTreeSet<String>,
    /// Fields that it compares with a text: the field, whether they are to be alike, and the text.
    pub compared: BTreeSet<(String, bool, String)>,
    /// Defined names that it uses.
    pub defined: BTreeSet<String>,
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
    pub meaning: Meaning,
}

/// Kind, namespace and name.
pub type Named = (String, String, String);

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
    pub fn compile(source: &str, place: Use, bound: &[(&str, Meaning)]) -> Result<Expr, Error> {
        Expr::compile_with(source, place, bound, &Defines::default())
    }

    /// Compiles an expression that may use defined names.
    ///
    /// # Errors
    /// As [`Expr::compile`].
    pub fn compile_with(
        source: &str,
        place: Use,
        bound: &[(&str, Meaning)],
        defines: &Defines,
    ) -> Result<Expr, Error> {
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
            return Expr::read(source, place, bound, defines);
        }
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().name("cel".into()).stack_size(STACK);
            let reader = reader.spawn_scoped(scope, || Expr::read(source, place, bound, defines));
            let failed = |why: &str| Err(Error::Syntax(format!("it cannot be read: {why}")));
            match reader {
                Ok(reader) => reader.join().unwrap_or_else(|_| failed("the parser gave up")),
                Err(error) => failed(&error.to_string()),
            }
        })
    }

    fn read(source: &str, place: Use, bound: &[(&str, Meaning)], defines: &Defines) -> Result<Expr, Error> {
        let program =
            Program::compile(source).map_err(|e| Error::Syntax(e.to_string().replace('\n', " ")))?;
        let mut expression = program.expression().clone();
        let defined = define::expand(&mut expression, defines)?;
        let mut seen = Seen::new(bound);
        seen.walk(&expression.expr)?;
        let meaning = seen.meaning(&expression.expr);
        for name in &seen.functions {
            let ours = functions::TABLE.iter().any(|f| f.name == name)
                || text::BEAT_FUNCTIONS.contains(&name.as_str());
            // Operators are functions with names that nobody can write.
            let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !ours && !operator && !standard().any(|known| known == name) {
                return Err(Error::Unknown { name: name.clone(), near: words::near_name(name) });
            }
        }
        for name in &seen.variables {
            match name.as_str() {
                "typed" if place == Use::Check => return Err(Error::HintsOnly("typed")),
                known if facts::VARIABLES.contains(&known) => {}
                known if TYPES.contains(&known) || bound.iter().any(|(name, _)| *name == known) => {}
                _ => return Err(Error::Unknown { name: name.clone(), near: words::near_name(name) }),
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
        let compiled = Arc::new(compile::compile(&expression));
        let (id, source) = (compile::fresh_id(), source.into());
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
    pub fn is_level(&self) -> bool {
        self.is_about_the_present() || !self.stays_true
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
    pub fn is_probe(&self) -> bool {
        self.asks(&[Asks::Network])
    }

    fn asks(&self, what: &[Asks]) -> bool {
        let of_them = functions::TABLE.iter().filter(|f| what.contains(&f.asks));
        of_them.map(|f| f.name).any(|name| self.functions.contains(name))
    }

    /// True if it reads this variable, e.g. `trace`.
    pub fn names(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }

    /// True if it calls this function, e.g. `http`.
    pub fn calls(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    /// Does it compare with what there was when the step began?
    pub fn reads_beginning(&self) -> bool {
        change::OF_BEGINNING.iter().any(|function| self.calls(function))
    }

    /// May it look at an object, where these are the values of its lab?
    pub fn may_look_at(&self, kind: &Kind, object: &serde_json::Value, variant: &Value) -> bool {
        self.reads.iter().any(|read| read.may_be(kind, object, variant))
    }

    /// Evaluates, within the limit of [`budget`]. `bound` are the values of further names.
    ///
    /// # Errors
    /// Why it has no value, for people who write lessons.
    pub fn value(&self, facts: &Arc<Facts>, bound: &[(&str, Value)]) -> Result<Value, String> {
        let budget = Arc::new(Budget::default());
        let lists = self.narrowed(facts, &budget);
        self.value_of(facts, bound, lists, &budget)
    }

    fn narrowed(&self, facts: &Arc<Facts>, budget: &Arc<Budget>) -> Vec<Result<(Value, u64), String>> {
        self.compiled.narrows.iter().map(|n| facts.memo.narrowed(n, facts, budget)).collect()
    }

    fn value_of(
        &self,
        facts: &Arc<Facts>,
        bound: &[(&str, Value)],
        lists: Vec<Result<(Value, u64), String>>,
        budget: &Arc<Budget>,
    ) -> Result<Value, String> {
        let missing = lists.iter().find_map(|list| list.as_ref().err()).cloned();
        let value = match self.levels > SHALLOW {
            false => self.resolve(facts, bound, lists, budget),
            true => std::thread::scope(|scope| {
                let evaluator = std::thread::Builder::new().name("cel".into()).stack_size(STACK);
                let evaluator = evaluator.spawn_scoped(scope, || {
                    budget.begin();
                    self.resolve(facts, bound, lists, budget)
                });
                let ended = evaluator.map(|evaluator| evaluator.join());
                ended.map_err(|error| error.to_string())?.map_err(|_| "the evaluator gave up".to_string())?
            }),
        };
        let stopped = budget.stopped();
        facts.memo.note_evaluation(facts, &self.source, stopped.as_deref());
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
                context.add_variable_as_val(compile::list_name(at), shared::wrap(list));
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

    /// Is it true? An error is not.
    pub fn holds(&self, facts: &Arc<Facts>) -> bool {
        self.truth(facts) == Some(true)
    }

    /// Is it true? `None`: its evaluation fails. It is evaluated only if something that it reads
    /// has changed since it last was.
    pub fn truth(&self, facts: &Arc<Facts>) -> Option<bool> {
        facts.ask_anew();
        let budget = Arc::new(Budget::default());
        let lists = self.narrowed(facts, &budget);
        let state = self.state(facts, &lists);
        if let Some(state) = &state
            && let Some(truth) = facts.memo.truth(self.id, facts, state)
        {
            return truth;
        }
        let value = self.value_of(facts, &[], lists, &budget);
        let truth = value.ok().map(|value| value == Value::Bool(true));
        if let Some(state) = state.filter(|_| !facts.has_asked()) {
            facts.memo.note(self.id, facts, state, truth);
        }
        truth
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
        // Without the objects of the step's beginning, `before` reads the history.
        let reads_history =
            |f: &&str| *f == "history" || (change::OF_BEGINNING.contains(f) && facts.before.is_none());
        if self.compiled.functions.iter().any(reads_history) {
            state.push(facts.versions);
        }
        state.push(facts.before.as_ref().map_or(0, |b| b.len() as u64));
        state.push(facts.lost_before.len() as u64);
        state.extend([facts.lines.0, facts.lines.1, facts.answered]);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str) -> Result<Expr, Error> {
        Expr::compile(source, Use::Check, &[])
    }

    #[test]
    fn a_slip_is_found_when_the_lesson_is_loaded() {
        assert_eq!(
            check("presnt('Pod','default','a')").unwrap_err(),
            Error::Unknown { name: "presnt".into(), near: Some("present") }
        );
        assert_eq!(
            check("tracee.exists(t, t.code == 1)").unwrap_err().to_string(),
            "nothing here is called \"tracee\"; did you mean \"trace\"?"
        );
        assert_eq!(check("ready(object('Pot','d','x'))").unwrap_err(), Error::Kind("Pot".into()));
        assert!(matches!(check("object('Pod','d')").unwrap_err(), Error::Arguments { .. }));
        assert!(matches!(check("1 +").unwrap_err(), Error::Syntax(_)));
        assert_eq!(check("typed.exists(t, t == 'x')").unwrap_err(), Error::HintsOnly("typed"));
        assert!(Expr::compile("typed.exists(t, t == 'x')", Use::Hint, &[]).is_ok());
        assert!(Expr::compile("c.revision > 0", Use::Beat, &[("c", Meaning::default())]).is_ok());
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused_before_a_stack_ends() {
        assert!(check(&["true"; 100].join(" && ")).is_ok());
        for (begin, middle, end) in [
            ("1", "+1", ""),
            ("v", ".b", ""),
            ("v", "[0]", ""),
            ("", "(", "1"),
            ("", "[", ""),
            ("", "size(", "v"),
        ] {
            for n in [150, 300, 700, 1_900, 100_000] {
                // What the parser skips hides nothing from the bound.
                for hiding in ["", "&'", "'\n", "1r'\\'"] {
                    let told = check(&format!("{hiding}{begin}{}{end}", middle.repeat(n)));
                    assert!(matches!(told, Err(Error::Syntax(_))), "{hiding}{middle} {n} times: {told:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_asked_decides_whether_it_may_turn_false_again() {
        assert!(check("present('Pod','d','x')").unwrap().is_level());
        assert!(!check("trace.exists(t, t.code == 409)").unwrap().is_level());
        assert!(!check("history('Pod','d','x').exists(h, get(h.object,'a',1) == 1)").unwrap().is_level());
        let fetched = "trace.exists(t, t.code == 200) && fetch('http://10.96.0.50')[0].status == 200";
        assert!(check(fetched).unwrap().is_level(), "the Service may be gone in a moment");
        assert!(check("!present('Pod','d','x') && history('Pod','d','x').size() > 0").unwrap().is_level());
        assert_eq!(check("present('Pod','d','x')").unwrap().kinds, ["Pod".to_string()].into());
    }
}
