//! The syntax tree. Names are resolved while the program is parsed: a variable is a place in the
//! table of globals or in the frame of its function.

use crate::awk::regex::Regex;
use crate::awk::run::value::Text;
use std::rc::Rc;

/// The place of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::awk) enum Var {
    Global(usize),
    /// A parameter of the function that runs.
    Local(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::awk) enum Arith {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::awk) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
}

/// What POSIX has, and `systime` of gawk and mawk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::awk) enum Builtin {
    Atan2,
    Close,
    Cos,
    Exp,
    Fflush,
    Gsub,
    Index,
    Int,
    Length,
    Log,
    Match,
    Rand,
    Sin,
    Split,
    Sprintf,
    Sqrt,
    Srand,
    Sub,
    Substr,
    System,
    Systime,
    Tolower,
    Toupper,
}

#[derive(Debug)]
pub(in crate::awk) enum Expr {
    Number(f64),
    Text(Text),
    /// A regular expression that stands alone is matched against `$0`.
    Regex(Rc<Regex>),
    Var(Var),
    Field(Box<Expr>),
    Element(Var, Vec<Expr>),
    /// `(a, b)` before `in` or as the arguments of `print`; nowhere else once it is parsed.
    List(Vec<Expr>),
    /// An lvalue in parentheses. It cannot be assigned to.
    Group(Box<Expr>),
    Assign(Box<Expr>, Option<Arith>, Box<Expr>),
    /// `++` and `--`. The value of a prefix operator is the one after the step.
    Step {
        target: Box<Expr>,
        by: f64,
        prefix: bool,
    },
    Arith(Arith, Box<(Expr, Expr)>),
    Compare(Comparison, Box<(Expr, Expr)>),
    Concat(Vec<Expr>),
    /// `~`, and `!~` if it is negated.
    Match {
        operands: Box<(Expr, Expr)>,
        negated: bool,
    },
    And(Box<(Expr, Expr)>),
    Or(Box<(Expr, Expr)>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Plus(Box<Expr>),
    Ternary(Box<(Expr, Expr, Expr)>),
    In(Vec<Expr>, Var),
    Builtin(Builtin, Vec<Expr>),
    /// A call of the program's own function.
    Call(usize, Vec<Expr>),
    Getline(Source, Option<Box<Expr>>),
}

impl Expr {
    /// Returns whether a value can be assigned to the expression.
    pub(in crate::awk) fn is_lvalue(&self) -> bool {
        matches!(self, Expr::Var(_) | Expr::Field(_) | Expr::Element(..))
    }
}

/// Where `getline` reads.
#[derive(Debug)]
pub(in crate::awk) enum Source {
    Main,
    File(Box<Expr>),
    Command(Box<Expr>),
}

/// Where `print` writes.
#[derive(Debug)]
pub(in crate::awk) enum Redirect {
    Truncate(Expr),
    Append(Expr),
    Command(Expr),
}

/// A statement with its line, which messages of faults name.
#[derive(Debug)]
pub(in crate::awk) struct Stmt {
    pub line: usize,
    pub kind: Kind,
}

/// A condition of `if` or `else if` with its line, and the statement that it guards. A chain of
/// them is a list and no deeper tree: programs that are generated have thousands.
#[derive(Debug)]
pub(in crate::awk) struct Branch {
    pub line: usize,
    pub condition: Expr,
    pub then: Stmt,
}

#[derive(Debug)]
pub(in crate::awk) enum Kind {
    Expr(Expr),
    Print(Vec<Expr>, Option<Redirect>),
    Printf(Vec<Expr>, Option<Redirect>),
    /// `if`, each `else if`, and `else`.
    If(Vec<Branch>, Option<Box<Stmt>>),
    While(Expr, Box<Stmt>),
    Do(Box<Stmt>, Expr),
    For(Option<Box<Stmt>>, Option<Expr>, Option<Box<Stmt>>, Box<Stmt>),
    ForIn(Var, Var, Box<Stmt>),
    Block(Vec<Stmt>),
    Break,
    Continue,
    Next,
    NextFile,
    Exit(Option<Expr>),
    Return(Option<Expr>),
    /// Without a subscript, all elements.
    Delete(Var, Vec<Expr>),
}

#[derive(Debug)]
pub(in crate::awk) enum Pattern {
    Always,
    Expr(Expr),
    /// The number of the range: the interpreter remembers which ranges are open.
    Range(Expr, Expr, usize),
}

/// A rule for records. Without an action it prints the record.
#[derive(Debug)]
pub(in crate::awk) struct Rule {
    pub line: usize,
    pub pattern: Pattern,
    pub action: Option<Vec<Stmt>>,
}

#[derive(Debug, Default)]
pub(in crate::awk) struct Function {
    pub name: String,
    pub params: usize,
    /// For each parameter, whether the function uses it as an array.
    pub arrays: Vec<bool>,
    pub body: Vec<Stmt>,
}

#[derive(Debug, Default)]
pub(in crate::awk) struct Program {
    pub begin: Vec<Vec<Stmt>>,
    pub rules: Vec<Rule>,
    pub end: Vec<Vec<Stmt>>,
    pub functions: Vec<Function>,
    /// The names of global variables; the first ones are `run::variables::SPECIAL`.
    pub globals: Vec<String>,
    pub ranges: usize,
}
