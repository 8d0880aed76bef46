//! Reads a program: its rules, functions and names.

pub(super) mod ast;
mod expressions;
mod lexer;
mod statements;

use super::run::variables::SPECIAL;
use super::stack::Stack;
use ast::{Expr, Function, Pattern, Program, Rule, Var};
use lexer::{Lexer, Token};
use std::collections::HashMap;

/// Nested blocks, parentheses and prefix operators. More is an error. Beside this number, which is
/// the same in every build, [`Stack::has_room`] bounds the recursion by what it really takes.
const MAX_DEPTH: usize = 1000;
/// Operators in one expression: each makes the tree higher by one, and dropping it recurses.
const MAX_OPERATORS: usize = 10_000;

/// An error with the line where it was found.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub line: usize,
    pub text: String,
}

type Parsed<T> = Result<T, SyntaxError>;

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    /// The line of `token`.
    line: usize,
    program: Program,
    globals: HashMap<String, usize>,
    functions: HashMap<String, usize>,
    /// For each function, the line of its first call, and whether it is defined.
    calls: Vec<(Option<usize>, bool)>,
    /// Calls: the function, the arguments and the line.
    arguments: Vec<(usize, usize, usize)>,
    /// The parameters of the function that is read, and its number.
    locals: HashMap<String, usize>,
    function: Option<usize>,
    /// Names passed on to another function: (function, parameter) to (function, argument).
    passed: Vec<((usize, usize), (usize, usize))>,
    stack: Stack,
    depth: usize,
    operators: usize,
    loops: usize,
    /// Whether `>` writes to a file instead of comparing.
    in_print: bool,
    /// Whether a list in parentheses, `(a, b)`, may begin at this token.
    list_allowed: bool,
}

/// Parses a whole program.
///
/// # Errors
/// The first syntax error, with its line.
pub(super) fn parse(source: &[u8], stack: Stack) -> Result<Program, SyntaxError> {
    let mut parser = Parser {
        lexer: Lexer::new(source),
        token: Token::Newline,
        line: 1,
        program: Program::default(),
        globals: HashMap::new(),
        functions: HashMap::new(),
        calls: Vec::new(),
        arguments: Vec::new(),
        locals: HashMap::new(),
        function: None,
        passed: Vec::new(),
        stack,
        depth: 0,
        operators: 0,
        loops: 0,
        in_print: false,
        list_allowed: false,
    };
    for name in SPECIAL {
        parser.global(name);
    }
    parser.advance()?;
    parser.all_rules()?;
    parser.check_functions()?;
    Ok(parser.program)
}

impl Parser<'_> {
    fn advance(&mut self) -> Parsed<Token> {
        let next = self.lexer.next().map_err(|text| SyntaxError { line: self.lexer.line, text })?;
        self.line = self.lexer.line - usize::from(next == Token::Newline);
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn fail<T>(&self, text: impl Into<String>) -> Parsed<T> {
        Err(SyntaxError { line: self.line, text: text.into() })
    }

    fn unexpected<T>(&self) -> Parsed<T> {
        let rest = self.lexer.rest_of_line();
        let token = match &self.token {
            Token::End => return self.fail("syntax error: unexpected end of the program"),
            Token::Newline => return self.fail("syntax error: unexpected newline"),
            Token::Number(number) => number.to_string(),
            Token::Text(text) => format!("\"{}\"", String::from_utf8_lossy(text).escape_debug()),
            Token::Name(name, _) => name.clone(),
            Token::Builtin(builtin) => format!("{builtin:?}").to_lowercase(),
            Token::Keyword(word) | Token::Symbol(word) => (*word).to_string(),
        };
        self.fail(format!("syntax error near {token} {rest}").trim_end())
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token, Token::Symbol(other) if other == symbol)
    }

    fn is_keyword(&self, word: &str) -> bool {
        matches!(self.token, Token::Keyword(other) if other == word)
    }

    fn accept(&mut self, symbol: &str) -> Parsed<bool> {
        let found = self.is(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.accept(symbol)? { Ok(()) } else { self.unexpected() }
    }

    fn skip_newlines(&mut self) -> Parsed<()> {
        while self.token == Token::Newline {
            self.advance()?;
        }
        Ok(())
    }

    fn skip_ends(&mut self) -> Parsed<()> {
        while self.token == Token::Newline || self.is(";") {
            self.advance()?;
        }
        Ok(())
    }

    /// Counts a level, before the parser calls itself; `depth` is lowered again after that.
    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(format!("the program is nested too deeply (more than {MAX_DEPTH} levels)"));
        }
        if !self.stack.has_room() {
            let size = self.stack.mebibytes();
            return self.fail(format!("the program is nested too deeply for the stack of {size} MiB"));
        }
        Ok(())
    }

    /// Counts an operator.
    fn operator(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return self.fail(format!("the expression is too long (more than {MAX_OPERATORS} operators)"));
        }
        Ok(())
    }

    fn global(&mut self, name: &str) -> usize {
        if let Some(&place) = self.globals.get(name) {
            return place;
        }
        let place = self.program.globals.len();
        self.program.globals.push(name.to_string());
        self.globals.insert(name.to_string(), place);
        place
    }

    fn variable(&mut self, name: &str) -> Parsed<Var> {
        if let Some(&place) = self.locals.get(name) {
            return Ok(Var::Local(place));
        }
        if self.functions.contains_key(name) {
            return self.fail(format!("function {name} is used as a variable"));
        }
        Ok(Var::Global(self.global(name)))
    }

    /// Returns a variable that is used as an array here.
    fn array(&mut self, name: &str) -> Parsed<Var> {
        let var = self.variable(name)?;
        self.note_array(var);
        Ok(var)
    }

    fn note_array(&mut self, var: Var) {
        if let (Var::Local(place), Some(function)) = (var, self.function) {
            self.program.functions[function].arrays[place] = true;
        }
    }

    fn array_name(&mut self) -> Parsed<Var> {
        match self.token.clone() {
            Token::Name(name, false) => {
                self.advance()?;
                self.array(&name)
            }
            _ => self.unexpected(),
        }
    }

    fn is_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    fn function_number(&mut self, name: &str) -> usize {
        if let Some(&number) = self.functions.get(name) {
            return number;
        }
        let number = self.program.functions.len();
        self.program.functions.push(Function { name: name.to_string(), ..Function::default() });
        self.functions.insert(name.to_string(), number);
        self.calls.push((None, false));
        number
    }

    /// Remembers a call: whether it fits is known when all functions are.
    fn note_call(&mut self, callee: usize, args: &[Expr], line: usize) {
        self.calls[callee].0.get_or_insert(line);
        self.arguments.push((callee, args.len(), line));
        for (at, arg) in args.iter().enumerate() {
            if let (Expr::Var(Var::Local(place)), Some(function)) = (arg, self.function) {
                self.passed.push(((function, *place), (callee, at)));
            }
        }
    }

    fn all_rules(&mut self) -> Parsed<()> {
        loop {
            self.skip_ends()?;
            if self.token == Token::End {
                return Ok(());
            }
            self.rule()?;
        }
    }

    /// Parses a rule or a function.
    fn rule(&mut self) -> Parsed<()> {
        let line = self.line;
        if let Token::Name(name, _) = &self.token
            && matches!(name.as_str(), "BEGINFILE" | "ENDFILE")
            && self.lexer.clone().next() == Ok(Token::Symbol("{"))
        {
            return self.fail(format!("{name} is gawk's own and not supported"));
        }
        if self.is_keyword("function") {
            return self.function();
        }
        if self.is_keyword("BEGIN") || self.is_keyword("END") {
            let begin = self.is_keyword("BEGIN");
            self.advance()?;
            if !self.is("{") {
                return self.fail(format!("{} needs an action", if begin { "BEGIN" } else { "END" }));
            }
            let body = self.block()?;
            if begin { &mut self.program.begin } else { &mut self.program.end }.push(body);
            return Ok(());
        }
        self.operators = 0;
        let mut pattern = Pattern::Always;
        if !self.is("{") {
            let first = self.expression()?;
            pattern = Pattern::Expr(first);
            if self.accept(",")? {
                self.skip_newlines()?;
                let last = self.expression()?;
                if let Pattern::Expr(first) = pattern {
                    pattern = Pattern::Range(first, last, self.program.ranges);
                    self.program.ranges += 1;
                } else {
                    return self.unexpected();
                }
            }
        }
        let action = if self.is("{") { Some(self.block()?) } else { None };
        if action.is_none() && !(self.is(";") || matches!(self.token, Token::Newline | Token::End)) {
            return self.unexpected();
        }
        self.program.rules.push(Rule { line, pattern, action });
        Ok(())
    }

    fn function(&mut self) -> Parsed<()> {
        self.advance()?;
        let name = match self.advance()? {
            Token::Name(name, _) => name,
            Token::Builtin(_) => return self.fail("a function cannot have the name of a built-in one"),
            _ => return self.unexpected(),
        };
        if self.globals.contains_key(&name) {
            return self.fail(format!("variable {name} is used as a function"));
        }
        let number = self.function_number(&name);
        if std::mem::replace(&mut self.calls[number].1, true) {
            return self.fail(format!("function {name} is defined twice"));
        }
        self.expect("(")?;
        self.skip_newlines()?;
        while let Token::Name(param, _) = self.token.clone() {
            self.advance()?;
            let place = self.locals.len();
            if param == name || SPECIAL.contains(&param.as_str()) || self.is_function(&param) {
                return self.fail(format!("{param} cannot be a parameter of {name}"));
            }
            if self.locals.insert(param.clone(), place).is_some() {
                return self.fail(format!("parameter {param} stands twice"));
            }
            if !self.accept(",")? {
                break;
            }
            self.skip_newlines()?;
        }
        self.skip_newlines()?;
        self.expect(")")?;
        self.skip_newlines()?;
        let function = &mut self.program.functions[number];
        function.params = self.locals.len();
        function.arrays = vec![false; self.locals.len()];
        self.function = Some(number);
        self.program.functions[number].body = self.block()?;
        self.function = None;
        self.locals.clear();
        Ok(())
    }

    /// Checks that every called function exists; parameters that are passed on as arrays are
    /// arrays.
    fn check_functions(&mut self) -> Parsed<()> {
        for (function, (called, defined)) in self.program.functions.iter().zip(&self.calls) {
            if let (Some(line), false) = (called, defined) {
                return Err(SyntaxError { line: *line, text: undefined(&function.name) });
            }
        }
        for &(callee, count, line) in &self.arguments {
            let function = &self.program.functions[callee];
            if count > function.params {
                let text = format!("function {} is called with too many arguments", function.name);
                return Err(SyntaxError { line, text });
            }
        }
        loop {
            let mut changed = false;
            for &((caller, param), (callee, arg)) in &self.passed {
                let is_array = self.program.functions[callee].arrays.get(arg) == Some(&true);
                let known = &mut self.program.functions[caller].arrays[param];
                changed |= is_array && !*known;
                *known |= is_array;
            }
            if !changed {
                return Ok(());
            }
        }
    }
}

fn undefined(name: &str) -> String {
    const FOREIGN: [&str; 19] = [
        "and",
        "asort",
        "asorti",
        "bindtextdomain",
        "compl",
        "dcgettext",
        "dcngettext",
        "gensub",
        "isarray",
        "lshift",
        "mkbool",
        "mktime",
        "or",
        "patsplit",
        "rshift",
        "strftime",
        "strtonum",
        "typeof",
        "xor",
    ];
    match FOREIGN.contains(&name) {
        true => format!("the function {name} of gawk is not supported"),
        false if name == "switch" => "switch is gawk's own and not supported".into(),
        false => format!("function {name} is not defined"),
    }
}
