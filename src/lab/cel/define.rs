//! Names of a lesson's own, and calls that stand for longer expressions: both are replaced by what
//! they stand for before anything else looks at the expression. So what is read of it (kinds,
//! objects, whether it stays true) is read of the whole.
//!
//! Example: with `web` defined as `object("Deployment","default","web")`, `ready(web)` is
//! `ready(object("Deployment","default","web"))`; and `gone("Pod","default","web")` is
//! `!present("Pod","default","web") && history("Pod","default","web").exists(h, h.verb ==
//! "DELETED" && h.revision > since_step)`.

use super::error::Error;
use super::language::{ADD, TYPES, standard};
use super::{facts, functions};
use cel::Program;
use cel::common::ast::{EntryExpr, Expr as Node, IdedExpr, LiteralValue};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes of an expression with everything replaced: definitions that name each other twice would
/// double it each time.
const NODES_MAX: usize = 5_000;

/// A definition: the expression, and the names that it was written with.
#[derive(Clone, Debug)]
struct Definition {
    expr: IdedExpr,
    uses: BTreeSet<String>,
}

/// Names that stand for expressions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Defines(BTreeMap<String, Definition>);

impl Defines {
    /// Returns whether a name is that of a function, of a variable or of a type, or is defined
    /// already.
    pub(super) fn has_meaning(&self, name: &str) -> bool {
        let taken =
            functions::TABLE.iter().map(|f| f.name).chain(standard()).chain(CALLS.iter().map(|c| c.0));
        let mut taken = taken
            .chain(facts::VARIABLES.iter().copied())
            .chain([facts::ANSWER, "true", "false", "null", "in"])
            .chain(TYPES.iter().copied());
        taken.any(|taken| taken == name) || self.0.contains_key(name)
    }

    /// Keeps an expression under a name.
    ///
    /// # Errors
    /// It is no expression, a call in it has too few or too many values, or it becomes too long.
    pub(super) fn keep(&mut self, name: &str, source: &str) -> Result<(), Error> {
        let program = Program::compile(source).map_err(|errors| Error::of_parser(&errors))?;
        let mut expr = program.expression().clone();
        let uses = expand(&mut expr, self)?;
        self.0.insert(name.into(), Definition { expr, uses });
        Ok(())
    }

    /// All names, in the order of the alphabet.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Calls that stand for longer expressions: name, the names of their values, and the expression.
/// Names that end with `__` stand for these values alone.
pub(super) const CALLS: &[(&str, &[&str], &str)] = &[
    (
        "gone",
        &["kind__", "namespace__", "name__"],
        r#"!present(kind__, namespace__, name__) && history(kind__, namespace__, name__).exists(h__, h__.verb == "DELETED" && h__.revision > since_step)"#,
    ),
    (
        "by_learner",
        &["verb__", "kind__", "name__"],
        r#"requests(verb__, kind__ + "/*/" + name__).exists(t__, t__.code < 400 && !t__.dry_run) || requests(verb__, kind__ + "/*/" + name__ + "/scale").exists(t__, t__.code < 400 && !t__.dry_run)"#,
    ),
];

/// Names of all functions of lessons, and of the calls that stand for longer expressions.
#[cfg(test)]
pub(crate) fn functions_known() -> impl Iterator<Item = &'static str> {
    functions::TABLE.iter().map(|f| f.name).chain(CALLS.iter().map(|call| call.0))
}

/// Replaces everything in an expression that stands for another one. Returns the defined names that
/// it uses, also in definitions.
///
/// # Errors
/// A call has too few or too many values, or the expression becomes too long.
pub(super) fn expand(expr: &mut IdedExpr, defines: &Defines) -> Result<BTreeSet<String>, Error> {
    let mut expansion = Expansion { defines, bound: vec![], uses: BTreeSet::new(), nodes: 0 };
    expansion.walk(expr)?;
    Ok(expansion.uses)
}

struct Expansion<'a> {
    defines: &'a Defines,
    /// Names that macros around the present node bind.
    bound: Vec<String>,
    uses: BTreeSet<String>,
    nodes: usize,
}

impl Expansion<'_> {
    fn walk(&mut self, node: &mut IdedExpr) -> Result<(), Error> {
        self.count(1)?;
        match &mut node.expr {
            Node::Ident(name) if !self.bound.contains(name) => {
                if let Some(definition) = self.defines.0.get(name) {
                    self.uses.insert(name.clone());
                    self.uses.extend(definition.uses.iter().cloned());
                    self.count(size(&definition.expr))?;
                    *node = definition.expr.clone();
                }
            }
            Node::Call(call) => {
                for part in call.target.iter_mut().map(|t| &mut **t).chain(&mut call.args) {
                    self.walk(part)?;
                }
                if call.target.is_none()
                    && let Some(stands_for) = CALLS.iter().find(|c| c.0 == call.func_name)
                {
                    let args = std::mem::take(&mut call.args);
                    *node = self.called(stands_for, args)?;
                }
            }
            Node::Comprehension(c) => {
                self.walk(&mut c.iter_range)?;
                self.walk(&mut c.accu_init)?;
                let outside = self.bound.len();
                self.bound.push(c.iter_var.clone());
                self.bound.extend(c.iter_var2.clone());
                self.bound.push(c.accu_var.clone());
                for part in [&mut c.loop_cond, &mut c.loop_step, &mut c.result] {
                    self.walk(part)?;
                }
                self.bound.truncate(outside);
            }
            Node::List(list) => {
                for item in &mut list.elements {
                    self.walk(item)?;
                }
            }
            Node::Select(select) => self.walk(&mut select.operand)?,
            Node::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(e) = &mut entry.expr {
                        self.walk(&mut e.key)?;
                        self.walk(&mut e.value)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize) -> Result<(), Error> {
        self.nodes += nodes;
        match self.nodes > NODES_MAX {
            true => Err(Error::Syntax(format!("with its definitions it has more than {NODES_MAX} parts"))),
            false => Ok(()),
        }
    }

    /// The expression that a call stands for.
    fn called(
        &mut self,
        (name, values, source): &(&str, &[&str], &str),
        args: Vec<IdedExpr>,
    ) -> Result<IdedExpr, Error> {
        if args.len() != values.len() {
            let wants = values.len().to_string();
            return Err(Error::Arguments { name: name.to_string(), wants, got: args.len() });
        }
        if *name == "by_learner"
            && let Some(kind) = literal(&args[1].expr)
            && facts::kind(kind).is_none()
        {
            return Err(Error::Kind(kind.into()));
        }
        let program = Program::compile(source).map_err(|e| Error::Syntax(e.to_string()))?;
        let mut expr = program.expression().clone();
        let given = values
            .iter()
            .zip(args)
            .map(|(value, arg)| (value.to_string(), Definition { expr: arg, uses: BTreeSet::new() }));
        let given = Defines(given.collect());
        let mut inner =
            Expansion { defines: &given, bound: vec![], uses: BTreeSet::new(), nodes: self.nodes };
        inner.walk(&mut expr)?;
        self.nodes = inner.nodes;
        join(&mut expr);
        Ok(expr)
    }
}

fn literal(node: &Node) -> Option<&str> {
    match node {
        Node::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Makes one literal of `"a" + "b"`: what a call names is known when the lesson is loaded.
fn join(node: &mut IdedExpr) {
    match &mut node.expr {
        Node::Call(call) => {
            for part in call.target.iter_mut().map(|t| &mut **t).chain(&mut call.args) {
                join(part);
            }
            if call.func_name == ADD
                && let [left, right] = call.args.as_slice()
                && let (Some(left), Some(right)) = (literal(&left.expr), literal(&right.expr))
            {
                let text = serde_json::Value::from(format!("{left}{right}")).to_string();
                if let Ok(program) = Program::compile(&text) {
                    *node = program.expression().clone();
                }
            }
        }
        Node::Comprehension(c) => join(&mut c.iter_range),
        _ => {}
    }
}

/// How many nodes an expression has.
fn size(node: &IdedExpr) -> usize {
    1 + match &node.expr {
        Node::Call(call) => {
            call.target.iter().map(|t| size(t)).sum::<usize>() + call.args.iter().map(size).sum::<usize>()
        }
        Node::Comprehension(c) => {
            [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result].into_iter().map(size).sum()
        }
        Node::List(list) => list.elements.iter().map(size).sum(),
        Node::Select(select) => size(&select.operand),
        Node::Map(map) => map
            .entries
            .iter()
            .map(|entry| match &entry.expr {
                EntryExpr::MapEntry(e) => size(&e.key) + size(&e.value),
                _ => 0,
            })
            .sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Use};
    use super::*;

    fn defined(all: &[(&str, &str)]) -> Defines {
        let mut defines = Defines::default();
        all.iter().for_each(|(name, source)| defines.add(name, source).unwrap());
        defines
    }
    fn check(source: &str, defines: &Defines) -> Result<Expr, Error> {
        Expr::compile_with(source, Use::Check, &[], defines)
    }

    #[test]
    fn a_definition_is_read_as_if_it_stood_there() {
        let defines = defined(&[
            ("web", r#"object("Deployment","default","web")"#),
            ("up", "ready(web)"),
            ("missing", r#"trace.exists(t, t.own && t.code == 404)"#),
        ]);
        let expr = check("up && get(web, 'spec.replicas', 0) == 3", &defines).unwrap();
        let web = ("Deployment".to_string(), "default".to_string(), "web".to_string());
        assert_eq!(expr.needed, [web].into());
        assert_eq!(expr.defined, ["up", "web"].map(String::from).into());
        assert!(expr.is_level() && !check("missing", &defines).unwrap().is_level());
        // A macro's own name hides the definition.
        let hidden = check("[1].exists(web, web == 1)", &defines).unwrap();
        assert!(hidden.needed.is_empty() && hidden.defined.is_empty());
    }

    #[test]
    fn what_cannot_be_defined_is_refused() {
        let mut defines = defined(&[("web", "true")]);
        for (name, source, told) in [
            ("web", "true", "has a meaning already"),
            ("trace", "true", "has a meaning already"),
            ("ready", "true", "has a meaning already"),
            ("answer", "true", "has a meaning already"),
            ("gone", "true", "has a meaning already"),
            ("string", "true", "has a meaning already"),
            ("My-Pod", "true", "lower-case letters"),
            ("", "true", "lower-case letters"),
            ("db", "objekt(1)", "nothing here is called \"objekt\""),
            ("db", "db == 1", "nothing here is called \"db\""),
            ("db", "typed == []", "for hints only"),
        ] {
            let error = defines.add(name, source).unwrap_err().to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
        let mut twice = defined(&[("a0", "[1, 1, 1, 1]")]);
        let last =
            (1..30).find_map(|n| twice.add(&format!("a{n}"), &format!("[a{0}, a{0}, a{0}]", n - 1)).err());
        assert!(last.unwrap().to_string().contains("more than 5000 parts"));
    }

    /// The parser calls itself for every bracket, and a pack is read on the stack of a task.
    #[test]
    fn a_deep_definition_has_a_stack_of_its_own() {
        let source = format!("{}1{}", "(".repeat(90), ")".repeat(90));
        // Less than a task has: on it the parser would end the whole process.
        let small = std::thread::Builder::new().stack_size(1 << 20);
        let added = small.spawn(move || Defines::default().add("deep", &source)).unwrap();
        assert_eq!(added.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_call_that_stands_for_more_names_what_it_reads() {
        let none = Defines::default();
        let gone = check(r#"gone("Pod","default","web")"#, &none).unwrap();
        let web = ("Pod".to_string(), "default".to_string(), "web".to_string());
        assert!(gone.absent.contains(&web) && gone.kinds.contains("Pod") && gone.is_level());
        let asked = check(r#"by_learner("delete","Pod","web")"#, &none).unwrap();
        assert!(!asked.is_level() && asked.strings.contains("Pod/*/web"));
        assert!(matches!(check(r#"gone("Pod","web")"#, &none), Err(Error::Arguments { .. })));
        assert_eq!(
            check(r#"by_learner("delete","Pood","web")"#, &none).unwrap_err(),
            Error::Kind("Pood".into())
        );
        let verb = check(r#"by_learner("remove","Pod","web")"#, &none).unwrap_err().to_string();
        assert!(verb.contains("the verb \"remove\""), "{verb}");
    }
}
